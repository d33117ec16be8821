// SPDX-License-Identifier: Apache-2.0
//! Tasks born, changed, awaited, gone.

use std::sync::Arc;

use abi::{
    DirFd, Errno, Fd, Known, Pid, SigInfo, Signal, UserAddr, UserCStr, UserIn, UserOut,
    fcntl::{AtFlags, OpenFlags},
    kcmp::KcmpType,
    pidfd::PidfdFlags,
    resource::Rusage,
    sched::{CLONE_ARGS_SIZE_VER0, CSIGNAL, CloneArgs, CloneFlags},
    time::Timeval,
    wait::{self, IdType, P_ALL, P_PGID, P_PID, P_PIDFD, WaitOptions},
};
use sentry::{
    kernel::{OrRestart, Restart, Stop, SysResult},
    task::{CloneRequest, Current, ExecRequest, Usage, WaitFor, Waited, open_process},
    vfs::{Lookup, ResolveContext},
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::decode::Never;

/// clone(2). On x86-64 the thread pointer comes last.
pub fn clone(
    cx: &mut Current,
    flags: CloneFlags,
    stack: UserAddr,
    parent_tid: UserOut<i32>,
    child_tid: UserOut<i32>,
    tls: u64,
) -> SysResult<Pid> {
    let bits = flags.bits() & 0xffff_ffff;
    let flags = CloneFlags::from_bits_retain(bits & !CSIGNAL);
    if flags.contains(CloneFlags::PIDFD)
        && flags.intersects(CloneFlags::PARENT_SETTID | CloneFlags::DETACHED)
    {
        // The same argument cannot be both.
        return Err(Errno::EINVAL.into());
    }
    let request = CloneRequest {
        flags,
        exit_signal: exit_signal(bits & CSIGNAL),
        stack: stack.raw(),
        tls,
        parent_tid: parent_tid.addr(),
        child_tid: child_tid.addr(),
        pidfd: parent_tid.addr(),
        set_tid: None,
    };
    cx.clone_task(&request).map(Pid)
}

/// The low byte of clone(2)'s flags: a signal or 0, for what is no signal tells nobody.
fn exit_signal(bits: u64) -> i32 {
    i32::try_from(bits).unwrap_or(0)
}

/// fork(2)
pub fn fork(cx: &mut Current) -> SysResult<Pid> {
    let request = CloneRequest { exit_signal: Signal::SIGCHLD.raw(), ..CloneRequest::default() };
    cx.clone_task(&request).map(Pid)
}

/// vfork(2)
pub fn vfork(cx: &mut Current) -> SysResult<Pid> {
    let request = CloneRequest {
        flags: CloneFlags::VFORK | CloneFlags::VM,
        exit_signal: Signal::SIGCHLD.raw(),
        ..CloneRequest::default()
    };
    cx.clone_task(&request).map(Pid)
}

/// clone3(2). Checks stand in the order of `copy_clone_args_from_user` and `clone3_args_valid`.
pub fn clone3(cx: &mut Current, cl_args: UserIn<CloneArgs>, size: usize) -> SysResult<Pid> {
    let args = read_extensible(cx, cl_args, size, CLONE_ARGS_SIZE_VER0)?;
    if args.set_tid_size > 32
        || (args.set_tid == 0) != (args.set_tid_size == 0)
        || args.exit_signal & !CSIGNAL != 0
        || args.exit_signal > 64
    {
        return Err(Errno::EINVAL.into());
    }
    let flags = CloneFlags::from_bits_retain(args.flags);
    if flags.bits() & CSIGNAL & !CloneFlags::NEWTIME.bits() != 0
        || CloneFlags::from_bits(args.flags).is_none()
        || flags.contains(CloneFlags::DETACHED)
        || (flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT) && args.exit_signal != 0)
        || (args.stack == 0) != (args.stack_size == 0)
    {
        return Err(Errno::EINVAL.into());
    }
    let set_tid = if args.set_tid_size == 0 {
        None
    } else {
        // More than one id would need nested pid namespaces.
        if args.set_tid_size > 1 {
            return Err(Errno::EINVAL.into());
        }
        let wanted: i32 = cx.read(UserIn::new(UserAddr(args.set_tid)))?;
        if wanted <= 0 {
            return Err(Errno::EINVAL.into());
        }
        if !cx.creds().has(abi::cred::Capabilities::CHECKPOINT_RESTORE)
            && !cx.creds().has(abi::cred::Capabilities::SYS_ADMIN)
        {
            return Err(Errno::EPERM.into());
        }
        Some(wanted)
    };
    let request = CloneRequest {
        flags,
        exit_signal: exit_signal(args.exit_signal),
        stack: args.stack.wrapping_add(args.stack_size),
        tls: args.tls,
        parent_tid: UserAddr(args.parent_tid),
        child_tid: UserAddr(args.child_tid),
        pidfd: UserAddr(args.pidfd),
        set_tid,
    };
    cx.clone_task(&request).map(Pid)
}

