// SPDX-License-Identifier: Apache-2.0
//! `linux/stat.h`, `asm/stat.h`: stat(2) and statx(2).

use crate::macros::{consts, flags, layout};

consts! {
    u32;
    S_IFMT = 0o170000;
    S_IFSOCK = 0o140000;
    S_IFLNK = 0o120000;
    S_IFREG = 0o100000;
    S_IFBLK = 0o60000;
    S_IFDIR = 0o40000;
    S_IFCHR = 0o20000;
    S_IFIFO = 0o10000;
    S_ISUID = 0o4000;
    S_ISGID = 0o2000;
    S_ISVTX = 0o1000;
    S_IRWXU = 0o700;
    S_IRUSR = 0o400;
    S_IWUSR = 0o200;
    S_IXUSR = 0o100;
    S_IRWXG = 0o70;
    S_IRGRP = 0o40;
    S_IWGRP = 0o20;
    S_IXGRP = 0o10;
    S_IRWXO = 0o7;
    S_IROTH = 0o4;
    S_IWOTH = 0o2;
    S_IXOTH = 0o1;
    S_IALLUGO = 0o7777;
    S_IRWXUGO = 0o777;
}

flags! {
    /// statx(2)\'s mask.
    pub struct StatxMask: u32 = "STATX_" {
        TYPE = 1;
        MODE = 2;
        NLINK = 4;
        UID = 8;
        GID = 0x10;
        ATIME = 0x20;
        MTIME = 0x40;
        CTIME = 0x80;
        INO = 0x100;
        SIZE = 0x200;
        BLOCKS = 0x400;
        BTIME = 0x800;
        MNT_ID = 0x1000;
        DIOALIGN = 0x2000;
        MNT_ID_UNIQUE = 0x4000;
        SUBVOL = 0x8000;
        WRITE_ATOMIC = 0x10000;
        DIO_READ_ALIGN = 0x20000;
        _RESERVED = 0x80000000;
    }
}

impl StatxMask {
    /// What stat(2) gives.
    pub const BASIC_STATS: StatxMask = StatxMask::from_bits_retain(0x7ff);
}

flags! {
    /// `stx_attributes`.
    pub struct StatxAttributes: u64 = "STATX_ATTR_" {
        COMPRESSED = 4;
        IMMUTABLE = 0x10;
        APPEND = 0x20;
        NODUMP = 0x40;
        ENCRYPTED = 0x800;
        AUTOMOUNT = 0x1000;
        MOUNT_ROOT = 0x2000;
        VERITY = 0x100000;
        DAX = 0x200000;
        WRITE_ATOMIC = 0x400000;
    }
}

layout! {
    /// `struct stat` of x86-64.
    pub struct Stat [144] {
        st_dev: u64,
        st_ino: u64,
        st_nlink: u64,
        st_mode: u32,
        st_uid: u32,
        st_gid: u32,
        pad0: u32,
        st_rdev: u64,
        st_size: i64,
        st_blksize: i64,
        st_blocks: i64,
        st_atime: u64,
        st_atime_nsec: u64,
        st_mtime: u64,
        st_mtime_nsec: u64,
        st_ctime: u64,
        st_ctime_nsec: u64,
        unused: [i64; 3],
    }
    /// A time stamp of statx(2).
    pub struct StatxTimestamp [16] {
        tv_sec: i64,
        tv_nsec: u32,
        reserved: i32,
    }
    /// `struct statx`.
    pub struct Statx [256] {
        stx_mask: u32,
        stx_blksize: u32,
        stx_attributes: u64,
        stx_nlink: u32,
        stx_uid: u32,
        stx_gid: u32,
        stx_mode: u16,
        spare0: u16,
        stx_ino: u64,
        stx_size: u64,
        stx_blocks: u64,
        stx_attributes_mask: u64,
        stx_atime: StatxTimestamp,
        stx_btime: StatxTimestamp,
        stx_ctime: StatxTimestamp,
        stx_mtime: StatxTimestamp,
        stx_rdev_major: u32,
        stx_rdev_minor: u32,
        stx_dev_major: u32,
        stx_dev_minor: u32,
        stx_mnt_id: u64,
        stx_dio_mem_align: u32,
        stx_dio_offset_align: u32,
        stx_subvol: u64,
        stx_atomic_write_unit_min: u32,
        stx_atomic_write_unit_max: u32,
        stx_atomic_write_segments_max: u32,
        stx_dio_read_offset_align: u32,
        spare3: [u64; 9],
    }
}
