// SPDX-License-Identifier: Apache-2.0
//! `runsc do`: a program over the host's files, with its writes thrown away.

use super::{Coded, Failure, Request};
use crate::{
    container::adhoc,
    sandbox::{
        attend::Signals,
        console, control,
        spawn::{self, Launch},
        supervise::{self, Outcome, Watch},
    },
};

/// Runs the program and ends as it ended.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let (boot, gofer) = adhoc::plan(&request.config, &request.flags, &request.args)?;
    let is_terminal = boot.process.terminal;
    let saved = console::Saved::of_stdin();
    let signals = Signals::hold()?;
    let stdio = console::streams()?;
    let launch =
        Launch { config: &request.config, boot, gofer, stdio, preserved: Vec::new(), cgroup: None };
    let sandbox = spawn::start(launch)?;
    let watch = Watch {
        ends_early: false,
        signals: &signals,
        is_terminal,
        listener: None,
        owner: None,
        on_event: &mut |_| {},
    };
    if is_terminal {
        saved.make_raw()?;
    }
    let outcome = supervise::supervise(sandbox, watch);
    drop(saved);
    let code = match outcome {
        Outcome::Exited(status) => return Ok(Outcome::code(status)),
        Outcome::Failed(control::Failure::NotFound, message) => (127, message),
        Outcome::Failed(control::Failure::NotExecutable, message) => (126, message),
        Outcome::Failed(control::Failure::Other, message) => (128, message),
    };
    Err(Coded { code: code.0, message: code.1 }.into())
}
