// SPDX-License-Identifier: Apache-2.0
//! pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2), kcmp(2), personality(2).
//!
//! Covers: pidfd_open, pidfd_send_signal, pidfd_getfd, kcmp, personality.

use crate::kit;

pub fn of_a_child() {
    let pid = kit::fork(|| {
        kit::sleep_ms(10_000);
        0
    });
    let fd = sys!(pidfd_open, pid, 0).fd();
    let poll = |timeout: i32| {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let ret = sys!(poll, &raw mut poll, 1, timeout);
        format!("{ret} {:#x}", poll.revents)
    };
    show!("alive", poll(0));
    show!("cloexec", sys!(fcntl, fd, libc::F_GETFD, 0));
    show!("probe", sys!(pidfd_send_signal, fd, 0, 0, 0));
    show!("kill", sys!(pidfd_send_signal, fd, libc::SIGKILL, 0, 0));
    show!("ended", poll(5000));
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    show!("waitid", sys!(waitid, libc::P_PIDFD, fd, &raw mut info, libc::WEXITED, 0));
    say!("code {} status {}", info.si_code, unsafe { info.si_status() });
    show!("reaped", sys!(pidfd_send_signal, fd, 0, 0, 0));
    show!("read", sys!(read, fd, [0u8; 8].as_mut_ptr(), 8));
}

pub fn errors() {
    show!("no such process", sys!(pidfd_open, 0x3fff_fff0, 0));
    show!("zero", sys!(pidfd_open, 0, 0));
    show!("negative", sys!(pidfd_open, -1, 0));
    show!("flags", sys!(pidfd_open, 1, 1));
    show!("not a pidfd", sys!(pidfd_send_signal, 1, 0, 0, 0));
    show!("closed", sys!(pidfd_send_signal, 99, 0, 0, 0));
    let own = sys!(pidfd_open, sys!(getpid).ok(), 0).fd();
    show!("bad signal", sys!(pidfd_send_signal, own, 65, 0, 0));
    show!("both scopes", sys!(pidfd_send_signal, own, 0, 0, 3));
    show!("unknown flag", sys!(pidfd_send_signal, own, 0, 0, 64));
}

pub fn descriptors_of_another() {
    let (r, w) = kit::pipe();
    let pid = kit::fork(|| {
        let fd = kit::file("f", b"from the child");
        sys!(dup2, fd, 60).ok();
        sys!(write, w, &b"x"[..], 1).ok();
        kit::sleep_ms(10_000);
        0
    });
    sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
    let fd = sys!(pidfd_open, pid, 0).fd();
    let got = sys!(pidfd_getfd, fd, 60, 0);
    show!("got", got.is_ok());
    let mut buf = [0u8; 32];
    show!("read", sys!(pread64, got.fd(), &mut buf[..], 32, 0));
    show!("not open there", sys!(pidfd_getfd, fd, 77, 0));
    show!("flags", sys!(pidfd_getfd, fd, 60, 1));
    // KCMP_FILE: the same open file description.
    let own = sys!(getpid).ok();
    show!("same file", sys!(kcmp, own, pid, 0, got.fd(), 60));
    show!("own files", sys!(kcmp, own, own, 0, r, r));
    show!("different", sys!(kcmp, own, own, 0, r, w).0 > 0);
    show!("address spaces", sys!(kcmp, own, pid, 1, 0, 0).0 > 0);
    show!("kcmp closed", sys!(kcmp, own, own, 0, 99, r));
    show!("kcmp kind", sys!(kcmp, own, own, 99, 0, 0));
    show!("kcmp nobody", sys!(kcmp, own, 0x3fff_fff0, 1, 0, 0));
    sys!(kill, pid, libc::SIGKILL).ok();
    kit::wait_for(pid);
    show!("ended", sys!(pidfd_getfd, fd, 60, 0));
}

pub fn from_clone() {
    let mut fd = -1i32;
    let flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    let ret = sys!(clone, flags, 0, &raw mut fd, 0, 0);
    if ret.0 == 0 {
        unsafe { libc::_exit(3) };
    }
    show!("a descriptor", fd > 2);
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    show!("waitid", sys!(waitid, libc::P_PIDFD, fd, &raw mut info, libc::WEXITED, 0));
    show!("status", unsafe { info.si_status() });
}

pub fn personalities() {
    show!("ask", sys!(personality, u32::MAX));
    show!("set", sys!(personality, 0x0004_0000));
    show!("ask", sys!(personality, u32::MAX));
    show!("inherited", kit::status(kit::in_child(|| {
        i32::from(sys!(personality, u32::MAX).0 == 0x0004_0000)
    })));
}
