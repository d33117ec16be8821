// SPDX-License-Identifier: Apache-2.0
//! Futexes.

use std::{sync::Arc, time::Instant};

use abi::{
    Errno, Pid, UserAddr, UserIn, UserInOut, UserOut,
    futex::{
        FUTEX_BITSET_MATCH_ANY, FUTEX_CLOCK_REALTIME, FUTEX_CMD_MASK, FUTEX_CMP_REQUEUE,
        FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI, FUTEX_LOCK_PI2, FUTEX_PRIVATE_FLAG, FUTEX_REQUEUE,
        FUTEX_TRYLOCK_PI, FUTEX_UNLOCK_PI, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI,
        FUTEX_WAITV_MAX, FUTEX_WAKE, FUTEX_WAKE_BITSET, FUTEX_WAKE_OP, FUTEX2_PRIVATE,
        FUTEX2_SIZE_MASK, FUTEX2_SIZE_U32, FutexWaitv, RobustListHead,
    },
    num::{to_u64, to_usize},
    time::{CLOCK_MONOTONIC, CLOCK_REALTIME, ClockId, Timespec},
};
use sentry::{
    futex::{CutWait, Key, RequeueRequest, Sharing, Word, pi::Locker, wait::Awaited},
    kernel::{Kernel, OrRestart, Restart, Stop, SysResult},
    mm::Protection,
    task::Current,
    time::{Clock, instant_after, nanos_of},
    wait::Cut,
};

use crate::ids;

/// What a word's page must allow.
const READ: Protection = Protection::READ;
const READ_WRITE: Protection = Protection::READ.union(Protection::WRITE);

