// SPDX-License-Identifier: Apache-2.0
//! Namespaces.

use abi::{Errno, Fd, cred::Capabilities, sched::CloneFlags};
use sentry::{kernel::SysResult, task::Current};

/// unshare(2). Checks stand in the order of `kernel/fork.c: check_unshare_flags`.
pub fn unshare(cx: &mut Current, flags: CloneFlags) -> SysResult {
    use CloneFlags as F;
    let namespaces = F::NEWNS
        | F::NEWCGROUP
        | F::NEWUTS
        | F::NEWIPC
        | F::NEWUSER
        | F::NEWPID
        | F::NEWNET
        | F::NEWTIME;
    let tasks = F::THREAD | F::FS | F::SIGHAND | F::VM | F::FILES | F::SYSVSEM;
    if !(namespaces | tasks).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let is_alone = cx.group().threads().len() == 1;
    if flags.intersects(F::THREAD | F::SIGHAND | F::VM) && !is_alone {
        return Err(Errno::EINVAL.into());
    }
    let needs_right = namespaces.difference(F::NEWUSER);
    if flags.intersects(needs_right)
        && !flags.contains(F::NEWUSER)
        && !cx.creds().has(Capabilities::SYS_ADMIN)
    {
        return Err(Errno::EPERM.into());
    }
    // DIFFERS: of the namespaces only UTS and mount ones can be made; a kernel built without the others
    // answers so.
    if flags.intersects(namespaces.difference(F::NEWUTS | F::NEWNS)) {
        return Err(Errno::EINVAL.into());
    }
    cx.unshare(flags);
    Ok(())
}

/// setns(2): there is no file that names a namespace one could enter.
pub fn setns(cx: &mut Current, fd: Fd, _nstype: CloneFlags) -> SysResult {
    cx.file_or_path(fd)?;
    Err(Errno::EINVAL.into())
}
