// SPDX-License-Identifier: Apache-2.0
//! Scheduling.
//!
//! Covers: sched_yield, sched_getscheduler, sched_setscheduler, sched_getparam, sched_setparam, sched_get_priority_max, sched_get_priority_min, sched_rr_get_interval, sched_getaffinity, sched_setaffinity, sched_getattr, sched_setattr, getpriority, setpriority, getcpu, ioprio_get, ioprio_set.

use crate::kit;

pub fn policies() {
    show!("yield", sys!(sched_yield));
    show!("policy", sys!(sched_getscheduler, 0));
    let mut param = 9i32;
    show!("param", sys!(sched_getparam, 0, &raw mut param));
    show!("value", param);
    param = 0;
    show!("batch", sys!(sched_setscheduler, 0, 3, &raw const param));
    show!("policy", sys!(sched_getscheduler, 0));
    param = 5;
    show!("priority of batch", sys!(sched_setscheduler, 0, 3, &raw const param));
    show!("unknown", sys!(sched_setscheduler, 0, 77, &raw const param));
    show!("null", sys!(sched_setscheduler, 0, 0, 0));
    show!("no such process", sys!(sched_getscheduler, 0x3fff_fff0));
    show!("negative", sys!(sched_getscheduler, -1));
    for policy in [0, 1, 2, 3, 5, 6, 9] {
        let max = sys!(sched_get_priority_max, policy);
        say!("{policy}: {} {max}", sys!(sched_get_priority_min, policy));
    }
    let mut time = [0i64; 2];
    show!("interval", sys!(sched_rr_get_interval, 0, time.as_mut_ptr()));
    show!("setparam", sys!(sched_setparam, 0, [0i32].as_ptr()));
    let mut attr = [0u8; 56];
    show!("getattr", sys!(sched_getattr, 0, attr.as_mut_ptr(), 48, 0));
    show!("size", attr[0]);
    show!("getattr small", sys!(sched_getattr, 0, attr.as_mut_ptr(), 8, 0));
    attr = [0; 56];
    attr[0] = 48;
    show!("setattr", sys!(sched_setattr, 0, attr.as_ptr(), 0));
    show!("setattr flags", sys!(sched_setattr, 0, attr.as_ptr(), 1));
}

pub fn affinity() {
    let mut mask = [0u8; 128];
    let len = sys!(sched_getaffinity, 0, 128, mask.as_mut_ptr()).0;
    show!("length is a multiple of 8", len > 0 && len % 8 == 0);
    let cpus: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    show!("some", cpus > 0);
    show!("small", sys!(sched_getaffinity, 0, 1, mask.as_mut_ptr()));
    show!("odd", sys!(sched_getaffinity, 0, 9, mask.as_mut_ptr()));
    show!("set", sys!(sched_setaffinity, 0, 128, mask.as_ptr()));
    show!("none", sys!(sched_setaffinity, 0, 128, [0u8; 128].as_ptr()));
    show!("bad address", sys!(sched_setaffinity, 0, 128, 8));
    show!("no such process", sys!(sched_getaffinity, 0x3fff_fff0, 128, mask.as_mut_ptr()));
    let first = mask.iter().position(|byte| *byte != 0).unwrap();
    let mut one = [0u8; 128];
    one[first] = 1 << mask[first].trailing_zeros();
    show!("pin", sys!(sched_setaffinity, 0, 128, one.as_ptr()));
    let mut now = [0u8; 128];
    sys!(sched_getaffinity, 0, 128, now.as_mut_ptr()).ok();
    show!("pinned", now == one);
    let mut cpu = 99u32;
    show!("getcpu", sys!(getcpu, &raw mut cpu, 0, 0));
    show!("inherited", kit::status(kit::in_child(|| {
        let mut now = [0u8; 128];
        sys!(sched_getaffinity, 0, 128, now.as_mut_ptr()).ok();
        i32::from(now == one)
    })));
}

pub fn niceness() {
    show!("get", sys!(getpriority, 0, 0));
    show!("set", sys!(setpriority, 0, 0, 5));
    show!("get", sys!(getpriority, 0, 0));
    show!("clamped", {
        sys!(setpriority, 0, 0, 100).ok();
        sys!(getpriority, 0, 0)
    });
    show!("which", sys!(getpriority, 9, 0));
    show!("no such process", sys!(getpriority, 0, 0x3fff_fff0));
    kit::in_child(|| {
        show!("inherited", sys!(getpriority, 0, 0));
        if sys!(getuid).0 == 0 {
            sys!(setresuid, 1000, 1000, 1000).ok();
        }
        show!("raising needs a right", sys!(setpriority, 0, 0, 0));
        0
    });
    show!("ioprio", sys!(ioprio_get, 1, 0).is_ok());
    show!("ioprio set", sys!(ioprio_set, 1, 0, (2 << 13) | 4));
    show!("ioprio which", sys!(ioprio_get, 9, 0));
    show!("ioprio class", sys!(ioprio_set, 1, 0, 7 << 13));
}
