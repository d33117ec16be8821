// SPDX-License-Identifier: Apache-2.0
//! What is stored of scheduling: deadlines, I/O classes, timer slack, shared contexts.

use crate::kit;

fn set(runtime: u64, deadline: u64, period: u64, flags: u64) -> kit::Ret {
    let attr = [48u64 | 6 << 32, flags, 0, runtime, deadline, period];
    sys!(sched_setattr, 0, attr.as_ptr(), 0)
}

pub fn deadlines() {
    const MS: u64 = 1_000_000;
    // Only what is refused: whether a host has bandwidth to give is its own matter.
    for (runtime, deadline, period) in
        [(0, MS, MS), (1000, MS, MS), (2 * MS, MS, MS), (MS, 2 * MS, MS), (MS, 5000 * MS, 5000 * MS), (MS, 0, 0)]
    {
        show!(format!("{runtime} {deadline} {period}"), set(runtime, deadline, period, 0));
    }
    let param = 0i32;
    show!("without the rest", sys!(sched_setscheduler, 0, 6, &raw const param));
}

pub fn io_classes() {
    show!("never set", sys!(ioprio_get, 1, 0));
    for value in [2 << 13 | 5, 3 << 13, 0] {
        show!(format!("set {value:#x}"), sys!(ioprio_set, 1, 0, value));
        show!("get", sys!(ioprio_get, 1, 0));
    }
}

pub fn timer_slack() {
    let get = || sys!(prctl, libc::PR_GET_TIMERSLACK, 0, 0, 0, 0);
    show!("at first", get());
    sys!(prctl, libc::PR_SET_TIMERSLACK, 70_000, 0, 0, 0).ok();
    show!("set", get());
    let status = kit::in_child(|| {
        show!("inherited", get());
        sys!(prctl, libc::PR_SET_TIMERSLACK, 10, 0, 0, 0).ok();
        sys!(prctl, libc::PR_SET_TIMERSLACK, 0, 0, 0, 0).ok();
        show!("back to what it was born with", get());
        0
    });
    show!("it", kit::status(status));
    sys!(prctl, libc::PR_SET_TIMERSLACK, 0, 0, 0, 0).ok();
    show!("back", get());
}

pub fn shared_contexts() {
    let me = sys!(getpid).ok();
    let kinds = [("VM", 1), ("FILES", 2), ("FS", 3), ("SIGHAND", 4), ("IO", 5), ("SYSVSEM", 6)];
    for flags in [0, libc::CLONE_IO, libc::CLONE_SYSVSEM, libc::CLONE_FILES | libc::CLONE_FS] {
        let pid = sys!(clone, flags | libc::SIGCHLD, 0, 0, 0, 0).0;
        if pid == 0 {
            sys!(pause);
        }
        for (name, kind) in kinds {
            let same = sys!(kcmp, me, pid, kind, 0, 0);
            show!(format!("{flags:#x} {name}"), if same.0 == 0 { "same" } else { "another" });
        }
        sys!(kill, pid, libc::SIGKILL).ok();
        kit::wait_for(pid as i32);
    }
}

pub fn sticky_timeouts() {
    let mut time = [0i64, 200_000];
    sys!(select, 0, 0, 0, 0, time.as_mut_ptr()).ok();
    say!("{time:?}");
    show!("sticky", sys!(personality, 0x400_0000));
    let mut time = [0i64, 20_000];
    sys!(select, 0, 0, 0, 0, time.as_mut_ptr()).ok();
    say!("{time:?}");
}
