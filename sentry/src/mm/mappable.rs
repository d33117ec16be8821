// SPDX-License-Identifier: Apache-2.0
//! What memory needs of a file in order to map it.

use std::{fmt, os::fd::OwnedFd, sync::Arc};

use abi::Errno;

/// Where the bytes of a mapping lie on the host.
#[derive(Debug, Clone)]
pub struct HostRange {
    /// A host file (or memfd) with no more rights than the guest's own open.
    pub file: Arc<OwnedFd>,
    /// Where in it the wanted offset lies.
    pub offset: u64,
}

/// A file's contents as something that can be mapped. One per inode: `identity` is what a shared
/// futex and `/proc/<pid>/maps` know it by.
pub trait Mappable: Send + Sync + fmt::Debug {
    /// The host file behind `len` bytes from `offset` (page-aligned). `ENODEV` if it has none.
    ///
    /// It must stay valid for as long as anything is mapped: a file whose contents live in sentry
    /// memory moves them into a memfd here, for good.
    fn host_range(&self, offset: u64, len: u64) -> Result<HostRange, Errno>;

    /// A shared mapping that may be written is about to be made of it: remembered for as long as this
    /// very object lives, so that `F_SEAL_WRITE` can be refused. `EPERM` if it has been sealed.
    fn claim_write(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether this is no file but an endless source of zeroes: `/dev/zero`, of which each mapping is
    /// anonymous memory of its own.
    fn is_zeroes(&self) -> bool {
        false
    }

    /// Device and inode number, as stat(2) gives them.
    fn identity(&self) -> (u64, u64);
}
