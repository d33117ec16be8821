// SPDX-License-Identifier: Apache-2.0
//! Signals.

use std::sync::Arc;

use abi::{
    Errno, Fd, Pid, SigInfo, SigSet, Signal, Tid, UserIn, UserOut,
    cred::Capabilities,
    pidfd::PidfdSignalFlags,
    signal::{
        SI_TKILL, SI_USER, SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SaFlags, SigAction, SigmaskHow,
        StackT,
    },
    time::Timespec,
};
use sentry::{
    kernel::{OrRestart, Restart, Stop, SysResult},
    signal::frame::x86_64 as frame,
    task::{Current, Sender, Task, ThreadGroup},
    time,
    wait::{Cut, Ready, Try},
};

/// Linux's `sigset_t` has one size.
fn check_size(sigsetsize: usize) -> Result<(), Errno> {
    if sigsetsize == size_of::<SigSet>() { Ok(()) } else { Err(Errno::EINVAL) }
}

/// rt_sigaction(2)
pub fn rt_sigaction(
    cx: &mut Current,
    signum: i32,
    act: UserIn<SigAction>,
    oldact: UserOut<SigAction>,
    sigsetsize: usize,
) -> SysResult {
    check_size(sigsetsize)?;
    let new = act.nullable().map(|act| cx.read(act)).transpose()?;
    let signal = Signal::from_raw(signum).ok_or(Errno::EINVAL)?;
    let old = match new {
        Some(_) if SigSet::UNBLOCKABLE.contains(signal) => return Err(Errno::EINVAL.into()),
        Some(mut new) => {
            new.sa_mask = new.sa_mask.difference(SigSet::UNBLOCKABLE);
            // What Linux does not know it does not keep: so programs ask whether it knows.
            new.sa_flags &= KEPT.bits();
            cx.group().set_action(signal, new)
        }
        None => cx.group().action(signal),
    };
    if let Some(to) = oldact.nullable() {
        cx.write(to, &old)?;
    }
    Ok(())
}

/// Flags that rt_sigaction(2) keeps (`UAPI_SA_FLAGS`).
const KEPT: SaFlags = SaFlags::NOCLDSTOP
    .union(SaFlags::NOCLDWAIT)
    .union(SaFlags::SIGINFO)
    .union(SaFlags::ONSTACK)
    .union(SaFlags::RESTART)
    .union(SaFlags::NODEFER)
    .union(SaFlags::RESETHAND)
    .union(SaFlags::EXPOSE_TAGBITS)
    .union(SaFlags::RESTORER);

