// SPDX-License-Identifier: Apache-2.0
//! `runsc state`: a container as the runtime specification shows it.

use super::{Failure, Request, print};
use crate::state::store::Store;

/// Prints the state.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let record = Store::new(&request.config.root).read(&request.id())?;
    Ok(print(&format!("{:#}", record.to_json())))
}
