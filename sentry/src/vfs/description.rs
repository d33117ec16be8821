// SPDX-License-Identifier: Apache-2.0
//! Open files: what a file descriptor refers to.

use super::FileOps;

/// A dentry in a mount.
#[derive(Debug, Clone)]
pub struct Place {}

/// What open(2) makes and dup(2) shares: position, status flags, rights, and the file behind them.
#[derive(Debug)]
pub struct FileDescription {
    ops: Box<dyn FileOps>,
}

impl FileDescription {
    /// The file system's side.
    pub fn ops(&self) -> &dyn FileOps {
        &*self.ops
    }
}
