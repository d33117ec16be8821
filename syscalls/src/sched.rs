// SPDX-License-Identifier: Apache-2.0
//! Scheduling. The host schedules: what the guest sets is checked, kept and told, and no more.

use std::sync::Arc;

use abi::{
    Errno, Known, Pid, UserAddr, UserIn, UserOut,
    cred::Capabilities,
    resource::{RLIMIT_NICE, RLIMIT_RTPRIO},
    sched::{
        PRIO_PGRP, PRIO_PROCESS, PRIO_USER, PriorityWhich, SCHED_ATTR_SIZE_VER0, SCHED_BATCH,
        SCHED_DEADLINE, SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RESET_ON_FORK, SCHED_RR,
        SchedAttr, SchedFlags, SchedParam, SchedPolicy,
    },
    time::Timespec,
};
use sentry::{
    kernel::SysResult,
    task::{Current, Task},
};

/// Bits of a CPU mask word.
const WORD: usize = 64;

/// sched_yield(2). The host's scheduler decides; it may find nothing better to run.
pub fn sched_yield(_cx: &mut Current) -> SysResult {
    std::thread::yield_now();
    Ok(())
}

fn find(cx: &Current, pid: Pid) -> Result<Arc<Task>, Errno> {
    match pid.0 {
        0 => Ok(Arc::clone(cx.task())),
        pid => cx.kernel().tasks().task(pid).ok_or(Errno::ESRCH),
    }
}

/// Whether the caller may change the scheduling of `target` (`check_same_owner`).
fn owns(cx: &Current, target: &Task) -> bool {
    let (mine, theirs) = (cx.creds(), target.creds());
    mine.euid == theirs.euid || mine.euid == theirs.ruid
}

/// Whose priorities getpriority(2) and setpriority(2) mean.
fn chosen(cx: &Current, which: PriorityWhich, who: i32) -> Result<Vec<Arc<Task>>, Errno> {
    let tasks = cx.kernel().tasks();
    let found: Vec<Arc<Task>> = match which.0 {
        PRIO_PROCESS if who == 0 => vec![Arc::clone(cx.task())],
        PRIO_PROCESS => tasks.task(who).into_iter().collect(),
        PRIO_PGRP => {
            let own = tasks.process(cx.task().pid()).map_or(0, |process| process.process_group);
            let id = if who == 0 { own } else { who };
            let is_member = |pid| tasks.process(pid).is_some_and(|p| p.process_group == id);
            tasks.tasks().filter(|task| is_member(task.pid())).cloned().collect()
        }
        PRIO_USER => {
            let uid = if who == 0 { cx.creds().ruid } else { who.cast_unsigned() };
            tasks.tasks().filter(|task| task.creds().ruid == uid).cloned().collect()
        }
        _ => return Err(Errno::EINVAL),
    };
    if found.is_empty() { Err(Errno::ESRCH) } else { Ok(found) }
}

/// getpriority(2): 20 less the nice value, so that it is never negative.
pub fn getpriority(cx: &mut Current, which: PriorityWhich, who: i32) -> SysResult<i32> {
    let tasks = chosen(cx, which, who)?;
    let least = tasks.iter().map(|task| task.facts().nice).min().unwrap_or(0);
    Ok(20 - least)
}

/// setpriority(2)
pub fn setpriority(cx: &mut Current, which: PriorityWhich, who: i32, prio: i32) -> SysResult {
    which.known().ok_or(Errno::EINVAL)?;
    let nice = prio.clamp(-20, 19);
    for task in chosen(cx, which, who)? {
        if !owns(cx, &task) && !cx.creds().has(Capabilities::SYS_NICE) {
            return Err(Errno::EPERM.into());
        }
        if !may_nice(cx, &task, nice) {
            return Err(Errno::EACCES.into());
        }
        task.update_facts(|facts| facts.nice = nice);
    }
    Ok(())
}

fn may_nice(cx: &Current, task: &Task, nice: i32) -> bool {
    let wanted = u64::try_from(20 - nice).unwrap_or(0);
    nice >= task.facts().nice
        || wanted <= task.group().rlimits().soft(RLIMIT_NICE)
        || cx.creds().has(Capabilities::SYS_NICE)
}

/// Whether a policy has priorities 1 to 99; `EINVAL` if there is no such policy.
fn is_realtime(policy: i32) -> Result<bool, Errno> {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok(true),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE => Ok(false),
        _ => Err(Errno::EINVAL),
    }
}

