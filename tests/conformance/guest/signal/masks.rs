// SPDX-License-Identifier: Apache-2.0
//! rt_sigprocmask(2), rt_sigpending(2), rt_sigsuspend(2), rt_sigtimedwait(2), rt_sigqueueinfo(2).
//!
//! Covers: rt_sigprocmask, rt_sigpending, rt_sigsuspend, rt_sigtimedwait, rt_sigqueueinfo, rt_tgsigqueueinfo, pause.

use std::sync::Mutex;

use crate::kit;

static ORDER: Mutex<Vec<i32>> = Mutex::new(Vec::new());

extern "C" fn record(signal: i32) {
    ORDER.lock().unwrap().push(signal);
}

fn set(signals: &[i32]) -> u64 {
    signals.iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

fn block(how: i32, set: u64) -> u64 {
    let mut old = 0u64;
    sys!(rt_sigprocmask, how, &raw const set, &raw mut old, 8).ok();
    old
}

fn send(signal: i32) {
    sys!(kill, sys!(getpid).ok(), signal).ok();
}

fn order() -> String {
    let seen: Vec<String> = ORDER.lock().unwrap().drain(..).map(kit::signal).collect();
    format!("[{}]", seen.join(" "))
}

pub fn blocking_and_order() {
    let rt = 40;
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP, rt] {
        kit::handle(signal, record, 0);
    }
    let all = set(&[libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP, rt]);
    block(libc::SIG_BLOCK, all);
    for signal in [rt, libc::SIGUSR2, libc::SIGUSR1, libc::SIGUSR1, rt, libc::SIGHUP] {
        send(signal);
    }
    let mut pending = 0u64;
    show!("pending", sys!(rt_sigpending, &raw mut pending, 8));
    show!("as sent", pending == all);
    show!("nothing yet", order());
    block(libc::SIG_UNBLOCK, all);
    // Each handler starts on top of the one before, so the last to start finishes first.
    let mut seen = order();
    if seen.is_empty() {
        seen.push('?');
    }
    show!("delivered", seen);
}

pub fn errors() {
    let mut old = 0u64;
    show!("how", sys!(rt_sigprocmask, 9, &raw const old, 0, 8));
    show!("how without set", sys!(rt_sigprocmask, 9, 0, &raw mut old, 8));
    show!("size", sys!(rt_sigprocmask, 0, 0, 0, 16));
    show!("bad address", sys!(rt_sigprocmask, 0, 8, 0, 8));
    show!("kill cannot be blocked", {
        block(libc::SIG_SETMASK, u64::MAX);
        format!("{:#x}", !block(libc::SIG_SETMASK, 0))
    });
    show!("pending size", sys!(rt_sigpending, &raw mut old, 9));
    show!("suspend size", sys!(rt_sigsuspend, &raw const old, 4));
    show!("wait size", sys!(rt_sigtimedwait, &raw const old, 0, 0, 4));
    let time = [0i64, -1];
    show!("wait time", sys!(rt_sigtimedwait, &raw const old, 0, time.as_ptr(), 8));
}

/// A child that sends SIGALRM once this process sleeps.
fn alarm_asleep() -> i32 {
    let me = sys!(getpid).ok();
    kit::fork(|| {
        kit::until_asleep(me);
        sys!(kill, me, libc::SIGALRM).ok();
        0
    })
}

pub fn suspend() {
    kit::handle(libc::SIGUSR1, record, libc::SA_RESTART);
    block(libc::SIG_BLOCK, set(&[libc::SIGUSR1]));
    send(libc::SIGUSR1);
    show!("blocked", order());
    let none = 0u64;
    show!("suspend", sys!(rt_sigsuspend, &raw const none, 8));
    show!("delivered", order());
    show!("mask is back", block(libc::SIG_BLOCK, 0) == set(&[libc::SIGUSR1]));
    block(libc::SIG_SETMASK, 0);
    kit::handle(libc::SIGALRM, record, libc::SA_RESTART);
    let child = alarm_asleep();
    show!("pause", sys!(pause));
    kit::wait_for(child);
    show!("delivered", order());
}

