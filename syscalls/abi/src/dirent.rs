// SPDX-License-Identifier: Apache-2.0
//! `linux/dirent.h`: directory entries.

use crate::macros::{layout, values};

values! {
    /// `d_type`.
    pub struct DirentType: u8 {
        DT_UNKNOWN = 0;
        DT_FIFO = 1;
        DT_CHR = 2;
        DT_DIR = 4;
        DT_BLK = 6;
        DT_REG = 8;
        DT_LNK = 10;
        DT_SOCK = 12;
        DT_WHT = 14;
    }
}

layout! {
    /// The fixed part of `struct linux_dirent64` up to `d_type` is 19 bytes; this is what precedes it.
    pub struct Dirent64Head [16] {
        d_ino: u64,
        d_off: i64,
    }
}
/// Where the name starts in `struct linux_dirent64`.
pub const DIRENT64_NAME_OFFSET: usize = 19;
/// Where the name starts in `struct linux_dirent`; there `d_type` is the record's last byte.
pub const DIRENT_NAME_OFFSET: usize = 18;
