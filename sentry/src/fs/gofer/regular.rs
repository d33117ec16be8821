// SPDX-License-Identifier: Apache-2.0
//! Open regular files: reads and writes on a donated descriptor.

use std::{
    any::Any,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use abi::{Errno, fcntl::OpenFlags};
use nix::{
    errno::Errno as HostErrno,
    fcntl::FallocateFlags,
    sys::uio::{pread, pwrite},
    unistd::{Whence, fdatasync, fsync, lseek},
};
use platform::hostio;

use super::inode::GoferInode;
use crate::{
    io::{Sink, Source, drain, fill},
    mm::{HostRange, Mappable},
    sync::{Mutex, levels},
    vfs::{FileOps, SeekFrom},
    wait::Try,
};

/// An open file of the host.
#[derive(Debug)]
pub(super) struct OpenFile {
    inode: Arc<GoferInode>,
    file: Arc<OwnedFd>,
    is_writable: bool,
    /// One append at a time, so that each knows where it ended.
    appending: Mutex<(), levels::Leaf>,
}

/// The host's errno, as the guest may see it from a file that is open.
fn shown(errno: HostErrno) -> Errno {
    match errno {
        HostErrno::EAGAIN => Errno::EAGAIN,
        HostErrno::EDQUOT => Errno::EDQUOT,
        HostErrno::EFBIG => Errno::EFBIG,
        HostErrno::EINTR => Errno::EINTR,
        HostErrno::EINVAL => Errno::EINVAL,
        HostErrno::EIO => Errno::EIO,
        HostErrno::ENODEV => Errno::ENODEV,
        HostErrno::ENOMEM => Errno::ENOMEM,
        HostErrno::ENOSPC => Errno::ENOSPC,
        HostErrno::ENXIO => Errno::ENXIO,
        HostErrno::EOPNOTSUPP => Errno::EOPNOTSUPP,
        HostErrno::EPERM => Errno::EPERM,
        HostErrno::ESTALE => Errno::ESTALE,
        HostErrno::ETXTBSY => Errno::ETXTBSY,
        other => {
            tracing::warn!(errno = %other, "a file of the gofer failed in an unforeseen way");
            Errno::EIO
        }
    }
}

/// Makes a host call again while a signal interrupts it: a read of a file is not interrupted on Linux.
fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(HostErrno::EINTR) => {}
            result => return result.map_err(shown),
        }
    }
}

fn place(offset: u64) -> Result<i64, Errno> {
    i64::try_from(offset).map_err(|_| Errno::EINVAL)
}

impl OpenFile {
    pub(super) fn new(inode: Arc<GoferInode>, file: Arc<OwnedFd>, flags: OpenFlags) -> OpenFile {
        let is_writable = flags.intersects(OpenFlags::ACCMODE);
        OpenFile { inode, file, is_writable, appending: Mutex::new(()) }
    }
}

impl FileOps for OpenFile {
    fn read_at(&self, sink: &mut dyn Sink, offset: u64) -> Result<Try<usize>, Errno> {
        let mut at = place(offset)?;
        let result = fill(sink, |room| {
            let got = retry(|| pread(&self.file, room, at))?;
            at = at.saturating_add(i64::try_from(got).unwrap_or(0));
            Ok(got)
        });
        // The host may have moved the access time.
        self.inode.changed();
        result.map(Try::Done)
    }

    fn write_at(&self, source: &mut dyn Source, offset: u64) -> Result<Try<usize>, Errno> {
        let mut at = place(offset)?;
        let result = drain(source, |bytes| {
            let put = retry(|| pwrite(&self.file, bytes, at))?;
            at = at.saturating_add(i64::try_from(put).unwrap_or(0));
            Ok(put)
        });
        self.inode.changed();
        result.map(Try::Done)
    }

    fn append(&self, source: &mut dyn Source) -> Result<Try<(usize, u64)>, Errno> {
        let mut end = 0;
        let result = drain(source, |bytes| {
            let _one_at_a_time = self.appending.lock();
            let put = hostio::append(self.file.as_fd(), bytes)?;
            let size = hostio::status(self.file.as_fd())?.st_size;
            end = u64::try_from(size).unwrap_or(0);
            Ok(put)
        });
        self.inode.changed();
        result.map(|done| Try::Done((done, end)))
    }

    fn seek(&self, from: SeekFrom, _current: u64) -> Result<u64, Errno> {
        // The descriptor is shared, but nobody uses its position.
        let (offset, whence) = match from {
            SeekFrom::Data(offset) => (offset, Whence::SeekData),
            SeekFrom::Hole(offset) => (offset, Whence::SeekHole),
            _ => return Err(Errno::EINVAL),
        };
        if offset < 0 {
            return Err(Errno::ENXIO);
        }
        let found = retry(|| lseek(&self.file, offset, whence))?;
        u64::try_from(found).map_err(|_| Errno::EIO)
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        retry(|| if data_only { fdatasync(&self.file) } else { fsync(&self.file) })
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let mode = i32::try_from(mode).map_err(|_| Errno::EOPNOTSUPP)?;
        let mode = FallocateFlags::from_bits(mode).ok_or(Errno::EOPNOTSUPP)?;
        let (offset, len) = (place(offset)?, place(len)?);
        let result = retry(|| nix::fcntl::fallocate(&self.file, mode, offset, len));
        self.inode.changed();
        result
    }

    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        if self.is_writable {
            self.inode.mapped_writable();
        }
        let identity = self.inode.shown_identity();
        Ok(Arc::new(Mapping { file: self.file.clone(), identity }))
    }

    fn host_file(&self) -> Option<Arc<OwnedFd>> {
        Some(self.file.clone())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// A file's contents through one descriptor, with its rights.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) file: Arc<OwnedFd>,
    pub(super) identity: (u64, u64),
}

impl Mappable for Mapping {
    fn host_range(&self, offset: u64, _len: u64) -> Result<HostRange, Errno> {
        Ok(HostRange { file: self.file.clone(), offset })
    }

    fn identity(&self) -> (u64, u64) {
        self.identity
    }
}
