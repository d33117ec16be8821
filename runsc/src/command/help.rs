// SPDX-License-Identifier: Apache-2.0
//! `runsc help`: the program or a command explained.

use super::{Failure, Request, print};
use crate::cli::{flags, help, man};

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
    let is_man = request.flags.is_on("man");
    Ok(print(&if is_man { man::page(command) } else { help::text(command) }))
}
