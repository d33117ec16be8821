// SPDX-License-Identifier: Apache-2.0
//! `runsc pause`: every process of a container stands still.

use super::{Failure, Request};
use crate::{
    sandbox::control,
    state::{record::Status, store::Store},
};

/// Pauses the container.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    let store = Store::new(&request.config.root);
    let entry = store.open(&id)?;
    let mut record = entry.load()?.ok_or("container not running")?;
    let before = record.status_now();
    if !matches!(before, Status::Created | Status::Running) {
        return Err("container not running".into());
    }
    // Written down first: what a killed runsc may have paused can be resumed.
    record.before_pause = Some(before);
    record.status = Status::Paused;
    entry.save(&record)?;
    let asked = store.connect(&id).map_err(Failure::from);
    let paused = asked.and_then(|channel| Ok(channel.ask(&control::Request::Pause)?));
    if let Err(error) = paused {
        record.before_pause = None;
        record.status = before;
        entry.save(&record)?;
        return Err(error);
    }
    Ok(0)
}
