// SPDX-License-Identifier: Apache-2.0
//! Attaching, seizing, interrupting, listening, letting go.

use super::stops::{info, next, trace, words};
use crate::kit::{self, Arg as _};

fn sleeper() -> i32 {
    let pid = kit::fork(|| {
        loop {
            kit::sleep_ms(100_000);
        }
    });
    kit::until_asleep(i64::from(pid));
    pid
}

fn end(pid: i32) {
    sys!(kill, pid, libc::SIGKILL).ok();
    show!("end", next(pid));
}

/// The letter of `/proc/<pid>/stat`, and who traces.
fn state(pid: i32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let state = stat.rsplit_once(") ").unwrap().1.chars().next().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:\t")).unwrap();
    let me = sys!(getpid).ok().to_string();
    format!("{state}, traced by me {}", tracer == me)
}

/// Until it is in this state.
fn await_state(pid: i32, wanted: char) {
    kit::until("a state", || state(pid).starts_with(wanted));
}

pub fn attach() {
    let pid = sleeper();
    show!("attach", trace(libc::PTRACE_ATTACH, pid, 0, 0));
    show!("stop", format!("{}; {}", next(pid), info(pid, pid)));
    show!("state", state(pid));
    show!("again", trace(libc::PTRACE_ATTACH, pid, 0, 0));
    show!("seize", trace(libc::PTRACE_SEIZE, pid, 0, 0));
    show!("interrupt", trace(libc::PTRACE_INTERRUPT, pid, 0, 0));
    show!("detach", trace(libc::PTRACE_DETACH, pid, 0, 0));
    await_state(pid, 'S');
    show!("state", state(pid));
    show!("detach again", trace(libc::PTRACE_DETACH, pid, 0, 0));
    end(pid);
}

pub fn refusals() {
    let me = sys!(getpid).ok() as i32;
    show!("oneself", trace(libc::PTRACE_ATTACH, me, 0, 0));
    show!("nobody", trace(libc::PTRACE_ATTACH, 0x3f_0000, 0, 0));
    let pid = sleeper();
    show!("seize with an address", trace(libc::PTRACE_SEIZE, pid, 8, 0));
    show!("seize with strange options", trace(libc::PTRACE_SEIZE, pid, 0, 0x8000));
    // Another user may not.
    let status = kit::in_child(|| {
        if sys!(getuid).0 != 0 {
            return 0;
        }
        sys!(setresuid, 1000, 1000, 1000).ok();
        show!("another's", trace(libc::PTRACE_ATTACH, pid, 0, 0));
        let own = kit::fork(|| {
            kit::sleep_ms(5000);
            0
        });
        // What changes users is not dumpable; nor are its children, until they say so.
        show!("not dumpable", trace(libc::PTRACE_ATTACH, own, 0, 0));
        sys!(kill, own, libc::SIGKILL).ok();
        kit::wait_for(own);
        0
    });
    show!("it", kit::status(status));
    end(pid);
}

pub fn what_has_stopped() {
    let pid = sleeper();
    sys!(kill, pid, libc::SIGSTOP).ok();
    let mut status = 0;
    sys!(wait4, pid, &raw mut status, libc::WUNTRACED, 0).ok();
    show!("stopped", words(status));
    trace(libc::PTRACE_ATTACH, pid, 0, 0).ok();
    show!("attached", format!("{}; {}", next(pid), info(pid, pid)));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("the attachment's own", format!("{}; {}", next(pid), info(pid, pid)));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    kit::until("it runs", || state(pid).starts_with(['R', 'S']));
    show!("it runs", state(pid).replace('R', "S"));
    sys!(kill, pid, libc::SIGUSR1).ok();
    show!("usr1", next(pid));
    show!("detach", trace(libc::PTRACE_DETACH, pid, 0, 0));
    await_state(pid, 'T');
    show!("its process is still stopped", state(pid));
    sys!(kill, pid, libc::SIGCONT).ok();
    await_state(pid, 'S');
    show!("and goes on", state(pid));
    end(pid);
}

pub fn seize() {
    let pid = sleeper();
    show!("seize", trace(libc::PTRACE_SEIZE, pid, 0, 0));
    kit::sleep_ms(20);
    let mut status = 0;
    show!("nothing happens", sys!(wait4, pid, &raw mut status, libc::WNOHANG | libc::__WALL, 0));
    show!("interrupt", trace(libc::PTRACE_INTERRUPT, pid, 0, 0));
    show!("stop", format!("{}; {}", next(pid), info(pid, pid)));
    show!("listen", trace(libc::PTRACE_LISTEN, pid, 0, 0));
    show!("in that state", trace(libc::PTRACE_GETSIGINFO, pid, 0, 0));
    show!("interrupt", trace(libc::PTRACE_INTERRUPT, pid, 0, 0));
    show!("stop", format!("{}; {}", next(pid), info(pid, pid)));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    sys!(kill, pid, libc::SIGSTOP).ok();
    show!("signal", format!("{}; {}", next(pid), info(pid, pid)));
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGSTOP as usize).ok();
    show!("group stop", format!("{}; {}", next(pid), info(pid, pid)));
    show!("listen", trace(libc::PTRACE_LISTEN, pid, 0, 0));
    sys!(kill, pid, libc::SIGCONT).ok();
    show!("continued", format!("{}; {}", next(pid), info(pid, pid)));
    trace(libc::PTRACE_CONT, pid, 0, 0).ok();
    show!("the signal itself", format!("{}; {}", next(pid), info(pid, pid)));
    trace(libc::PTRACE_CONT, pid, 0, libc::SIGCONT as usize).ok();
    end(pid);
}

