// SPDX-License-Identifier: Apache-2.0
//! `runsc features`: what this runtime supports.

use super::{Failure, Request, print};
use crate::oci::features;

/// Prints the features structure.
pub(crate) fn run(_: Request) -> Result<u8, Failure> {
    Ok(print(&format!("{:#}\n", features::value())))
}
