// SPDX-License-Identifier: Apache-2.0
//! `runsc run`: a bundle as a container, made and started.

use super::{Failure, Request};
use crate::{container::create, sandbox::supervise::Outcome};

/// Runs the container until it ends, or leaves it running with `--detach`.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    if request.flags.is_on("detach") {
        create::detached(&request.config, &request.flags, &id, false)?;
        return Ok(0);
    }
    Ok(Outcome::code(create::foreground(&request.config, &request.flags, &id)?))
}
