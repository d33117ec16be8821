// SPDX-License-Identifier: Apache-2.0
//! Events: fork, vfork, clone, exec, exit; who is traced as well.

use super::stops::{child, info, next, trace, words};
use crate::kit::{self, Arg as _};

fn message(pid: i32) -> u64 {
    let mut message = 0u64;
    trace(libc::PTRACE_GETEVENTMSG, pid, 0, (&raw mut message).raw()).ok();
    message
}

fn options(pid: i32, options: i32) {
    trace(libc::PTRACE_SETOPTIONS, pid, 0, options as usize).ok();
}

fn go(pid: i32) {
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
}

pub fn forks() {
    let all = libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEVFORKDONE;
    let kinds = [
        ("fork", libc::SIGCHLD as usize),
        ("clone", libc::SIGUSR2 as usize),
        ("vfork", (libc::CLONE_VFORK | libc::SIGCHLD) as usize),
        ("untraced", (libc::CLONE_UNTRACED | libc::SIGCHLD) as usize),
        ("ptrace", (libc::CLONE_PTRACE | libc::CLONE_UNTRACED | libc::SIGCHLD) as usize),
    ];
    for (name, flags) in kinds {
        let pid = child(|| {
            let made = sys!(clone, flags, 0, 0, 0, 0).0 as i32;
            if made == 0 {
                sys!(exit_group, 8);
            }
            let mut status = 0;
            sys!(wait4, made, &raw mut status, libc::__WALL, 0);
            sys!(exit_group, libc::WEXITSTATUS(status));
            0
        });
        options(pid, all);
        go(pid);
        let mut seen = Vec::new();
        let (mut made, mut ended) = (0, 0);
        loop {
            let mut status = 0;
            let got = sys!(wait4, -1, &raw mut status, libc::__WALL, 0).0 as i32;
            if got <= 0 {
                break;
            }
            let who = if got == pid { "it" } else { "child" };
            let mut text = format!("{who}: {}", words(status));
            if libc::WIFSTOPPED(status) {
                if status >> 16 != 0 {
                    made = message(got) as i32;
                    text = format!("{text}, {}", info(got, got));
                }
                let signal = if status >> 8 == libc::SIGUSR2 { libc::SIGCHLD } else { 0 };
                trace(libc::PTRACE_CONT, got, 0, signal as usize).ok();
            } else if got != pid {
                ended = got;
            }
            if !text.contains("SIGCHLD") && !text.contains("SIGUSR2") {
                seen.push(text);
            }
        }
        // Its end may come before what tells of its beginning.
        seen.push(format!("child ended {}, as told {}", ended != 0, made == ended));
        seen.sort();
        for line in seen {
            show!(name, line);
        }
    }
}

pub fn seized_children() {
    let (r, w) = kit::pipe();
    let pid = kit::fork(|| {
        sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
        let made = sys!(clone, libc::SIGCHLD, 0, 0, 0, 0).0 as i32;
        if made == 0 {
            sys!(exit_group, 8);
        }
        kit::wait_for(made);
        1
    });
    let all = libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_EXITKILL;
    trace(libc::PTRACE_SEIZE, pid, 0, all as usize).ok();
    sys!(write, w, &b"x"[..], 1).ok();
    show!("event", next(pid));
    let made = message(pid) as i32;
    show!("child", format!("{}; {}", next(made), info(made, made)));
    show!("interrupt", trace(libc::PTRACE_INTERRUPT, made, 0, 0));
    go(made);
    show!("child", next(made));
    go(made);
    show!("child", next(made));
    go(pid);
    show!("sigchld", next(pid));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("end", next(pid));
}

pub fn child_exits() {
    unsafe { libc::_exit(21) };
}

fn exec() -> i32 {
    let path = c"/proc/self/exe";
    let args = [c"guest".as_ptr(), c"ptrace/events/child_exits".as_ptr(), std::ptr::null()];
    sys!(execve, path, args.as_ptr(), args[2..].as_ptr());
    99
}

pub fn execs() {
    // The old way: SIGTRAP after the fact.
    let pid = child(exec);
    go(pid);
    show!("legacy", format!("{}; {}", next(pid), info(pid, pid)));
    go(pid);
    show!("end", next(pid));
    let pid = child(exec);
    options(pid, libc::PTRACE_O_TRACEEXEC);
    go(pid);
    show!("event", format!("{}; {}", next(pid), info(pid, pid)));
    show!("was", message(pid) == pid as u64);
    go(pid);
    show!("end", next(pid));
    // Between the two stops of the call.
    let pid = child(exec);
    options(pid, libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_TRACESYSGOOD);
    for label in ["entry", "event", "exit"] {
        trace(libc::PTRACE_SYSCALL, pid, 0, 0).ok();
        let mut registers = [0u64; 27];
        let stop = next(pid);
        trace(libc::PTRACE_GETREGS as u32, pid, 0, registers.as_mut_ptr().raw()).ok();
        let (number, rax) = (registers[15], registers[10] as i64);
        show!(label, format!("{stop}, number {number} rax {rax}"));
    }
    go(pid);
    show!("end", next(pid));
}

