// SPDX-License-Identifier: Apache-2.0
//! `linux/inotify.h`: inotify(7).

use crate::macros::{flags, layout};

flags! {
    /// inotify_init1(2)\'s flags.
    pub struct InotifyInitFlags: u32 = "IN_" {
        CLOEXEC = 0o2000000;
        NONBLOCK = 0o4000;
    }
}

flags! {
    /// Events, and how to watch for them.
    pub struct InotifyMask: u32 = "IN_" {
        ACCESS = 1;
        MODIFY = 2;
        ATTRIB = 4;
        CLOSE_WRITE = 8;
        CLOSE_NOWRITE = 0x10;
        OPEN = 0x20;
        MOVED_FROM = 0x40;
        MOVED_TO = 0x80;
        CREATE = 0x100;
        DELETE = 0x200;
        DELETE_SELF = 0x400;
        MOVE_SELF = 0x800;
        UNMOUNT = 0x2000;
        Q_OVERFLOW = 0x4000;
        IGNORED = 0x8000;
        ONLYDIR = 0x1000000;
        DONT_FOLLOW = 0x2000000;
        EXCL_UNLINK = 0x4000000;
        MASK_CREATE = 0x10000000;
        MASK_ADD = 0x20000000;
        ISDIR = 0x40000000;
        ONESHOT = 0x80000000;
    }
}

impl InotifyMask {
    /// All events that can be asked for.
    pub const ALL_EVENTS: InotifyMask = InotifyMask::from_bits_retain(0xfff);
}

layout! {
    /// The head of an event; the name follows, padded to `len` bytes.
    pub struct InotifyEvent [16] {
        wd: i32,
        mask: u32,
        cookie: u32,
        len: u32,
    }
}
