// SPDX-License-Identifier: Apache-2.0
//! Open tmpfs files and directories.

use std::{any::Any, os::fd::OwnedFd, sync::Arc};

use abi::{
    Errno, PAGE_SIZE,
    fcntl::{FallocateMode, Seals},
    num::to_u64,
};
use nix::unistd::Whence;

use super::{
    content::Content,
    node::{Body, Contents, Node},
};
use crate::{
    io::{LimitedSource, Sink, Source},
    mm::Mappable,
    vfs::{DirSink, FileOps, SeekFrom},
    wait::Try,
};

/// An open regular file.
#[derive(Debug)]
pub(super) struct RegularFile {
    pub(super) node: Arc<Node>,
}

impl RegularFile {
    /// Writes at `offset` (`None`: at the end), as far as seals and limits let it.
    fn put(&self, source: &mut dyn Source, offset: Option<u64>) -> Result<(usize, u64), Errno> {
        let result = self.node.with_content(|content| {
            let offset = offset.unwrap_or_else(|| content.size());
            let room = self.room(content, offset, to_u64(source.remaining()))?;
            let done = content.write(&mut LimitedSource::new(source, room), offset)?;
            Ok((done, offset + to_u64(done)))
        })?;
        if result.0 > 0 {
            self.node.stamp_modified();
        }
        Ok(result)
    }

    /// How many of `want` bytes at `offset` may be written.
    fn room(&self, content: &Content, offset: u64, want: u64) -> Result<u64, Errno> {
        let (seals, size) = (self.node.seals(), content.size());
        if seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
            return Err(Errno::EPERM);
        }
        let end = offset.checked_add(want).ok_or(Errno::EFBIG)?;
        if end > size && seals.contains(Seals::GROW) {
            if offset >= size {
                return Err(Errno::EPERM);
            }
            return Ok(size - offset);
        }
        let free = self.node.filesystem.free_pages();
        let touched = end.div_ceil(PAGE_SIZE) - offset / PAGE_SIZE;
        if touched <= free {
            return Ok(want);
        }
        // Nearly full: what is there already may be written over, and the free pages filled.
        match content.room(offset, want, free) {
            0 => Err(Errno::ENOSPC),
            room => Ok(room),
        }
    }
}

impl FileOps for RegularFile {
    fn read_at(&self, sink: &mut dyn Sink, offset: u64) -> Result<Try<usize>, Errno> {
        Ok(Try::Done(self.node.content()?.read().read(sink, offset)?))
    }

    fn write_at(&self, source: &mut dyn Source, offset: u64) -> Result<Try<usize>, Errno> {
        Ok(Try::Done(self.put(source, Some(offset))?.0))
    }

    fn append(&self, source: &mut dyn Source) -> Result<Try<(usize, u64)>, Errno> {
        Ok(Try::Done(self.put(source, None)?))
    }

    fn seek(&self, from: SeekFrom, _current: u64) -> Result<u64, Errno> {
        let (at, whence) = match from {
            SeekFrom::Data(at) => (at, Whence::SeekData),
            SeekFrom::Hole(at) => (at, Whence::SeekHole),
            _ => return Err(Errno::EINVAL),
        };
        let content = self.node.content()?.read();
        let at = u64::try_from(at).map_err(|_| Errno::ENXIO)?;
        if at >= content.size() {
            return Err(Errno::ENXIO);
        }
        content.seek(at, whence)
    }

    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let mode = FallocateMode::from_bits_retain(mode);
        let known = FallocateMode::KEEP_SIZE | FallocateMode::PUNCH_HOLE;
        if !known.contains(mode) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.node.with_content(|content| {
            let seals = self.node.seals();
            if mode.contains(FallocateMode::PUNCH_HOLE) {
                if seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
                    return Err(Errno::EPERM);
                }
                return content.punch(offset, len);
            }
            let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
            if end > content.size() && seals.contains(Seals::GROW) {
                return Err(Errno::EPERM);
            }
            if content.missing_pages(offset, len) > self.node.filesystem.free_pages() {
                return Err(Errno::ENOSPC);
            }
            content.allocate(offset, len, mode.contains(FallocateMode::KEEP_SIZE))
        })?;
        self.node.stamp_modified();
        Ok(())
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        Ok(Arc::new(Contents::new(self.node.clone())))
    }

    fn host_file(&self) -> Option<Arc<OwnedFd>> {
        self.node.content().ok()?.read().existing_host_file()
    }

    fn cached_pages(&self, offset: u64, len: u64) -> u64 {
        let Ok(content) = self.node.content() else { return 0 };
        let content = content.read();
        let end = offset.saturating_add(len).min(content.size());
        if offset >= end {
            return 0;
        }
        let all = end.div_ceil(PAGE_SIZE) - offset / PAGE_SIZE;
        all.saturating_sub(content.missing_pages(offset, end - offset))
    }

    fn seals(&self) -> Result<Seals, Errno> {
        Ok(self.node.seals())
    }

    fn add_seals(&self, seals: Seals) -> Result<(), Errno> {
        self.node.add_seals(seals)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// An open directory.
#[derive(Debug)]
pub(super) struct DirectoryFile {
    pub(super) node: Arc<Node>,
}

impl FileOps for DirectoryFile {
    fn read_entries(&self, position: u64, to: &mut dyn DirSink) -> Result<u64, Errno> {
        match &self.node.body {
            Body::Directory(table) => Ok(table.read().read(position, to)),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
