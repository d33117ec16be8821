// SPDX-License-Identifier: Apache-2.0
//! `runsc run`: a bundle as a container, made and started.

use nix::libc;

use super::{Coded, Failure, Request};
use crate::{
    container::create::{self, CreateError},
    sandbox::supervise::Outcome,
};

/// Runs the container until it ends, or leaves it running with `--detach`.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    if request.flags.is_on("detach") {
        create::detached(&request.config, &request.flags, &id, false)?;
        return Ok(0);
    }
    match create::foreground(&request.config, &request.flags, &id) {
        Ok(status) => Ok(Outcome::code(status)),
        // It had a life: it ends as killed.
        Err(CreateError::Lost(message)) => {
            Err(Coded { code: Outcome::code(libc::SIGKILL), message }.into())
        }
        Err(error) => Err(error.into()),
    }
}
