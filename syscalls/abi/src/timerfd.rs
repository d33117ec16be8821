// SPDX-License-Identifier: Apache-2.0
//! `linux/timerfd.h`: timerfd_create(2).

use crate::macros::flags;

flags! {
    /// timerfd_create(2)\'s flags.
    pub struct TimerfdFlags: u32 = "TFD_" {
        NONBLOCK = 0o4000;
        CLOEXEC = 0o2000000;
    }
}

flags! {
    /// timerfd_settime(2)\'s flags.
    pub struct TimerfdSetFlags: u32 = "TFD_TIMER_" {
        ABSTIME = 1;
        CANCEL_ON_SET = 2;
    }
}
