// SPDX-License-Identifier: Apache-2.0
//! `runsc pause`: every process of a container stands still.

use super::{Failure, Request, held::Held};
use crate::{sandbox::control, state::record::Status};

/// Pauses the container.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let mut held = Held::open(&request, "container not running")?;
    let before = held.record.status_now();
    if !matches!(before, Status::Created | Status::Running) {
        return Err("container not running".into());
    }
    // Written down first: what a killed runsc may have paused can be resumed.
    held.record.before_pause = Some(before);
    held.record.status = Status::Paused;
    held.save()?;
    if let Err(error) = held.ask(&control::Request::Pause) {
        held.record.before_pause = None;
        held.record.status = before;
        held.save()?;
        return Err(error);
    }
    Ok(0)
}
