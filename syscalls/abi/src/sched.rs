// SPDX-License-Identifier: Apache-2.0
//! `linux/sched.h`, `linux/sched/types.h`: clone(2) and scheduling.

use crate::macros::{consts, flags, layout, values};

flags! {
    /// clone(2)\'s and unshare(2)\'s flags; the low byte of clone(2)\'s is the exit signal.
    pub struct CloneFlags: u64 = "CLONE_" {
        NEWTIME = 0x80;
        VM = 0x100;
        FS = 0x200;
        FILES = 0x400;
        SIGHAND = 0x800;
        PIDFD = 0x1000;
        PTRACE = 0x2000;
        VFORK = 0x4000;
        PARENT = 0x8000;
        THREAD = 0x10000;
        NEWNS = 0x20000;
        SYSVSEM = 0x40000;
        SETTLS = 0x80000;
        PARENT_SETTID = 0x100000;
        CHILD_CLEARTID = 0x200000;
        DETACHED = 0x400000;
        UNTRACED = 0x800000;
        CHILD_SETTID = 0x1000000;
        NEWCGROUP = 0x2000000;
        NEWUTS = 0x4000000;
        NEWIPC = 0x8000000;
        NEWUSER = 0x10000000;
        NEWPID = 0x20000000;
        NEWNET = 0x40000000;
        IO = 0x80000000;
        CLEAR_SIGHAND = 0x100000000;
        INTO_CGROUP = 0x200000000;
    }
}

/// The byte of clone(2)'s flags that holds the exit signal.
pub const CSIGNAL: u64 = 0xff;

layout! {
    /// clone3(2)'s argument, with all that Linux 5.7 added.
    pub struct CloneArgs [88] {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    /// sched_setparam(2)'s argument.
    pub struct SchedParam [4] {
        sched_priority: i32,
    }
    /// sched_setattr(2)'s argument.
    pub struct SchedAttr [56] {
        size: u32,
        sched_policy: u32,
        sched_flags: u64,
        sched_nice: i32,
        sched_priority: u32,
        sched_runtime: u64,
        sched_deadline: u64,
        sched_period: u64,
        sched_util_min: u32,
        sched_util_max: u32,
    }
}

values! {
    /// Scheduling policies.
    pub struct SchedPolicy: i32 {
        SCHED_OTHER = 0;
        SCHED_FIFO = 1;
        SCHED_RR = 2;
        SCHED_BATCH = 3;
        SCHED_IDLE = 5;
        SCHED_DEADLINE = 6;
        SCHED_EXT = 7;
    }
}

values! {
    /// getpriority(2)\'s `which`.
    pub struct PriorityWhich: i32 {
        PRIO_PROCESS = 0;
        PRIO_PGRP = 1;
        PRIO_USER = 2;
    }
}

consts! {
    i32;
    SCHED_RESET_ON_FORK = 0x40000000;
}

flags! {
    /// `sched_attr.sched_flags`.
    pub struct SchedFlags: u64 = "SCHED_FLAG_" {
        RESET_ON_FORK = 1;
        RECLAIM = 2;
        DL_OVERRUN = 4;
        KEEP_POLICY = 8;
        KEEP_PARAMS = 0x10;
        UTIL_CLAMP_MIN = 0x20;
        UTIL_CLAMP_MAX = 0x40;
    }
}

consts! {
    usize;
    CLONE_ARGS_SIZE_VER0 = 64;
    CLONE_ARGS_SIZE_VER1 = 80;
    CLONE_ARGS_SIZE_VER2 = 88;
    SCHED_ATTR_SIZE_VER0 = 48;
    SCHED_ATTR_SIZE_VER1 = 56;
}
