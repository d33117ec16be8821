// SPDX-License-Identifier: Apache-2.0
//! What a regular file holds: bytes in sentry memory, or a memfd.

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::Arc,
};

use abi::{
    Errno, PAGE_SIZE,
    num::{to_u64, to_usize},
};
use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::memfd::{MFdFlags, memfd_create},
    unistd::{Whence, lseek64},
};

use crate::io::{CHUNK, Sink, Source, drain, fill};

/// Up to this many bytes stay in sentry memory.
const SMALL: u64 = 256 * 1024;

/// A regular file's bytes.
#[derive(Debug)]
pub(super) enum Content {
    /// In sentry memory. No longer than [`SMALL`].
    Small(Vec<u8>),
    /// In a memfd of this file's own, whose size is the file's.
    Large {
        /// Shared with mappings; a `File` for its positioned reads.
        file: Arc<File>,
        /// The same, for who wants a descriptor.
        fd: Arc<OwnedFd>,
        /// The size, kept here so that nobody must ask the host.
        size: u64,
    },
}

/// What a mapping and a splice get.
pub(super) type HostFile = Arc<OwnedFd>;

impl Content {
    pub(super) const fn new() -> Content {
        Content::Small(Vec::new())
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Content::Small(bytes) => to_u64(bytes.len()),
            Content::Large { size, .. } => *size,
        }
    }

    /// Pages that hold something.
    pub(super) fn pages(&self) -> u64 {
        match self {
            Content::Small(bytes) => to_u64(bytes.len()).div_ceil(PAGE_SIZE),
            Content::Large { file, .. } => match platform::hostio::status(file.as_fd()) {
                Ok(stat) => u64::try_from(stat.st_blocks).unwrap_or(0) / (PAGE_SIZE / 512),
                // A memfd of our own: fstat has no reason to fail; nothing is charged for the moment.
                Err(_) => 0,
            },
        }
    }

    pub(super) fn read(&self, sink: &mut dyn Sink, offset: u64) -> Result<usize, Errno> {
        match self {
            Content::Small(bytes) => {
                let Some(rest) = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)) else {
                    return Ok(0);
                };
                let want = rest.len().min(sink.remaining());
                if want == 0 {
                    return Ok(0);
                }
                sink.write(rest.get(..want).unwrap_or_default())
            }
            Content::Large { file, size, .. } => {
                let mut at = offset;
                let mut sink = crate::io::LimitedSink::new(sink, size.saturating_sub(offset));
                fill(&mut sink, |to| {
                    let got = file.read_at(to, at).map_err(|_| Errno::EIO)?;
                    at += to_u64(got);
                    Ok(got)
                })
            }
        }
    }

    /// Writes at `offset`, growing the file.
    pub(super) fn write(&mut self, source: &mut dyn Source, offset: u64) -> Result<usize, Errno> {
        let want = source.remaining();
        if want == 0 {
            return Ok(0);
        }
        let end = offset.checked_add(to_u64(want)).ok_or(Errno::EFBIG)?;
        if let Content::Small(bytes) = self {
            if end <= SMALL {
                return write_small(bytes, source, to_usize(offset), to_usize(end));
            }
            self.host_file()?;
        }
        let Content::Large { file, size, .. } = self else { return Err(Errno::EIO) };
        let mut at = offset;
        let result = drain(source, |bytes| {
            let put = file.write_at(bytes, at).map_err(|error| shown(&error))?;
            at += to_u64(put);
            Ok(put)
        });
        *size = (*size).max(at);
        result
    }

    pub(super) fn resize(&mut self, length: u64) -> Result<(), Errno> {
        if let Content::Small(bytes) = self {
            if length <= SMALL {
                bytes.resize(to_usize(length), 0);
                if bytes.capacity() > 4 * bytes.len().max(1024) {
                    bytes.shrink_to_fit();
                }
                return Ok(());
            }
            self.host_file()?;
        }
        let Content::Large { file, size, .. } = self else { return Err(Errno::EIO) };
        file.set_len(length).map_err(|error| shown(&error))?;
        *size = length;
        Ok(())
    }

    /// fallocate(2) without a mode: pages for the range are there afterwards.
    pub(super) fn allocate(
        &mut self,
        offset: u64,
        len: u64,
        keeps_size: bool,
    ) -> Result<(), Errno> {
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if let Content::Small(bytes) = self {
            if end <= SMALL {
                if !keeps_size && end > to_u64(bytes.len()) {
                    bytes.resize(to_usize(end), 0);
                }
                return Ok(());
            }
            self.host_file()?;
        }
        let Content::Large { file, size, .. } = self else { return Err(Errno::EIO) };
        let flags =
            if keeps_size { FallocateFlags::FALLOC_FL_KEEP_SIZE } else { FallocateFlags::empty() };
        host_allocate(file, flags, offset, len)?;
        if !keeps_size {
            *size = (*size).max(end);
        }
        Ok(())
    }

    /// `FALLOC_FL_PUNCH_HOLE`: zeroes, and the pages are given back.
    pub(super) fn punch(&mut self, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.saturating_add(len).min(self.size());
        if offset >= end {
            return Ok(());
        }
        match self {
            Content::Small(bytes) => {
                if let Some(hole) = bytes.get_mut(to_usize(offset)..to_usize(end)) {
                    hole.fill(0);
                }
                Ok(())
            }
            Content::Large { file, .. } => {
                let flags =
                    FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                // The last page may hold bytes behind the end: punched whole pages are Linux's too.
                host_allocate(file, flags, offset, len)
            }
        }
    }

    /// `SEEK_DATA` or `SEEK_HOLE` from `offset`, which lies within the file.
    pub(super) fn seek(&self, offset: u64, whence: Whence) -> Result<u64, Errno> {
        match self {
            Content::Small(bytes) => match whence {
                Whence::SeekData => Ok(offset),
                _ => Ok(to_u64(bytes.len())),
            },
            Content::Large { file, .. } => {
                let offset = i64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                let found = lseek64(file.as_fd(), offset, whence).map_err(|_| Errno::ENXIO)?;
                u64::try_from(found).map_err(|_| Errno::ENXIO)
            }
        }
    }

    /// The memfd, if it has come to that.
    pub(super) fn existing_host_file(&self) -> Option<HostFile> {
        match self {
            Content::Small(_) => None,
            Content::Large { fd, .. } => Some(fd.clone()),
        }
    }

    /// Moves the bytes into a memfd, for good.
    pub(super) fn host_file(&mut self) -> Result<HostFile, Errno> {
        match self {
            Content::Large { fd, .. } => Ok(fd.clone()),
            Content::Small(bytes) => {
                let fd =
                    memfd_create(c"tmpfs", MFdFlags::MFD_CLOEXEC).map_err(|_| Errno::ENFILE)?;
                let size = to_u64(bytes.len());
                let fd = Arc::new(fd);
                let file = fd.try_clone().map(File::from).map_err(|_| Errno::ENFILE)?;
                file.write_all_at(bytes, 0).map_err(|error| shown(&error))?;
                *self = Content::Large { file: Arc::new(file), fd: fd.clone(), size };
                Ok(fd)
            }
        }
    }
}

