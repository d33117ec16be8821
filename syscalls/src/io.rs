// SPDX-License-Identifier: Apache-2.0
//! Bytes in and out of open files.

use std::sync::Arc;

use abi::{
    Errno, Fd, Signal, UserAddr, UserCStr, UserIn, UserInOut, UserOut,
    cred::Capabilities,
    fcntl::{
        FallocateMode, FileAdvice, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET, SpliceFlags,
        SyncFileRangeFlags, Whence,
    },
    limits::MAX_RW_COUNT,
    macros::Known,
    num::to_u64,
    resource::RLIMIT_FSIZE,
    uio::{Iovec, RwFlags},
};
use sentry::{
    io::{Sink, SliceSink, SliceSource, Source},
    kernel::{OrRestart, Restart, SysResult},
    mm::TASK_SIZE,
    task::Current,
    vfs::{
        Direction, FileDescription, FileKind, Lookup, SeekFrom, WriteOptions, attributes,
        inode_flags,
    },
    wait::{Cut, Ready, Try},
};

use crate::{path, splicing};

/// What lies before the end of a file's positions.
const MAX_OFFSET: u64 = i64::MAX.unsigned_abs();

/// `MAX_RW_COUNT` bytes at most; `EINVAL` for what is negative as a `ssize_t`.
fn checked_count(count: usize) -> Result<usize, Errno> {
    isize::try_from(count).map_err(|_| Errno::EINVAL)?;
    Ok(count.min(MAX_RW_COUNT))
}

/// `access_ok()`: reads and writes look at the range before they look at the file, whoever will not touch it.
fn check_range(buf: UserAddr, count: usize) -> Result<(), Errno> {
    let end = buf.raw().checked_add(to_u64(count));
    if end.is_some_and(|end| end <= TASK_SIZE) { Ok(()) } else { Err(Errno::EFAULT) }
}

fn readable(cx: &Current, fd: Fd) -> Result<Arc<FileDescription>, Errno> {
    let file = cx.file(fd)?;
    if file.is_readable() { Ok(file) } else { Err(Errno::EBADF) }
}

fn writable(cx: &Current, fd: Fd) -> Result<Arc<FileDescription>, Errno> {
    let file = cx.file(fd)?;
    if file.is_writable() { Ok(file) } else { Err(Errno::EBADF) }
}

/// Where a positioned call begins: -1 (`None`) is the file's own position, for the calls that know it.
type Position = Option<u64>;