/// A structure that grows with Linux's versions (`copy_struct_from_user`): shorter ones are filled with
/// zeros, in longer ones the rest must be zero (`E2BIG`).
pub(crate) fn read_extensible<T: FromBytes + IntoBytes + FromZeros>(
    cx: &mut Current,
    from: UserIn<T>,
    size: usize,
    least: usize,
) -> Result<T, Errno> {
    if size > usize::try_from(abi::PAGE_SIZE).unwrap_or(usize::MAX) {
        return Err(Errno::E2BIG);
    }
    if size < least {
        return Err(Errno::EINVAL);
    }
    let bytes = cx.read_slice(from.cast::<u8>(), size)?;
    let known = size.min(size_of::<T>());
    if bytes.iter().skip(known).any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let mut value = T::new_zeroed();
    for (to, from) in value.as_mut_bytes().iter_mut().zip(bytes) {
        *to = from;
    }
    Ok(value)
}

/// exit(2)
pub fn exit(_cx: &mut Current, status: i32) -> SysResult<Never> {
    Err(Stop::Exit(wait::exited(status)))
}

/// exit_group(2)
pub fn exit_group(cx: &mut Current, status: i32) -> SysResult<Never> {
    Err(cx.exit_group(wait::exited(status)))
}

/// wait4(2)
pub fn wait4(
    cx: &mut Current,
    pid: Pid,
    wstatus: UserOut<i32>,
    options: WaitOptions,
    rusage: UserOut<Rusage>,
) -> SysResult<Pid> {
    use WaitOptions as W;
    let known =
        W::WNOHANG | W::WUNTRACED | W::WCONTINUED | W::__WNOTHREAD | W::__WCLONE | W::__WALL;
    if !known.contains(options) {
        return Err(Errno::EINVAL.into());
    }
    let which = match pid.0 {
        i32::MIN => return Err(Errno::ESRCH.into()),
        -1 => WaitFor::Any,
        0 => WaitFor::Group(own_process_group(cx)),
        id @ ..=-2 => WaitFor::Group(-id),
        id => WaitFor::Process(id),
    };
    let waited = cx.wait_for_child(which, options | W::WEXITED).or_restart(Restart::IfSaRestart)?;
    let Some(waited) = waited else { return Ok(Pid(0)) };
    if let Some(to) = wstatus.nullable() {
        cx.write(to, &waited.status)?;
    }
    if let Some(to) = rusage.nullable() {
        cx.write(to, &rusage_of(waited.usage))?;
    }
    Ok(Pid(waited.pid))
}

/// waitid(2). The fifth argument is Linux's own: what the child used.
pub fn waitid(
    cx: &mut Current,
    idtype: IdType,
    id: Pid,
    infop: UserOut<SigInfo>,
    options: WaitOptions,
    rusage: UserOut<Rusage>,
) -> SysResult<u64> {
    use WaitOptions as W;
    if options.known().is_none() || !options.intersects(W::WEXITED | W::WUNTRACED | W::WCONTINUED) {
        return Err(Errno::EINVAL.into());
    }
    let which = match idtype.0 {
        P_ALL => WaitFor::Any,
        P_PID if id.0 > 0 => WaitFor::Process(id.0),
        P_PGID if id.0 == 0 => WaitFor::Group(own_process_group(cx)),
        P_PGID if id.0 > 0 => WaitFor::Group(id.0),
        P_PIDFD if id.0 >= 0 => WaitFor::Process(pid_of_pidfd(cx, Fd(id.0))?),
        _ => return Err(Errno::EINVAL.into()),
    };
    let waited = cx.wait_for_child(which, options).or_restart(Restart::IfSaRestart)?;
    if let (Some(to), Some(waited)) = (rusage.nullable(), &waited) {
        cx.write(to, &rusage_of(waited.usage))?;
    }
    if let Some(to) = infop.nullable() {
        cx.write(to, &info_of(waited))?;
    }
    Ok(0)
}

