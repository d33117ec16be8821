// SPDX-License-Identifier: Apache-2.0
//! `runsc state`.

use super::{Failure, Request};

/// Not there yet.
pub(crate) fn run(_: Request) -> Result<u8, Failure> {
    Err("state: not supported yet".into())
}