pub fn exec_by_a_thread() {
    let pid = child(|| {
        std::thread::spawn(exec).join().unwrap();
        98
    });
    let all = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEEXIT;
    options(pid, all);
    go(pid);
    show!("clone", next(pid));
    let tid = message(pid) as i32;
    show!("thread", next(tid));
    go(pid);
    go(tid);
    // The leader goes, and the thread takes its number.
    show!("leader", next(pid));
    go(pid);
    show!("exec", next(pid));
    show!("by the thread", message(pid) == tid as u64);
    show!("its old number", trace(libc::PTRACE_CONT, tid, 0, 0));
    go(pid);
    show!("exit", next(pid));
    go(pid);
    show!("end", next(pid));
    show!("nothing is left", next(-1));
}

pub fn exits() {
    let pid = child(|| 12);
    options(pid, libc::PTRACE_O_TRACEEXIT);
    go(pid);
    show!("exit", format!("{}; {}; status {:#x}", next(pid), info(pid, pid), message(pid)));
    go(pid);
    show!("end", next(pid));
    let pid = child(|| {
        sys!(kill, sys!(getpid).ok(), libc::SIGTERM).ok();
        0
    });
    options(pid, libc::PTRACE_O_TRACEEXIT);
    go(pid);
    show!("term", next(pid));
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGTERM as usize).ok();
    show!("exit", format!("{}; status {:#x}", next(pid), message(pid)));
    // It is dying already: another signal changes nothing.
    sys!(kill, pid, libc::SIGKILL).ok();
    let mut status = 0;
    kit::sleep_ms(20);
    show!("killed again", sys!(wait4, pid, &raw mut status, libc::WNOHANG, 0));
    go(pid);
    show!("end", next(pid));
}

pub fn a_parent_that_traced_and_left() {
    // Set-user-id programs do not gain anything while they are watched by who could not do so.
    let pid = child(|| 0);
    show!("detach", trace(libc::PTRACE_DETACH, pid, 0, 0));
    show!("end", next(pid));
    let pid = kit::fork(|| {
        show!("traceme", trace(libc::PTRACE_TRACEME, 0, 0, 0));
        show!("again", trace(libc::PTRACE_TRACEME, 0, 0, 0));
        3
    });
    show!("end", next(pid));
}

/// `PTRACE_O_TRACESECCOMP`: calls that a filter wants the tracer to see.
pub fn filters() {
    // getppid is for the tracer, with 77 as its word; the rest is allowed.
    let number = kit::number("getppid") as u32;
    let program: [[u32; 2]; 4] = [
        [0x20, 0],
        [0x15 | 1 << 24, number],
        [0x06, 0x7ff0_0000 | 77],
        [0x06, 0x7fff_0000],
    ];
    let pid = child(|| {
        let head = [program.len() as u64, program.as_ptr() as u64];
        sys!(prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).ok();
        sys!(prctl, libc::PR_SET_SECCOMP, 2, head.as_ptr()).ok();
        show!("not asked for", sys!(getppid));
        sys!(kill, sys!(getpid).ok(), libc::SIGUSR1).ok();
        show!("gone on", sys!(getppid).is_ok());
        show!("turned into another", sys!(getppid).0 == sys!(getpid).0);
        show!("forbidden", sys!(getppid));
        0
    });
    go(pid);
    show!("signal", next(pid));
    options(pid, libc::PTRACE_O_TRACESECCOMP);
    for change in [None, Some(kit::number("getpid")), Some(usize::MAX)] {
        go(pid);
        show!("event", format!("{}; {}; {}", next(pid), info(pid, pid), message(pid)));
        let mut info = [0u64; 11];
        let len = trace(0x420e, pid, 88, info.as_mut_ptr().raw());
        say!("{len}: op {} number {} word {}", info[0] & 0xff, info[3], info[10] as u32);
        if let Some(number) = change {
            trace(libc::PTRACE_POKEUSER, pid, 15 * 8, number).ok();
            trace(libc::PTRACE_POKEUSER, pid, 10 * 8, -libc::EACCES as usize).ok();
        }
    }
    go(pid);
    show!("end", next(pid));
}