/// What waitid(2) tells; all zero when no child has done anything.
fn info_of(waited: Option<Waited>) -> SigInfo {
    let Some(waited) = waited else { return SigInfo::default() };
    let mut info = SigInfo::child(waited.code, waited.pid, waited.uid, waited.value, 0, 0);
    info.si_errno = 0;
    info
}

fn own_process_group(cx: &Current) -> i32 {
    let tasks = cx.kernel().tasks();
    tasks.process(cx.task().pid()).map_or(0, |process| process.process_group)
}

fn pid_of_pidfd(cx: &Current, fd: Fd) -> Result<i32, Errno> {
    let file = cx.file(fd)?;
    sentry::task::pidfd_target(&file).ok_or(Errno::EBADF)
}

/// A usage as getrusage(2) tells it.
pub(crate) fn rusage_of(usage: Usage) -> Rusage {
    let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let time = |nanos: u64| Timeval {
        tv_sec: count(nanos / 1_000_000_000),
        tv_usec: count(nanos / 1000 % 1_000_000),
    };
    Rusage {
        ru_utime: time(usage.user_ns),
        ru_stime: time(usage.system_ns),
        ru_maxrss: count(usage.max_rss),
        ru_nvcsw: count(usage.voluntary_switches),
        ..Rusage::default()
    }
}

/// personality(2)
pub fn personality(cx: &mut Current, persona: u32) -> SysResult<u32> {
    let old = cx.group().personality();
    if persona != u32::MAX {
        cx.group().set_personality(persona);
    }
    Ok(old)
}

/// set_tid_address(2)
pub fn set_tid_address(cx: &mut Current, tidptr: UserOut<i32>) -> SysResult<Pid> {
    cx.task().update_facts(|facts| facts.clear_child_tid = tidptr.addr().raw());
    Ok(Pid(cx.task().tid()))
}

/// kcmp(2)
pub fn kcmp(
    cx: &mut Current,
    pid1: Pid,
    pid2: Pid,
    kind: KcmpType,
    idx1: u64,
    idx2: u64,
) -> SysResult<i32> {
    use abi::kcmp::{KCMP_FILE, KCMP_FILES, KCMP_FS, KCMP_IO, KCMP_SIGHAND, KCMP_SYSVSEM, KCMP_VM};
    let find = |pid: Pid| cx.kernel().tasks().task(pid.0).ok_or(Errno::ESRCH);
    let (a, b) = (find(pid1)?, find(pid2)?);
    for task in [&a, &b] {
        crate::ids::check_trace(cx, task)?;
    }
    let (ra, rb) = (a.resources().ok_or(Errno::ESRCH)?, b.resources().ok_or(Errno::ESRCH)?);
    let order = |x: usize, y: usize| match x.cmp(&y) {
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Greater => 2,
    };
    let address = |pointer: *const ()| pointer.addr();
    let at = |arc: &Arc<sentry::task::FdTable>, index: u64| {
        let fd = i32::try_from(index).map(Fd).map_err(|_| Errno::EBADF)?;
        let file = arc.file(fd).ok_or(Errno::EBADF)?;
        Ok::<_, Errno>(address(Arc::as_ptr(&file).cast()))
    };
    let same = |x: *const (), y: *const ()| order(address(x), address(y));
    use std::sync::Arc as A;
    Ok(match kind.0 {
        KCMP_FILE => order(at(&ra.fds, idx1)?, at(&rb.fds, idx2)?),
        KCMP_VM => same(A::as_ptr(&ra.mm).cast(), A::as_ptr(&rb.mm).cast()),
        KCMP_FILES => same(A::as_ptr(&ra.fds).cast(), A::as_ptr(&rb.fds).cast()),
        KCMP_FS => same(A::as_ptr(&ra.fs).cast(), A::as_ptr(&rb.fs).cast()),
        KCMP_SIGHAND => order(a.group().handlers_id(), b.group().handlers_id()),
        KCMP_IO | KCMP_SYSVSEM => {
            let index = usize::from(kind.0 == KCMP_SYSVSEM);
            let token =
                |all: &[A<()>; 2]| all.get(index).map_or(0, |token| A::as_ptr(token).addr());
            order(token(&ra.tokens), token(&rb.tokens))
        }
        _ => return Err(Errno::EINVAL.into()),
    })
}

