// SPDX-License-Identifier: Apache-2.0
//! `linux/mount.h` and `asm/statfs.h`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct statfs` of 64-bit Linux.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[allow(missing_docs, reason = "statfs(2) explains each")]
pub struct StatFs {
    pub f_type: i64,
    pub f_bsize: i64,
    pub f_blocks: u64,
    pub f_bfree: u64,
    pub f_bavail: u64,
    pub f_files: u64,
    pub f_ffree: u64,
    pub f_fsid: [i32; 2],
    pub f_namelen: i64,
    pub f_frsize: i64,
    pub f_flags: i64,
    pub f_spare: [i64; 4],
}

const _: () = assert!(size_of::<StatFs>() == 120);
