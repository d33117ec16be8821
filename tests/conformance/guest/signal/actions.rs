// SPDX-License-Identifier: Apache-2.0
//! rt_sigaction(2), handlers and their flags.
//!
//! Covers: rt_sigaction, rt_sigreturn, kill, tkill, tgkill.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::kit;

static SEEN: AtomicI32 = AtomicI32::new(0);

extern "C" fn record(signal: i32) {
    SEEN.store(signal, Ordering::SeqCst);
}

fn me() -> i64 {
    sys!(getpid).ok()
}

pub fn handler_runs_before_kill_returns() {
    kit::handle(libc::SIGUSR1, record, 0);
    show!("kill", sys!(kill, me(), libc::SIGUSR1));
    show!("seen", kit::signal(SEEN.load(Ordering::SeqCst)));
    kit::handle(libc::SIGUSR2, record, 0);
    show!("tgkill", sys!(tgkill, me(), sys!(gettid).ok(), libc::SIGUSR2));
    show!("seen", kit::signal(SEEN.load(Ordering::SeqCst)));
    show!("tkill", sys!(tkill, sys!(gettid).ok(), libc::SIGUSR1));
    show!("seen", kit::signal(SEEN.load(Ordering::SeqCst)));
}

pub fn old_action() {
    let mut old = [0u64; 4];
    let new = [1u64, 0x1000_0000, 0, 0xff];
    show!("ignore", sys!(rt_sigaction, libc::SIGUSR1, new.as_ptr(), old.as_mut_ptr(), 8));
    say!("{} {:#x}", old[0], old[1]);
    show!("ask", sys!(rt_sigaction, libc::SIGUSR1, 0, old.as_mut_ptr(), 8));
    say!("{} {:#x} {:#x}", old[0], old[1], old[3]);
    let all = [1u64, 0, 0, u64::MAX];
    sys!(rt_sigaction, libc::SIGUSR1, all.as_ptr(), 0, 8).ok();
    sys!(rt_sigaction, libc::SIGUSR1, 0, old.as_mut_ptr(), 8).ok();
    show!("mask without KILL and STOP", format!("{:#x}", !old[3]));
    let unknown = [1u64, 0xffff_ffff, 0, 0];
    sys!(rt_sigaction, libc::SIGUSR1, unknown.as_ptr(), 0, 8).ok();
    sys!(rt_sigaction, libc::SIGUSR1, 0, old.as_mut_ptr(), 8).ok();
    show!("flags kept", format!("{:#x}", old[1]));
}

pub fn errors() {
    let act = [0u64; 4];
    show!("set size", sys!(rt_sigaction, libc::SIGUSR1, act.as_ptr(), 0, 4));
    show!("zero", sys!(rt_sigaction, 0, act.as_ptr(), 0, 8));
    show!("65", sys!(rt_sigaction, 65, act.as_ptr(), 0, 8));
    show!("kill", sys!(rt_sigaction, libc::SIGKILL, act.as_ptr(), 0, 8));
    show!("ask about kill", sys!(rt_sigaction, libc::SIGKILL, 0, 0, 8));
    show!("stop", sys!(rt_sigaction, libc::SIGSTOP, act.as_ptr(), 0, 8));
    show!("bad address", sys!(rt_sigaction, libc::SIGUSR1, 8, 0, 8));
    show!("bad signal to kill", sys!(kill, me(), 65));
    show!("negative signal", sys!(kill, me(), -1));
    show!("probe", sys!(kill, me(), 0));
    show!("no such process", sys!(kill, 0x3fff_fff0, 0));
    show!("no such group", sys!(kill, -0x3fff_fff0i64, 0));
    show!("tgkill zero", sys!(tgkill, 0, 1, 0));
    show!("tkill negative", sys!(tkill, -5, 0));
    show!("tgkill of another group", sys!(tgkill, 0x3fff_fff0, sys!(gettid).ok(), 0));
}

pub fn reset_and_nodefer() {
    kit::handle(libc::SIGUSR1, record, libc::SA_RESETHAND);
    sys!(kill, me(), libc::SIGUSR1).ok();
    let mut old = [0u64; 4];
    sys!(rt_sigaction, libc::SIGUSR1, 0, old.as_mut_ptr(), 8).ok();
    show!("default again", old[0] == 0);
    static DEPTH: AtomicI32 = AtomicI32::new(0);
    static DEEPEST: AtomicI32 = AtomicI32::new(0);
    static SENT: AtomicI32 = AtomicI32::new(0);
    extern "C" fn nest(signal: i32) {
        let depth = DEPTH.fetch_add(1, Ordering::SeqCst) + 1;
        DEEPEST.fetch_max(depth, Ordering::SeqCst);
        if SENT.fetch_add(1, Ordering::SeqCst) < 2 {
            sys!(kill, me(), signal);
        }
        DEPTH.fetch_sub(1, Ordering::SeqCst);
    }
    kit::handle(libc::SIGUSR2, nest, libc::SA_NODEFER);
    sys!(kill, me(), libc::SIGUSR2).ok();
    show!("nodefer", DEEPEST.swap(0, Ordering::SeqCst));
    kit::handle(libc::SIGUSR2, nest, 0);
    SENT.store(0, Ordering::SeqCst);
    sys!(kill, me(), libc::SIGUSR2).ok();
    show!("deferred", DEEPEST.load(Ordering::SeqCst));
}

pub fn information() {
    static CODE: AtomicI32 = AtomicI32::new(0);
    static PID: AtomicI32 = AtomicI32::new(0);
    extern "C" fn info(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let info = unsafe { &*info };
        CODE.store(info.si_code, Ordering::SeqCst);
        PID.store(unsafe { info.si_pid() }, Ordering::SeqCst);
        assert!(!context.is_null());
    }
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = info as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    sys!(kill, me(), libc::SIGUSR1).ok();
    say!("{} {}", CODE.load(Ordering::SeqCst), i64::from(PID.load(Ordering::SeqCst)) == me());
    sys!(tgkill, me(), sys!(gettid).ok(), libc::SIGUSR1).ok();
    show!("tgkill", CODE.load(Ordering::SeqCst));
    let value: libc::sigval = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(5) };
    unsafe { libc::sigqueue(me() as i32, libc::SIGUSR1, value) };
    show!("queue", CODE.load(Ordering::SeqCst));
}

pub fn default_actions() {
    for signal in 1..32 {
        let pid = kit::fork(|| {
            // A group with a parent outside, lest it be orphaned and stop signals be ignored.
            sys!(setpgid, 0, 0).ok();
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            sys!(kill, me(), signal);
            0
        });
        let mut status = 0;
        let got = unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
        assert_eq!(got, pid);
        show!(kit::signal(signal), kit::status(status));
        if libc::WIFSTOPPED(status) {
            sys!(kill, pid, libc::SIGKILL).ok();
            kit::wait_for(pid);
        }
    }
}

pub fn registers_survive() {
    kit::handle(libc::SIGALRM, record, libc::SA_RESTART);
    kit::alarm_ms(20);
    let mut sum = 0.0f64;
    let mut n = 0u64;
    while SEEN.load(Ordering::Relaxed) != libc::SIGALRM || n % 1000 != 0 {
        sum += 0.5;
        n += 1;
    }
    show!("floating point", sum == n as f64 * 0.5);
}
