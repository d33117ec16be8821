// SPDX-License-Identifier: Apache-2.0
//! `runsc help`: the program or a command explained.

use super::{Failure, Request, print};
use crate::cli::{flags, help};

/// Prints the help.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let command = match request.args.first() {
        None => None,
        Some(name) => {
            let name = name.to_string_lossy();
            let unknown = || format!("unknown command {name:?}: see runsc help");
            Some(flags::command(&name).filter(|it| !it.help.is_empty()).ok_or_else(unknown)?)
        }
    };
    Ok(print(&help::text(command)))
}
