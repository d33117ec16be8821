// SPDX-License-Identifier: Apache-2.0
//! `linux/mount.h`, `asm/statfs.h`: mounting, and what a file system says of itself.

use crate::macros::{consts, flags, layout, values};

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

flags! {
    /// open_tree(2)\'s flags: its own, and those of the `*at` calls.
    pub struct OpenTreeFlags: u32 = "" {
        OPEN_TREE_CLONE = 1;
        AT_SYMLINK_NOFOLLOW = 0x100;
        AT_NO_AUTOMOUNT = 0x800;
        AT_EMPTY_PATH = 0x1000;
        AT_RECURSIVE = 0x8000;
        OPEN_TREE_CLOEXEC = 0x80000;
    }
}

flags! {
    /// move_mount(2)\'s flags: `F` for the path from, `T` for the path to.
    pub struct MoveMountFlags: u32 = "MOVE_MOUNT_" {
        F_SYMLINKS = 1;
        F_AUTOMOUNTS = 2;
        F_EMPTY_PATH = 4;
        T_SYMLINKS = 0x10;
        T_AUTOMOUNTS = 0x20;
        T_EMPTY_PATH = 0x40;
        SET_GROUP = 0x100;
        BENEATH = 0x200;
    }
}

flags! {
    /// fsopen(2)\'s flags.
    pub struct FsopenFlags: u32 = "FSOPEN_" {
        CLOEXEC = 1;
    }
}

flags! {
    /// fsmount(2)\'s flags.
    pub struct FsmountFlags: u32 = "FSMOUNT_" {
        CLOEXEC = 1;
    }
}

flags! {
    /// fspick(2)\'s flags.
    pub struct FspickFlags: u32 = "FSPICK_" {
        CLOEXEC = 1;
        SYMLINK_NOFOLLOW = 2;
        NO_AUTOMOUNT = 4;
        EMPTY_PATH = 8;
    }
}

values! {
    /// fsconfig(2)\'s commands.
    pub struct FsconfigCommand: u32 {
        FSCONFIG_SET_FLAG = 0;
        FSCONFIG_SET_STRING = 1;
        FSCONFIG_SET_BINARY = 2;
        FSCONFIG_SET_PATH = 3;
        FSCONFIG_SET_PATH_EMPTY = 4;
        FSCONFIG_SET_FD = 5;
        FSCONFIG_CMD_CREATE = 6;
        FSCONFIG_CMD_RECONFIGURE = 7;
        FSCONFIG_CMD_CREATE_EXCL = 8;
    }
}

flags! {
    /// What fsmount(2) and mount_setattr(2) make of a mount. The two access time bits are one value:
    /// `relatime` if neither is set.
    pub struct MountAttrFlags: u64 = "MOUNT_ATTR_" {
        RDONLY = 1;
        NOSUID = 2;
        NODEV = 4;
        NOEXEC = 8;
        NOATIME = 0x10;
        STRICTATIME = 0x20;
        NODIRATIME = 0x80;
        IDMAP = 0x100000;
        NOSYMFOLLOW = 0x200000;
    }
}

impl MountAttrFlags {
    /// The field of the access time's value.
    pub const ATIME_FIELD: u64 = 0x70;
}

flags! {
    /// What statmount(2) is asked for.
    pub struct StatmountMask: u64 = "STATMOUNT_" {
        SB_BASIC = 1;
        MNT_BASIC = 2;
        PROPAGATE_FROM = 4;
        MNT_ROOT = 8;
        MNT_POINT = 0x10;
        FS_TYPE = 0x20;
        MNT_NS_ID = 0x40;
        MNT_OPTS = 0x80;
        FS_SUBTYPE = 0x100;
        SB_SOURCE = 0x200;
        OPT_ARRAY = 0x400;
        OPT_SEC_ARRAY = 0x800;
        SUPPORTED_MASK = 0x1000;
        MNT_UIDMAP = 0x2000;
        MNT_GIDMAP = 0x4000;
    }
}

flags! {
    /// listmount(2)\'s flags.
    pub struct ListmountFlags: u32 = "LISTMOUNT_" {
        REVERSE = 1;
    }
}

/// listmount(2)'s name for the root of the namespace.
pub const LSMT_ROOT: u64 = u64::MAX;
/// Numbers of mounts that are never used twice begin above this.
pub const UNIQUE_MOUNT_ID_OFFSET: u64 = 1 << 31;
/// The oldest size of [`MountIdRequest`].
pub const MOUNT_ID_REQUEST_SIZE_VER0: usize = 24;
/// The oldest size of [`MountAttr`].
pub const MOUNT_ATTR_SIZE_VER0: usize = 32;

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
    /// `struct mnt_id_req`: what statmount(2) and listmount(2) are asked.
    pub struct MountIdRequest [32] {
        size: u32,
        mnt_ns_fd: u32,
        mnt_id: u64,
        param: u64,
        mnt_ns_id: u64,
    }
    /// `struct statmount` without its strings, which lie behind it: fields of strings say where.
    pub struct Statmount [512] {
        size: u32,
        mnt_opts: u32,
        mask: u64,
        sb_dev_major: u32,
        sb_dev_minor: u32,
        sb_magic: u64,
        sb_flags: u32,
        fs_type: u32,
        mnt_id: u64,
        mnt_parent_id: u64,
        mnt_id_old: u32,
        mnt_parent_id_old: u32,
        mnt_attr: u64,
        mnt_propagation: u64,
        mnt_peer_group: u64,
        mnt_master: u64,
        propagate_from: u64,
        mnt_root: u32,
        mnt_point: u32,
        mnt_ns_id: u64,
        fs_subtype: u32,
        sb_source: u32,
        opt_num: u32,
        opt_array: u32,
        opt_sec_num: u32,
        opt_sec_array: u32,
        supported_mask: u64,
        mnt_uidmap_num: u32,
        mnt_uidmap: u32,
        mnt_gidmap_num: u32,
        mnt_gidmap: u32,
        spare: [u64; 43],
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
