// SPDX-License-Identifier: Apache-2.0
//! The memory of other processes.

use std::sync::Arc;

use abi::{Errno, Fd, Pid, UserIn, mman::Advice, num::to_usize, uio::Iovec};
use sentry::{
    io::{CHUNK, Sink, Source},
    kernel::SysResult,
    mm::{MemoryManager, UserSink, UserSource},
    task::{Current, pidfd_target},
};

use super::MOST_PIECES;
use crate::ids;

/// The memory of the process with this number, if the caller may look into it.
fn memory_of(cx: &Current, pid: Pid) -> Result<Arc<MemoryManager>, Errno> {
    let target = cx.kernel().tasks().task(pid.0).ok_or(Errno::ESRCH)?;
    ids::check_trace(cx, &target)?;
    target.mm().ok_or(Errno::ESRCH)
}

/// The pieces that one side names; where they lie is for the caller to say.
fn pieces(cx: &mut Current, list: UserIn<Iovec>, count: u64) -> Result<Vec<Iovec>, Errno> {
    if to_usize(count) > MOST_PIECES {
        return Err(Errno::EINVAL);
    }
    let pieces = cx.read_slice(list, to_usize(count))?;
    if pieces.iter().any(|piece| i64::try_from(piece.iov_len).is_err()) {
        return Err(Errno::EINVAL);
    }
    Ok(pieces)
}

/// Moves bytes until one side ends: what was moved beats the error.
fn transfer(source: &mut dyn Source, sink: &mut dyn Sink) -> Result<usize, Errno> {
    let mut buffer = vec![0; source.remaining().min(sink.remaining()).min(CHUNK)];
    let mut done = 0;
    loop {
        let want = source.remaining().min(sink.remaining()).min(buffer.len());
        let Some(room) = buffer.get_mut(..want).filter(|room| !room.is_empty()) else {
            return Ok(done);
        };
        let moved = source.read(room).and_then(|got| {
            let put = sink.write(room.get(..got).unwrap_or_default())?;
            Ok((got, put))
        });
        match moved {
            Ok((got, put)) => {
                done += put;
                if put < got || got < want {
                    return Ok(done);
                }
            }
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        }
    }
}

/// process_vm_readv(2)
pub fn process_vm_readv(
    cx: &mut Current,
    pid: Pid,
    local_iov: UserIn<Iovec>,
    liovcnt: u64,
    remote_iov: UserIn<Iovec>,
    riovcnt: u64,
    flags: u64,
) -> SysResult<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut sink = cx.sink_iov(local_iov, to_usize(liovcnt))?;
    if sink.remaining() == 0 {
        return Ok(0);
    }
    let remote = pieces(cx, remote_iov, riovcnt)?;
    let mm = memory_of(cx, pid)?;
    let mut source = UserSource::pieces(Arc::clone(mm.space()), &remote);
    Ok(transfer(&mut source, &mut sink)?)
}

/// process_vm_writev(2)
pub fn process_vm_writev(
    cx: &mut Current,
    pid: Pid,
    local_iov: UserIn<Iovec>,
    liovcnt: u64,
    remote_iov: UserIn<Iovec>,
    riovcnt: u64,
    flags: u64,
) -> SysResult<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut source = cx.source_iov(local_iov, to_usize(liovcnt))?;
    if source.remaining() == 0 {
        return Ok(0);
    }
    let remote = pieces(cx, remote_iov, riovcnt)?;
    let mm = memory_of(cx, pid)?;
    let mut sink = UserSink::pieces(Arc::clone(mm.space()), &remote);
    Ok(transfer(&mut source, &mut sink)?)
}

/// process_madvise(2): for the caller's own memory. Another's pages only its own threads can advise on.
pub fn process_madvise(
    cx: &mut Current,
    pidfd: Fd,
    iov: UserIn<Iovec>,
    iovcnt: u64,
    advice: Advice,
    flags: u32,
) -> SysResult<u64> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let list = pieces(cx, iov, iovcnt)?;
    /// `PIDFD_SELF_THREAD_GROUP`, `PIDFD_SELF_THREAD`.
    const SELF: [i32; 2] = [-10_001, -10_000];
    if !SELF.contains(&pidfd.0) {
        let file = cx.file(pidfd)?;
        let target = pidfd_target(&file).ok_or(Errno::EBADF)?;
        if target != cx.task().pid() {
            return Err(Errno::EPERM.into());
        }
    }
    let mut done = 0;
    for piece in list {
        let (mm, context) = cx.mm_and_context();
        match mm.advise(context, abi::UserAddr(piece.iov_base), piece.iov_len, advice) {
            Ok(()) => done += piece.iov_len,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(done)
}

/// process_mrelease(2): the host takes a dying process's memory by itself.
pub fn process_mrelease(cx: &mut Current, pidfd: Fd, flags: u32) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.file(pidfd)?;
    let target = pidfd_target(&file).ok_or(Errno::EBADF)?;
    let task = cx.kernel().tasks().task(target).ok_or(Errno::ESRCH)?;
    if task.group().has_ended() { Ok(()) } else { Err(Errno::EINVAL.into()) }
}
