// SPDX-License-Identifier: Apache-2.0
//! Timers and sleeping on CPU clocks.
//!
//! Covers: timer_create timer_settime timer_gettime clock_nanosleep.

use crate::kit;

/// Works for that long, however busy the machine is.
fn burn_ms(ms: u64) {
    let now = || {
        let mut time = [0u64; 2];
        sys!(clock_gettime, libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()).ok();
        time[0] * 1000 + time[1] / 1_000_000
    };
    let end = now() + ms;
    while now() < end {}
}

pub fn timers() {
    let mask = 1u64 << (libc::SIGUSR1 - 1);
    sys!(rt_sigprocmask, libc::SIG_BLOCK, &raw const mask, 0, 8).ok();
    for clock in [libc::CLOCK_PROCESS_CPUTIME_ID, libc::CLOCK_THREAD_CPUTIME_ID] {
        let mut event = [0i32; 16];
        (event[0], event[2], event[3]) = (77, libc::SIGUSR1, libc::SIGEV_SIGNAL);
        let mut id = -1i32;
        show!("create", sys!(timer_create, clock, event.as_ptr(), &raw mut id));
        let value = [0i64, 0, 0, 200_000_000];
        let mut left = [9i64; 4];
        show!("disarmed", sys!(timer_gettime, id, left.as_mut_ptr()));
        say!("{left:?}");
        show!("set", sys!(timer_settime, id, 0, value.as_ptr(), left.as_mut_ptr()));
        say!("{left:?}");
        kit::sleep_ms(400);
        let mut info = [0i32; 32];
        let mut take = |ms: i64| {
            let time = [ms / 1000, ms % 1000 * 1_000_000];
            sys!(rt_sigtimedwait, &raw const mask, info.as_mut_ptr(), time.as_ptr(), 8)
        };
        show!("it does not tick in sleep", take(0));
        burn_ms(500);
        show!("it does at work", take(20_000));
        say!("code {} value {}", info[2], info[6]);
        show!("disarmed", sys!(timer_gettime, id, left.as_mut_ptr()));
        say!("{left:?}");
        show!("delete", sys!(timer_delete, id));
    }
}

pub fn sleeping() {
    let thread = std::thread::spawn(|| burn_ms(400));
    let time = [0i64, 100_000_000];
    let process = libc::CLOCK_PROCESS_CPUTIME_ID;
    show!("process", sys!(clock_nanosleep, process, 0, time.as_ptr(), 0));
    show!("past", sys!(clock_nanosleep, process, libc::TIMER_ABSTIME, [0i64, 1].as_ptr(), 0));
    show!("thread", sys!(clock_nanosleep, libc::CLOCK_THREAD_CPUTIME_ID, 0, time.as_ptr(), 0));
    show!("bad time", sys!(clock_nanosleep, process, 0, [0i64, -1].as_ptr(), 0));
    thread.join().unwrap();
    extern "C" fn nothing(_: i32) {}
    kit::handle(libc::SIGALRM, nothing, 0);
    // Again and again, for the first may come before it sleeps.
    sys!(setitimer, libc::ITIMER_REAL, [0i64, 50_000, 0, 50_000].as_ptr(), 0).ok();
    let mut left = [9i64, 9];
    show!("idle", sys!(clock_nanosleep, process, 0, [50i64, 0].as_ptr(), left.as_mut_ptr()));
    sys!(setitimer, libc::ITIMER_REAL, [0i64; 4].as_ptr(), 0).ok();
    say!("{}", left[0] >= 40);
}
