// SPDX-License-Identifier: Apache-2.0
//! `linux/eventpoll.h`: epoll(7).

use crate::macros::{flags, layout, values};

flags! {
    /// What epoll reports, and how.
    pub struct EpollEvents: u32 = "EPOLL" {
        IN = 1;
        PRI = 2;
        OUT = 4;
        ERR = 8;
        HUP = 0x10;
        RDNORM = 0x40;
        RDBAND = 0x80;
        WRNORM = 0x100;
        WRBAND = 0x200;
        MSG = 0x400;
        RDHUP = 0x2000;
        EXCLUSIVE = 0x10000000;
        WAKEUP = 0x20000000;
        ONESHOT = 0x40000000;
        ET = 0x80000000;
    }
}

flags! {
    /// epoll_create1(2)\'s flags.
    pub struct EpollCreateFlags: u32 = "EPOLL_" {
        CLOEXEC = 0o2000000;
    }
}

values! {
    /// epoll_ctl(2)\'s operation.
    pub struct EpollOp: i32 {
        EPOLL_CTL_ADD = 1;
        EPOLL_CTL_DEL = 2;
        EPOLL_CTL_MOD = 3;
    }
}

/// `struct epoll_event`, which x86-64 packs.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(C, packed)]
pub struct EpollEvent {
    pub events: u32,
    pub data: u64,
}

const _: () = assert!(size_of::<EpollEvent>() == 12);

layout! {
    /// `struct epoll_params`: busy polling of sockets.
    pub struct EpollParams [8] {
        busy_poll_usecs: u32,
        busy_poll_budget: u16,
        prefer_busy_poll: u8,
        pad: u8,
    }
}
