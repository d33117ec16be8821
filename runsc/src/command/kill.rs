// SPDX-License-Identifier: Apache-2.0
//! `runsc kill`: a signal for a container.

use super::{Failure, Request};
use crate::{
    container::signal,
    sandbox::control::{self, Target},
    state::{record::Status, store::Store},
};

/// Sends the signal.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    let store = Store::new(&request.config.root);
    let record = store.read(&id)?;
    let name = request.args.get(1).map_or("TERM".into(), |name| name.to_string_lossy());
    let signal = signal::parse(&name)?;
    let is_all = request.flags.is_on("all");
    match record.status_now() {
        Status::Stopped if is_all => return Ok(0),
        Status::Stopped => return Err("container not running".into()),
        // Hooks may be at work, and nobody would answer.
        Status::Creating => return Err("cannot kill a container that is being created".into()),
        Status::Created | Status::Running | Status::Paused => {}
    }
    let number = |flag| match request.flags.number(flag) {
        -1 => Ok(None),
        number => match i32::try_from(number) {
            Ok(number @ 1..) => Ok(Some(number)),
            _ => Err(format!("--{flag} {number}: it is the number of a process of the container")),
        },
    };
    let target = match (is_all, number("pid")?, number("pgid")?) {
        (false, None, None) => Target::Init,
        (true, None, None) => Target::All,
        (false, Some(pid), None) => Target::Process(pid),
        (false, None, Some(group)) => Target::Group(group),
        _ => return Err("--all, --pid and --pgid exclude each other".into()),
    };
    let sent = store.connect(&id)?.ask(&control::Request::Signal { signal, target });
    match sent {
        // It may have ended since we looked.
        Err(_) if record.status_now() == Status::Stopped && is_all => Ok(0),
        Err(_) if record.status_now() == Status::Stopped => Err("container not running".into()),
        other => Ok(other.map(|()| 0)?),
    }
}
