// SPDX-License-Identifier: Apache-2.0
//! What an open file can do.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use abi::Errno;

use super::{Caller, FileKind};
use crate::{
    io::{Sink, Source},
    mm::Mappable,
    wait::{Cut, Ready, Try, WaitQueue},
};

/// Where lseek(2) counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "lseek(2)'s own words")]
pub enum SeekFrom {
    Start(i64),
    Current(i64),
    End(i64),
    Data(i64),
    Hole(i64),
}

/// The offset given to [`FileOps::read_at`] and [`FileOps::write_at`] of a file that
/// [seeks itself](FileOps::seeks_itself) when the call goes by the position: the file keeps it.
pub const AT_POSITION: u64 = u64::MAX;

/// Which way bytes are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the caller.
    Read,
    /// From the caller.
    Write,
}

/// Takes directory entries one by one.
pub trait DirSink {
    /// Offers an entry. `next` is the position behind it. `false`: it did not fit, stop here.
    fn entry(&mut self, name: &[u8], inode: u64, kind: FileKind, next: u64) -> bool;
}

/// The file system's side of an open file. [`super::FileDescription`] holds position, flags and rights,
/// and has checked them: a method that is called is permitted.
///
/// Everything answers at once; what would wait says [`Try::WouldBlock`], and [`FileOps::wait_queue`]
/// tells of the change.
pub trait FileOps: Send + Sync + fmt::Debug + Any {
    /// Whether it has no position: pipes, sockets, terminals (`ESPIPE` from lseek and pread).
    fn is_stream(&self) -> bool {
        false
    }

    /// Whether lseek(2) on a stream does nothing and says 0, as on eventfd and its kin (`noop_llseek`),
    /// rather than `ESPIPE`.
    fn ignores_seeks(&self) -> bool {
        false
    }

    /// Reads at `offset` (streams ignore it). Zero bytes are the end of file.
    fn read_at(&self, _sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Writes at `offset` (streams ignore it).
    fn write_at(&self, _source: &mut dyn Source, _offset: u64) -> Result<Try<usize>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Whether a write that may wait goes on until every byte is taken: pipes, stream sockets,
    /// terminals. Whoever writes calls [`FileOps::write_at`] again with what remains of the source.
    fn writes_whole(&self) -> bool {
        false
    }

    /// Writes at the end, whatever that is by then, and returns the bytes with the position behind them.
    fn append(&self, _source: &mut dyn Source) -> Result<Try<(usize, u64)>, Errno> {
        Err(Errno::EINVAL)
    }

    /// lseek(2): the new position. The VFS does `Start` and `Current` itself unless this is overridden
    /// by [`FileOps::seeks_itself`].
    fn seek(&self, _from: SeekFrom, _current: u64) -> Result<u64, Errno> {
        Err(Errno::EINVAL)
    }

    /// Whether the file keeps the position itself: every lseek(2) goes through [`FileOps::seek`], and
    /// read(2) and write(2) (not pread and pwrite) come with the offset [`AT_POSITION`].
    fn seeks_itself(&self) -> bool {
        false
    }

    /// Offers directory entries from `position` on; returns the position to go on from. The VFS itself
    /// offers `.` at 0 and `..` at 1: positions here begin with 2, and neither name is offered.
    fn read_entries(&self, _position: u64, _to: &mut dyn DirSink) -> Result<u64, Errno> {
        Err(Errno::ENOTDIR)
    }

    /// What it is ready for now. Files without a wait queue are always ready.
    fn ready(&self) -> Ready {
        Ready::READABLE | Ready::WRITABLE
    }

    /// Who hears of changes of [`FileOps::ready`]; `None` where it never changes (epoll: `EPERM`).
    fn wait_queue(&self) -> Option<WaitQueue> {
        None
    }

    /// How long read(2) (`READABLE`) or write(2) (`WRITABLE`) waits at most before it fails with
    /// `EAGAIN`; `None`: for ever.
    fn patience(&self, _interest: Ready) -> Option<Duration> {
        None
    }

    /// Whether opening is complete (a fifo waits for its peer). Asked after [`super::Inode::open`]
    /// until it is done, unless `O_NONBLOCK`.
    fn open_wait(&self) -> Result<Try<()>, Errno> {
        Ok(Try::Done(()))
    }

    /// ioctl(2) beyond the generic ones.
    fn ioctl(&self, _caller: &mut dyn Caller, _command: u32, _argument: u64) -> Result<u64, Errno> {
        Err(Errno::ENOTTY)
    }

    /// fsync(2) and fdatasync(2).
    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// fallocate(2) with checked arguments.
    fn allocate(&self, _mode: u32, _offset: u64, _len: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Contents for mmap(2) through this very open.
    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        Err(Errno::ENODEV)
    }

    /// A host file that holds the contents at the same offsets, for copies that need not pass through
    /// the sentry's memory.
    fn host_file(&self) -> Option<Arc<std::os::fd::OwnedFd>> {
        None
    }

    /// Pages of a range that are in the sentry's own memory (cachestat(2)).
    fn cached_pages(&self, _offset: u64, _len: u64) -> u64 {
        0
    }

    /// fcntl(2) `F_GET_SEALS`; `EINVAL` where there are no seals.
    fn seals(&self) -> Result<abi::fcntl::Seals, Errno> {
        Err(Errno::EINVAL)
    }

    /// fcntl(2) `F_ADD_SEALS`.
    fn add_seals(&self, _seals: abi::fcntl::Seals) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Each close(2) of a number that meant this description (Linux's `flush`).
    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// fcntl(2) `F_SETFL` changed the status flags.
    fn status_changed(&self, _flags: abi::fcntl::OpenFlags) {}

    /// The extra lines of `/proc/<pid>/fdinfo/<fd>`.
    fn fdinfo(&self) -> String {
        String::new()
    }

    /// Whether the caller may read or write now: a terminal stops its background processes here. Asked
    /// before each read and write; [`Cut::Interrupted`] when a signal is on its way to the caller.
    fn admit(&self, _caller: &mut dyn Caller, _direction: Direction) -> Result<(), Cut> {
        Ok(())
    }

    /// open(2) is complete. A terminal becomes its opener's controlling one, unless `O_NOCTTY`.
    fn opened(&self, _caller: &mut dyn Caller, _flags: abi::fcntl::OpenFlags) {}

    /// For downcasts: a socket, an epoll instance, a pipe.
    fn as_any(&self) -> &(dyn Any + Send + Sync);
}
