// SPDX-License-Identifier: Apache-2.0
//! Resource limits and usage.

use std::sync::Arc;

use abi::{
    Errno, Pid, UserIn, UserOut,
    cred::Capabilities,
    resource::{
        RLIM_NLIMITS, RLIMIT_NOFILE, RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD, Resource,
        Rlimit64, Rusage, RusageWho,
    },
};
use sentry::{
    kernel::SysResult,
    task::{Current, Task},
};

/// What `fs.nr_open` says: no limit on descriptors goes beyond.
const MOST_FDS: u64 = 1 << 20;

fn check_resource(resource: Resource) -> Result<u32, Errno> {
    let index = usize::try_from(resource.0).map_err(|_| Errno::EINVAL)?;
    if index < RLIM_NLIMITS { Ok(resource.0) } else { Err(Errno::EINVAL) }
}

/// getrlimit(2)
pub fn getrlimit(cx: &mut Current, resource: Resource, rlim: UserOut<Rlimit64>) -> SysResult {
    let limit = cx.group().rlimits().get(check_resource(resource)?)?;
    Ok(cx.write(rlim, &limit)?)
}

/// setrlimit(2)
pub fn setrlimit(cx: &mut Current, resource: Resource, rlim: UserIn<Rlimit64>) -> SysResult {
    let new = cx.read(rlim)?;
    let resource = check_resource(resource)?;
    let task = Arc::clone(cx.task());
    Ok(change(cx, &task, resource, new)?)
}

/// `do_prlimit`: the checks of a change.
fn change(cx: &Current, task: &Task, resource: u32, new: Rlimit64) -> Result<(), Errno> {
    if new.rlim_cur > new.rlim_max {
        return Err(Errno::EINVAL);
    }
    if resource == RLIMIT_NOFILE && new.rlim_max > MOST_FDS {
        return Err(Errno::EPERM);
    }
    let limits = task.group().rlimits();
    let raises = new.rlim_max > limits.get(resource)?.rlim_max;
    if raises && !cx.creds().has(Capabilities::SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    limits.set(resource, new)?;
    if resource == abi::resource::RLIMIT_CPU {
        task.group().watch_cpu_limit();
    }
    Ok(())
}

/// prlimit64(2)
pub fn prlimit64(
    cx: &mut Current,
    pid: Pid,
    resource: Resource,
    new_limit: UserIn<Rlimit64>,
    old_limit: UserOut<Rlimit64>,
) -> SysResult {
    let new = new_limit.nullable().map(|from| cx.read(from)).transpose()?;
    let task = if pid.0 == 0 {
        Arc::clone(cx.task())
    } else {
        cx.kernel().tasks().task(pid.0).ok_or(Errno::ESRCH)?
    };
    check_permission(cx, &task)?;
    let resource = check_resource(resource)?;
    let old = task.group().rlimits().get(resource)?;
    if let Some(new) = new {
        change(cx, &task, resource, new)?;
    }
    if let Some(to) = old_limit.nullable() {
        cx.write(to, &old)?;
    }
    Ok(())
}

/// `check_prlimit_permission`.
fn check_permission(cx: &Current, target: &Arc<Task>) -> Result<(), Errno> {
    if Arc::ptr_eq(cx.task(), target) {
        return Ok(());
    }
    let (mine, theirs) = (cx.creds(), target.creds());
    let same = [theirs.euid, theirs.suid, theirs.ruid].iter().all(|uid| *uid == mine.ruid)
        && [theirs.egid, theirs.sgid, theirs.rgid].iter().all(|gid| *gid == mine.rgid);
    if same || mine.has(Capabilities::SYS_RESOURCE) { Ok(()) } else { Err(Errno::EPERM) }
}

/// getrusage(2)
pub fn getrusage(cx: &mut Current, who: RusageWho, usage: UserOut<Rusage>) -> SysResult {
    let mut told = match who.0 {
        RUSAGE_SELF => cx.group().usage(),
        RUSAGE_CHILDREN => cx.group().children_usage(),
        RUSAGE_THREAD => cx.task().usage(),
        _ => return Err(Errno::EINVAL.into()),
    };
    if who.0 != RUSAGE_CHILDREN {
        // DIFFERS: the resident set as it is now, for nobody watches how large it was.
        let pages = cx.mm().statm().get(1).copied().unwrap_or(0);
        told.max_rss = told.max_rss.max(pages.saturating_mul(abi::PAGE_SIZE / 1024));
    }
    Ok(cx.write(usage, &crate::task::rusage_of(told))?)
}
