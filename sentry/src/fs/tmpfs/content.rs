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
    Small {
        /// All bytes, with zeroes for holes.
        bytes: Vec<u8>,
        /// A bit a page: whether it holds something. Pages behind the end may, by `FALLOC_FL_KEEP_SIZE`.
        present: u64,
    },
    /// In a memfd of this file's own, whose size is the file's.
    Large {
        /// Shared with mappings; a `File` for its positioned reads.
        file: Arc<File>,
        /// The same, for who wants a descriptor.
        fd: Arc<OwnedFd>,
        /// The size, kept here so that nobody must ask the host.
        size: u64,
        /// Runs of pages that fallocate(2) made, first and behind: the host shows them as holes until
        /// they are written. Those that are too many are forgotten, and cost room once more.
        reserved: Vec<(u64, u64)>,
    },
}

/// What a mapping and a splice get.
pub(super) type HostFile = Arc<OwnedFd>;

impl Content {
    pub(super) const fn new() -> Content {
        Content::Small { bytes: Vec::new(), present: 0 }
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Content::Small { bytes, .. } => to_u64(bytes.len()),
            Content::Large { size, .. } => *size,
        }
    }

    /// Pages that hold something.
    pub(super) fn pages(&self) -> u64 {
        match self {
            Content::Small { present, .. } => u64::from(present.count_ones()),
            Content::Large { file, .. } => match platform::hostio::status(file.as_fd()) {
                Ok(stat) => u64::try_from(stat.st_blocks).unwrap_or(0) / (PAGE_SIZE / 512),
                // A memfd of our own: fstat has no reason to fail; nothing is charged for the moment.
                Err(_) => 0,
            },
        }
    }

    pub(super) fn read(&self, sink: &mut dyn Sink, offset: u64) -> Result<usize, Errno> {
        match self {
            Content::Small { bytes, .. } => {
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
        if let Content::Small { bytes, present } = self {
            if end <= SMALL {
                let result = write_small(bytes, source, to_usize(offset), to_usize(end));
                let done = *result.as_ref().unwrap_or(&0);
                *present |= touched(offset, offset + to_u64(done));
                return result;
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
        if let Content::Small { bytes, present } = self {
            if length <= SMALL {
                if length < to_u64(bytes.len()) {
                    *present &= touched(0, length);
                }
                bytes.resize(to_usize(length), 0);
                if bytes.capacity() > 4 * bytes.len().max(1024) {
                    bytes.shrink_to_fit();
                }
                return Ok(());
            }
            self.host_file()?;
        }
        let Content::Large { file, size, reserved, .. } = self else { return Err(Errno::EIO) };
        file.set_len(length).map_err(|error| shown(&error))?;
        *size = length;
        unreserve(reserved, length.div_ceil(PAGE_SIZE), u64::MAX);
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
        if let Content::Small { bytes, present } = self {
            if end <= SMALL {
                *present |= touched(offset, end);
                if !keeps_size && end > to_u64(bytes.len()) {
                    bytes.resize(to_usize(end), 0);
                }
                return Ok(());
            }
            self.host_file()?;
        }
        let Content::Large { file, size, reserved, .. } = self else { return Err(Errno::EIO) };
        let flags =
            if keeps_size { FallocateFlags::FALLOC_FL_KEEP_SIZE } else { FallocateFlags::empty() };
        host_allocate(file, flags, offset, len)?;
        reserve(reserved, offset / PAGE_SIZE, end.div_ceil(PAGE_SIZE));
        if !keeps_size {
            *size = (*size).max(end);
        }
        Ok(())
    }

    /// Pages of a range that hold nothing yet: what [`Content::allocate`] will want.
    pub(super) fn missing_pages(&self, offset: u64, len: u64) -> u64 {
        let mut missing = 0;
        self.each_gap(offset, offset.saturating_add(len), &mut |first, behind| {
            missing += behind - first;
            true
        });
        missing
    }

    /// How many of `want` bytes at `offset` can be written with no more than `free` new pages.
    pub(super) fn room(&self, offset: u64, want: u64, free: u64) -> u64 {
        let (mut left, mut room) = (free, want);
        self.each_gap(offset, offset.saturating_add(want), &mut |first, behind| {
            if behind - first <= left {
                left -= behind - first;
                return true;
            }
            room = ((first + left) * PAGE_SIZE).saturating_sub(offset).min(want);
            false
        });
        room
    }

    /// Shows `gap` the runs of pages that hold nothing, first and behind, as long as it wants more. Of a
    /// file in very many pieces the later ones count as one gap.
    fn each_gap(&self, offset: u64, end: u64, gap: &mut dyn FnMut(u64, u64) -> bool) {
        /// Pieces that are looked at.
        const MOST: usize = 1024;
        let (mut at, behind) = (offset / PAGE_SIZE, end.div_ceil(PAGE_SIZE));
        for _ in 0..MOST {
            if at >= behind {
                return;
            }
            let (next, is_there) = self.run(at);
            let next = next.min(behind);
            if !is_there && !gap(at, next) {
                return;
            }
            at = next;
        }
        gap(at, behind);
    }

    /// Whether page `at` holds something, and the first page behind it where that ends.
    fn run(&self, at: u64) -> (u64, bool) {
        match self {
            Content::Small { present, .. } => {
                let is_there = |page: u64| page < 64 && present >> page & 1 == 1;
                let end = (at + 1..64).find(|page| is_there(*page) != is_there(at));
                match end {
                    Some(end) => (end, is_there(at)),
                    None if is_there(at) => (64, true),
                    None => (u64::MAX, false),
                }
            }
            Content::Large { reserved, .. } => {
                if let Some((_, end)) =
                    reserved.iter().find(|(start, end)| (*start..*end).contains(&at))
                {
                    return (*end, true);
                }
                let start = at.saturating_mul(PAGE_SIZE);
                match self.seek(start, Whence::SeekData) {
                    Ok(data) if data <= start => {
                        let hole = self.seek(start, Whence::SeekHole).unwrap_or(start + PAGE_SIZE);
                        (hole.div_ceil(PAGE_SIZE).max(at + 1), true)
                    }
                    found => {
                        let data = found.map_or(u64::MAX, |data| data / PAGE_SIZE);
                        let begins = reserved.iter().map(|(start, _)| *start);
                        let next = begins.filter(|start| *start > at).min().unwrap_or(u64::MAX);
                        (data.min(next), false)
                    }
                }
            }
        }
    }

    /// `FALLOC_FL_PUNCH_HOLE`: zeroes, and the pages are given back.
    pub(super) fn punch(&mut self, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.saturating_add(len);
        match self {
            Content::Small { bytes, present } => {
                let end = end.min(SMALL);
                let last = to_usize(end).min(bytes.len());
                if let Some(hole) = bytes.get_mut(to_usize(offset.min(SMALL))..last) {
                    hole.fill(0);
                }
                *present &= !within(offset, end);
                Ok(())
            }
            Content::Large { file, reserved, .. } => {
                unreserve(reserved, offset.div_ceil(PAGE_SIZE), end / PAGE_SIZE);
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
            Content::Small { bytes, present } => {
                let size = to_u64(bytes.len());
                let wants_data = matches!(whence, Whence::SeekData);
                let is_wanted = |page: &u64| (present >> page & 1 == 1) == wants_data;
                match (offset / PAGE_SIZE..size.div_ceil(PAGE_SIZE)).find(is_wanted) {
                    Some(page) => Ok((page * PAGE_SIZE).max(offset)),
                    None if wants_data => Err(Errno::ENXIO),
                    None => Ok(size),
                }
            }
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
            Content::Small { .. } => None,
            Content::Large { fd, .. } => Some(fd.clone()),
        }
    }

    /// Moves the bytes into a memfd, for good.
    pub(super) fn host_file(&mut self) -> Result<HostFile, Errno> {
        match self {
            Content::Large { fd, .. } => Ok(fd.clone()),
            Content::Small { bytes, present } => {
                let fd =
                    memfd_create(c"tmpfs", MFdFlags::MFD_CLOEXEC).map_err(|_| Errno::ENFILE)?;
                let size = to_u64(bytes.len());
                let fd = Arc::new(fd);
                let file = fd.try_clone().map(File::from).map_err(|_| Errno::ENFILE)?;
                file.set_len(size).map_err(|error| shown(&error))?;
                let page = to_usize(PAGE_SIZE);
                for (index, piece) in bytes.chunks(page).enumerate() {
                    let index = to_u64(index);
                    if *present >> index & 1 == 1 {
                        file.write_all_at(piece, index * PAGE_SIZE)
                            .map_err(|error| shown(&error))?;
                    }
                }
                *self = Content::Large {
                    file: Arc::new(file),
                    fd: fd.clone(),
                    size,
                    reserved: Vec::new(),
                };
                Ok(fd)
            }
        }
    }
}

/// Runs of reserved pages that are remembered of a file.
const RUNS: usize = 64;

/// Adds a run of pages.
fn reserve(runs: &mut Vec<(u64, u64)>, mut first: u64, mut behind: u64) {
    runs.retain(|(start, end)| {
        let is_apart = *end < first || *start > behind;
        if !is_apart {
            (first, behind) = (first.min(*start), behind.max(*end));
        }
        is_apart
    });
    if runs.len() < RUNS {
        runs.push((first, behind));
    }
}

/// Takes a run of pages away.
fn unreserve(runs: &mut Vec<(u64, u64)>, first: u64, behind: u64) {
    if first >= behind {
        return;
    }
    let cut = |(start, end): (u64, u64)| {
        [(start, end.min(first)), (start.max(behind), end)].into_iter().filter(|(a, b)| a < b)
    };
    *runs = runs.drain(..).flat_map(cut).take(RUNS).collect();
}

/// The bits of the pages from `first` on and before `behind`, which is at most 64.
fn bits(first: u64, behind: u64) -> u64 {
    let below = |page: u64| if page >= 64 { u64::MAX } else { (1 << page) - 1 };
    below(behind) & !below(first)
}

/// The bits of the pages that have a byte from `begin` on and before `end`.
fn touched(begin: u64, end: u64) -> u64 {
    if begin >= end { 0 } else { bits(begin / PAGE_SIZE, end.div_ceil(PAGE_SIZE)) }
}

/// The bits of the pages that have no byte before `begin` or from `end` on.
fn within(begin: u64, end: u64) -> u64 {
    bits(begin.div_ceil(PAGE_SIZE), end / PAGE_SIZE)
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

const _: () = assert!(SMALL as usize >= CHUNK && SMALL == 64 * PAGE_SIZE);
