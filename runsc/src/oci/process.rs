// SPDX-License-Identifier: Apache-2.0
//! `process` of config.json, and of `exec --process`.

use std::os::unix::ffi::OsStrExt;

use abi::sched::{SCHED_BATCH, SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RR};
use oci_spec::runtime::{
    self as oci, IOPriorityClass, LinuxSchedulerFlag, LinuxSchedulerPolicy as Policy,
};
use tracing::debug;

use super::{bundle::BundleError, caps, rlimits};
use crate::sandbox::plan::{Bytes, Capabilities, Process, Scheduling};

fn refuse<T>(field: &str, why: impl Into<String>) -> Result<T, BundleError> {
    Err(BundleError::field(field, why))
}

/// Checks a process and turns it into a plan.
pub(crate) fn convert(process: &oci::Process) -> Result<Process, BundleError> {
    name_ignored(process);
    let args = process.args().as_deref().unwrap_or_default();
    if args.is_empty() {
        return refuse("process.args", "args must not be empty");
    }
    let env = process.env().as_deref().unwrap_or_default();
    for (field, list) in [("process.args", args), ("process.env", env)] {
        if let Some(index) = list.iter().position(|text| text.contains('\0')) {
            return refuse(&format!("{field}[{index}]"), "has a NUL byte");
        }
    }
    let cwd = process.cwd();
    if cwd.as_os_str().as_bytes().contains(&0) {
        return refuse("process.cwd", "has a NUL byte");
    }
    if !cwd.is_absolute() {
        return refuse("process.cwd", format!("cwd {} is not absolute", cwd.display()));
    }
    let bytes = |text: &String| Bytes::from(text.as_bytes());
    let user = process.user();
    for (field, id) in [("process.user.uid", user.uid()), ("process.user.gid", user.gid())] {
        if id == u32::MAX {
            return refuse(field, "is no id");
        }
    }
    let groups = user.additional_gids().clone().unwrap_or_default();
    if groups.len() > GROUPS || groups.contains(&u32::MAX) {
        return refuse("process.user.additionalGids", "more groups than there can be, or no ids");
    }
    let umask = user.umask().unwrap_or(0o022);
    if umask > 0o777 {
        return refuse("process.user.umask", format!("{umask:o} has bits that are no permissions"));
    }
    let adjust = process.oom_score_adj();
    if adjust.is_some_and(|adjust| !(-1000..=1000).contains(&adjust)) {
        return refuse("process.oomScoreAdj", "is not between -1000 and 1000");
    }
    Ok(Process {
        args: args.iter().map(bytes).collect(),
        env: env.iter().map(bytes).collect(),
        cwd: Bytes::from(cwd.as_os_str().as_bytes()),
        uid: user.uid(),
        gid: user.gid(),
        groups,
        umask,
        capabilities: process.capabilities().as_ref().map(capabilities).unwrap_or_default(),
        rlimits: limits(process)?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        terminal: process.terminal().unwrap_or(false),
        is_ordinary: false,
        oom_score_adj: adjust,
        scheduling: scheduling(process)?,
    })
}

/// Linux's `NGROUPS_MAX`.
const GROUPS: usize = 65_536;

fn name_ignored(process: &oci::Process) {
    let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    for (field, is_given, why) in [
        (
            "process.apparmorProfile",
            is_given(process.apparmor_profile()),
            "profiles are for the host's kernel, which the guest cannot reach",
        ),
        (
            "process.selinuxLabel",
            is_given(process.selinux_label()),
            "labels are for the host's kernel, which the guest cannot reach",
        ),
        ("process.commandLine", is_given(process.command_line()), "it is for Windows"),
    ] {
        if is_given {
            debug!("config.json: {field} is ignored: {why}");
        }
    }
}

fn limits(process: &oci::Process) -> Result<Vec<(u32, u64, u64)>, BundleError> {
    let mut limits: Vec<(u32, u64, u64)> = Vec::new();
    for (index, limit) in process.rlimits().iter().flatten().enumerate() {
        let at = format!("process.rlimits[{index}]");
        let typ = limit.typ().to_string();
        let Some(number) = rlimits::number(&typ) else {
            return refuse(&at, format!("invalid rlimit type {typ}"));
        };
        if limit.soft() > limit.hard() {
            return refuse(&at, format!("{typ} has soft above hard"));
        }
        if limits.iter().any(|(other, ..)| *other == number) {
            return refuse(&at, format!("duplicated rlimit type {typ}"));
        }
        limits.push((number, limit.soft(), limit.hard()));
    }
    Ok(limits)
}

fn capabilities(sets: &oci::LinuxCapabilities) -> Capabilities {
    let bits = |set: &Option<oci::Capabilities>| {
        let names: Vec<String> = set.iter().flatten().map(ToString::to_string).collect();
        caps::bits(names.iter().map(String::as_str))
    };
    Capabilities {
        bounding: bits(sets.bounding()),
        effective: bits(sets.effective()),
        permitted: bits(sets.permitted()),
        inheritable: bits(sets.inheritable()),
        ambient: bits(sets.ambient()),
    }
}

/// What the guest is shown of its scheduling; the host schedules the sandbox as it will.
fn scheduling(process: &oci::Process) -> Result<Scheduling, BundleError> {
    let mut told = Scheduling::default();
    if let Some(scheduler) = process.scheduler() {
        told.policy = match scheduler.policy() {
            Policy::SchedOther => SCHED_OTHER,
            Policy::SchedFifo => SCHED_FIFO,
            Policy::SchedRr => SCHED_RR,
            Policy::SchedBatch => SCHED_BATCH,
            Policy::SchedIdle => SCHED_IDLE,
            Policy::SchedIso | Policy::SchedDeadline => {
                return refuse("process.scheduler.policy", "is not a policy of the sandbox");
            }
        };
        let is_real_time = matches!(scheduler.policy(), Policy::SchedFifo | Policy::SchedRr);
        told.nice = scheduler.nice().unwrap_or(0);
        if !(-20..=19).contains(&told.nice) {
            return refuse("process.scheduler.nice", "is not between -20 and 19");
        }
        told.priority = scheduler.priority().unwrap_or(0);
        let priorities = if is_real_time { 1..=99 } else { 0..=0 };
        if !priorities.contains(&told.priority) {
            return refuse("process.scheduler.priority", "is not one of the policy's");
        }
        for flag in scheduler.flags().iter().flatten() {
            match flag {
                LinuxSchedulerFlag::SchedResetOnFork => told.resets_on_fork = true,
                other => debug!("config.json: process.scheduler.flags: {other:?} has no effect"),
            }
        }
    }
    if let Some(priority) = process.io_priority() {
        let class = match priority.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        match i32::try_from(priority.priority()) {
            Ok(level @ 0..=7) => told.io_priority = class << 13 | level,
            _ => return refuse("process.ioPriority.priority", "is not between 0 and 7"),
        }
    }
    Ok(told)
}
