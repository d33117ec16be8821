// SPDX-License-Identifier: Apache-2.0
//! `linux/fs.h`'s inode flags, and what file_getattr(2) makes of them.

use crate::macros::{flags, layout};

flags! {
    /// chattr(1)\'s flags (`FS_IOC_GETFLAGS`).
    pub struct InodeFlags: u32 = "FS_" {
        SECRM_FL = 1;
        UNRM_FL = 2;
        COMPR_FL = 4;
        SYNC_FL = 8;
        IMMUTABLE_FL = 0x10;
        APPEND_FL = 0x20;
        NODUMP_FL = 0x40;
        NOATIME_FL = 0x80;
        DIRSYNC_FL = 0x1_0000;
        PROJINHERIT_FL = 0x2000_0000;
        CASEFOLD_FL = 0x4000_0000;
    }
}

flags! {
    /// `fa_xflags` and `fsx_xflags`.
    pub struct XFlags: u32 = "FS_XFLAG_" {
        REALTIME = 1;
        PREALLOC = 2;
        IMMUTABLE = 8;
        APPEND = 0x10;
        SYNC = 0x20;
        NOATIME = 0x40;
        NODUMP = 0x80;
        RTINHERIT = 0x100;
        PROJINHERIT = 0x200;
        NOSYMLINKS = 0x400;
        EXTSIZE = 0x800;
        EXTSZINHERIT = 0x1000;
        NODEFRAG = 0x2000;
        FILESTREAM = 0x4000;
        DAX = 0x8000;
        COWEXTSIZE = 0x1_0000;
        VERITY = 0x2_0000;
        HASATTR = 0x8000_0000;
    }
}

impl XFlags {
    /// The two ways to say the same.
    const PAIRS: [(XFlags, InodeFlags); 5] = [
        (XFlags::SYNC, InodeFlags::SYNC_FL),
        (XFlags::IMMUTABLE, InodeFlags::IMMUTABLE_FL),
        (XFlags::APPEND, InodeFlags::APPEND_FL),
        (XFlags::NODUMP, InodeFlags::NODUMP_FL),
        (XFlags::NOATIME, InodeFlags::NOATIME_FL),
    ];

    /// Those that have an inode flag, as one.
    pub fn to_inode_flags(self) -> InodeFlags {
        let set = Self::PAIRS.iter().filter(|(x, _)| self.contains(*x));
        set.fold(InodeFlags::empty(), |sum, (_, flag)| sum | *flag)
    }

    /// What `flags` are here.
    pub fn of_inode_flags(flags: InodeFlags) -> XFlags {
        let set = Self::PAIRS.iter().filter(|(_, flag)| flags.contains(*flag));
        set.fold(XFlags::empty(), |sum, (x, _)| sum | *x)
    }
}

layout! {
    /// `struct file_attr`.
    pub struct FileAttr [24] {
        fa_xflags: u64,
        fa_extsize: u32,
        fa_nextents: u32,
        fa_projid: u32,
        fa_cowextsize: u32,
    }
    /// `struct fsxattr`: the same for ioctl(2).
    pub struct Fsxattr [28] {
        fsx_xflags: u32,
        fsx_extsize: u32,
        fsx_nextents: u32,
        fsx_projid: u32,
        fsx_cowextsize: u32,
        fsx_pad: [u8; 8],
    }
}
