// SPDX-License-Identifier: Apache-2.0
//! Anonymous memory that several address spaces share: a memfd of its own each.

use std::{
    any::Any,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use abi::{Errno, num::to_usize};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{HostRange, Mappable, MappedFile};

/// `st_dev` of the kernel's own tmpfs, which holds such memory: 00:01.
const DEVICE: u64 = 1;

/// `MAP_SHARED | MAP_ANONYMOUS` memory or a System V segment. Beyond its size there is SIGBUS.
#[derive(Debug)]
pub struct SharedMemory {
    file: Arc<OwnedFd>,
    inode: u64,
    len: u64,
    name: Vec<u8>,
}

impl SharedMemory {
    /// `len` zero bytes, known to `/proc/<pid>/maps` by `name`.
    pub fn new(len: u64, name: &[u8]) -> Result<Arc<SharedMemory>, Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let file = memfd_create(c"shared", MFdFlags::MFD_CLOEXEC).map_err(out_of_memory)?;
        let size = i64::try_from(len).map_err(|_| Errno::ENOMEM)?;
        nix::unistd::ftruncate(&file, size).map_err(out_of_memory)?;
        let inode = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(SharedMemory { file: Arc::new(file), inode, len, name: name.to_vec() }))
    }

    /// As [`SharedMemory::new`] for an anonymous mapping.
    pub fn anonymous(len: u64) -> Result<Arc<SharedMemory>, Errno> {
        SharedMemory::new(len, b"/dev/zero (deleted)")
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        to_usize(self.len)
    }

    /// The memfd behind it.
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }
}

/// The sentry's own lack of descriptors or memory is lack of memory to the guest.
fn out_of_memory(_error: nix::Error) -> Errno {
    Errno::ENOMEM
}

impl Mappable for SharedMemory {
    fn host_range(&self, offset: u64, _len: u64) -> Result<HostRange, Errno> {
        Ok(HostRange { file: Arc::clone(&self.file), offset })
    }

    fn identity(&self) -> (u64, u64) {
        (DEVICE, self.inode)
    }
}

impl MappedFile for SharedMemory {
    fn path(&self) -> Vec<u8> {
        self.name.clone()
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
