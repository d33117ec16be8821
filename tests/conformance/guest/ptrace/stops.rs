// SPDX-License-Identifier: Apache-2.0
//! The stops of a tracee, as wait(2) and PTRACE_GETSIGINFO tell of them.
//!
//! Covers: ptrace.

use crate::kit::{self, Arg as _};

/// A ptrace(2) request.
pub fn trace(request: u32, pid: i32, addr: usize, data: usize) -> kit::Ret {
    sys!(ptrace, request, pid, addr, data)
}

/// Waits for a tracee and says what it did.
pub fn next(pid: i32) -> String {
    let mut status = 0;
    let got = sys!(wait4, pid, &raw mut status, libc::__WALL, 0);
    if got.0 < 0 {
        return got.to_string();
    }
    words(status)
}

/// A wait status with the event in it.
pub fn words(status: i32) -> String {
    let event = status >> 16;
    let signal = (status >> 8) & 0xff;
    if !libc::WIFSTOPPED(status) {
        return kit::status(status);
    }
    let mark = if signal & 0x80 != 0 { " with the mark" } else { "" };
    let event = if event == 0 { String::new() } else { format!(", event {event}") };
    format!("stopped by {}{mark}{event}", kit::signal(signal & 0x7f))
}

/// `si_signo`, `si_code` of the stop, and whether it comes from the process `from`.
pub fn info(pid: i32, from: i32) -> String {
    let mut info = [0i32; 32];
    let ret = trace(libc::PTRACE_GETSIGINFO, pid, 0, info.as_mut_ptr().raw());
    if ret.0 < 0 {
        return ret.to_string();
    }
    format!("{} code {:#x} from it {}", kit::signal(info[0]), info[2], info[4] == from)
}

/// A child that lets itself be traced and stops first.
pub fn child(body: impl FnOnce() -> i32) -> i32 {
    let pid = kit::fork(|| {
        trace(libc::PTRACE_TRACEME, 0, 0, 0).ok();
        sys!(kill, sys!(getpid).ok(), libc::SIGSTOP).ok();
        body()
    });
    assert_eq!(next(pid), "stopped by SIGSTOP");
    pid
}

extern "C" fn nothing(_: i32) {}

pub fn signals() {
    let pid = child(|| {
        kit::handle(libc::SIGUSR1, nothing, 0);
        let me = sys!(getpid).ok();
        for _ in 0..4 {
            sys!(kill, me, libc::SIGUSR1).ok();
        }
        sys!(kill, me, libc::SIGCHLD).ok();
        sys!(kill, me, libc::SIGTERM).ok();
        7
    });
    show!("first", info(pid, pid));
    show!("cont", trace(libc::PTRACE_CONT, pid, 0, 0));
    show!("usr1", format!("{}; {}", next(pid), info(pid, pid)));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("taken away, next", next(pid));
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGUSR1 as usize).ok();
    show!("given, next", next(pid));
    // Another one instead: it is ignored, and not shown again.
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGURG as usize).ok();
    show!("changed, next", next(pid));
    show!("bad signal", trace(libc::PTRACE_CONT, pid, 0, 65));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("ignored ones are shown", next(pid));
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGCHLD as usize).ok();
    show!("term", next(pid));
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGTERM as usize).ok();
    show!("end", next(pid));
    show!("gone", trace(libc::PTRACE_CONT, pid, 0, 0));
    show!("gone", next(pid));
}

pub fn calls() {
    let pid = child(|| {
        sys!(getppid);
        sys!(close, 999);
        3
    });
    let good = libc::PTRACE_O_TRACESYSGOOD as usize;
    for marked in [false, true] {
        let options = if marked { good } else { 0 };
        show!("options", trace(libc::PTRACE_SETOPTIONS, pid, 0, options));
        for _ in 0..2 {
            trace(libc::PTRACE_SYSCALL, pid, 0, 0).ok();
            show!("call", format!("{}; {}", next(pid), info(pid, pid)));
            let mut message = 99u64;
            let ret = trace(libc::PTRACE_GETEVENTMSG, pid, 0, (&raw mut message).raw());
            say!("message {ret} {message}; {}", call_info(pid));
        }
    }
    trace(libc::PTRACE_SYSCALL, pid, 0, 0).ok();
    show!("exit_group", format!("{}; {}", next(pid), call_info(pid)));
    trace(libc::PTRACE_SYSCALL, pid, 0, 0).ok();
    show!("end", next(pid));
}