fn position(offset: i64) -> Result<Position, Errno> {
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

fn read_into(
    cx: &mut Current,
    file: &Arc<FileDescription>,
    sink: &mut dyn Sink,
    position: Position,
    flags: RwFlags,
) -> SysResult<usize> {
    file.ops().admit(cx, Direction::Read).or_restart(Restart::IfSaRestart)?;
    let mut op = || match position {
        None => file.read(sink),
        Some(offset) => file.pread(sink, offset),
    };
    if flags.contains(RwFlags::NOWAIT) {
        return Ok(op()?.or_again()?);
    }
    cx.until_ready(file, Ready::READABLE, None, op).or_restart(Restart::IfSaRestart)
}

/// How the caller may write.
pub(crate) fn write_options(cx: &Current) -> WriteOptions {
    WriteOptions {
        limit: cx.group().rlimits().soft(RLIMIT_FSIZE),
        keeps_set_id: cx.creds().has(Capabilities::FSETID),
        ..WriteOptions::default()
    }
}

/// Writes what `source` has: streams that take only a part are waited for until they have all.
pub(crate) fn write_from(
    cx: &mut Current,
    file: &Arc<FileDescription>,
    source: &mut dyn Source,
    position: Position,
    flags: RwFlags,
) -> SysResult<usize> {
    let options = WriteOptions {
        append: match flags {
            flags if flags.contains(RwFlags::APPEND) => Some(true),
            flags if flags.contains(RwFlags::NOAPPEND) => Some(false),
            _ => None,
        },
        sync: flags.intersects(RwFlags::SYNC | RwFlags::DSYNC),
        ..write_options(cx)
    };
    file.ops().admit(cx, Direction::Write).or_restart(Restart::IfSaRestart)?;
    let mut done = 0;
    loop {
        let mut op = || match position {
            None => file.write(source, &options),
            Some(offset) => file.pwrite(source, offset, &options),
        };
        let result = if flags.contains(RwFlags::NOWAIT) {
            op().and_then(Try::or_again).map_err(Cut::Failed)
        } else {
            cx.until_ready(file, Ready::WRITABLE, None, op)
        };
        match result {
            Ok(count) => {
                done += count;
                if count == 0 || source.remaining() == 0 || !file.ops().writes_whole() {
                    return Ok(done);
                }
            }
            Err(Cut::Failed(errno)) => {
                let is_broken = errno == Errno::EPIPE && file.ops().writes_whole();
                if is_broken && !flags.contains(RwFlags::NOSIGNAL) {
                    cx.send_self(Signal::SIGPIPE);
                }
                if errno == Errno::EFBIG && options.limit < MAX_OFFSET {
                    cx.send_self(Signal::SIGXFSZ);
                }
                return if done > 0 { Ok(done) } else { Err(errno.into()) };
            }
            Err(cut) if done == 0 => return Err(cut).or_restart(Restart::IfSaRestart),
            Err(_) => return Ok(done),
        }
    }
}

/// Up to this many bytes pass through a buffer of ours: the task's own thread then copies them, which is
/// cheaper than reaching into its memory from outside.
const SHORT: usize = 4096;

/// A short read of a regular file. `None`: the guest's memory is bad somewhere, and nothing was read;
/// the long way finds out how much of it is good.
fn read_short(
    cx: &mut Current,
    file: &FileDescription,
    buf: UserOut<u8>,
    count: usize,
    position: Position,
) -> Result<Option<usize>, Errno> {
    let mut bytes = [0; SHORT];
    let mut sink = SliceSink::new(bytes.get_mut(..count).unwrap_or_default());
    let before = if position.is_none() { file.position() } else { 0 };
    let done = match position {
        None => file.read(&mut sink),
        Some(offset) => file.pread(&mut sink, offset),
    }?
    .or_again()?;
    if cx.write_bytes(buf.addr(), bytes.get(..done).unwrap_or_default()).is_ok() {
        return Ok(Some(done));
    }
    if position.is_none() {
        file.set_position(before);
    }
    Ok(None)
}

/// Whether a read may go through [`read_short`].
fn is_short(file: &FileDescription, count: usize) -> bool {
    count <= SHORT && file.kind() == FileKind::Regular && !file.is_stream()
}

/// Writes `count` bytes, by the cheapest door for few of them.
fn write_user(
    cx: &mut Current,
    file: &Arc<FileDescription>,
    buf: UserIn<u8>,
    count: usize,
    position: Position,
) -> SysResult<usize> {
    if count <= SHORT {
        let mut bytes = [0; SHORT];
        let bytes = bytes.get_mut(..count).unwrap_or_default();
        // Bad memory is met again, and at the right moment, by the long way.
        if cx.read_bytes(buf.addr(), bytes).is_ok() {
            let mut source = SliceSource::new(bytes);
            return write_from(cx, file, &mut source, position, RwFlags::empty());
        }
    }
    let mut source = cx.source(buf, count);
    write_from(cx, file, &mut source, position, RwFlags::empty())
}

/// read(2)
pub fn read(cx: &mut Current, fd: Fd, buf: UserOut<u8>, count: usize) -> SysResult<usize> {
    let file = readable(cx, fd)?;
    check_range(buf.addr(), count)?;
    if is_short(&file, count)
        && !file.keeps_position()
        && let Some(done) = read_short(cx, &file, buf, count, None)?
    {
        return Ok(done);
    }
    let mut sink = cx.sink(buf, checked_count(count)?);
    read_into(cx, &file, &mut sink, None, RwFlags::empty())
}

/// write(2)
pub fn write(cx: &mut Current, fd: Fd, buf: UserIn<u8>, count: usize) -> SysResult<usize> {
    let file = writable(cx, fd)?;
    check_range(buf.addr(), count)?;
    let count = checked_count(count)?;
    write_user(cx, &file, buf, count, None)
}

/// pread64(2)
pub fn pread64(
    cx: &mut Current,
    fd: Fd,
    buf: UserOut<u8>,
    count: usize,
    offset: i64,
) -> SysResult<usize> {
    let position = position(offset)?;
    let file = cx.file(fd)?;
    file.check_seekable()?;
    let file = if file.is_readable() { file } else { return Err(Errno::EBADF.into()) };
    check_range(buf.addr(), count)?;
    if is_short(&file, count)
        && let Some(done) = read_short(cx, &file, buf, count, position)?
    {
        return Ok(done);
    }
    let mut sink = cx.sink(buf, checked_count(count)?);
    read_into(cx, &file, &mut sink, position, RwFlags::empty())
}

/// pwrite64(2)
pub fn pwrite64(
    cx: &mut Current,
    fd: Fd,
    buf: UserIn<u8>,
    count: usize,
    offset: i64,
) -> SysResult<usize> {
    let position = position(offset)?;
    let file = cx.file(fd)?;
    file.check_seekable()?;
    let file = if file.is_writable() { file } else { return Err(Errno::EBADF.into()) };
    check_range(buf.addr(), count)?;
    let count = checked_count(count)?;
    write_user(cx, &file, buf, count, position)
}

fn iov_count(count: u64) -> usize {
    // Too many are refused where the vector is read; this only keeps the number.
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// readv(2)
pub fn readv(cx: &mut Current, fd: Fd, iov: UserIn<Iovec>, iovcnt: u64) -> SysResult<usize> {
    let file = readable(cx, fd)?;
    let mut sink = cx.sink_iov(iov, iov_count(iovcnt))?;
    read_into(cx, &file, &mut sink, None, RwFlags::empty())
}

/// writev(2)
pub fn writev(cx: &mut Current, fd: Fd, iov: UserIn<Iovec>, iovcnt: u64) -> SysResult<usize> {
    let file = writable(cx, fd)?;
    let mut source = cx.source_iov(iov, iov_count(iovcnt))?;
    write_from(cx, &file, &mut source, None, RwFlags::empty())
}

/// preadv(2)
pub fn preadv(
    cx: &mut Current,
    fd: Fd,
    iov: UserIn<Iovec>,
    iovcnt: u64,
    pos_l: u64,
    _pos_h: u64,
) -> SysResult<usize> {
    let position = position(pos_l.cast_signed())?;
    preadv_at(cx, fd, iov, iovcnt, position, RwFlags::empty())
}

/// pwritev(2)
pub fn pwritev(
    cx: &mut Current,
    fd: Fd,
    iov: UserIn<Iovec>,
    iovcnt: u64,
    pos_l: u64,
    _pos_h: u64,
) -> SysResult<usize> {
    let position = position(pos_l.cast_signed())?;
    pwritev_at(cx, fd, iov, iovcnt, position, RwFlags::empty())
}

/// preadv2(2). Position -1 is the file's own.
pub fn preadv2(
    cx: &mut Current,
    fd: Fd,
    iov: UserIn<Iovec>,
    iovcnt: u64,
    pos_l: u64,
    _pos_h: u64,
    flags: RwFlags,
) -> SysResult<usize> {
    let position = if pos_l == u64::MAX { None } else { position(pos_l.cast_signed())? };
    preadv_at(cx, fd, iov, iovcnt, position, flags)
}

/// pwritev2(2). Position -1 is the file's own.
pub fn pwritev2(
    cx: &mut Current,
    fd: Fd,
    iov: UserIn<Iovec>,
    iovcnt: u64,
    pos_l: u64,
    _pos_h: u64,
    flags: RwFlags,
) -> SysResult<usize> {
    let position = if pos_l == u64::MAX { None } else { position(pos_l.cast_signed())? };
    pwritev_at(cx, fd, iov, iovcnt, position, flags)
}

fn preadv_at(
    cx: &mut Current,
    fd: Fd,
    iov: UserIn<Iovec>,
    iovcnt: u64,
    position: Position,
    flags: RwFlags,
) -> SysResult<usize> {
    let file = cx.file(fd)?;
    if position.is_some() {
        file.check_seekable()?;
    }
    if !file.is_readable() {
        return Err(Errno::EBADF.into());
    }
    let mut sink = cx.sink_iov(iov, iov_count(iovcnt))?;
    check_rw_flags(flags, RwFlags::APPEND | RwFlags::NOAPPEND | RwFlags::ATOMIC)?;
    read_into(cx, &file, &mut sink, position, flags)
}

fn pwritev_at(
    cx: &mut Current,
    fd: Fd,
    iov: UserIn<Iovec>,
    iovcnt: u64,
    position: Position,
    flags: RwFlags,
) -> SysResult<usize> {
    let file = cx.file(fd)?;
    if position.is_some() {
        file.check_seekable()?;
    }
    if !file.is_writable() {
        return Err(Errno::EBADF.into());
    }
    let mut source = cx.source_iov(iov, iov_count(iovcnt))?;
    check_rw_flags(flags, RwFlags::ATOMIC)?;
    if flags.contains(RwFlags::APPEND | RwFlags::NOAPPEND) {
        return Err(Errno::EINVAL.into());
    }
    write_from(cx, &file, &mut source, position, flags)
}

/// `kiocb_set_rw_flags()`.
fn check_rw_flags(flags: RwFlags, senseless: RwFlags) -> Result<(), Errno> {
    match flags.known() {
        Some(flags) if !flags.intersects(senseless | RwFlags::DONTCACHE) => Ok(()),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// lseek(2)
pub fn lseek(cx: &mut Current, fd: Fd, offset: i64, whence: Whence) -> SysResult<u64> {
    let file = cx.file(fd)?;
    let from = match whence.0 {
        SEEK_SET => SeekFrom::Start(offset),
        SEEK_CUR => SeekFrom::Current(offset),
        SEEK_END => SeekFrom::End(offset),
        SEEK_DATA => SeekFrom::Data(offset),
        SEEK_HOLE => SeekFrom::Hole(offset),
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok(file.seek(from)?)
}

/// sendfile(2)
pub fn sendfile(
    cx: &mut Current,
    out_fd: Fd,
    in_fd: Fd,
    offset: UserInOut<i64>,
    count: usize,
) -> SysResult<usize> {
    splicing::sendfile(cx, out_fd, in_fd, offset, count)
}

/// splice(2)
pub fn splice(
    cx: &mut Current,
    fd_in: Fd,
    off_in: UserInOut<i64>,
    fd_out: Fd,
    off_out: UserInOut<i64>,
    len: usize,
    flags: SpliceFlags,
) -> SysResult<usize> {
    splicing::splice(cx, (fd_in, off_in), (fd_out, off_out), len, flags)
}

/// tee(2)
pub fn tee(
    cx: &mut Current,
    fd_in: Fd,
    fd_out: Fd,
    len: usize,
    flags: SpliceFlags,
) -> SysResult<usize> {
    splicing::tee(cx, fd_in, fd_out, len, flags)
}

/// vmsplice(2)
pub fn vmsplice(
    cx: &mut Current,
    fd: Fd,
    iov: UserIn<Iovec>,
    iovcnt: u64,
    flags: SpliceFlags,
) -> SysResult<usize> {
    splicing::vmsplice(cx, fd, iov, iov_count(iovcnt), flags)
}

/// copy_file_range(2)
pub fn copy_file_range(
    cx: &mut Current,
    fd_in: Fd,
    off_in: UserInOut<i64>,
    fd_out: Fd,
    off_out: UserInOut<i64>,
    len: usize,
    flags: u32,
) -> SysResult<usize> {
    splicing::copy_file_range(cx, (fd_in, off_in), (fd_out, off_out), len, flags)
}

/// fsync(2)
pub fn fsync(cx: &mut Current, fd: Fd) -> SysResult {
    Ok(cx.file(fd)?.ops().sync(false)?)
}

/// fdatasync(2)
pub fn fdatasync(cx: &mut Current, fd: Fd) -> SysResult {
    Ok(cx.file(fd)?.ops().sync(true)?)
}

/// sync(2)
pub fn sync(cx: &mut Current) -> SysResult {
    for mount in cx.mounts().mounts() {
        // sync(2) has nobody to tell.
        let _ = mount.filesystem().sync();
    }
    Ok(())
}

/// syncfs(2)
pub fn syncfs(cx: &mut Current, fd: Fd) -> SysResult {
    Ok(cx.file(fd)?.inode().filesystem().sync()?)
}

/// sync_file_range(2)
pub fn sync_file_range(
    cx: &mut Current,
    fd: Fd,
    offset: i64,
    nbytes: i64,
    flags: SyncFileRangeFlags,
) -> SysResult {
    let file = cx.file(fd)?;
    flags.reject_unknown()?;
    if offset < 0 || nbytes < 0 || offset.checked_add(nbytes).is_none() {
        return Err(Errno::EINVAL.into());
    }
    match file.kind() {
        FileKind::Regular | FileKind::BlockDevice | FileKind::Directory | FileKind::Symlink => {
            Ok(file.ops().sync(true)?)
        }
        _ => Err(Errno::ESPIPE.into()),
    }
}

/// readahead(2)
pub fn readahead(cx: &mut Current, fd: Fd, _offset: i64, _count: usize) -> SysResult {
    let file = readable(cx, fd)?;
    match file.kind() {
        // The host reads ahead by itself.
        FileKind::Regular | FileKind::BlockDevice => Ok(()),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// fadvise64(2)
pub fn fadvise64(
    cx: &mut Current,
    fd: Fd,
    _offset: i64,
    len: i64,
    advice: FileAdvice,
) -> SysResult {
    let file = cx.file(fd)?;
    if file.kind() == FileKind::Fifo {
        return Err(Errno::ESPIPE.into());
    }
    if len < 0 {
        return Err(Errno::EINVAL.into());
    }
    advice.reject_unknown()?;
    Ok(())
}

fn size_limit(cx: &Current) -> u64 {
    cx.group().rlimits().soft(RLIMIT_FSIZE)
}

/// A failure to grow a file beyond `RLIMIT_FSIZE` comes with a signal.
fn signal_too_big(cx: &mut Current, result: Result<(), Errno>, limit: u64) -> SysResult {
    if result == Err(Errno::EFBIG) && limit < MAX_OFFSET {
        cx.send_self(Signal::SIGXFSZ);
    }
    Ok(result?)
}

/// truncate(2)
pub fn truncate(cx: &mut Current, path: UserCStr, length: i64) -> SysResult {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let place = path::place(cx, abi::DirFd::CWD, path, Lookup::FOLLOW)?;
    let limit = size_limit(cx);
    let result = attributes::truncate(&place, length, limit, &cx.creds());
    signal_too_big(cx, result, limit)
}

/// ftruncate(2)
pub fn ftruncate(cx: &mut Current, fd: Fd, length: i64) -> SysResult {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let file = cx.file(fd)?;
    if file.kind() != FileKind::Regular || !file.is_writable() {
        return Err(Errno::EINVAL.into());
    }
    inode_flags::check_not_append_only(&**file.inode())?;
    let limit = size_limit(cx);
    let result = attributes::resize(file.place(), length, limit, &cx.creds());
    signal_too_big(cx, result, limit)
}

/// fallocate(2)
pub fn fallocate(
    cx: &mut Current,
    fd: Fd,
    mode: FallocateMode,
    offset: i64,
    len: i64,
) -> SysResult {
    let file = cx.file(fd)?;
    let (Ok(offset), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else {
        return Err(Errno::EINVAL.into());
    };
    if len == 0 {
        return Err(Errno::EINVAL.into());
    }
    check_fallocate_mode(mode)?;
    if !file.is_writable() {
        return Err(Errno::EBADF.into());
    }
    if !FallocateMode::KEEP_SIZE.contains(mode) {
        inode_flags::check_not_append_only(&**file.inode())?;
    }
    inode_flags::check_mutable(&**file.inode())?;
    match file.kind() {
        FileKind::Fifo => return Err(Errno::ESPIPE.into()),
        FileKind::Directory => return Err(Errno::EISDIR.into()),
        FileKind::Regular | FileKind::BlockDevice => {}
        _ => return Err(Errno::ENODEV.into()),
    }
    let end = offset.checked_add(len).filter(|end| *end <= MAX_OFFSET).ok_or(Errno::EFBIG)?;
    let limit = size_limit(cx);
    let grows = !mode.intersects(FallocateMode::KEEP_SIZE);
    if grows && end > limit && end > file.attributes()?.size {
        return signal_too_big(cx, Err(Errno::EFBIG), limit);
    }
    file.inode().strip_privileges(cx.creds().has(Capabilities::FSETID));
    file.ops().allocate(mode.bits(), offset, len)?;
    file.modified();
    Ok(())
}

/// `vfs_fallocate()`: which modes make sense.
fn check_fallocate_mode(mode: FallocateMode) -> Result<(), Errno> {
    let known = FallocateMode::KEEP_SIZE
        | FallocateMode::PUNCH_HOLE
        | FallocateMode::COLLAPSE_RANGE
        | FallocateMode::ZERO_RANGE
        | FallocateMode::INSERT_RANGE
        | FallocateMode::UNSHARE_RANGE;
    if !known.contains(mode) {
        return Err(Errno::EOPNOTSUPP);
    }
    let what = mode.difference(FallocateMode::KEEP_SIZE);
    match what {
        FallocateMode::PUNCH_HOLE if mode == what => Err(Errno::EOPNOTSUPP),
        FallocateMode::COLLAPSE_RANGE | FallocateMode::INSERT_RANGE if mode != what => {
            Err(Errno::EINVAL)
        }
        what if what.bits().count_ones() > 1 => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}
