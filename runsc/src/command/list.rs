// SPDX-License-Identifier: Apache-2.0
//! `runsc list`.

use super::{Failure, Request};

/// Not there yet.
pub(crate) fn run(_: Request) -> Result<u8, Failure> {
    Err("list: not supported yet".into())
}