pub fn detach_with_a_signal() {
    let pid = sleeper();
    trace(libc::PTRACE_ATTACH, pid, 0, 0).ok();
    next(pid);
    show!("bad", trace(libc::PTRACE_DETACH, pid, 0, 99));
    show!("detach", trace(libc::PTRACE_DETACH, pid, 0, libc::SIGTERM as usize));
    show!("end", next(pid));
}

pub fn a_parent_waits_meanwhile() {
    // The real parent hears of the end when the tracer has.
    let ((r, w), (heard, tell), (until, end)) = (kit::pipe(), kit::pipe(), kit::pipe());
    let take = |fd: i32| kit::ignore(sys!(read, fd, [0u8; 1].as_mut_ptr(), 1).ok());
    let give = |fd: i32| kit::ignore(sys!(write, fd, &b"x"[..], 1).ok());
    let parent = kit::fork(|| {
        let child = kit::fork(|| {
            take(until);
            6
        });
        let bytes = child.to_ne_bytes();
        sys!(write, w, &bytes[..], 4).ok();
        let look = || sys!(wait4, child, 0, libc::WNOHANG, 0);
        take(heard);
        show!("parent: while it runs", look());
        give(end);
        take(heard);
        show!("parent: before the tracer", look());
        give(w);
        let status = kit::wait_for(child);
        take(heard);
        show!("parent: end", kit::status(status));
        0
    });
    let mut bytes = [0u8; 4];
    sys!(read, r, bytes.as_mut_ptr(), 4).ok();
    let child = i32::from_ne_bytes(bytes);
    show!("seize", trace(libc::PTRACE_SEIZE, child, 0, 0));
    give(tell);
    await_state(child, 'Z');
    give(tell);
    take(r);
    show!("tracer: end", next(child));
    show!("tracer: again", next(child));
    give(tell);
    show!("parent", kit::status(kit::wait_for(parent)));
}

pub fn death_of_the_tracer() {
    for options in [0, libc::PTRACE_O_EXITKILL as usize] {
        let pid = sleeper();
        let tracer = kit::fork(|| {
            trace(libc::PTRACE_SEIZE, pid, 0, options).ok();
            trace(libc::PTRACE_INTERRUPT, pid, 0, 0).ok();
            show!("tracer", next(pid));
            0
        });
        kit::wait_for(tracer);
        kit::sleep_ms(50);
        let mut status = 0;
        // Where it is to die, that may take a while on a busy machine.
        let how = if options == 0 { libc::WNOHANG } else { 0 };
        let ret = sys!(wait4, pid, &raw mut status, how, 0);
        if ret.0 == 0 {
            await_state(pid, 'S');
            // By now it may be between two of its sleeps.
            show!("it lives", state(pid).trim_start_matches(['R', 'S']).to_owned());
            end(pid);
        } else {
            show!("it died", words(status));
        }
    }
}

pub fn threads() {
    // Each thread by itself, by its id.
    let ((r, w), (until, end)) = (kit::pipe(), kit::pipe());
    let pid = kit::fork(|| {
        let thread = std::thread::spawn(move || {
            let tid = sys!(gettid).ok() as i32;
            let bytes = tid.to_ne_bytes();
            sys!(write, w, &bytes[..], 4).ok();
            sys!(read, until, [0u8; 1].as_mut_ptr(), 1).ok();
        });
        thread.join().unwrap();
        kit::sleep_ms(200);
        4
    });
    let mut bytes = [0u8; 4];
    sys!(read, r, bytes.as_mut_ptr(), 4).ok();
    let tid = i32::from_ne_bytes(bytes);
    show!("seize the thread", trace(libc::PTRACE_SEIZE, tid, 0, libc::PTRACE_O_TRACEEXIT as usize));
    show!("interrupt", trace(libc::PTRACE_INTERRUPT, tid, 0, 0));
    show!("stop", next(tid));
    show!("the leader is not traced", trace(libc::PTRACE_CONT, pid, 0, 0));
    trace(libc::PTRACE_CONT, tid, 0, 0).ok();
    sys!(write, end, &b"x"[..], 1).ok();
    show!("exit", format!("{}; {}", next(tid), info(tid, tid)));
    let mut message = 0u64;
    trace(libc::PTRACE_GETEVENTMSG, tid, 0, (&raw mut message).raw()).ok();
    show!("status", message);
    trace(libc::PTRACE_CONT, tid, 0, 0).ok();
    show!("thread", next(tid));
    show!("process", next(pid));
}

pub fn what_has_stopped_is_there_at_once() {
    // No wait(2) in between.
    for request in [libc::PTRACE_ATTACH, libc::PTRACE_SEIZE] {
        let pid = sleeper();
        sys!(kill, pid, libc::SIGSTOP).ok();
        let mut status = 0;
        sys!(wait4, pid, &raw mut status, libc::WUNTRACED, 0).ok();
        trace(request, pid, 0, 0).ok();
        show!("asked at once", trace(libc::PTRACE_SETOPTIONS, pid, 0, 0));
        show!("stop", next(pid));
        end(pid);
    }
}
