// SPDX-License-Identifier: Apache-2.0
//! Limits and usage.
//!
//! Covers: getrlimit, setrlimit, prlimit64, getrusage.

use crate::kit;

pub fn get_and_set() {
    let mut limit = [0u64; 2];
    show!("get", sys!(getrlimit, libc::RLIMIT_NOFILE, limit.as_mut_ptr()));
    let hard = limit[1];
    show!("ordered", limit[0] <= limit[1]);
    show!("lower soft", sys!(setrlimit, libc::RLIMIT_NOFILE, [100, hard].as_ptr()));
    sys!(getrlimit, libc::RLIMIT_NOFILE, limit.as_mut_ptr()).ok();
    say!("{} {}", limit[0], limit[1] == hard);
    show!("soft above hard", sys!(setrlimit, libc::RLIMIT_NOFILE, [200u64, 100].as_ptr()));
    show!("unknown", sys!(getrlimit, 99, limit.as_mut_ptr()));
    show!("null", sys!(getrlimit, 0, 0));
    show!("prlimit", sys!(prlimit64, 0, libc::RLIMIT_CORE, [0u64, 0].as_ptr(), limit.as_mut_ptr()));
    sys!(prlimit64, 0, libc::RLIMIT_CORE, 0, limit.as_mut_ptr()).ok();
    say!("{limit:?}");
    show!("no such process", sys!(prlimit64, 0x3fff_fff0, 0, 0, 0));
    kit::in_child(|| {
        sys!(getrlimit, libc::RLIMIT_NOFILE, limit.as_mut_ptr()).ok();
        show!("inherited", limit[0]);
        if sys!(getuid).0 == 0 {
            sys!(setresuid, 1000, 1000, 1000).ok();
        }
        sys!(setrlimit, libc::RLIMIT_NOFILE, [50u64, 60].as_ptr()).ok();
        show!("raise hard", sys!(setrlimit, libc::RLIMIT_NOFILE, [50u64, 61].as_ptr()));
        show!("raise soft", sys!(setrlimit, libc::RLIMIT_NOFILE, [60u64, 60].as_ptr()));
        0
    });
}

pub fn cpu_limit_kills() {
    let status = kit::in_child(|| {
        sys!(setrlimit, libc::RLIMIT_CPU, [1u64, 2].as_ptr()).ok();
        unsafe { libc::signal(libc::SIGXCPU, libc::SIG_DFL) };
        let none = [0u64, 0];
        sys!(setrlimit, libc::RLIMIT_CORE, none.as_ptr()).ok();
        loop {
            std::hint::black_box(0);
        }
    });
    show!("end", kit::status(status));
}

pub fn usage() {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    show!("self", sys!(getrusage, 0, &raw mut usage));
    show!("memory", usage.ru_maxrss > 0);
    show!("children", sys!(getrusage, -1, &raw mut usage));
    show!("no child yet", usage.ru_utime.tv_sec == 0);
    show!("thread", sys!(getrusage, 1, &raw mut usage));
    show!("unknown", sys!(getrusage, 5, &raw mut usage));
    show!("null", sys!(getrusage, 0, 0));
}

pub fn process_limit() {
    kit::in_child(|| {
        if sys!(getuid).0 == 0 {
            sys!(setresuid, 54321, 54321, 54321).ok();
        }
        sys!(setrlimit, libc::RLIMIT_NPROC, [1u64, 1].as_ptr()).ok();
        show!("fork", kit::Ret::of(i64::from(unsafe { libc::fork() })));
        0
    });
}
