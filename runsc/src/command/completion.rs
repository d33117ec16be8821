// SPDX-License-Identifier: Apache-2.0
//! `runsc completion`: a shell's completion script.

use super::{Failure, Request, print};
use crate::cli::completion;

/// Prints the script.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let shell = request.id();
    let script = completion::script(&shell)
        .ok_or_else(|| format!("completion: no shell {shell:?}: bash, zsh and fish are known"))?;
    Ok(print(&script))
}
