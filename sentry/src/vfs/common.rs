// SPDX-License-Identifier: Apache-2.0
//! What the VFS keeps with every inode, whatever its file system.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
};

use abi::Errno;

use super::{notify::Watchers, record_lock::FileLocks};
use crate::sync::{Mutex, MutexGuard, levels};

/// Embedded in every inode ([`super::Inode::common`]). Small: what few inodes need is made on first use.
#[derive(Default)]
pub struct InodeCommon {
    /// Open writers; negative while the file is a running program's.
    writers: AtomicI64,
    directory: Mutex<(), levels::Directory>,
    extras: OnceLock<Box<Extras>>,
}

#[derive(Default)]
struct Extras {
    locks: FileLocks,
    watchers: Watchers,
    endpoint: Mutex<Option<Arc<dyn Any + Send + Sync>>, levels::Leaf>,
}

impl InodeCommon {
    /// For a new inode.
    pub const fn new() -> InodeCommon {
        InodeCommon {
            writers: AtomicI64::new(0),
            directory: Mutex::new(()),
            extras: OnceLock::new(),
        }
    }

    /// Changes of a directory's names exclude each other.
    pub(super) fn lock_directory(&self) -> MutexGuard<'_, (), levels::Directory> {
        self.directory.lock()
    }

    /// The lock of [`InodeCommon::lock_directory`], for pairs.
    pub(super) fn directory(&self) -> &Mutex<(), levels::Directory> {
        &self.directory
    }

    /// An open for writing begins; `ETXTBSY` while the file runs as a program.
    pub fn get_write_access(&self) -> Result<(), Errno> {
        self.step(|count| (count >= 0).then_some(count + 1))
    }

    /// An open for writing ends.
    pub fn put_write_access(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// The file is about to run as a program; `ETXTBSY` while it is open for writing.
    pub fn deny_write_access(&self) -> Result<(), Errno> {
        self.step(|count| (count <= 0).then_some(count - 1))
    }

    /// The program ended or went on to another.
    pub fn allow_write_access(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether anybody has it open for writing.
    pub fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Acquire) > 0
    }

    fn step(&self, next: impl Fn(i64) -> Option<i64>) -> Result<(), Errno> {
        match self.writers.try_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::ETXTBSY),
        }
    }

    fn extras(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }

    /// Record locks, flocks and leases.
    pub(super) fn locks(&self) -> &FileLocks {
        &self.extras().locks
    }

    /// The locks, if there ever was one.
    pub(super) fn existing_locks(&self) -> Option<&FileLocks> {
        self.extras.get().map(|extras| &extras.locks)
    }

    /// Who watches this inode.
    pub fn watchers(&self) -> &Watchers {
        &self.extras().watchers
    }

    /// Who watches this inode, if there ever was anybody.
    pub fn existing_watchers(&self) -> Option<&Watchers> {
        self.extras.get().map(|extras| &extras.watchers)
    }

    /// What stands behind a name: the pipe of a fifo, the bound socket of a socket.
    pub fn endpoint(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.extras.get()?.endpoint.lock().clone()
    }

    /// Puts something behind the name, or takes it away.
    pub fn set_endpoint(&self, endpoint: Option<Arc<dyn Any + Send + Sync>>) {
        let old = std::mem::replace(&mut *self.extras().endpoint.lock(), endpoint);
        drop(old);
    }

    /// What stands behind the name, made by `make` if nothing does yet.
    pub fn endpoint_or(
        &self,
        make: impl FnOnce() -> Arc<dyn Any + Send + Sync>,
    ) -> Arc<dyn Any + Send + Sync> {
        self.extras().endpoint.lock().get_or_insert_with(make).clone()
    }
}

impl fmt::Debug for InodeCommon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InodeCommon")
    }
}