/// rt_sigprocmask(2)
pub fn rt_sigprocmask(
    cx: &mut Current,
    how: SigmaskHow,
    set: UserIn<SigSet>,
    oldset: UserOut<SigSet>,
    sigsetsize: usize,
) -> SysResult {
    check_size(sigsetsize)?;
    let old = cx.signal_mask();
    if let Some(set) = set.nullable() {
        let set = cx.read(set)?.difference(SigSet::UNBLOCKABLE);
        let new = match how.0 {
            SIG_BLOCK => old.union(set),
            SIG_UNBLOCK => old.difference(set),
            SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        cx.set_signal_mask(new);
    }
    if let Some(to) = oldset.nullable() {
        cx.write(to, &old)?;
    }
    Ok(())
}

/// rt_sigreturn(2): the registers are what the frame says.
pub fn rt_sigreturn(cx: &mut Current) -> SysResult<u64> {
    cx.return_from_signal();
    Err(Stop::Reloaded)
}

/// rt_sigpending(2)
pub fn rt_sigpending(cx: &mut Current, set: UserOut<SigSet>, sigsetsize: usize) -> SysResult {
    if sigsetsize > size_of::<SigSet>() {
        return Err(Errno::EINVAL.into());
    }
    let pending = cx.task().pending_set().intersection(cx.signal_mask());
    let bytes = pending.0.to_ne_bytes();
    Ok(cx.write_bytes(set.addr(), bytes.get(..sigsetsize).unwrap_or(&bytes))?)
}

/// pause(2)
pub fn pause(cx: &mut Current) -> SysResult<u64> {
    sleep_for_signal(cx)
}

fn sleep_for_signal(cx: &mut Current) -> SysResult<u64> {
    let never: Result<u64, Cut> = cx.wait(&[], Ready::empty(), None, || Ok(Try::WouldBlock));
    never.or_restart(Restart::IfNoHandler)
}

/// rt_sigsuspend(2)
pub fn rt_sigsuspend(cx: &mut Current, mask: UserIn<SigSet>, sigsetsize: usize) -> SysResult<u64> {
    check_size(sigsetsize)?;
    let mask = cx.read(mask)?;
    cx.set_temporary_mask(mask);
    sleep_for_signal(cx)
}

/// rt_sigtimedwait(2)
pub fn rt_sigtimedwait(
    cx: &mut Current,
    set: UserIn<SigSet>,
    info: UserOut<SigInfo>,
    timeout: UserIn<Timespec>,
    sigsetsize: usize,
) -> SysResult<i32> {
    check_size(sigsetsize)?;
    let wanted = cx.read(set)?.difference(SigSet::UNBLOCKABLE);
    let deadline = match timeout.nullable() {
        Some(timeout) => Some(time::instant_after(time::nanos_of(cx.read(timeout)?)?)),
        None => None,
    };
    let task = Arc::clone(cx.task());
    task.set_awaited(wanted);
    let queue = cx.group().signal_queue().clone();
    let taken = cx.wait(&[&queue], Ready::READABLE, deadline, || {
        Ok(task.take_pending(wanted).map_or(Try::WouldBlock, Try::Done))
    });
    task.set_awaited(SigSet::EMPTY);
    let found = match taken {
        Ok(found) => found,
        // A wanted signal wakes like any other: it may be what interrupted.
        Err(Cut::Interrupted) => match task.take_pending(wanted) {
            Some(found) => found,
            None => return Err(Stop::Restart(Restart::Never)),
        },
        Err(Cut::Failed(Errno::ETIMEDOUT)) => return Err(Errno::EAGAIN.into()),
        Err(Cut::Failed(errno)) => return Err(errno.into()),
    };
    if let Some(to) = info.nullable() {
        cx.write(to, &found)?;
    }
    Ok(found.si_signo)
}

/// sigaltstack(2)
pub fn sigaltstack(cx: &mut Current, ss: UserIn<StackT>, old_ss: UserOut<StackT>) -> SysResult {
    let sp = cx.registers().rsp;
    let new = ss.nullable().map(|ss| cx.read(ss)).transpose()?;
    let old = frame::reported(&cx.alt_stack(), sp);
    if let Some(new) = new {
        cx.change_alt_stack(new, sp)?;
    }
    if let Some(to) = old_ss.nullable() {
        cx.write(to, &old)?;
    }
    Ok(())
}

/// restart_syscall(2)
pub fn restart_syscall(cx: &mut Current) -> SysResult<u64> {
    match cx.take_restart_block() {
        Some(block) => block(cx),
        None => Err(Errno::EINTR.into()),
    }
}

/// Whether the caller may send `signal` to a process (`check_kill_permission`).
fn check_permission(cx: &Current, target: &Task, signal: Option<Signal>) -> Result<(), Errno> {
    if target.pid() == cx.task().pid() {
        return Ok(());
    }
    let (mine, theirs) = (cx.creds(), target.creds());
    let is_same = [mine.euid, mine.ruid].iter().any(|uid| [theirs.suid, theirs.ruid].contains(uid));
    if is_same || mine.has(Capabilities::KILL) {
        return Ok(());
    }
    if signal == Some(Signal::SIGCONT) {
        let tasks = cx.kernel().tasks();
        let session = |pid: i32| tasks.process(pid).map(|process| process.session);
        if session(target.pid()) == session(cx.task().pid()) {
            return Ok(());
        }
    }
    Err(Errno::EPERM)
}

/// A signal number that may be 0: then only permission is checked.
fn signal_or_probe(number: i32) -> Result<Option<Signal>, Errno> {
    match number {
        0 => Ok(None),
        number => Signal::from_raw(number).map(Some).ok_or(Errno::EINVAL),
    }
}

/// A process with its leader, for permission checks.
type Target = (Arc<ThreadGroup>, Arc<Task>);

fn send(cx: &Current, target: &Target, number: i32, info: SigInfo) -> Result<(), Errno> {
    let signal = signal_or_probe(number)?;
    check_permission(cx, &target.1, signal)?;
    match signal {
        Some(_) => target.0.send(info, Sender::Guest),
        None => Ok(()),
    }
}

fn targets(cx: &Current, is_meant: impl Fn(i32, i32) -> bool) -> Vec<Target> {
    let tasks = cx.kernel().tasks();
    let chosen = tasks.processes().filter(|(pid, process)| is_meant(*pid, process.process_group));
    chosen.map(|(_, p)| (Arc::clone(&p.group), Arc::clone(&p.leader))).collect()
}

fn target(cx: &Current, id: i32) -> Result<Target, Errno> {
    let tasks = cx.kernel().tasks();
    // A thread's id names its process, as Linux has it.
    let pid = tasks.task(id).map_or(id, |task| task.pid());
    let process = tasks.process(pid).ok_or(Errno::ESRCH)?;
    Ok((Arc::clone(&process.group), Arc::clone(&process.leader)))
}

fn user_info(cx: &Current, number: i32, code: i32) -> SigInfo {
    let signal = Signal::from_raw(number).unwrap_or(Signal::SIGKILL);
    SigInfo::user(signal, code, cx.task().pid(), cx.creds().ruid)
}

/// kill(2)
pub fn kill(cx: &mut Current, pid: Pid, sig: i32) -> SysResult {
    let info = user_info(cx, sig, SI_USER);
    if pid.0 > 0 {
        let target = target(cx, pid.0)?;
        return Ok(send(cx, &target, sig, info)?);
    }
    let own = cx.task().pid();
    let many = match pid.0 {
        i32::MIN => return Err(Errno::ESRCH.into()),
        -1 => targets(cx, |pid, _| pid > 1 && pid != own),
        0 => {
            let group = crate::ids::getpgrp(cx)?.0;
            targets(cx, |_, id| id == group)
        }
        id => targets(cx, |_, group| group == -id),
    };
    signal_or_probe(sig)?;
    let results: Vec<_> = many.iter().map(|target| send(cx, target, sig, info)).collect();
    if results.iter().any(Result::is_ok) {
        return Ok(());
    }
    Err(results.into_iter().find_map(Result::err).unwrap_or(Errno::ESRCH).into())
}

/// The thread `tid`, of the process `tgid` if one is given.
fn thread(cx: &Current, tgid: Option<i32>, tid: i32) -> Result<Arc<Task>, Errno> {
    let task = cx.kernel().tasks().task(tid).ok_or(Errno::ESRCH)?;
    match tgid {
        Some(tgid) if task.pid() != tgid => Err(Errno::ESRCH),
        _ => Ok(task),
    }
}

fn send_to_thread(
    cx: &Current,
    tgid: Option<i32>,
    tid: i32,
    sig: i32,
    info: SigInfo,
) -> Result<(), Errno> {
    let task = thread(cx, tgid, tid)?;
    let signal = signal_or_probe(sig)?;
    check_permission(cx, &task, signal)?;
    match signal {
        Some(_) => task.send(info, Sender::Guest),
        None => Ok(()),
    }
}

/// tkill(2)
pub fn tkill(cx: &mut Current, tid: Tid, sig: i32) -> SysResult {
    if tid.0 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let info = user_info(cx, sig, SI_TKILL);
    Ok(send_to_thread(cx, None, tid.0, sig, info)?)
}

/// tgkill(2)
pub fn tgkill(cx: &mut Current, tgid: Pid, tid: Tid, sig: i32) -> SysResult {
    if tgid.0 <= 0 || tid.0 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let info = user_info(cx, sig, SI_TKILL);
    Ok(send_to_thread(cx, Some(tgid.0), tid.0, sig, info)?)
}

/// A signal's info as the guest made it up: it may not look like the kernel's or kill(2)'s, unless it
/// goes to the sender itself.
fn queued_info(
    cx: &mut Current,
    sig: i32,
    from: UserIn<SigInfo>,
    target: i32,
) -> Result<SigInfo, Errno> {
    let mut info = cx.read(from)?;
    info.si_signo = sig;
    let is_forged = info.si_code >= 0 || info.si_code == SI_TKILL;
    if is_forged && target != cx.task().pid() { Err(Errno::EPERM) } else { Ok(info) }
}

/// rt_sigqueueinfo(2)
pub fn rt_sigqueueinfo(cx: &mut Current, tgid: Pid, sig: i32, info: UserIn<SigInfo>) -> SysResult {
    let info = queued_info(cx, sig, info, tgid.0)?;
    let target = target(cx, tgid.0)?;
    Ok(send(cx, &target, sig, info)?)
}

/// rt_tgsigqueueinfo(2)
pub fn rt_tgsigqueueinfo(
    cx: &mut Current,
    tgid: Pid,
    tid: Tid,
    sig: i32,
    info: UserIn<SigInfo>,
) -> SysResult {
    let info = queued_info(cx, sig, info, tgid.0)?;
    if tgid.0 <= 0 || tid.0 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(send_to_thread(cx, Some(tgid.0), tid.0, sig, info)?)
}

/// pidfd_send_signal(2)
pub fn pidfd_send_signal(
    cx: &mut Current,
    pidfd: Fd,
    sig: i32,
    info: UserIn<SigInfo>,
    flags: PidfdSignalFlags,
) -> SysResult {
    let flags = PidfdSignalFlags::from_bits(flags.bits()).ok_or(Errno::EINVAL)?;
    if flags.bits().count_ones() > 1 {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.file(pidfd)?;
    let pid = sentry::task::pidfd_target(&file).ok_or(Errno::EBADF)?;
    let info = match info.nullable() {
        Some(from) => {
            let given = cx.read(from)?;
            if given.si_signo != sig {
                return Err(Errno::EINVAL.into());
            }
            queued_info(cx, sig, from, pid)?
        }
        None => user_info(cx, sig, SI_USER),
    };
    let target = target(cx, pid)?;
    if flags.contains(PidfdSignalFlags::PROCESS_GROUP) {
        return kill(cx, Pid(-pid), sig);
    }
    Ok(send(cx, &target, sig, info)?)
}