/// execve(2). On success the registers are the new program's.
pub fn execve(
    cx: &mut Current,
    path: UserCStr,
    argv: UserIn<UserCStr>,
    envp: UserIn<UserCStr>,
) -> SysResult<Never> {
    execveat(cx, DirFd::CWD, path, argv, envp, AtFlags::empty())
}

/// execveat(2)
pub fn execveat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    argv: UserIn<UserCStr>,
    envp: UserIn<UserCStr>,
    flags: AtFlags,
) -> SysResult<Never> {
    if !(AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let path = cx.read_path(path)?;
    if path.is_empty() && !flags.contains(AtFlags::EMPTY_PATH) {
        return Err(Errno::ENOENT.into());
    }
    let fs = cx.fs_context();
    let (mut name, mut is_path_inaccessible) = (path.clone(), false);
    let start = if dirfd == DirFd::CWD || path.first() == Some(&b'/') {
        fs.cwd()
    } else {
        let entry = cx.fd_table().get(dirfd.fd()).ok_or(Errno::EBADF)?;
        is_path_inaccessible = entry.close_on_exec;
        name = format!("/dev/fd/{dirfd}").into_bytes();
        if !path.is_empty() {
            name.push(b'/');
            name.extend_from_slice(&path);
        }
        entry.file.place().clone()
    };
    let mut lookup = Lookup::empty();
    lookup.set(Lookup::EMPTY, flags.contains(AtFlags::EMPTY_PATH));
    lookup.set(Lookup::FOLLOW, !flags.contains(AtFlags::SYMLINK_NOFOLLOW));
    let request = ExecRequest {
        resolve: ResolveContext { root: fs.root(), start, creds: cx.creds() },
        path,
        lookup,
        name,
        is_path_inaccessible,
        arguments: argv,
        environment: envp,
    };
    Err(cx.execute(&request))
}

/// pidfd_open(2)
pub fn pidfd_open(cx: &mut Current, pid: Pid, flags: PidfdFlags) -> SysResult<Fd> {
    // DIFFERS: a pidfd is of a process; those of a thread (`PIDFD_THREAD`) are refused.
    if !PidfdFlags::NONBLOCK.contains(flags) || pid.0 <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let group = {
        let tasks = cx.kernel().tasks();
        match tasks.process(pid.0) {
            Some(process) => Arc::clone(&process.group),
            None => return Err(tasks.task(pid.0).map_or(Errno::ESRCH, |_| Errno::ENOENT).into()),
        }
    };
    let mut status = OpenFlags::empty();
    status.set(OpenFlags::NONBLOCK, flags.contains(PidfdFlags::NONBLOCK));
    Ok(cx.install(open_process(&group, status), true)?)
}

/// pidfd_getfd(2)
pub fn pidfd_getfd(cx: &mut Current, pidfd: Fd, targetfd: Fd, flags: u32) -> SysResult<Fd> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let pid = pid_of_pidfd(cx, pidfd)?;
    let leader = {
        let tasks = cx.kernel().tasks();
        tasks.process(pid).map(|process| Arc::clone(&process.leader)).ok_or(Errno::ESRCH)?
    };
    crate::ids::check_trace(cx, &leader)?;
    let table = leader.fd_table().ok_or(Errno::ESRCH)?;
    let file = table.file(targetfd).ok_or(Errno::EBADF)?;
    Ok(cx.install(file, true)?)
}
