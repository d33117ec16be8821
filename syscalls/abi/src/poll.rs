// SPDX-License-Identifier: Apache-2.0
//! `asm-generic/poll.h`: poll(2) and select(2).

use crate::macros::{consts, flags, layout};

flags! {
    /// What poll(2) waits for and reports.
    pub struct PollEvents: u16 = "POLL" {
        IN = 1;
        PRI = 2;
        OUT = 4;
        ERR = 8;
        HUP = 0x10;
        NVAL = 0x20;
        RDNORM = 0x40;
        RDBAND = 0x80;
        WRNORM = 0x100;
        WRBAND = 0x200;
        MSG = 0x400;
        REMOVE = 0x1000;
        RDHUP = 0x2000;
    }
}

layout! {
    /// One file of a poll(2).
    pub struct PollFd [8] {
        fd: i32,
        events: u16,
        revents: u16,
    }
    /// pselect6(2)'s sixth argument: the signal mask and its size.
    pub struct SigSetWithSize [16] {
        sigset: u64,
        size: u64,
    }
}

consts! {
    usize;
    FD_SETSIZE = 1024;
}
