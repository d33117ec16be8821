// SPDX-License-Identifier: Apache-2.0
//! epoll(7).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use abi::{
    Errno, Fd, SigSet, UserIn, UserOut,
    epoll::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollCreateFlags, EpollEvent, EpollOp},
    time::Timespec,
};
use sentry::{
    kernel::{OrRestart, Restart, SysResult},
    task::Current,
    time::duration_of,
    vfs::{FileDescription, epoll::Epoll},
    wait::{Cut, Ready, Try},
};

use crate::{eventfd::install_anonymous, poll};

/// The most events one call can be asked for (`EP_MAX_EVENTS`).
const MAX_EVENTS: i32 = i32::MAX / 12;

/// epoll_create(2)
pub fn epoll_create(cx: &mut Current, size: i32) -> SysResult<Fd> {
    if size <= 0 {
        return Err(Errno::EINVAL.into());
    }
    epoll_create1(cx, EpollCreateFlags::empty())
}

/// epoll_create1(2)
pub fn epoll_create1(cx: &mut Current, flags: EpollCreateFlags) -> SysResult<Fd> {
    if !EpollCreateFlags::all().contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    install_anonymous(cx, Box::new(Epoll::new()), "anon_inode:[eventpoll]", flags.bits())
}

/// epoll_ctl(2)
pub fn epoll_ctl(
    cx: &mut Current,
    epfd: Fd,
    op: EpollOp,
    fd: Fd,
    event: UserIn<EpollEvent>,
) -> SysResult {
    let event = if op.0 == EPOLL_CTL_DEL { EpollEvent::default() } else { cx.read(event)? };
    let (epoll_file, file) = (cx.file(epfd)?, cx.file(fd)?);
    if file.ops().wait_queue().is_none() {
        return Err(Errno::EPERM.into());
    }
    let epoll = epoll_file.ops_as::<Epoll>().ok_or(Errno::EINVAL)?;
    if Arc::ptr_eq(&epoll_file, &file) {
        return Err(Errno::EINVAL.into());
    }
    match op.0 {
        EPOLL_CTL_ADD => epoll.add(fd.0, &file, event)?,
        EPOLL_CTL_MOD => epoll.modify(fd.0, &file, event)?,
        EPOLL_CTL_DEL => epoll.delete(fd.0, &file)?,
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(())
}

/// What a wait in milliseconds means: without end for negative ones.
fn deadline_of(timeout: i32) -> Option<Duration> {
    u64::try_from(timeout).ok().map(Duration::from_millis)
}

/// epoll_wait(2)
pub fn epoll_wait(
    cx: &mut Current,
    epfd: Fd,
    events: UserOut<EpollEvent>,
    maxevents: i32,
    timeout: i32,
) -> SysResult<usize> {
    wait_for(cx, epfd, events, maxevents, deadline_of(timeout))
}

/// epoll_pwait(2)
pub fn epoll_pwait(
    cx: &mut Current,
    epfd: Fd,
    events: UserOut<EpollEvent>,
    maxevents: i32,
    timeout: i32,
    sigmask: UserIn<SigSet>,
    sigsetsize: usize,
) -> SysResult<usize> {
    poll::set_mask(cx, sigmask, sigsetsize)?;
    wait_for(cx, epfd, events, maxevents, deadline_of(timeout))
}

/// epoll_pwait2(2)
pub fn epoll_pwait2(
    cx: &mut Current,
    epfd: Fd,
    events: UserOut<EpollEvent>,
    maxevents: i32,
    timeout: UserIn<Timespec>,
    sigmask: UserIn<SigSet>,
    sigsetsize: usize,
) -> SysResult<usize> {
    let timeout = match timeout.nullable() {
        Some(timeout) => Some(duration_of(cx.read(timeout)?)?),
        None => None,
    };
    poll::set_mask(cx, sigmask, sigsetsize)?;
    wait_for(cx, epfd, events, maxevents, timeout)
}

/// `do_epoll_wait()`. Never restarted.
fn wait_for(
    cx: &mut Current,
    epfd: Fd,
    events: UserOut<EpollEvent>,
    maxevents: i32,
    timeout: Option<Duration>,
) -> SysResult<usize> {
    if maxevents <= 0 || maxevents > MAX_EVENTS {
        return Err(Errno::EINVAL.into());
    }
    let max = usize::try_from(maxevents).map_err(|_| Errno::EINVAL)?;
    let file: Arc<FileDescription> = cx.file(epfd)?;
    let epoll = file.ops_as::<Epoll>().ok_or(Errno::EINVAL)?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let is_polling = timeout == Some(Duration::ZERO);
    let collected = cx.wait(&[epoll.waiters()], Ready::IN, deadline, || {
        let collected = epoll.collect(max);
        let is_done = is_polling || !collected.events.is_empty();
        Ok(if is_done { Try::Done(collected) } else { Try::WouldBlock })
    });
    let collected = match collected {
        Err(Cut::Failed(Errno::ETIMEDOUT)) => return Ok(0),
        other => other.or_restart(Restart::Never)?,
    };
    if let Err(errno) = cx.write_slice(events, &collected.events) {
        epoll.give_back(collected, 0);
        return Err(errno.into());
    }
    Ok(collected.events.len())
}
