// SPDX-License-Identifier: Apache-2.0
//! `runsc exec`: a further process in a running container.

use super::{Coded, Failure, Request};
use crate::{container::exec, sandbox::supervise::Outcome, state::store::Store};

/// Runs the process to its end, or leaves it running with `--detach`.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let store = Store::new(&request.config.root);
    match exec::run(store, &request.flags, &request.args) {
        Ok(status) => Ok(Outcome::code(status)),
        // runc's exit code, which says that it was not the process's.
        Err(error) => Err(Coded { code: 255, message: format!("exec failed: {error}") }.into()),
    }
}