/// futex(2). `timeout` is a pointer or a number (`val2`), as the command has it.
pub fn futex(
    cx: &mut Current,
    uaddr: UserInOut<u32>,
    op: i32,
    val: u32,
    timeout: u64,
    uaddr2: UserInOut<u32>,
    val3: u32,
) -> SysResult<u64> {
    let command = op & FUTEX_CMD_MASK;
    if let Some(cut) = cx.context().take_cut() {
        return go_on(cx, cut, uaddr.addr(), val, timeout);
    }
    let sharing = if op & FUTEX_PRIVATE_FLAG != 0 { Sharing::Private } else { Sharing::Shared };
    let is_realtime = op & FUTEX_CLOCK_REALTIME != 0;
    let deadline = read_deadline(cx, command, is_realtime, UserIn::new(UserAddr(timeout)))?;
    if is_realtime && !matches!(command, FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2)
    {
        return Err(Errno::ENOSYS.into());
    }
    let (addr, addr2) = (uaddr.addr(), uaddr2.addr());
    let (count, count2) = (val.cast_signed(), (timeout as u32).cast_signed());
    let kernel = Arc::clone(cx.kernel());
    let table = kernel.futexes();
    match command {
        FUTEX_WAIT => wait(cx, addr, sharing, val, FUTEX_BITSET_MATCH_ANY, deadline).map(|()| 0),
        FUTEX_WAIT_BITSET => wait(cx, addr, sharing, val, val3, deadline).map(|()| 0),
        FUTEX_WAKE => wake(cx, addr, sharing, count, FUTEX_BITSET_MATCH_ANY),
        FUTEX_WAKE_BITSET => wake(cx, addr, sharing, count, val3),
        FUTEX_REQUEUE | FUTEX_CMP_REQUEUE => {
            let expected = (command == FUTEX_CMP_REQUEUE).then_some(val3);
            if count < 0 || count2 < 0 {
                return Err(Errno::EINVAL.into());
            }
            let request = RequeueRequest {
                from: Key::of(cx.mm(), addr, sharing, READ)?,
                to: Key::of(cx.mm(), addr2, sharing, READ)?,
                wake: count,
                requeue: count2,
                expected,
            };
            Ok(table.requeue(&mut Word { context: cx.context(), addr }, addr2, &request)?)
        }
        FUTEX_WAKE_OP => {
            let first = Key::of(cx.mm(), addr, sharing, READ)?;
            let second = Key::of(cx.mm(), addr2, sharing, READ_WRITE)?;
            let mut word = Word { context: cx.context(), addr: addr2 };
            Ok(table.wake_op(&mut word, (&first, addr), count, &second, count2, val3)?)
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => lock_pi(cx, &kernel, addr, sharing, deadline),
        FUTEX_TRYLOCK_PI => {
            let key = Key::of(cx.mm(), addr, sharing, READ_WRITE)?;
            let tid = own_tid(cx);
            table.try_lock_pi(cx.context(), tid, key, addr, &alive(&kernel))?;
            Ok(0)
        }
        FUTEX_UNLOCK_PI => {
            let key = Key::of(cx.mm(), addr, sharing, READ_WRITE)?;
            let tid = own_tid(cx);
            table.unlock_pi(cx.context(), tid, key, addr)?;
            Ok(0)
        }
        FUTEX_WAIT_REQUEUE_PI => {
            if addr == addr2 || val3 == 0 {
                return Err(Errno::EINVAL.into());
            }
            let awaited = Awaited { key: Key::of(cx.mm(), addr, sharing, READ)?, addr, value: val };
            let target = (Key::of(cx.mm(), addr2, sharing, READ_WRITE)?, addr2);
            let (tid, sleeper) = (own_tid(cx), Arc::clone(cx.sleeper()));
            let context = cx.context();
            table
                .wait_requeue_pi(context, &sleeper, awaited, val3, target, tid, deadline)
                .or_restart(Restart::Always)?;
            Ok(0)
        }
        FUTEX_CMP_REQUEUE_PI => {
            let request = RequeueRequest {
                from: Key::of(cx.mm(), addr, sharing, READ)?,
                to: Key::of(cx.mm(), addr2, sharing, READ_WRITE)?,
                wake: count,
                requeue: count2,
                expected: Some(val3),
            };
            Ok(table.requeue_pi(cx.context(), (addr, addr2), &request)?)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// The end of the wait, for commands that have one.
fn read_deadline(
    cx: &mut Current,
    command: i32,
    is_realtime: bool,
    timeout: UserIn<Timespec>,
) -> Result<Option<Instant>, Errno> {
    let waits = matches!(
        command,
        FUTEX_WAIT | FUTEX_LOCK_PI | FUTEX_LOCK_PI2 | FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI
    );
    let Some(timeout) = timeout.nullable().filter(|_| waits) else { return Ok(None) };
    let nanos = nanos_of(cx.read(timeout)?)?;
    Ok(Some(match command {
        // The one relative timeout, and the one command whose clock is fixed.
        FUTEX_WAIT => instant_after(nanos),
        FUTEX_LOCK_PI => Clock::Realtime.instant_at(nanos),
        _ if is_realtime => Clock::Realtime.instant_at(nanos),
        _ => Clock::Monotonic.instant_at(nanos),
    }))
}

fn own_tid(cx: &Current) -> u32 {
    cx.task().tid().cast_unsigned()
}

/// Whether there is a thread with an id.
fn alive(kernel: &Kernel) -> impl Fn(u32) -> bool {
    |tid| kernel.tasks().task(tid.cast_signed()).is_some()
}

fn wait(
    cx: &mut Current,
    addr: UserAddr,
    sharing: Sharing,
    value: u32,
    bitset: u32,
    deadline: Option<Instant>,
) -> SysResult {
    if bitset == 0 {
        return Err(Errno::EINVAL.into());
    }
    let key = Key::of(cx.mm(), addr, sharing, READ)?;
    let (kernel, sleeper) = (Arc::clone(cx.kernel()), Arc::clone(cx.sleeper()));
    let awaited = Awaited { key, addr, value };
    let result =
        cx.sleeping(|cx| kernel.futexes().wait(cx.context(), &sleeper, awaited, bitset, deadline));
    if result == Err(Cut::Interrupted) && deadline.is_some() {
        // The time goes on: what is left of it is waited for if no handler runs.
        cx.set_restart_block(move |cx| {
            wait(cx, addr, sharing, value, bitset, deadline).map(|()| 0)
        });
        return result.or_restart(Restart::WithBlock);
    }
    result.or_restart(Restart::IfSaRestart)
}

/// A wait that the stub had begun and that was cut short: by a signal, or for nothing the guest can see.
fn go_on(
    cx: &mut Current,
    cut: CutWait,
    addr: UserAddr,
    value: u32,
    timeout: u64,
) -> SysResult<u64> {
    match cut {
        CutWait::Again if timeout == 0 => Err(Stop::Restart(Restart::IfSaRestart)),
        // The same point in time, so the same call will do.
        CutWait::Again => Err(Stop::Restart(Restart::IfNoHandler)),
        CutWait::Until(nanos) => {
            let deadline = Some(Clock::Monotonic.instant_at(nanos));
            cx.set_restart_block(move |cx| {
                wait(cx, addr, Sharing::Private, value, FUTEX_BITSET_MATCH_ANY, deadline)
                    .map(|()| 0)
            });
            Err(Stop::Restart(Restart::WithBlock))
        }
    }
}

fn wake(
    cx: &mut Current,
    addr: UserAddr,
    sharing: Sharing,
    count: i32,
    bitset: u32,
) -> SysResult<u64> {
    if bitset == 0 {
        return Err(Errno::EINVAL.into());
    }
    let key = Key::of(cx.mm(), addr, sharing, READ)?;
    let kernel = Arc::clone(cx.kernel());
    Ok(kernel.futexes().wake_all_kinds(cx.context(), (&key, addr), count, bitset)?)
}

fn lock_pi(
    cx: &mut Current,
    kernel: &Kernel,
    addr: UserAddr,
    sharing: Sharing,
    deadline: Option<Instant>,
) -> SysResult<u64> {
    let key = Key::of(cx.mm(), addr, sharing, READ_WRITE)?;
    let (tid, sleeper) = (own_tid(cx), Arc::clone(cx.sleeper()));
    let locker = Locker { tid, sleeper: &sleeper };
    kernel
        .futexes()
        .lock_pi(cx.context(), &locker, key, addr, deadline, &alive(kernel))
        .or_restart(Restart::Always)?;
    Ok(0)
}

/// set_robust_list(2)
pub fn set_robust_list(cx: &mut Current, head: UserAddr, len: usize) -> SysResult {
    if len != size_of::<RobustListHead>() {
        return Err(Errno::EINVAL.into());
    }
    cx.task().update_facts(|facts| facts.robust_list = head.raw());
    Ok(())
}

/// get_robust_list(2)
pub fn get_robust_list(
    cx: &mut Current,
    pid: Pid,
    head_ptr: UserOut<u64>,
    len_ptr: UserOut<u64>,
) -> SysResult {
    let target = match pid.0 {
        0 => Arc::clone(cx.task()),
        pid => cx.kernel().tasks().task(pid).ok_or(Errno::ESRCH)?,
    };
    ids::check_trace(cx, &target)?;
    cx.write(len_ptr, &to_u64(size_of::<RobustListHead>()))?;
    Ok(cx.write(head_ptr, &target.facts().robust_list)?)
}

/// How a `FUTEX2_*` word names its futex: only private or shared words of 32 bits.
fn sharing_of(flags: u32) -> Result<Sharing, Errno> {
    if flags & !(FUTEX2_SIZE_MASK | FUTEX2_PRIVATE) != 0
        || flags & FUTEX2_SIZE_MASK != FUTEX2_SIZE_U32
    {
        return Err(Errno::EINVAL);
    }
    Ok(if flags & FUTEX2_PRIVATE != 0 { Sharing::Private } else { Sharing::Shared })
}

/// The end of a wait by futex_waitv(2) or futex_wait(2): always a point in time.
fn absolute_deadline(
    cx: &mut Current,
    timeout: UserIn<Timespec>,
    clock: ClockId,
) -> Result<Option<Instant>, Errno> {
    let Some(timeout) = timeout.nullable() else { return Ok(None) };
    let clock = match clock.0 {
        CLOCK_REALTIME => Clock::Realtime,
        CLOCK_MONOTONIC => Clock::Monotonic,
        _ => return Err(Errno::EINVAL),
    };
    let nanos = nanos_of(cx.read(timeout)?)?;
    Ok(Some(clock.instant_at(nanos)))
}

fn parse_waiters(list: &[FutexWaitv]) -> Result<Vec<(UserAddr, Sharing, u32)>, Errno> {
    let parse = |one: &FutexWaitv| {
        if one.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        let sharing = sharing_of(one.flags)?;
        let value = u32::try_from(one.val).map_err(|_| Errno::EINVAL)?;
        Ok((UserAddr(one.uaddr), sharing, value))
    };
    list.iter().map(parse).collect()
}

/// futex_waitv(2)
pub fn futex_waitv(
    cx: &mut Current,
    waiters: UserIn<FutexWaitv>,
    nr_futexes: u32,
    flags: u32,
    timeout: UserIn<Timespec>,
    clockid: ClockId,
) -> SysResult<usize> {
    let count = to_usize(u64::from(nr_futexes));
    if flags != 0 || count == 0 || count > FUTEX_WAITV_MAX || waiters.nullable().is_none() {
        return Err(Errno::EINVAL.into());
    }
    let deadline = absolute_deadline(cx, timeout, clockid)?;
    let list = cx.read_slice(waiters, count)?;
    let mut awaited = Vec::with_capacity(count);
    for (addr, sharing, value) in parse_waiters(&list)? {
        awaited.push(Awaited { key: Key::of(cx.mm(), addr, sharing, READ)?, addr, value });
    }
    let (kernel, sleeper) = (Arc::clone(cx.kernel()), Arc::clone(cx.sleeper()));
    cx.sleeping(|cx| kernel.futexes().wait_any(cx.context(), &sleeper, &awaited, deadline))
        .or_restart(Restart::IfSaRestart)
}

/// futex_wake(2)
pub fn futex_wake(
    cx: &mut Current,
    uaddr: UserInOut<u32>,
    mask: u64,
    nr: i32,
    flags: u32,
) -> SysResult<u64> {
    let sharing = sharing_of(flags)?;
    let bitset = u32::try_from(mask).map_err(|_| Errno::EINVAL)?;
    if bitset != 0 && nr == 0 {
        Key::of(cx.mm(), uaddr.addr(), sharing, READ)?;
        return Ok(0);
    }
    wake(cx, uaddr.addr(), sharing, nr, bitset)
}

/// futex_wait(2)
pub fn futex_wait(
    cx: &mut Current,
    uaddr: UserInOut<u32>,
    val: u64,
    mask: u64,
    flags: u32,
    timeout: UserIn<Timespec>,
    clockid: ClockId,
) -> SysResult {
    let sharing = sharing_of(flags)?;
    let value = u32::try_from(val).map_err(|_| Errno::EINVAL)?;
    let bitset = u32::try_from(mask).map_err(|_| Errno::EINVAL)?;
    let deadline = absolute_deadline(cx, timeout, clockid)?;
    wait(cx, uaddr.addr(), sharing, value, bitset, deadline)
}

/// futex_requeue(2): from the first of two words to the second.
pub fn futex_requeue(
    cx: &mut Current,
    waiters: UserIn<FutexWaitv>,
    flags: u32,
    nr_wake: i32,
    nr_requeue: i32,
) -> SysResult<u64> {
    if flags != 0 || waiters.nullable().is_none() {
        return Err(Errno::EINVAL.into());
    }
    let list = parse_waiters(&cx.read_slice(waiters, 2)?)?;
    let [(from, from_sharing, value), (to, to_sharing, _)] = *list else {
        return Err(Errno::EINVAL.into());
    };
    let request = RequeueRequest {
        from: Key::of(cx.mm(), from, from_sharing, READ)?,
        to: Key::of(cx.mm(), to, to_sharing, READ)?,
        wake: nr_wake,
        requeue: nr_requeue,
        expected: Some(value),
    };
    let kernel = Arc::clone(cx.kernel());
    let mut word = Word { context: cx.context(), addr: from };
    Ok(kernel.futexes().requeue(&mut word, to, &request)?)
}
