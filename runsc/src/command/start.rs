// SPDX-License-Identifier: Apache-2.0
//! `runsc start`: the first process of a created container runs.

use super::{Failure, Request, held::Held};
use crate::{
    container::{end, hooks},
    sandbox::control,
    state::record::Status,
};

/// Starts the container, and tells the hooks for that. One that fails is the end of the container.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let mut held = Held::open(&request, "cannot start a container that was never finished")?;
    match held.record.status_now() {
        Status::Created => {}
        Status::Running | Status::Paused => {
            return Err("cannot start an already running container".into());
        }
        Status::Stopped => return Err("cannot start a container that has stopped".into()),
        Status::Creating => return Err("cannot start a container that is being created".into()),
    }
    held.record.status = Status::Running;
    held.save()?;
    let channel = held.ask(&control::Request::Start)?;
    // Hooks may take as long as they like.
    let (store, record) = held.unlock();
    if record.hooks.poststart.is_empty() {
        return Ok(0);
    }
    if !channel.await_start() {
        return Err("the container ended before its first process ran".into());
    }
    if let Err(error) = hooks::poststart(&record, None) {
        end::stop(&store, &record)?;
        return Err(error.into());
    }
    Ok(0)
}
