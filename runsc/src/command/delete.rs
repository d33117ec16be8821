// SPDX-License-Identifier: Apache-2.0
//! `runsc delete`: the end of a container and of all that it held.

use super::{Failure, Request};
use crate::{
    container::end,
    state::{
        record::Status,
        store::{StateError, Store},
    },
};

/// Deletes the container. With `--force` it need not be stopped, nor even there.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    let is_forced = request.flags.is_on("force");
    let entry = match Store::new(&request.config.root).open(&id) {
        Err(StateError::Missing) if is_forced => return Ok(0),
        other => other?,
    };
    // What was never finished may be deleted like what has stopped.
    if let Some(record) = entry.load()?
        && let status @ (Status::Running | Status::Paused) = record.status_now()
        && !is_forced
    {
        let status = status.name();
        return Err(format!("cannot delete container {id} that is not stopped: {status}").into());
    }
    end::destroy(entry, None)?;
    Ok(0)
}
