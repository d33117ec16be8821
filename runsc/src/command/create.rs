// SPDX-License-Identifier: Apache-2.0
//! `runsc create`: a container that waits for its start.

use super::{Failure, Request};
use crate::container::create;

/// Makes the container.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    create::detached(&request.config, &request.flags, &request.id(), true)?;
    Ok(0)
}
