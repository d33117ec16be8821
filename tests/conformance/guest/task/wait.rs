// SPDX-License-Identifier: Apache-2.0
//! wait4(2), waitid(2).
//!
//! Covers: wait4, waitid.

use crate::kit;

fn waitid(kind: u32, id: i64, options: i32) -> String {
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let ret = sys!(waitid, kind, id, &raw mut info, options, 0);
    let (code, status) = (info.si_code, unsafe { info.si_status() });
    format!("{ret} {} code {code} status {status}", kit::signal(info.si_signo))
}

pub fn errors() {
    show!("no child", sys!(wait4, -1, 0, 0, 0));
    show!("not a child", sys!(wait4, 1, 0, 0, 0));
    show!("options", sys!(wait4, -1, 0, 64, 0));
    show!("most negative", sys!(wait4, i32::MIN, 0, 0, 0));
    show!("waitid nothing asked", sys!(waitid, libc::P_ALL, 0, 0, 0, 0));
    show!("waitid kind", sys!(waitid, 9, 0, 0, libc::WEXITED, 0));
    show!("waitid pid 0", sys!(waitid, libc::P_PID, 0, 0, libc::WEXITED, 0));
    show!("waitid none", sys!(waitid, libc::P_ALL, 0, 0, libc::WEXITED, 0));
    let pid = kit::fork(|| 3);
    show!("bad status address", {
        kit::sleep_ms(30);
        sys!(wait4, pid, 8, 0, 0)
    });
    show!("is gone nevertheless", sys!(wait4, pid, 0, 0, 0));
}

pub fn no_hang() {
    let (r, w) = kit::pipe();
    let pid = kit::fork(|| {
        kit::close(&[w]);
        sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
        6
    });
    show!("running", sys!(wait4, pid, 0, libc::WNOHANG, 0));
    show!("waitid running", waitid(libc::P_PID, i64::from(pid), libc::WEXITED | libc::WNOHANG));
    kit::close(&[w]);
    let peek = libc::WEXITED | libc::WNOWAIT;
    show!("peek", waitid(libc::P_PID, i64::from(pid), peek));
    show!("peek again", waitid(libc::P_ALL, 0, peek));
    let mut status = 0;
    show!("reap", sys!(wait4, pid, &raw mut status, 0, 0).ok() == i64::from(pid));
    show!("status", kit::status(status));
}

pub fn stops() {
    let pid = kit::fork(|| loop {
        kit::sleep_ms(10);
    });
    // A group with a parent outside, lest it be orphaned and SIGTSTP be ignored.
    sys!(setpgid, pid, pid).ok();
    let mut status = 0;
    sys!(kill, pid, libc::SIGSTOP).ok();
    sys!(wait4, pid, &raw mut status, libc::WUNTRACED, 0).ok();
    show!("stop", kit::status(status));
    show!("told once", sys!(wait4, pid, 0, libc::WUNTRACED | libc::WNOHANG, 0));
    sys!(kill, pid, libc::SIGCONT).ok();
    sys!(wait4, pid, &raw mut status, libc::WCONTINUED, 0).ok();
    show!("continue", kit::status(status));
    sys!(kill, pid, libc::SIGTSTP).ok();
    show!("waitid", waitid(libc::P_PID, i64::from(pid), libc::WSTOPPED));
    sys!(kill, pid, libc::SIGKILL).ok();
    show!("killed while stopped", waitid(libc::P_PID, i64::from(pid), libc::WEXITED));
}

pub fn groups() {
    let (r, w) = kit::pipe();
    let a = kit::fork(|| {
        kit::close(&[w]);
        sys!(setpgid, 0, 0).ok();
        sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
        1
    });
    sys!(setpgid, a, a).ok();
    let b = kit::fork(|| 2);
    let mut status = 0;
    show!("own group", sys!(wait4, 0, &raw mut status, 0, 0).ok() == i64::from(b));
    show!("status", kit::status(status));
    kit::close(&[w]);
    show!("other group", sys!(wait4, -a, &raw mut status, 0, 0).ok() == i64::from(a));
    show!("status", kit::status(status));
}

pub fn ignored_children_vanish() {
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let pid = kit::fork(|| 5);
    show!("wait ends with none", sys!(wait4, pid, 0, 0, 0));
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let pid = kit::fork(|| 5);
    show!("default", kit::status(kit::wait_for(pid)));
}

pub fn sigchld() {
    use std::sync::atomic::{AtomicI32, Ordering};
    static SEEN: AtomicI32 = AtomicI32::new(0);
    static STOPS: AtomicI32 = AtomicI32::new(0);
    extern "C" fn count(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let code = unsafe { (*info).si_code };
        if code == libc::CLD_STOPPED || code == libc::CLD_CONTINUED {
            STOPS.fetch_add(1, Ordering::SeqCst);
        } else {
            SEEN.store(code, Ordering::SeqCst);
        }
    }
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NOCLDSTOP;
    unsafe { libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut()) };
    let pid = kit::fork(|| loop {
        kit::sleep_ms(10);
    });
    sys!(kill, pid, libc::SIGSTOP).ok();
    let mut status = 0;
    sys!(wait4, pid, &raw mut status, libc::WUNTRACED, 0).ok();
    show!("stop told", STOPS.load(Ordering::SeqCst));
    sys!(kill, pid, libc::SIGKILL).ok();
    kit::until("SIGCHLD", || SEEN.load(Ordering::SeqCst) != 0);
    show!("code", SEEN.load(Ordering::SeqCst));
    kit::wait_for(pid);
}

pub fn usage_of_children() {
    let pid = kit::fork(|| {
        let start = std::time::Instant::now();
        // A busy machine may leave a process little of the time on the wall.
        let used = || {
            let mut time: libc::timespec = unsafe { std::mem::zeroed() };
            sys!(clock_gettime, libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time).ok();
            time.tv_nsec
        };
        while start.elapsed().as_millis() < 60 || used() < 40_000_000 {
            std::hint::black_box(0);
        }
        0
    });
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    sys!(wait4, pid, 0, 0, &raw mut usage).ok();
    show!("cpu time", usage.ru_utime.tv_usec + usage.ru_stime.tv_usec > 20_000);
}
