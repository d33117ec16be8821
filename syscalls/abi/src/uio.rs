// SPDX-License-Identifier: Apache-2.0
//! `linux/uio.h`: readv(2) and its kin.

use crate::macros::{flags, layout};

flags! {
    /// preadv2(2)\'s and pwritev2(2)\'s flags.
    pub struct RwFlags: u32 = "RWF_" {
        HIPRI = 1;
        DSYNC = 2;
        SYNC = 4;
        NOWAIT = 8;
        APPEND = 0x10;
        NOAPPEND = 0x20;
        ATOMIC = 0x40;
        DONTCACHE = 0x80;
        NOSIGNAL = 0x100;
    }
}

layout! {
    /// A piece of memory: `struct iovec`.
    pub struct Iovec [16] {
        iov_base: u64,
        iov_len: u64,
    }
}
