// SPDX-License-Identifier: Apache-2.0
//! Bytes from one open file to another: sendfile(2), splice(2), tee(2), vmsplice(2), copy_file_range(2).

use std::sync::Arc;

use abi::{
    Errno, Fd, Signal, UserIn, UserInOut,
    fcntl::{OpenFlags, SpliceFlags},
    limits::{MAX_RW_COUNT, PIPE_BUF},
    macros::Known,
    num::to_u64,
    resource::RLIMIT_FSIZE,
    uio::Iovec,
};
use sentry::{
    fs::pipe::PipeEnd,
    io::{CHUNK, SliceSink, SliceSource},
    kernel::{OrRestart, Restart, SysResult},
    task::Current,
    vfs::{FileDescription, FileKind, WriteOptions, inode_flags},
    wait::{Cut, Ready, Try, WaitQueue},
};

use crate::io::write_options;

/// One side of a copy: the open file, and a position of the call's own if there is one.
struct Side {
    file: Arc<FileDescription>,
    offset: Option<u64>,
}

impl Side {
    fn is_pipe(&self) -> bool {
        pipe(&self.file).is_some()
    }

    fn wait_read(&self, cx: &mut Current, waits: bool, buffer: &mut [u8]) -> Result<usize, Cut> {
        let op = || {
            let mut sink = SliceSink::new(buffer);
            match self.offset {
                Some(offset) => self.file.pread(&mut sink, offset),
                None => self.file.read(&mut sink),
            }
        };
        attempt(cx, &self.file, Ready::READABLE, waits, op)
    }
}

fn pipe(file: &FileDescription) -> Option<&PipeEnd> {
    file.ops_as()
}

/// Does `op` until it is done, or once if it may not wait.
fn attempt<T>(
    cx: &mut Current,
    file: &Arc<FileDescription>,
    interest: Ready,
    waits: bool,
    mut op: impl FnMut() -> Result<Try<T>, Errno>,
) -> Result<T, Cut> {
    if waits { cx.until_ready(file, interest, None, op) } else { Ok(op()?.or_again()?) }
}

/// Copies up to `len` bytes. Stops at the end of `from`, when a stream has nothing more for the moment, when
/// a pipe has no more room, and at the first failure; what was copied until then counts.
fn copy(
    cx: &mut Current,
    from: &mut Side,
    to: &mut Side,
    len: usize,
    waits: bool,
) -> Result<usize, Cut> {
    let options = write_options(cx);
    let mut buffer = vec![0; len.min(CHUNK)];
    let mut done = 0;
    while done < len {
        // What a stream gave cannot be given back, so its taker is asked first.
        let (is_stream, to_pipe) = (from.file.is_stream(), to.is_pipe());
        let waits_for_room = waits && (done == 0 || !to_pipe);
        if (is_stream || to_pipe)
            && let Err(cut) = await_room(cx, &to.file, waits_for_room)
        {
            return if done > 0 { Ok(done) } else { Err(cut) };
        }
        let mut want = (len - done).min(buffer.len());
        if is_stream && to.file.is_stream() {
            want = want.min(PIPE_BUF);
        }
        let room = buffer.get_mut(..want).unwrap_or_default();
        let got = match from.wait_read(cx, waits && done == 0, room) {
            Ok(0) => break,
            Ok(got) => got,
            Err(_) if done > 0 => break,
            Err(cut) => return Err(cut),
        };
        let bytes = room.get(..got).unwrap_or_default();
        let (put, failure) = if to_pipe && !is_stream {
            put_some(cx, to, bytes, waits_for_room, &options)
        } else {
            put_all(cx, to, bytes, waits || is_stream, &options)
        };
        done += put;
        advance(from, put, got);
        match failure {
            Some(cut) if done == 0 => return Err(cut),
            Some(_) => break,
            None if put < got || (is_stream && got < want) => break,
            None => {}
        }
    }
    Ok(done)
}

