// SPDX-License-Identifier: Apache-2.0
//! `runsc resume`: the processes of a paused container go on.

use super::{Failure, Request, held::Held};
use crate::{sandbox::control, state::record::Status};

/// Resumes the container.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let mut held = Held::open(&request, "container not paused")?;
    if held.record.status_now() != Status::Paused {
        return Err("container not paused".into());
    }
    held.ask(&control::Request::Resume)?;
    held.record.status = held.record.before_pause.take().unwrap_or(Status::Running);
    held.save()?;
    Ok(0)
}
