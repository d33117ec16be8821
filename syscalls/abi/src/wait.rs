// SPDX-License-Identifier: Apache-2.0
//! `linux/wait.h`: wait4(2) and waitid(2).

use crate::macros::{flags, values};

flags! {
    /// wait4(2)\'s and waitid(2)\'s options.
    pub struct WaitOptions: u32 = "" {
        WNOHANG = 1;
        WUNTRACED = 2;
        WEXITED = 4;
        WCONTINUED = 8;
        WNOWAIT = 0x1000000;
        __WNOTHREAD = 0x20000000;
        __WALL = 0x40000000;
        __WCLONE = 0x80000000;
    }
}

values! {
    /// waitid(2)\'s `which`.
    pub struct IdType: i32 {
        P_ALL = 0;
        P_PID = 1;
        P_PGID = 2;
        P_PIDFD = 3;
    }
}

/// The wait status of a task that called exit(2) with `code`.
pub const fn exited(code: i32) -> i32 {
    (code & 0xff) << 8
}

/// The wait status of a task that a signal killed.
pub const fn killed(signal: i32, core_dumped: bool) -> i32 {
    (signal & 0x7f) | if core_dumped { 0x80 } else { 0 }
}

/// The wait status of a task that a signal stopped.
pub const fn stopped(signal: i32) -> i32 {
    (signal << 8) | 0x7f
}

/// The wait status of a task that was continued.
pub const CONTINUED: i32 = 0xffff;
