// SPDX-License-Identifier: Apache-2.0
//! `runsc run`: a bundle as a container, in the foreground.

use super::{Failure, Request, do_};
use crate::{
    container::id,
    oci::{bundle::Bundle, convert},
};

/// Runs the container until it ends.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    id::check(&id)?;
    for flag in ["detach", "console-socket", "preserve-fds"] {
        if request.flags.is_given(flag) {
            return Err(format!("run --{flag}: not supported yet").into());
        }
    }
    let bundle = Bundle::open(&request.flags.path("bundle").unwrap_or_else(|| ".".into()))?;
    let (boot, gofer) = convert::plan(&id, &bundle, &request.config)?;
    do_::foreground(&request, boot, gofer)
}