fn set_policy(
    cx: &Current,
    task: &Task,
    policy: i32,
    priority: i32,
    nice: Option<i32>,
    resets: bool,
) -> Result<(), Errno> {
    let realtime = is_realtime(policy)?;
    if !(0..=99).contains(&priority) || realtime != (priority > 0) {
        return Err(Errno::EINVAL);
    }
    let old = task.facts();
    if !cx.creds().has(Capabilities::SYS_NICE) {
        let limit = task.group().rlimits().soft(RLIMIT_RTPRIO);
        let raises = policy != old.policy || priority > old.priority;
        let over = u64::try_from(priority).unwrap_or(0) > limit;
        if (realtime && raises && over)
            || nice.is_some_and(|nice| !may_nice(cx, task, nice))
            || !owns(cx, task)
            || (old.resets_on_fork && !resets)
        {
            return Err(Errno::EPERM);
        }
    }
    task.update_facts(|facts| {
        facts.policy = policy;
        facts.priority = priority;
        facts.resets_on_fork = resets;
        facts.nice = nice.unwrap_or(facts.nice);
    });
    Ok(())
}

/// sched_setparam(2)
pub fn sched_setparam(cx: &mut Current, pid: Pid, param: UserIn<SchedParam>) -> SysResult {
    if pid.0 < 0 || param.addr().is_null() {
        return Err(Errno::EINVAL.into());
    }
    let param = cx.read(param)?;
    let task = find(cx, pid)?;
    let facts = task.facts();
    let resets = facts.resets_on_fork;
    Ok(set_policy(cx, &task, facts.policy, param.sched_priority, None, resets)?)
}

/// sched_getparam(2)
pub fn sched_getparam(cx: &mut Current, pid: Pid, param: UserOut<SchedParam>) -> SysResult {
    if pid.0 < 0 || param.addr().is_null() {
        return Err(Errno::EINVAL.into());
    }
    let facts = find(cx, pid)?.facts();
    Ok(cx.write(param, &SchedParam { sched_priority: facts.priority })?)
}

/// sched_setscheduler(2)
pub fn sched_setscheduler(
    cx: &mut Current,
    pid: Pid,
    policy: SchedPolicy,
    param: UserIn<SchedParam>,
) -> SysResult {
    if policy.0 < 0 || pid.0 < 0 || param.addr().is_null() {
        return Err(Errno::EINVAL.into());
    }
    let param = cx.read(param)?;
    let task = find(cx, pid)?;
    let resets = policy.0 & SCHED_RESET_ON_FORK != 0;
    let policy = policy.0 & !SCHED_RESET_ON_FORK;
    Ok(set_policy(cx, &task, policy, param.sched_priority, None, resets)?)
}

/// sched_getscheduler(2)
pub fn sched_getscheduler(cx: &mut Current, pid: Pid) -> SysResult<i32> {
    if pid.0 < 0 {
        return Err(Errno::EINVAL.into());
    }
    let facts = find(cx, pid)?.facts();
    Ok(facts.policy | if facts.resets_on_fork { SCHED_RESET_ON_FORK } else { 0 })
}

/// sched_get_priority_max(2)
pub fn sched_get_priority_max(_cx: &mut Current, policy: SchedPolicy) -> SysResult<i32> {
    match policy.0 {
        SCHED_DEADLINE => Ok(0),
        policy => Ok(if is_realtime(policy)? { 99 } else { 0 }),
    }
}

/// sched_get_priority_min(2)
pub fn sched_get_priority_min(_cx: &mut Current, policy: SchedPolicy) -> SysResult<i32> {
    match policy.0 {
        SCHED_DEADLINE => Ok(0),
        policy => Ok(i32::from(is_realtime(policy)?)),
    }
}

/// sched_rr_get_interval(2)
pub fn sched_rr_get_interval(cx: &mut Current, pid: Pid, tp: UserOut<Timespec>) -> SysResult {
    if pid.0 < 0 {
        return Err(Errno::EINVAL.into());
    }
    let tv_nsec = match find(cx, pid)?.facts().policy {
        SCHED_RR => 100_000_000,
        SCHED_FIFO => 0,
        _ => 4_000_000,
    };
    Ok(cx.write(tp, &Timespec { tv_sec: 0, tv_nsec })?)
}

/// The CPUs that there are, as a mask.
fn possible(cx: &Current) -> [u64; 16] {
    let mut mask = [0; 16];
    let count = cx.kernel().limits().cpus.clamp(1, mask.len() * WORD);
    for cpu in 0..count {
        if let Some(word) = mask.get_mut(cpu / WORD) {
            *word |= 1 << (cpu % WORD);
        }
    }
    mask
}

