// SPDX-License-Identifier: Apache-2.0
//! Which calls go on after a handler, and which fail with EINTR: signal(7).
//!
//! Covers: restart_syscall.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::kit;

/// How many signals have been handled, where children see it.
static HANDLED: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

fn handled() -> &'static AtomicU32 {
    unsafe { &*HANDLED.load(Ordering::SeqCst) }
}

extern "C" fn nothing(_: i32) {
    handled().fetch_add(1, Ordering::SeqCst);
}

/// What a blocking call says with and without SA_RESTART. `unblock` ends it in the end.
fn both(label: &str, call: impl Fn() -> kit::Ret, unblock: impl Fn()) {
    HANDLED.store(kit::shared_page().cast(), Ordering::SeqCst);
    for (name, flags) in [("restart", libc::SA_RESTART), ("plain", 0)] {
        handled().store(0, Ordering::SeqCst);
        kit::handle(libc::SIGUSR1, nothing, flags);
        let parent = sys!(getpid).ok();
        let pid = kit::fork(|| {
            kit::until_asleep(parent);
            sys!(kill, parent, libc::SIGUSR1).ok();
            kit::until("the handler", || handled().load(Ordering::SeqCst) > 0);
            // In the same call again, or waiting for this child.
            kit::until_asleep(parent);
            unblock();
            0
        });
        let ret = call();
        kit::wait_for(pid);
        show!(format!("{label}, {name}"), ret);
    }
}

pub fn reads() {
    let (r, w) = kit::pipe();
    let put = || kit::ignore(sys!(write, w, &b"x"[..], 1).ok());
    let mut buf = [0u8; 8];
    let at = buf.as_mut_ptr();
    both("pipe", || sys!(read, r, at, 1), put);
    // What the plain one left unread.
    show!("left", sys!(read, r, at, 8));
    let mut fds = [0i32; 2];
    sys!(socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, fds.as_mut_ptr()).ok();
    let [a, b] = fds;
    both("socket", || sys!(recvfrom, a, at, 1, 0, 0, 0), || kit::ignore(sys!(write, b, &b"x"[..], 1)));
}

pub fn waits() {
    let (r, w) = kit::pipe();
    both("wait4", || {
        let pid = kit::fork(|| {
            sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
            0
        });
        let ret = sys!(wait4, pid, 0, 0, 0);
        if ret.0 < 0 { kit::wait_for(pid); ret } else { kit::Ret(0) }
    }, || kit::ignore(sys!(write, w, &b"x"[..], 1).ok()));
    let at = kit::shared_page().cast::<u32>();
    unsafe { at.write(5) };
    let wake = || kit::ignore(sys!(futex, at, 1, 10, 0, 0, 0).ok());
    // None of them lasts so long.
    let time = [100i64, 0];
    both("futex without time", || sys!(futex, at, 0, 5, 0, 0, 0), wake);
    both("futex with time", || sys!(futex, at, 0, 5, time.as_ptr(), 0, 0), || ());
    both("poll", || sys!(poll, 0, 0, 100_000), || ());
    both("nanosleep", || sys!(nanosleep, time.as_ptr(), 0), || ());
    both("clock_nanosleep", || sys!(clock_nanosleep, 1, 0, time.as_ptr(), 0), || ());
    let ep = sys!(epoll_create1, 0).fd();
    let mut event = [0u8; 12];
    let event = event.as_mut_ptr();
    both("epoll", || sys!(epoll_wait, ep, event, 1, 100_000), || ());
}

pub fn stop_and_continue() {
    // Without a handler these calls are not disturbed at all.
    let parent = kit::fork(|| {
        let time = [0i64, 200_000_000];
        let mut left = [9i64, 9];
        let took = kit::duration(200, || kit::ignore(sys!(nanosleep, time.as_ptr(), left.as_mut_ptr()).ok()));
        show!("nanosleep", took);
        show!("poll", sys!(poll, 0, 0, 100));
        0
    });
    for _ in 0..2 {
        kit::sleep_ms(40);
        sys!(kill, parent, libc::SIGSTOP).ok();
        kit::sleep_ms(20);
        sys!(kill, parent, libc::SIGCONT).ok();
    }
    show!("end", kit::status(kit::wait_for(parent)));
}

pub fn remaining_time() {
    HANDLED.store(kit::shared_page().cast(), Ordering::SeqCst);
    kit::handle(libc::SIGALRM, nothing, libc::SA_RESTART);
    // Again and again, for the first may come before it sleeps.
    let every = [0i64, 50_000, 0, 50_000];
    sys!(setitimer, libc::ITIMER_REAL, every.as_ptr(), 0).ok();
    let start = std::time::Instant::now();
    let (time, mut left) = ([100i64, 0], [999i64, 0]);
    show!("nanosleep", sys!(nanosleep, time.as_ptr(), left.as_mut_ptr()));
    let slept = start.elapsed().as_millis() as i64;
    sys!(setitimer, libc::ITIMER_REAL, [0i64; 4].as_ptr(), 0).ok();
    let left = left[0] * 1000 + left[1] / 1_000_000;
    say!("{} {}", left < 99_990, left >= 100_000 - slept - 1);
    show!("restart_syscall alone", sys!(restart_syscall));
}