/// Moves up to `len` bytes from a pipe to what is none. Waits for the first of them only.
fn empty(
    cx: &mut Current,
    from: &FileDescription,
    to: &mut Side,
    len: usize,
    waits: bool,
) -> Result<usize, Cut> {
    let options = write_options(cx);
    let source = pipe(from).ok_or(Errno::EINVAL)?;
    let queues = queues(from, &to.file);
    let queues: Vec<&WaitQueue> = queues.iter().collect();
    let mut done = 0;
    while done < len {
        let offset = to.offset;
        let op = || {
            source.offer((len - done).min(CHUNK), &mut |bytes| {
                let mut bytes = SliceSource::new(bytes);
                match offset {
                    Some(offset) => to.file.pwrite(&mut bytes, offset, &options),
                    None => to.file.write(&mut bytes, &options),
                }
            })
        };
        let moved = if waits && done == 0 {
            cx.wait(&queues, Ready::READABLE | Ready::WRITABLE, None, op)
        } else {
            op().and_then(Try::or_again).map_err(Cut::Failed)
        };
        match moved {
            Ok(0) => break,
            Ok(count) => {
                done += count;
                to.offset = offset.map(|offset| offset + to_u64(count));
            }
            Err(_) if done > 0 => break,
            Err(cut) => return Err(cut),
        }
    }
    Ok(done)
}

/// Waits until `file` can take something.
fn await_room(cx: &mut Current, file: &Arc<FileDescription>, waits: bool) -> Result<(), Cut> {
    let op = || {
        let ready = file.ready();
        let is_ready = ready.intersects(Ready::WRITABLE | Ready::ALWAYS);
        Ok(if is_ready { Try::Done(()) } else { Try::WouldBlock })
    };
    attempt(cx, file, Ready::WRITABLE, waits, op)
}

/// Writes `bytes`; what was written, and what stopped it.
fn put_all(
    cx: &mut Current,
    to: &mut Side,
    bytes: &[u8],
    waits: bool,
    options: &WriteOptions,
) -> (usize, Option<Cut>) {
    let mut source = SliceSource::new(bytes);
    let mut put = 0;
    while put < bytes.len() {
        let op = || match to.offset {
            Some(offset) => to.file.pwrite(&mut source, offset, options),
            None => to.file.write(&mut source, options),
        };
        match attempt(cx, &to.file, Ready::WRITABLE, waits, op) {
            Ok(0) => break,
            Ok(count) => {
                put += count;
                to.offset = to.offset.map(|offset| offset + to_u64(count));
            }
            Err(cut) => return (put, Some(cut)),
        }
    }
    (put, None)
}

/// Writes of `bytes` what there is room for; how much that was, and what stopped it.
fn put_some(
    cx: &mut Current,
    to: &Side,
    bytes: &[u8],
    waits: bool,
    options: &WriteOptions,
) -> (usize, Option<Cut>) {
    let mut source = SliceSource::new(bytes);
    let op = || to.file.write(&mut source, options);
    match attempt(cx, &to.file, Ready::WRITABLE, waits, op) {
        Ok(put) => (put, None),
        Err(cut) => (0, Some(cut)),
    }
}

/// Moves the reading position by what was written; what was read too much is read again.
fn advance(from: &mut Side, put: usize, got: usize) {
    match &mut from.offset {
        Some(offset) => *offset += to_u64(put),
        None if !from.file.is_stream() && put < got => {
            let position = from.file.position().saturating_sub(to_u64(got - put));
            from.file.set_position(position);
        }
        None => {}
    }
}

/// Turns the end of a copy into the call's: signals for a broken pipe and a file grown too large.
fn finish(cx: &mut Current, result: Result<usize, Cut>) -> SysResult<usize> {
    if let Err(Cut::Failed(errno)) = &result {
        if *errno == Errno::EPIPE {
            cx.send_self(Signal::SIGPIPE);
        }
        // Only a limit of the caller's own is worth a signal.
        let is_limited = cx.group().rlimits().soft(RLIMIT_FSIZE) < i64::MAX.unsigned_abs();
        if *errno == Errno::EFBIG && is_limited {
            cx.send_self(Signal::SIGXFSZ);
        }
    }
    result.or_restart(Restart::IfSaRestart)
}

/// Reads a position that the guest gave; `EINVAL` if it is negative.
fn given_offset(cx: &mut Current, offset: UserInOut<i64>) -> Result<Option<u64>, Errno> {
    match offset.nullable() {
        None => Ok(None),
        Some(offset) => {
            let offset = cx.read(offset.as_in())?;
            u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
        }
    }
}

/// Writes a position back where the guest gave one.
fn return_offset(cx: &mut Current, to: UserInOut<i64>, offset: Option<u64>) -> Result<(), Errno> {
    match (to.nullable(), offset) {
        (Some(to), Some(offset)) => {
            cx.write(to.as_out(), &i64::try_from(offset).unwrap_or(i64::MAX))
        }
        _ => Ok(()),
    }
}

