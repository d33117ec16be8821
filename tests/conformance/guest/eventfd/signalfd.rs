// SPDX-License-Identifier: Apache-2.0
//! signalfd(2).
//!
//! Covers: signalfd, signalfd4.

use crate::kit;

fn block(signals: &[i32]) -> u64 {
    let set = signals.iter().fold(0u64, |set, signal| set | 1 << (signal - 1));
    sys!(rt_sigprocmask, libc::SIG_BLOCK, &raw const set, 0, 8).ok();
    set
}

pub fn reading() {
    let set = block(&[libc::SIGUSR1, libc::SIGUSR2]);
    let fd = sys!(signalfd4, -1, &raw const set, 8, libc::SFD_NONBLOCK).fd();
    let mut info: [libc::signalfd_siginfo; 4] = unsafe { std::mem::zeroed() };
    show!("none", sys!(read, fd, info.as_mut_ptr(), 128));
    sys!(kill, sys!(getpid).ok(), libc::SIGUSR2).ok();
    sys!(kill, sys!(getpid).ok(), libc::SIGUSR1).ok();
    show!("two", sys!(read, fd, info.as_mut_ptr(), 512));
    for info in &info[..2] {
        let own = i64::from(info.ssi_pid) == sys!(getpid).0;
        say!("{} code {} own {own}", kit::signal(info.ssi_signo as i32), info.ssi_code);
    }
    show!("small", sys!(read, fd, info.as_mut_ptr(), 100));
    show!("write", sys!(write, fd, info.as_ptr(), 128));
    let other = 1u64 << (libc::SIGUSR1 - 1);
    show!("change", sys!(signalfd4, fd, &raw const other, 8, 0).ok() == i64::from(fd));
    sys!(kill, sys!(getpid).ok(), libc::SIGUSR2).ok();
    show!("not in the set", sys!(read, fd, info.as_mut_ptr(), 128));
    show!("set size", sys!(signalfd4, -1, &raw const set, 4, 0));
    show!("flags", sys!(signalfd4, -1, &raw const set, 8, 1));
    show!("not a signalfd", sys!(signalfd4, 1, &raw const set, 8, 0));
    show!("old call", sys!(signalfd, -1, &raw const set, 8).is_ok());
}

pub fn child_and_poll() {
    let set = block(&[libc::SIGCHLD]);
    let fd = sys!(signalfd4, -1, &raw const set, 8, 0).fd();
    let pid = kit::fork(|| 7);
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    show!("poll", sys!(poll, &raw mut poll, 1, 5000));
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    show!("read", sys!(read, fd, &raw mut info, 128));
    say!("status {} code {} pid {}", info.ssi_status, info.ssi_code, info.ssi_pid as i32 == pid);
    kit::wait_for(pid);
}
