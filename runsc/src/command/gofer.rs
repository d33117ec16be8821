// SPDX-License-Identifier: Apache-2.0
//! `runsc gofer`: the file server of a sandbox. Started by runsc alone.

use super::{Failure, Request};

/// Becomes the gofer.
pub(crate) fn run(_: Request) -> Result<u8, Failure> {
    Ok(crate::boot::gofer::main())
}
