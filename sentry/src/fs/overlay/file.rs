// SPDX-License-Identifier: Apache-2.0
//! Open regular files: of the layer where the file is now.

use std::{any::Any, fmt, os::fd::OwnedFd, sync::Arc};

use abi::{Errno, fcntl::OpenFlags};

use super::inode::OverlayInode;
use crate::{
    creds::Credentials,
    io::{Sink, Source},
    mm::{HostRange, Mappable},
    sync::{RwLock, levels},
    vfs::{FileOps, SeekFrom},
    wait::Try,
};

/// An open file. One that was opened for reading follows the file up when somebody writes to it.
pub(super) struct OpenFile {
    inode: Arc<OverlayInode>,
    flags: OpenFlags,
    creds: Credentials,
    real: RwLock<Real, levels::Leaf>,
}

#[derive(Clone)]
struct Real {
    ops: Arc<dyn FileOps>,
    is_upper: bool,
}

impl OpenFile {
    pub(super) fn open(
        inode: Arc<OverlayInode>,
        flags: OpenFlags,
        creds: &Credentials,
    ) -> Result<OpenFile, Errno> {
        if flags.intersects(OpenFlags::ACCMODE) {
            inode.copy_up()?;
        }
        let layers = inode.layers();
        let is_upper = layers.upper.is_some();
        let ops = Arc::from(layers.top()?.clone().open(flags, creds)?);
        let real = RwLock::new(Real { ops, is_upper });
        Ok(OpenFile { inode, flags, creds: creds.clone(), real })
    }

    /// The file where it is now.
    fn real(&self) -> Result<Arc<dyn FileOps>, Errno> {
        let real = self.real.read().clone();
        if real.is_upper {
            return Ok(real.ops);
        }
        let Some(upper) = self.inode.upper() else { return Ok(real.ops) };
        let ops: Arc<dyn FileOps> = Arc::from(upper.open(self.flags, &self.creds)?);
        let new = Real { ops: ops.clone(), is_upper: true };
        let old = std::mem::replace(&mut *self.real.write(), new);
        drop(old);
        Ok(ops)
    }
}

impl FileOps for OpenFile {
    fn read_at(&self, sink: &mut dyn Sink, offset: u64) -> Result<Try<usize>, Errno> {
        self.real()?.read_at(sink, offset)
    }

    fn write_at(&self, source: &mut dyn Source, offset: u64) -> Result<Try<usize>, Errno> {
        self.real()?.write_at(source, offset)
    }

    fn append(&self, source: &mut dyn Source) -> Result<Try<(usize, u64)>, Errno> {
        self.real()?.append(source)
    }

    fn seek(&self, from: SeekFrom, current: u64) -> Result<u64, Errno> {
        self.real()?.seek(from, current)
    }

    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        self.real()?.sync(data_only)
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        self.real()?.allocate(mode, offset, len)
    }

    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        let inner = self.real()?.mappable()?;
        Ok(Arc::new(Mapping { inner, identity: self.inode.number }))
    }

    fn host_file(&self) -> Option<Arc<OwnedFd>> {
        self.real().ok()?.host_file()
    }

    fn cached_pages(&self, offset: u64, len: u64) -> u64 {
        self.real().map_or(0, |real| real.cached_pages(offset, len))
    }

    fn status_changed(&self, flags: OpenFlags) {
        if let Ok(real) = self.real() {
            real.status_changed(flags);
        }
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFile").field("inode", &self.inode).finish_non_exhaustive()
    }
}

/// Contents of one layer, known by the overlay's number.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) inner: Arc<dyn Mappable>,
    pub(super) identity: (u64, u64),
}

impl Mappable for Mapping {
    fn host_range(&self, offset: u64, len: u64) -> Result<HostRange, Errno> {
        self.inner.host_range(offset, len)
    }

    fn identity(&self) -> (u64, u64) {
        self.identity
    }
}
