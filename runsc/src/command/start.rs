// SPDX-License-Identifier: Apache-2.0
//! `runsc start`: the first process of a created container runs.

use super::{Failure, Request};
use crate::{
    sandbox::control,
    state::{record::Status, store::Store},
};

/// Starts the container.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    let store = Store::new(&request.config.root);
    let entry = store.open(&id)?;
    let mut record = entry.load()?.ok_or("cannot start a container that was never finished")?;
    match record.status_now() {
        Status::Created => {}
        Status::Running | Status::Paused => {
            return Err("cannot start an already running container".into());
        }
        Status::Stopped => return Err("cannot start a container that has stopped".into()),
        Status::Creating => return Err("cannot start a container that is being created".into()),
    }
    record.status = Status::Running;
    entry.save(&record)?;
    let channel = store.connect(&id)?;
    channel.ask(&control::Request::Start)?;
    Ok(0)
}
