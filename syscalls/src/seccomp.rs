// SPDX-License-Identifier: Apache-2.0
//! seccomp(2).

use abi::{
    Errno, UserAddr, UserIn, UserOut,
    num::to_u64,
    seccomp::{
        BPF_MAXINSNS, SECCOMP_GET_ACTION_AVAIL, SECCOMP_GET_NOTIF_SIZES, SECCOMP_MODE_FILTER,
        SECCOMP_MODE_STRICT, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS,
        SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG, SECCOMP_RET_TRACE, SECCOMP_RET_TRAP,
        SECCOMP_SET_MODE_FILTER, SECCOMP_SET_MODE_STRICT, SeccompFilterFlags, SeccompNotifSizes,
        SeccompOperation, SockFilter, SockFprog,
    },
};
use sentry::{
    kernel::SysResult,
    task::{Current, seccomp::Attach},
};

/// seccomp(2)
pub fn seccomp(
    cx: &mut Current,
    op: SeccompOperation,
    flags: u32,
    args: UserAddr,
) -> SysResult<u64> {
    match op.0 {
        SECCOMP_SET_MODE_STRICT if flags == 0 && args.is_null() => set_strict(cx),
        SECCOMP_SET_MODE_FILTER => set_filter(cx, flags, args),
        SECCOMP_GET_ACTION_AVAIL if flags == 0 => {
            let action = cx.read(UserIn::<u32>::new(args))?;
            let is_known = matches!(
                action,
                SECCOMP_RET_KILL_PROCESS
                    | SECCOMP_RET_KILL_THREAD
                    | SECCOMP_RET_TRAP
                    | SECCOMP_RET_ERRNO
                    | SECCOMP_RET_TRACE
                    | SECCOMP_RET_LOG
                    | SECCOMP_RET_ALLOW
            );
            if is_known { Ok(0) } else { Err(Errno::EOPNOTSUPP.into()) }
        }
        SECCOMP_GET_NOTIF_SIZES if flags == 0 => {
            let sizes =
                SeccompNotifSizes { seccomp_notif: 80, seccomp_notif_resp: 24, seccomp_data: 64 };
            cx.write(UserOut::new(args), &sizes)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// prctl(2) `PR_SET_SECCOMP`.
pub(crate) fn prctl_set(cx: &mut Current, mode: u64, filter: UserAddr) -> SysResult<u64> {
    match u32::try_from(mode) {
        Ok(SECCOMP_MODE_STRICT) => set_strict(cx),
        Ok(SECCOMP_MODE_FILTER) => set_filter(cx, 0, filter),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// DIFFERS: the time stamp counter stays readable, for it cannot be made to fault in a stub.
fn set_strict(cx: &mut Current) -> SysResult<u64> {
    cx.set_seccomp_strict()?;
    Ok(0)
}

/// Checks stand in the order of `kernel/seccomp.c: seccomp_set_mode_filter`.
fn set_filter(cx: &mut Current, flags: u32, args: UserAddr) -> SysResult<u64> {
    let flags = SeccompFilterFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    // DIFFERS: nobody can be notified, as on a kernel from before Linux 5.0.
    let listens = SeccompFilterFlags::NEW_LISTENER | SeccompFilterFlags::WAIT_KILLABLE_RECV;
    if flags.intersects(listens) {
        return Err(Errno::EINVAL.into());
    }
    let program = cx.read(UserIn::<SockFprog>::new(args))?;
    let len = usize::from(program.len);
    if len == 0 || len > BPF_MAXINSNS {
        return Err(Errno::EINVAL.into());
    }
    cx.may_filter()?;
    if program.filter == 0 {
        return Err(Errno::EINVAL.into());
    }
    let code = cx.read_slice(UserIn::<SockFilter>::new(UserAddr(program.filter)), len)?;
    let how = Attach {
        synchronizes: flags.contains(SeccompFilterFlags::TSYNC),
        is_logged: flags.contains(SeccompFilterFlags::LOG),
    };
    match cx.add_seccomp_filter(&code, how)? {
        None => Ok(0),
        Some(_) if flags.contains(SeccompFilterFlags::TSYNC_ESRCH) => Err(Errno::ESRCH.into()),
        Some(thread) => Ok(to_u64(usize::try_from(thread).unwrap_or(0))),
    }
}
