// SPDX-License-Identifier: Apache-2.0
//! `linux/mount.h`, `asm/statfs.h`: mounting, and what a file system says of itself.

use crate::macros::{consts, flags, layout};

flags! {
    /// mount(2)\'s flags.
    pub struct MountFlags: u64 = "MS_" {
        RDONLY = 1;
        NOSUID = 2;
        NODEV = 4;
        NOEXEC = 8;
        SYNCHRONOUS = 0x10;
        REMOUNT = 0x20;
        MANDLOCK = 0x40;
        DIRSYNC = 0x80;
        NOSYMFOLLOW = 0x100;
        NOATIME = 0x400;
        NODIRATIME = 0x800;
        BIND = 0x1000;
        MOVE = 0x2000;
        REC = 0x4000;
        SILENT = 0x8000;
        POSIXACL = 0x10000;
        UNBINDABLE = 0x20000;
        PRIVATE = 0x40000;
        SLAVE = 0x80000;
        SHARED = 0x100000;
        RELATIME = 0x200000;
        KERNMOUNT = 0x400000;
        I_VERSION = 0x800000;
        STRICTATIME = 0x1000000;
        LAZYTIME = 0x2000000;
    }
}

flags! {
    /// umount2(2)\'s flags.
    pub struct UmountFlags: u32 = "" {
        MNT_FORCE = 1;
        MNT_DETACH = 2;
        MNT_EXPIRE = 4;
        UMOUNT_NOFOLLOW = 8;
    }
}

flags! {
    /// `f_flags`.
    pub struct StatFsFlags: u64 = "ST_" {
        RDONLY = 1;
        NOSUID = 2;
        NODEV = 4;
        NOEXEC = 8;
        SYNCHRONOUS = 0x10;
        VALID = 0x20;
        MANDLOCK = 0x40;
        NOATIME = 0x400;
        NODIRATIME = 0x800;
        RELATIME = 0x1000;
        NOSYMFOLLOW = 0x2000;
    }
}

/// What the high half of mount(2)'s flags must be to be ignored.
pub const MS_MGC_VAL: u64 = 0xc0ed_0000;
/// The mask of [`MS_MGC_VAL`].
pub const MS_MGC_MSK: u64 = 0xffff_0000;

layout! {
    /// `struct statfs` of 64-bit Linux.
    pub struct StatFs [120] {
        f_type: i64,
        f_bsize: i64,
        f_blocks: u64,
        f_bfree: u64,
        f_bavail: u64,
        f_files: u64,
        f_ffree: u64,
        f_fsid: [i32; 2],
        f_namelen: i64,
        f_frsize: i64,
        f_flags: i64,
        f_spare: [i64; 4],
    }
    /// `struct ustat`.
    pub struct Ustat [32] {
        f_tfree: i32,
        pad: u32,
        f_tinode: u64,
        f_fname: [u8; 6],
        f_fpack: [u8; 6],
        pad2: u32,
    }
    /// mount_setattr(2)'s argument.
    pub struct MountAttr [32] {
        attr_set: u64,
        attr_clr: u64,
        propagation: u64,
        userns_fd: u64,
    }
}

consts! {
    i64;
    TMPFS_MAGIC = 0x1021994;
    OVERLAYFS_SUPER_MAGIC = 0x794c7630;
    PROC_SUPER_MAGIC = 0x9fa0;
    SYSFS_MAGIC = 0x62656572;
    DEVPTS_SUPER_MAGIC = 0x1cd1;
    EXT4_SUPER_MAGIC = 0xef53;
    PIPEFS_MAGIC = 0x50495045;
    SOCKFS_MAGIC = 0x534f434b;
    ANON_INODE_FS_MAGIC = 0x9041934;
    CGROUP_SUPER_MAGIC = 0x27e0eb;
    CGROUP2_SUPER_MAGIC = 0x63677270;
    RAMFS_MAGIC = 0x858458f6;
    HUGETLBFS_MAGIC = 0x958458f6;
    NSFS_MAGIC = 0x6e736673;
    V9FS_MAGIC = 0x1021997;
    MQUEUE_MAGIC = 0x19800202;
    PID_FS_MAGIC = 0x50494446;
}