pub fn timed_wait() {
    let usr = set(&[libc::SIGUSR1, 40]);
    block(libc::SIG_BLOCK, usr);
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let now = [0i64, 0];
    show!("none", sys!(rt_sigtimedwait, &raw const usr, &raw mut info, now.as_ptr(), 8));
    send(libc::SIGUSR1);
    show!("one", sys!(rt_sigtimedwait, &raw const usr, &raw mut info, now.as_ptr(), 8));
    say!("code {}", info.si_code);
    for value in 1..4usize {
        let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(value) };
        unsafe { libc::sigqueue(libc::getpid(), 40, value) };
    }
    for _ in 0..3 {
        sys!(rt_sigtimedwait, &raw const usr, &raw mut info, now.as_ptr(), 8).ok();
        show!("value in order", unsafe { info.si_value().sival_ptr.addr() });
    }
    let time = [0i64, 50_000_000];
    let wait = || kit::ignore(sys!(rt_sigtimedwait, &raw const usr, 0, time.as_ptr(), 8));
    show!("timeout", kit::duration(50, wait));
    let pid = kit::fork(|| {
        kit::sleep_ms(30);
        sys!(kill, unsafe { libc::getppid() }, libc::SIGUSR1).ok();
        0
    });
    show!("from child", sys!(rt_sigtimedwait, &raw const usr, &raw mut info, 0, 8));
    show!("sender", unsafe { info.si_pid() } == pid);
    kit::wait_for(pid);
    block(libc::SIG_SETMASK, 0);
    kit::handle(libc::SIGALRM, record, libc::SA_RESTART);
    let child = alarm_asleep();
    show!("another signal", sys!(rt_sigtimedwait, &raw const usr, 0, 0, 8));
    kit::wait_for(child);
}

pub fn queue_info() {
    let pid = sys!(getpid).ok();
    let mut info = [0u32; 32];
    info[2] = -1i32 as u32;
    block(libc::SIG_BLOCK, set(&[libc::SIGUSR1]));
    show!("to itself", sys!(rt_sigqueueinfo, pid, libc::SIGUSR1, info.as_ptr()));
    info[2] = 0;
    show!("SI_USER to itself", sys!(rt_sigqueueinfo, pid, libc::SIGUSR1, info.as_ptr()));
    let child = kit::fork(|| {
        kit::sleep_ms(10_000);
        0
    });
    show!("SI_USER to another", sys!(rt_sigqueueinfo, child, libc::SIGUSR1, info.as_ptr()));
    info[2] = -6i32 as u32;
    show!("SI_TKILL to another", sys!(rt_sigqueueinfo, child, libc::SIGUSR1, info.as_ptr()));
    info[2] = -1i32 as u32;
    show!("thread", sys!(rt_tgsigqueueinfo, pid, pid, libc::SIGUSR1, info.as_ptr()));
    show!("bad signal", sys!(rt_sigqueueinfo, pid, 65, info.as_ptr()));
    show!("bad address", sys!(rt_sigqueueinfo, pid, libc::SIGUSR1, 8));
    sys!(kill, child, libc::SIGKILL).ok();
    kit::wait_for(child);
}

pub fn inherited_over_fork_and_exec() {
    block(libc::SIG_BLOCK, set(&[libc::SIGUSR1]));
    kit::handle(libc::SIGUSR2, record, 0);
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    send(libc::SIGUSR1);
    let status = kit::in_child(|| {
        let mut pending = 0u64;
        sys!(rt_sigpending, &raw mut pending, 8).ok();
        show!("child has nothing pending", pending == 0);
        show!("child's mask", format!("{:#x}", block(libc::SIG_BLOCK, 0)));
        0
    });
    show!("child", kit::status(status));
    let status = kit::reexec("signal/masks/child_shows", &[]).status().unwrap();
    show!("exec", status.success());
}

pub fn child_shows() {
    let mut old = [0u64; 4];
    // What std's own start-up and its spawn change (SIGPIPE, the mask) is not asked about.
    sys!(rt_sigaction, libc::SIGUSR2, 0, old.as_mut_ptr(), 8).ok();
    show!("handled becomes default", old[0] == 0);
    sys!(rt_sigaction, libc::SIGHUP, 0, old.as_mut_ptr(), 8).ok();
    show!("ignored stays", old[0] == 1);
}
