// SPDX-License-Identifier: Apache-2.0
//! What the suites have in common: where the binary under test lies, scripts, places to run them in, and
//! a bed to try runtimes in.

pub mod cri;
pub mod host;
pub mod lab;
pub mod oci;
pub mod script;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The `runsc` under test: `$RUNSC`, or the one that was built with this test.
pub fn runsc() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("RUNSC") {
        return Ok(PathBuf::from(given));
    }
    let exe = std::env::current_exe().context("where this test lies")?;
    let profile = exe.ancestors().nth(2).context("no profile directory above the test")?;
    let runsc = profile.join("runsc");
    if !runsc.is_file() {
        bail!("{} is missing: build it with `cargo build`, or set RUNSC", runsc.display());
    }
    Ok(runsc)
}
