// SPDX-License-Identifier: Apache-2.0
//! Clocks, sleeping, interval and POSIX timers.
//!
//! Covers: time, gettimeofday, clock_gettime, clock_getres, clock_settime, nanosleep, clock_nanosleep, alarm, getitimer, setitimer, timer_create, timer_settime, timer_gettime, timer_getoverrun, timer_delete, times, settimeofday, adjtimex, clock_adjtime.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::kit;

static COUNT: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);

extern "C" fn count(_: i32) {
    COUNT.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn info(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    CODE.store(unsafe { (*info).si_code }, Ordering::SeqCst);
    COUNT.fetch_add(1, Ordering::SeqCst);
}

fn now(clock: i32) -> i64 {
    let mut time = [0i64; 2];
    sys!(clock_gettime, clock, time.as_mut_ptr()).ok();
    time[0] * 1_000_000_000 + time[1]
}

pub fn clocks() {
    // Not the alarm clocks, 8 and 9: they depend on the machine's having a clock that can wake it.
    for clock in [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12] {
        let mut time = [0i64; 2];
        let get = sys!(clock_gettime, clock, time.as_mut_ptr());
        let res = sys!(clock_getres, clock, time.as_mut_ptr());
        say!("{clock}: {get} {res}");
    }
    for clock in [0, 1, 4, 7] {
        let before = now(clock);
        kit::sleep_ms(20);
        show!(format!("{clock} moves"), (20_000_000..20_000_000_000).contains(&(now(clock) - before)));
    }
    let mut seconds = 0i64;
    let time = sys!(time, &raw mut seconds).ok();
    show!("time", time == seconds && (-1..20).contains(&(now(0) / 1_000_000_000 - time)));
    let mut day = [0i64; 2];
    show!("gettimeofday", sys!(gettimeofday, day.as_mut_ptr(), 0));
    show!("same day", (-1..20).contains(&(day[0] - time)) && day[1] < 1_000_000);
    show!("bad clock", sys!(clock_gettime, -77i64, day.as_mut_ptr()));
    show!("bad address", sys!(clock_gettime, 0, 8));
    show!("times", sys!(times, 0).is_ok());
}

pub fn cpu_time() {
    let (process, thread) = (now(2), now(3));
    // On a busy machine it may be long until it has had so much.
    let start = std::time::Instant::now();
    while start.elapsed().as_secs() < 20 && (now(2) - process <= 10_000_000 || now(3) - thread <= 10_000_000) {
        std::hint::black_box(0);
    }
    show!("process", now(2) - process > 10_000_000);
    show!("thread", now(3) - thread > 10_000_000);
    let process = now(2);
    kit::sleep_ms(1000);
    show!("sleeping costs nothing", now(2) - process < 500_000_000);
    let pid = sys!(getpid).ok();
    show!("by pid", sys!(clock_gettime, !pid << 3 | 2, [0i64; 2].as_mut_ptr()));
}

pub fn sleeping() {
    let ms = |ms: i64| [ms / 1000, ms % 1000 * 1_000_000];
    show!("nanosleep", kit::duration(60, || kit::ignore(sys!(nanosleep, ms(60).as_ptr(), 0).ok())));
    show!("relative", kit::duration(60, || kit::ignore(sys!(clock_nanosleep, 1, 0, ms(60).as_ptr(), 0))));
    let until = now(1) + 60_000_000;
    let at = [until / 1_000_000_000, until % 1_000_000_000];
    show!("absolute", sys!(clock_nanosleep, 1, 1, at.as_ptr(), 0));
    show!("until then", now(1) >= until);
    show!("past", sys!(clock_nanosleep, 1, 1, [1i64, 0].as_ptr(), 0));
    show!("zero", sys!(nanosleep, [0i64, 0].as_ptr(), 0));
    show!("nanoseconds", sys!(nanosleep, [0i64, 1_000_000_000].as_ptr(), 0));
    show!("negative", sys!(nanosleep, [-1i64, 0].as_ptr(), 0));
    show!("null", sys!(nanosleep, 0, 0));
    show!("clock", sys!(clock_nanosleep, 99, 0, ms(1).as_ptr(), 0));
    show!("thread clock", sys!(clock_nanosleep, 3, 0, ms(1).as_ptr(), 0));
}

pub fn interval_timers() {
    kit::handle(libc::SIGALRM, count, libc::SA_RESTART);
    let value = [0i64, 20_000, 0, 20_000];
    show!("set", sys!(setitimer, 0, value.as_ptr(), 0));
    kit::until("three", || COUNT.load(Ordering::SeqCst) >= 3);
    let mut old = [0i64; 4];
    show!("get", sys!(getitimer, 0, old.as_mut_ptr()));
    say!("interval {} left {}", old[1], old[3] > 0 && old[3] <= 20_000);
    show!("stop", sys!(setitimer, 0, [0i64; 4].as_ptr(), old.as_mut_ptr()));
    let seen = COUNT.load(Ordering::SeqCst);
    kit::sleep_ms(150);
    show!("stopped", COUNT.load(Ordering::SeqCst) - seen <= 2);
    show!("microseconds", sys!(setitimer, 0, [0i64, 0, 0, 1_000_000].as_ptr(), 0));
    show!("which", sys!(setitimer, 9, [0i64; 4].as_ptr(), 0));
    show!("alarm", sys!(alarm, 100));
    show!("left", (60..=100).contains(&sys!(alarm, 0).0));
    show!("none", sys!(alarm, 0));
    kit::handle(libc::SIGVTALRM, count, 0);
    COUNT.store(0, Ordering::SeqCst);
    sys!(setitimer, 1, [0i64, 0, 0, 20_000].as_ptr(), 0).ok();
    while COUNT.load(Ordering::SeqCst) == 0 {
        std::hint::black_box(0);
    }
    show!("virtual", COUNT.load(Ordering::SeqCst));
}

fn event(notify: i32, signal: i32) -> [u64; 8] {
    let mut event = [0u64; 8];
    event[0] = 77;
    event[1] = u64::from(signal as u32) | u64::from(notify as u32) << 32;
    event
}

pub fn posix_timers() {
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = info as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    let mut id = 0i32;
    show!("create", sys!(timer_create, 1, event(0, libc::SIGUSR1).as_ptr(), &raw mut id));
    show!("set", sys!(timer_settime, id, 0, [0i64, 20_000_000, 0, 20_000_000].as_ptr(), 0));
    kit::until("three", || COUNT.load(Ordering::SeqCst) >= 3);
    show!("code", CODE.load(Ordering::SeqCst));
    let mut value = [0i64; 4];
    show!("get", sys!(timer_gettime, id, value.as_mut_ptr()));
    say!("interval {} left {}", value[1], value[3] > 0);
    let set = 1u64 << (libc::SIGUSR1 - 1);
    sys!(rt_sigprocmask, libc::SIG_BLOCK, &raw const set, 0, 8).ok();
    kit::sleep_ms(150);
    sys!(rt_sigprocmask, libc::SIG_UNBLOCK, &raw const set, 0, 8).ok();
    show!("overrun", (4..5000).contains(&sys!(timer_getoverrun, id).0));
    show!("delete", sys!(timer_delete, id));
    show!("again", sys!(timer_delete, id));
    show!("get deleted", sys!(timer_gettime, id, value.as_mut_ptr()));
    show!("clock", sys!(timer_create, 99, 0, &raw mut id));
    show!("signal", sys!(timer_create, 1, event(0, 99).as_ptr(), &raw mut id));
    show!("notify", sys!(timer_create, 1, event(99, 10).as_ptr(), &raw mut id));
    show!("silent", sys!(timer_create, 1, event(1, 0).as_ptr(), &raw mut id));
    show!("nanoseconds", sys!(timer_settime, id, 0, [0i64, 0, 0, -1].as_ptr(), 0));
    show!("null", sys!(timer_settime, id, 0, 0, 0));
    kit::in_child(|| {
        show!("not inherited", sys!(timer_gettime, id, value.as_mut_ptr()));
        0
    });
}

pub fn setting_the_time() {
    // Nobody may, save who has the whole machine; asked as a user without capabilities.
    kit::in_child(|| {
        if sys!(getuid).0 == 0 {
            sys!(setresuid, 1000, 1000, 1000).ok();
        }
        show!("clock", sys!(clock_settime, 0, [1i64, 0].as_ptr()));
        show!("monotonic", sys!(clock_settime, 1, [1i64, 0].as_ptr()));
        show!("invalid before permission", sys!(clock_settime, 0, [0i64, -1].as_ptr()));
        show!("day", sys!(settimeofday, [1i64, 0].as_ptr(), 0));
        let mut timex = [0u64; 26];
        show!("read adjtimex", sys!(adjtimex, timex.as_mut_ptr()).0 >= 0);
        timex[0] = 1;
        show!("adjtimex", sys!(adjtimex, timex.as_mut_ptr()));
        show!("clock_adjtime", sys!(clock_adjtime, 0, timex.as_mut_ptr()));
        0
    });
}
