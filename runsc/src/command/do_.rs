// SPDX-License-Identifier: Apache-2.0
//! `runsc do`: a program over the host's files, with its writes thrown away.

use super::{Coded, Failure, Request};
use crate::{
    container::adhoc,
    sandbox::{console, control, spawn, supervise},
};

/// Runs the program and ends as it ended.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let (boot, gofer) = adhoc::plan(&request.config, &request.flags, &request.args)?;
    foreground(&request, boot, gofer)
}

/// Runs a sandbox whose streams are ours, until it ends.
pub(super) fn foreground(
    request: &Request,
    boot: crate::sandbox::plan::BootPlan,
    gofer: crate::sandbox::plan::GoferPlan,
) -> Result<u8, Failure> {
    let is_terminal = boot.process.terminal;
    let saved = console::Saved::of_stdin();
    let signals = supervise::Signals::hold()?;
    let stdio = console::streams()?;
    let sandbox = spawn::start(spawn::Launch { config: &request.config, boot, gofer, stdio })?;
    let outcome = supervise::supervise(sandbox, &signals, is_terminal);
    drop(saved);
    match outcome {
        supervise::Outcome::Exited(status) => Ok(supervise::Outcome::code(status)),
        supervise::Outcome::Failed(control::Failure::NotFound, message) => {
            Err(Coded { code: 127, message }.into())
        }
        supervise::Outcome::Failed(control::Failure::NotExecutable, message) => {
            Err(Coded { code: 126, message }.into())
        }
        supervise::Outcome::Failed(control::Failure::Other, message) => Err(message.into()),
    }
}