/// sendfile(2)
pub(crate) fn sendfile(
    cx: &mut Current,
    out_fd: Fd,
    in_fd: Fd,
    offset: UserInOut<i64>,
    count: usize,
) -> SysResult<usize> {
    let own = given_offset(cx, offset)?;
    let from = cx.file(in_fd)?;
    if !from.is_readable() {
        return Err(Errno::EBADF.into());
    }
    if own.is_some() {
        from.check_seekable()?;
    }
    let to = cx.file(out_fd)?;
    if !to.is_writable() {
        return Err(Errno::EBADF.into());
    }
    // As `splice_direct_to_actor()` has it; into a pipe anything else may go that is not one itself.
    let is_plain = matches!(from.kind(), FileKind::Regular | FileKind::BlockDevice);
    if !is_plain && (pipe(&to).is_none() || pipe(&from).is_some()) {
        return Err(Errno::EINVAL.into());
    }
    if to.status().contains(OpenFlags::APPEND) || isize::try_from(count).is_err() {
        return Err(Errno::EINVAL.into());
    }
    let mut from = Side { file: from, offset: own };
    let mut to = Side { file: to, offset: None };
    let result = copy(cx, &mut from, &mut to, count.min(MAX_RW_COUNT), true);
    return_offset(cx, offset, from.offset)?;
    finish(cx, result)
}

/// splice(2)
pub(crate) fn splice(
    cx: &mut Current,
    (fd_in, off_in): (Fd, UserInOut<i64>),
    (fd_out, off_out): (Fd, UserInOut<i64>),
    len: usize,
    flags: SpliceFlags,
) -> SysResult<usize> {
    if len == 0 {
        return Ok(0);
    }
    flags.reject_unknown()?;
    let (from, to) = (cx.file(fd_in)?, cx.file(fd_out)?);
    if !from.is_readable() || !to.is_writable() {
        return Err(Errno::EBADF.into());
    }
    let mut from = Side { file: from, offset: None };
    let mut to = Side { file: to, offset: None };
    let is_refused =
        |side: &Side, offset: UserInOut<i64>| side.is_pipe() && offset.nullable().is_some();
    if is_refused(&from, off_in) || is_refused(&to, off_out) {
        return Err(Errno::ESPIPE.into());
    }
    let waits = !flags.contains(SpliceFlags::NONBLOCK);
    if let (Some(source), Some(target)) = (pipe(&from.file), pipe(&to.file)) {
        let queues = queues(&from.file, &to.file);
        let waits = waits && !from.file.is_nonblocking() && !to.file.is_nonblocking();
        return pass(cx, &queues, waits, || source.splice_to(target, len));
    }
    if !from.is_pipe() && !to.is_pipe() {
        return Err(Errno::EINVAL.into());
    }
    if to.file.status().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL.into());
    }
    from.offset = given_offset(cx, off_in)?;
    to.offset = given_offset(cx, off_out)?;
    if from.offset.is_some() {
        from.file.check_seekable()?;
    }
    if to.offset.is_some() {
        to.file.check_seekable()?;
    }
    let len = len.min(MAX_RW_COUNT);
    let result = if from.is_pipe() {
        empty(cx, &from.file, &mut to, len, waits)
    } else {
        copy(cx, &mut from, &mut to, len, waits)
    };
    return_offset(cx, off_in, from.offset)?;
    return_offset(cx, off_out, to.offset)?;
    finish(cx, result)
}

fn queues(from: &FileDescription, to: &FileDescription) -> Vec<WaitQueue> {
    [from, to].iter().filter_map(|file| file.ops().wait_queue()).collect()
}

/// From pipe to pipe: waits for either to change.
fn pass(
    cx: &mut Current,
    queues: &[WaitQueue],
    waits: bool,
    mut op: impl FnMut() -> Result<Try<usize>, Errno>,
) -> SysResult<usize> {
    let result = if waits {
        let queues: Vec<&WaitQueue> = queues.iter().collect();
        cx.wait(&queues, Ready::READABLE | Ready::WRITABLE, None, op)
    } else {
        op().and_then(Try::or_again).map_err(Cut::Failed)
    };
    finish(cx, result)
}

