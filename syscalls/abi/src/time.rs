// SPDX-License-Identifier: Apache-2.0
//! `linux/time.h`, `linux/time_types.h`, `linux/timex.h`: clocks and timers.

use crate::macros::{consts, flags, layout, values};

values! {
    /// clock_gettime(2)\'s clocks. Negative ones are CPU clocks of a task, or of a device.
    pub struct ClockId: i32 {
        CLOCK_REALTIME = 0;
        CLOCK_MONOTONIC = 1;
        CLOCK_PROCESS_CPUTIME_ID = 2;
        CLOCK_THREAD_CPUTIME_ID = 3;
        CLOCK_MONOTONIC_RAW = 4;
        CLOCK_REALTIME_COARSE = 5;
        CLOCK_MONOTONIC_COARSE = 6;
        CLOCK_BOOTTIME = 7;
        CLOCK_REALTIME_ALARM = 8;
        CLOCK_BOOTTIME_ALARM = 9;
        CLOCK_TAI = 11;
    }
}

flags! {
    /// timer_settime(2)\'s and clock_nanosleep(2)\'s flags.
    pub struct TimerFlags: u32 = "TIMER_" {
        ABSTIME = 1;
    }
}

values! {
    /// setitimer(2)\'s timers.
    pub struct IntervalTimer: i32 {
        ITIMER_REAL = 0;
        ITIMER_VIRTUAL = 1;
        ITIMER_PROF = 2;
    }
}

layout! {
    /// Seconds and nanoseconds.
    pub struct Timespec [16] {
        tv_sec: i64,
        tv_nsec: i64,
    }
    /// Seconds and microseconds.
    pub struct Timeval [16] {
        tv_sec: i64,
        tv_usec: i64,
    }
    /// A timer's next expiry and its period.
    pub struct Itimerspec [32] {
        it_interval: Timespec,
        it_value: Timespec,
    }
    /// The same in microseconds.
    pub struct Itimerval [32] {
        it_interval: Timeval,
        it_value: Timeval,
    }
    /// gettimeofday(2)'s second argument.
    pub struct Timezone [8] {
        tz_minuteswest: i32,
        tz_dsttime: i32,
    }
    /// utime(2)'s argument.
    pub struct Utimbuf [16] {
        actime: i64,
        modtime: i64,
    }
    /// times(2)'s result, in ticks of [`USER_HZ`].
    pub struct Tms [32] {
        tms_utime: i64,
        tms_stime: i64,
        tms_cutime: i64,
        tms_cstime: i64,
    }
    /// adjtimex(2)'s argument.
    pub struct Timex [208] {
        modes: u32,
        pad0: u32,
        offset: i64,
        freq: i64,
        maxerror: i64,
        esterror: i64,
        status: i32,
        pad1: u32,
        constant: i64,
        precision: i64,
        tolerance: i64,
        time: Timeval,
        tick: i64,
        ppsfreq: i64,
        jitter: i64,
        shift: i32,
        pad2: u32,
        stabil: i64,
        jitcnt: i64,
        calcnt: i64,
        errcnt: i64,
        stbcnt: i64,
        tai: i32,
        pad3: [i32; 11],
    }
}
/// Ticks a second, as user space counts them (`AT_CLKTCK`).
pub const USER_HZ: u64 = 100;

consts! {
    i64;
    UTIME_NOW = 1073741823;
    UTIME_OMIT = 1073741822;
    NSEC_PER_SEC = 1000000000;
    USEC_PER_SEC = 1000000;
    NSEC_PER_USEC = 1000;
}

consts! {
    i32;
    TIME_OK = 0;
    TIME_INS = 1;
    TIME_DEL = 2;
    TIME_OOP = 3;
    TIME_WAIT = 4;
    TIME_ERROR = 5;
}

consts! {
    u32;
    ADJ_OFFSET = 1;
    ADJ_FREQUENCY = 2;
    ADJ_MAXERROR = 4;
    ADJ_ESTERROR = 8;
    ADJ_STATUS = 0x10;
    ADJ_TIMECONST = 0x20;
    ADJ_TAI = 0x80;
    ADJ_SETOFFSET = 0x100;
    ADJ_MICRO = 0x1000;
    ADJ_NANO = 0x2000;
    ADJ_TICK = 0x4000;
    STA_UNSYNC = 0x40;
    STA_NANO = 0x2000;
    STA_PLL = 1;
}