/// PTRACE_GET_SYSCALL_INFO, without addresses.
fn call_info(pid: i32) -> String {
    let mut info = [0u64; 11];
    let len = trace(0x420e, pid, 88, info.as_mut_ptr().raw());
    let op = info[0] & 0xff;
    let arch = info[0] >> 32;
    let has_places = info[1] != 0 && info[2] != 0;
    let mut registers = [0u64; 27];
    trace(libc::PTRACE_GETREGS as u32, pid, 0, registers.as_mut_ptr().raw()).ok();
    let rax = registers[10] as i64;
    match op {
        1 => format!("{len} entry {arch:x} {has_places} number {} first {} rax {rax}", info[3], info[4] as i32),
        2 => {
            let is_error = info[4] & 0xff;
            let value = if is_error == 1 { (info[3] as i64).to_string() } else { "some".to_owned() };
            format!("{len} exit {arch:x} {has_places} value {value} error {is_error}")
        }
        op => format!("{len} op {op} {arch:x} {has_places}"),
    }
}

pub fn emulated_calls() {
    let pid = child(|| {
        let ret = sys!(getppid);
        if ret.0 == 4711 { 0 } else { 1 }
    });
    trace(31, pid, 0, 0).ok();
    show!("sysemu", next(pid));
    let mut registers = [0u64; 27];
    trace(libc::PTRACE_GETREGS as u32, pid, 0, registers.as_mut_ptr().raw()).ok();
    say!("number {} rax {}", registers[15], registers[10] as i64);
    registers[10] = 4711;
    trace(libc::PTRACE_SETREGS as u32, pid, 0, registers.as_mut_ptr().raw()).ok();
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("end", next(pid));
}

pub fn changed_calls() {
    // A call that the tracer turns into another, one that it forbids, and one whose result it changes.
    let pid = child(|| {
        let pid = sys!(getpid).0;
        let same = sys!(getppid).0 == pid;
        let forbidden = sys!(getppid).0;
        let changed = sys!(getppid).0;
        say!("{same} {} {changed}", kit::Ret(forbidden));
        0
    });
    let step = || {
        trace(libc::PTRACE_SYSCALL, pid, 0, 0).ok();
        assert_eq!(next(pid), "stopped by SIGTRAP");
    };
    step();
    step();
    step();
    trace(libc::PTRACE_POKEUSER, pid, 15 * 8, kit::number("getpid")).ok();
    step();
    step();
    trace(libc::PTRACE_POKEUSER, pid, 15 * 8, usize::MAX).ok();
    step();
    let rax = trace_word(libc::PTRACE_PEEKUSER, pid, 10 * 8);
    show!("a call that was not made", kit::Ret(rax as i64));
    trace(libc::PTRACE_POKEUSER, pid, 10 * 8, -libc::EBUSY as usize).ok();
    step();
    step();
    trace(libc::PTRACE_POKEUSER, pid, 10 * 8, 77).ok();
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("end", next(pid));
}

/// What is peeked.
pub fn trace_word(request: u32, pid: i32, addr: usize) -> u64 {
    let mut word = 0u64;
    trace(request, pid, addr, (&raw mut word).raw()).ok();
    word
}