/// tee(2)
pub(crate) fn tee(
    cx: &mut Current,
    fd_in: Fd,
    fd_out: Fd,
    len: usize,
    flags: SpliceFlags,
) -> SysResult<usize> {
    flags.reject_unknown()?;
    if len == 0 {
        return Ok(0);
    }
    let (from, to) = (cx.file(fd_in)?, cx.file(fd_out)?);
    if !from.is_readable() || !to.is_writable() {
        return Err(Errno::EBADF.into());
    }
    let (Some(source), Some(target)) = (pipe(&from), pipe(&to)) else {
        return Err(Errno::EINVAL.into());
    };
    let queues = queues(&from, &to);
    let waits =
        !flags.contains(SpliceFlags::NONBLOCK) && !from.is_nonblocking() && !to.is_nonblocking();
    pass(cx, &queues, waits, || source.tee_to(target, len))
}

/// vmsplice(2). Pages are copied, not gifted: the guest's memory is not ours to keep.
pub(crate) fn vmsplice(
    cx: &mut Current,
    fd: Fd,
    iov: UserIn<Iovec>,
    count: usize,
    flags: SpliceFlags,
) -> SysResult<usize> {
    flags.reject_unknown()?;
    let file = cx.file(fd)?;
    let end = pipe(&file).ok_or(Errno::EBADF)?;
    let waits = !flags.contains(SpliceFlags::NONBLOCK) && !file.is_nonblocking();
    let result = if end.is_writer() {
        // Unlike write(2) it does not wait for more room once something is in.
        let mut source = cx.source_iov(iov, count)?;
        let options = WriteOptions::default();
        attempt(cx, &file, Ready::WRITABLE, waits, || file.write(&mut source, &options))
    } else {
        let mut sink = cx.sink_iov(iov, count)?;
        attempt(cx, &file, Ready::READABLE, waits, || file.read(&mut sink))
    };
    finish(cx, result)
}

/// copy_file_range(2)
pub(crate) fn copy_file_range(
    cx: &mut Current,
    (fd_in, off_in): (Fd, UserInOut<i64>),
    (fd_out, off_out): (Fd, UserInOut<i64>),
    len: usize,
    flags: u32,
) -> SysResult<usize> {
    let (from, to) = (cx.file(fd_in)?, cx.file(fd_out)?);
    let (own_in, own_out) = (given_raw(cx, off_in)?, given_raw(cx, off_out)?);
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    for file in [&from, &to] {
        match file.kind() {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
    }
    if !from.is_readable() || !to.is_writable() || to.status().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF.into());
    }
    inode_flags::check_mutable(&**to.inode())?;
    let begin_in = begin(own_in, &from)?;
    let begin_out = begin(own_out, &to)?;
    let span = to_u64(len);
    if begin_in.checked_add(span).is_none() || begin_out.checked_add(span).is_none() {
        return Err(Errno::EOVERFLOW.into());
    }
    let size = from.attributes()?.size;
    let len = len.min(usize::try_from(size.saturating_sub(begin_in)).unwrap_or(usize::MAX));
    let is_same = Arc::ptr_eq(from.inode(), to.inode());
    let span = to_u64(len);
    if is_same && begin_out + span > begin_in && begin_out < begin_in + span {
        return Err(Errno::EINVAL.into());
    }
    let mut from = Side { file: from, offset: Some(begin_in) };
    let mut to = Side { file: to, offset: Some(begin_out) };
    let result = copy(cx, &mut from, &mut to, len.min(MAX_RW_COUNT), true);
    settle(cx, off_in, own_in, &from)?;
    settle(cx, off_out, own_out, &to)?;
    finish(cx, result)
}

fn given_raw(cx: &mut Current, offset: UserInOut<i64>) -> Result<Option<i64>, Errno> {
    offset.nullable().map(|offset| cx.read(offset.as_in())).transpose()
}

fn begin(own: Option<i64>, file: &FileDescription) -> Result<u64, Errno> {
    match own {
        Some(offset) => u64::try_from(offset).map_err(|_| Errno::EINVAL),
        None => Ok(file.position()),
    }
}

fn settle(
    cx: &mut Current,
    to: UserInOut<i64>,
    own: Option<i64>,
    side: &Side,
) -> Result<(), Errno> {
    match own {
        Some(_) => return_offset(cx, to, side.offset),
        None => {
            side.file.set_position(side.offset.unwrap_or_default());
            Ok(())
        }
    }
}
