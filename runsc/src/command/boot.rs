// SPDX-License-Identifier: Apache-2.0
//! `runsc boot`: the sentry of a sandbox. Started by runsc alone.

use super::{Failure, Request};

/// Becomes the sentry.
pub(crate) fn run(_: Request) -> Result<u8, Failure> {
    Ok(crate::boot::main())
}