fn write_small(
    bytes: &mut Vec<u8>,
    source: &mut dyn Source,
    begin: usize,
    end: usize,
) -> Result<usize, Errno> {
    let before = bytes.len();
    if end > before {
        bytes.resize(end, 0);
    }
    let mut done = 0;
    let mut failure = None;
    while begin + done < end {
        let room = bytes.get_mut(begin + done..end).unwrap_or_default();
        match source.read(room) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(errno) => {
                failure = Some(errno);
                break;
            }
        }
    }
    // What did not come must not be seen as zeroes.
    bytes.truncate(before.max(if done > 0 { begin + done } else { 0 }));
    match failure {
        Some(errno) if done == 0 => Err(errno),
        _ => Ok(done),
    }
}

fn host_allocate(file: &File, flags: FallocateFlags, offset: u64, len: u64) -> Result<(), Errno> {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
        return Err(Errno::EFBIG);
    };
    match fallocate(file.as_fd(), flags, offset, len) {
        Ok(()) => Ok(()),
        Err(nix::errno::Errno::EFBIG) => Err(Errno::EFBIG),
        Err(nix::errno::Errno::EOPNOTSUPP) => Err(Errno::EOPNOTSUPP),
        Err(_) => Err(Errno::ENOSPC),
    }
}

/// A memfd's failure to grow, as a full file system.
fn shown(error: &std::io::Error) -> Errno {
    match error.raw_os_error() {
        Some(libc::EFBIG) => Errno::EFBIG,
        Some(libc::EPERM) => Errno::EPERM,
        _ => Errno::ENOSPC,
    }
}

const _: () = assert!(SMALL as usize >= CHUNK);