/// Where a task may run: what it was allowed, as far as that is there (`cpuset_cpus_allowed`).
fn allowed(cx: &Current, task: &Task) -> [u64; 16] {
    let possible = possible(cx);
    let Some(mut mask) = task.facts().affinity else { return possible };
    mask.iter_mut().zip(possible).for_each(|(word, possible)| *word &= possible);
    if mask.iter().all(|word| *word == 0) { possible } else { mask }
}

/// sched_setaffinity(2)
pub fn sched_setaffinity(
    cx: &mut Current,
    pid: Pid,
    cpusetsize: u32,
    mask: UserIn<u8>,
) -> SysResult {
    let possible = possible(cx);
    let len = usize::try_from(cpusetsize).unwrap_or(usize::MAX).min(size_of_val(&possible));
    let bytes = cx.read_slice(mask, len)?;
    let task = find(cx, pid)?;
    if !owns(cx, &task) && !cx.creds().has(Capabilities::SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    let mut wanted = [0; 16];
    for (index, (word, possible)) in wanted.iter_mut().zip(possible).enumerate() {
        let mut raw = [0; 8];
        let from = bytes.get(index * 8..).unwrap_or_default();
        raw.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        *word = u64::from_ne_bytes(raw) & possible;
    }
    if wanted.iter().all(|word| *word == 0) {
        return Err(Errno::EINVAL.into());
    }
    task.update_facts(|facts| facts.affinity = Some(wanted));
    Ok(())
}

/// sched_getaffinity(2): the bytes written.
pub fn sched_getaffinity(
    cx: &mut Current,
    pid: Pid,
    cpusetsize: u32,
    mask: UserOut<u8>,
) -> SysResult<usize> {
    let len = usize::try_from(cpusetsize).unwrap_or(0);
    let cpus = cx.kernel().limits().cpus;
    if len.saturating_mul(8) < cpus || !len.is_multiple_of(8) {
        return Err(Errno::EINVAL.into());
    }
    let task = find(cx, pid)?;
    let allowed = allowed(cx, &task);
    // As much as the kernel's own mask has (`cpumask_size`).
    let needed = cpus.div_ceil(WORD) * 8;
    let bytes: Vec<u8> = allowed.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let told = len.min(needed);
    cx.write_bytes(mask.addr(), bytes.get(..told).unwrap_or(&bytes))?;
    Ok(told)
}

/// getcpu(2): DIFFERS: always the first allowed CPU, for the host moves stubs as it likes.
pub fn getcpu(
    cx: &mut Current,
    cpu: UserOut<u32>,
    node: UserOut<u32>,
    _tcache: UserAddr,
) -> SysResult {
    let allowed = allowed(cx, cx.task());
    let first = allowed.iter().position(|word| *word != 0).unwrap_or(0);
    let bit = allowed.get(first).map_or(0, |word| word.trailing_zeros());
    if let Some(to) = cpu.nullable() {
        let base = u32::try_from(first * WORD).unwrap_or(0);
        cx.write(to, &(base + bit))?;
    }
    if let Some(to) = node.nullable() {
        cx.write(to, &0)?;
    }
    Ok(())
}

/// sched_setattr(2)
pub fn sched_setattr(cx: &mut Current, pid: Pid, attr: UserIn<SchedAttr>, flags: u32) -> SysResult {
    if attr.addr().is_null() || pid.0 < 0 || flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let size: u32 = cx.read(attr.cast())?;
    let size = if size == 0 { SCHED_ATTR_SIZE_VER0 } else { usize::try_from(size).unwrap_or(0) };
    let attr = crate::task::read_extensible(cx, attr, size, SCHED_ATTR_SIZE_VER0)?;
    let flags = SchedFlags::from_bits(attr.sched_flags).ok_or(Errno::EINVAL)?;
    let policy = i32::try_from(attr.sched_policy).map_err(|_| Errno::EINVAL)?;
    let task = find(cx, pid)?;
    let policy = if flags.contains(SchedFlags::KEEP_POLICY) { task.facts().policy } else { policy };
    if policy == SCHED_DEADLINE {
        return Ok(set_deadline(cx, &task, &attr, flags)?);
    }
    let priority = i32::try_from(attr.sched_priority).map_err(|_| Errno::EINVAL)?;
    let nice = (!is_realtime(policy)?).then(|| attr.sched_nice.clamp(-20, 19));
    let resets = flags.contains(SchedFlags::RESET_ON_FORK);
    Ok(set_policy(cx, &task, policy, priority, nice, resets)?)
}

/// `SCHED_DEADLINE`, stored only. The checks are `__checkparam_dl`'s.
fn set_deadline(
    cx: &Current,
    task: &Task,
    attr: &SchedAttr,
    flags: SchedFlags,
) -> Result<(), Errno> {
    /// The shortest runtime, and the bounds of a period, in nanoseconds.
    const SHORTEST: u64 = 1 << 10;
    const PERIODS: std::ops::RangeInclusive<u64> = 100_000..=4_194_304_000;
    let (runtime, deadline) = (attr.sched_runtime, attr.sched_deadline);
    let period = if attr.sched_period == 0 { deadline } else { attr.sched_period };
    let is_sound = attr.sched_priority == 0
        && runtime >= SHORTEST
        && runtime <= deadline
        && deadline <= period
        && PERIODS.contains(&period);
    if !is_sound {
        return Err(Errno::EINVAL);
    }
    if !cx.creds().has(Capabilities::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    task.update_facts(|facts| {
        (facts.policy, facts.priority) = (SCHED_DEADLINE, 0);
        facts.deadline = [runtime, deadline, period];
        facts.resets_on_fork = flags.contains(SchedFlags::RESET_ON_FORK);
    });
    Ok(())
}

/// sched_getattr(2)
pub fn sched_getattr(
    cx: &mut Current,
    pid: Pid,
    attr: UserOut<SchedAttr>,
    size: u32,
    flags: u32,
) -> SysResult {
    use zerocopy::IntoBytes;
    let size = usize::try_from(size).unwrap_or(0);
    if attr.addr().is_null()
        || pid.0 < 0
        || !(SCHED_ATTR_SIZE_VER0..=4096).contains(&size)
        || flags != 0
    {
        return Err(Errno::EINVAL.into());
    }
    let facts = find(cx, pid)?.facts();
    let known = size.min(size_of::<SchedAttr>());
    let resets = if facts.resets_on_fork { SchedFlags::RESET_ON_FORK.bits() } else { 0 };
    let [sched_runtime, sched_deadline, sched_period] =
        if facts.policy == SCHED_DEADLINE { facts.deadline } else { [0; 3] };
    let told = SchedAttr {
        sched_runtime,
        sched_deadline,
        sched_period,
        size: u32::try_from(known).unwrap_or(0),
        sched_policy: facts.policy.cast_unsigned(),
        sched_flags: resets,
        sched_nice: facts.nice,
        sched_priority: facts.priority.cast_unsigned(),
        sched_util_max: 1024,
        ..SchedAttr::default()
    };
    Ok(cx.write_bytes(attr.addr(), told.as_bytes().get(..known).unwrap_or_default())?)
}

const IOPRIO_WHO_PROCESS: i32 = 1;
const IOPRIO_WHO_PGRP: i32 = 2;
const IOPRIO_WHO_USER: i32 = 3;
const IOPRIO_CLASS_SHIFT: i32 = 13;

fn io_chosen(cx: &Current, which: i32, who: i32) -> Result<Vec<Arc<Task>>, Errno> {
    let which = match which {
        IOPRIO_WHO_PROCESS => PRIO_PROCESS,
        IOPRIO_WHO_PGRP => PRIO_PGRP,
        IOPRIO_WHO_USER => PRIO_USER,
        _ => return Err(Errno::EINVAL),
    };
    chosen(cx, PriorityWhich(which), who)
}

/// ioprio_set(2)
pub fn ioprio_set(cx: &mut Current, which: i32, who: i32, ioprio: i32) -> SysResult {
    let class = ioprio >> IOPRIO_CLASS_SHIFT;
    match class {
        1 if !cx.creds().effective.intersects(Capabilities::SYS_ADMIN | Capabilities::SYS_NICE) => {
            return Err(Errno::EPERM.into());
        }
        1..=3 => {}
        0 if ioprio & 7 == 0 => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    for task in io_chosen(cx, which, who)? {
        task.update_facts(|facts| facts.io_priority = ioprio);
    }
    Ok(())
}

/// ioprio_get(2)
pub fn ioprio_get(cx: &mut Current, which: i32, who: i32) -> SysResult<i32> {
    let tasks = io_chosen(cx, which, who)?;
    // Of one task, as it was set, so that what was never set can be told.
    if which == IOPRIO_WHO_PROCESS {
        return Ok(tasks.first().map_or(0, |task| task.facts().io_priority));
    }
    let best = tasks.iter().map(|task| task.facts().io_priority).filter(|value| *value != 0).min();
    // What was never set counts as best effort in the middle.
    Ok(best.unwrap_or(2 << IOPRIO_CLASS_SHIFT | 4))
}
