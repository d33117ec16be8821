// SPDX-License-Identifier: Apache-2.0
//! Files that are run.

use std::{any::Any, sync::Arc};

use abi::{Errno, fcntl::OpenFlags, num::to_u64};

use crate::{
    io::SliceSink,
    mm::{Mappable, MappedFile},
    vfs::{
        FileDescription, FileKind, Lookup, Place, ResolveContext,
        permission::{self, Access},
        resolve,
    },
    wait::Try,
};

/// A regular file that may be run, open for reading. While it lives, nobody opens the file for writing
/// (`ETXTBSY`).
#[derive(Debug, Clone)]
pub struct Executable {
    guard: Arc<DenyWrite>,
}

#[derive(Debug)]
struct DenyWrite {
    file: Arc<FileDescription>,
}

impl Drop for DenyWrite {
    fn drop(&mut self) {
        self.file.inode().common().allow_write_access();
    }
}

impl Executable {
    /// Opens what `path` names (do_open_execat() of Linux's `fs/exec.c`).
    pub fn open(cx: &ResolveContext, path: &[u8]) -> Result<Executable, Errno> {
        let place = resolve::walk(cx, path, Lookup::FOLLOW)?;
        Executable::open_place(cx, place)
    }

    /// Opens what lies at `place`: for execveat(2), which has walked there itself.
    pub fn open_place(cx: &ResolveContext, place: Place) -> Result<Executable, Errno> {
        let inode = place.inode();
        match inode.kind() {
            FileKind::Regular => {}
            FileKind::Symlink => return Err(Errno::ELOOP),
            _ => return Err(Errno::EACCES),
        }
        if place.mount.options().contains(crate::vfs::MountOptions::NOEXEC) {
            return Err(Errno::EACCES);
        }
        permission::check(&**inode, Access::EXECUTE, &cx.creds)?;
        inode.common().deny_write_access()?;
        let flags = OpenFlags::empty();
        let ops = match Arc::clone(inode).open(flags, &cx.creds) {
            Ok(ops) => ops,
            Err(errno) => {
                inode.common().allow_write_access();
                return Err(errno);
            }
        };
        let file = FileDescription::new(place, ops, flags, Arc::clone(&cx.creds));
        Ok(Executable { guard: Arc::new(DenyWrite { file }) })
    }

    #[cfg(test)]
    pub(super) fn of(file: Arc<FileDescription>) -> Executable {
        file.inode().common().deny_write_access().expect("nobody writes");
        Executable { guard: Arc::new(DenyWrite { file }) }
    }

    /// The open file.
    pub fn description(&self) -> &Arc<FileDescription> {
        &self.guard.file
    }

    /// Reads as much as there is from `offset` on, as far as it fits. How much that was.
    pub(super) fn read(&self, offset: u64, to: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while let Some(room) = to.get_mut(done..).filter(|room| !room.is_empty()) {
            let at = offset.checked_add(to_u64(done)).ok_or(Errno::EINVAL)?;
            let mut sink = SliceSink::new(room);
            match self.description().ops().read_at(&mut sink, at)? {
                Try::Done(0) => break,
                Try::Done(count) => done += count,
                Try::WouldBlock => return Err(Errno::EIO),
            }
        }
        Ok(done)
    }

    /// Reads exactly `to.len()` bytes (elf_read()); `EIO` if there are fewer.
    pub(super) fn read_exact(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        if self.read(offset, to)? == to.len() { Ok(()) } else { Err(Errno::EIO) }
    }

    /// Its contents, to be mapped.
    pub(super) fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        self.description().ops().mappable()
    }
}

/// `/proc/<pid>/exe`.
impl MappedFile for Executable {
    fn path(&self) -> Vec<u8> {
        self.description().path()
    }

    /// The open file itself, which is what `/proc/<pid>/exe` leads to.
    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        &*self.guard.file
    }
}
