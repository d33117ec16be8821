// SPDX-License-Identifier: Apache-2.0
//! The runtimes that are held against each other.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// One OCI runtime.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// `runc`, `crun` or `runsc`.
    pub name: &'static str,
    /// Its binary.
    pub path: PathBuf,
}

/// Ours.
pub const OURS: &str = "runsc";
/// Every column of the contract; it is taken from the first.
pub const ALL: [&str; 3] = ["runc", "crun", OURS];

impl Runtime {
    /// The runtime of this name, if this machine has it. Ours must be there.
    pub fn find(name: &str) -> Result<Option<Runtime>> {
        let Some(name) = ALL.into_iter().find(|it| *it == name) else { bail!("no runtime {name}") };
        let path = if name == OURS { Some(crate::runsc()?) } else { in_path(name) };
        Ok(path.map(|path| Runtime { name, path }))
    }

    /// Whether this is ours.
    pub fn is_ours(&self) -> bool {
        self.name == OURS
    }
}

/// A program of the host.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    places.map(|place| place.join(name)).find(|file: &PathBuf| Path::is_file(file))
}