pub fn interrupted_calls() {
    // What a tracer sees of a call that a signal cuts short, and how the call goes on.
    let parent = sys!(getpid).ok();
    for (name, flags) in [("ignored", None), ("plain", Some(0)), ("restart", Some(libc::SA_RESTART))] {
        let (r, w) = kit::pipe();
        let pid = child(|| {
            if let Some(flags) = flags {
                kit::handle(libc::SIGUSR1, nothing, flags);
            } else {
                sys!(rt_sigaction, libc::SIGUSR1, [1u64, 0, 0, 0].as_ptr(), 0, 8).ok();
            }
            let mut buf = [0u8; 4];
            let ret = sys!(read, r, buf.as_mut_ptr(), 4);
            show!("read", ret);
            let time = [0i64, 30_000_000];
            show!("nanosleep", sys!(nanosleep, time.as_ptr(), 0));
            0
        });
        let _ = parent;
        let good = libc::PTRACE_O_TRACESYSGOOD as usize;
        trace(libc::PTRACE_SETOPTIONS, pid, 0, good).ok();
        loop {
            trace(libc::PTRACE_SYSCALL, pid, 0, 0).ok();
            next(pid);
            if trace_word(libc::PTRACE_PEEKUSER, pid, 15 * 8) == 0 {
                break;
            }
        }
        trace(libc::PTRACE_SYSCALL, pid, 0, 0).ok();
        kit::sleep_ms(30);
        sys!(kill, pid, libc::SIGUSR1).ok();
        show!(format!("{name}: exit"), next(pid));
        say!("rax {}", trace_word(libc::PTRACE_PEEKUSER, pid, 80) as i64);
        trace(libc::PTRACE_SYSCALL, pid, 0, 0).ok();
        show!("signal", next(pid));
        say!("rax {}", trace_word(libc::PTRACE_PEEKUSER, pid, 80) as i64);
        sys!(write, w, &b"abcd"[..], 4).ok();
        trace(libc::PTRACE_CONT, pid, 0, libc::SIGUSR1 as usize).ok();
        show!("end", next(pid));
        kit::close(&[r, w]);
    }
}

pub fn group_stops() {
    let pid = child(|| {
        sys!(kill, sys!(getpid).ok(), libc::SIGTSTP).ok();
        9
    });
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("tstp", format!("{}; {}", next(pid), info(pid, pid)));
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGSTOP as usize).ok();
    show!("group stop", format!("{}; {}", next(pid), info(pid, pid)));
    // A tracee that was told to go on runs although its process has stopped.
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("end", next(pid));
}

pub fn requests_in_no_stop() {
    let pid = child(|| {
        kit::sleep_ms(100_000);
        0
    });
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    for request in [libc::PTRACE_CONT, libc::PTRACE_GETSIGINFO, libc::PTRACE_PEEKUSER, libc::PTRACE_DETACH] {
        show!(request, trace(request, pid, 0, 0));
    }
    show!("unknown", trace(0x9999, pid, 0, 0));
    show!("interrupt", trace(libc::PTRACE_INTERRUPT, pid, 0, 0));
    show!("me", trace(libc::PTRACE_CONT, sys!(getpid).ok() as i32, 0, 0));
    show!("nobody", trace(libc::PTRACE_CONT, 0x3f_0000, 0, 0));
    sys!(kill, pid, libc::SIGSTOP).ok();
    next(pid);
    show!("unknown", trace(0x9999, pid, 0, 0));
    show!("options", trace(libc::PTRACE_SETOPTIONS, pid, 0, 0x8000));
    show!("listen", trace(libc::PTRACE_LISTEN, pid, 0, 0));
    show!("kill", trace(libc::PTRACE_KILL, pid, 0, 0));
    show!("end", next(pid));
}

pub fn waitid_and_sigchld() {
    let pid = child(|| {
        sys!(kill, sys!(getpid).ok(), libc::SIGUSR1).ok();
        5
    });
    let mask = 1u64 << (libc::SIGCHLD - 1);
    sys!(rt_sigprocmask, libc::SIG_BLOCK, &raw const mask, 0, 8).ok();
    let mut taken = [0i32; 32];
    while sys!(rt_sigtimedwait, &raw const mask, taken.as_mut_ptr(), [0i64, 0].as_ptr(), 8).0 > 0 {}
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    let got = sys!(rt_sigtimedwait, &raw const mask, taken.as_mut_ptr(), [5i64, 0].as_ptr(), 8);
    say!("{got}: code {} from it {} status {}", taken[2], taken[4] == pid, taken[6]);
    for options in [libc::WEXITED | libc::WNOWAIT, libc::WEXITED, libc::WEXITED | libc::WNOHANG] {
        let mut info = [0i32; 32];
        let ret = sys!(waitid, libc::P_PID, pid, info.as_mut_ptr(), options, 0);
        say!("waitid {ret}: code {} from it {} status {}", info[2], info[4] == pid, info[6]);
    }
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("end", next(pid));
}
