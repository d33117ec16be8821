// SPDX-License-Identifier: Apache-2.0
//! timerfd_create(2).
//!
//! Covers: timerfd_create, timerfd_settime, timerfd_gettime.

use crate::kit;

fn spec(value_ms: i64, interval_ms: i64) -> libc::itimerspec {
    let time = |ms: i64| libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
    libc::itimerspec { it_interval: time(interval_ms), it_value: time(value_ms) }
}

pub fn expirations() {
    let fd = sys!(timerfd_create, libc::CLOCK_MONOTONIC, 0).fd();
    sys!(timerfd_settime, fd, 0, kit::at(&spec(50, 0)), 0).ok();
    let mut count = 0u64;
    show!("waits", kit::duration(50, || kit::ignore(sys!(read, fd, &raw mut count, 8).ok())));
    show!("once", count);
    sys!(timerfd_settime, fd, 0, kit::at(&spec(20, 20)), 0).ok();
    kit::sleep_ms(110);
    sys!(read, fd, &raw mut count, 8).ok();
    show!("several", (4..1000).contains(&count));
    let mut left = spec(0, 0);
    show!("gettime", sys!(timerfd_gettime, fd, &raw mut left));
    say!("interval {} armed {}", left.it_interval.tv_nsec, left.it_value.tv_nsec > 0);
    show!("disarm", sys!(timerfd_settime, fd, 0, kit::at(&spec(0, 0)), &raw mut left));
    sys!(timerfd_gettime, fd, &raw mut left).ok();
    say!("armed {}", left.it_value.tv_nsec > 0);
}

pub fn absolute_and_errors() {
    let fd = sys!(timerfd_create, libc::CLOCK_REALTIME, libc::TFD_NONBLOCK).fd();
    let mut count = 0u64;
    show!("not armed", sys!(read, fd, &raw mut count, 8));
    sys!(timerfd_settime, fd, 1, kit::at(&spec(1, 0)), 0).ok();
    show!("in the past", sys!(read, fd, &raw mut count, 8));
    show!("count", count);
    show!("small", sys!(read, fd, &raw mut count, 4));
    show!("clock", sys!(timerfd_create, 99, 0));
    show!("flags", sys!(timerfd_create, 1, 1));
    show!("set flags", sys!(timerfd_settime, fd, 8, kit::at(&spec(1, 0)), 0));
    let mut bad = spec(1, 0);
    bad.it_value.tv_nsec = 1_000_000_000;
    show!("nanoseconds", sys!(timerfd_settime, fd, 0, &raw const bad, 0));
    show!("not a timer", sys!(timerfd_settime, 1, 0, kit::at(&spec(1, 0)), 0));
    show!("null", sys!(timerfd_settime, fd, 0, 0, 0));
    show!("closed", sys!(timerfd_gettime, 99, &raw mut bad));
    show!("write", sys!(write, fd, &raw const count, 8));
}
