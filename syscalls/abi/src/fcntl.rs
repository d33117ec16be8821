// SPDX-License-Identifier: Apache-2.0
//! `linux/fcntl.h`, `asm-generic/fcntl.h`, `linux/openat2.h`: open(2), fcntl(2), the `*at` calls.

use crate::macros::{consts, flags, layout, values};

flags! {
    /// open(2)\'s flags as x86-64 has them, access mode included.
    pub struct OpenFlags: u32 = "O_" {
        WRONLY = 0o1;
        RDWR = 0o2;
        CREAT = 0o100;
        EXCL = 0o200;
        NOCTTY = 0o400;
        TRUNC = 0o1000;
        APPEND = 0o2000;
        NONBLOCK = 0o4000;
        DSYNC = 0o10000;
        ASYNC = 0o20000;
        DIRECT = 0o40000;
        LARGEFILE = 0o100000;
        DIRECTORY = 0o200000;
        NOFOLLOW = 0o400000;
        NOATIME = 0o1000000;
        CLOEXEC = 0o2000000;
        SYNC = 0o4010000;
        PATH = 0o10000000;
        TMPFILE = 0o20200000;
    }
}

impl OpenFlags {
    /// Reading only: no bit at all.
    pub const RDONLY: OpenFlags = OpenFlags::empty();
    /// The mask of the access mode: reading only, writing only, both.
    pub const ACCMODE: OpenFlags = OpenFlags::from_bits_retain(3);
}

flags! {
    /// Flags of a file descriptor (not of the open file).
    pub struct FdFlags: u32 = "FD_" {
        CLOEXEC = 1;
    }
}

flags! {
    /// The flags that the `*at` calls share; each call knows which it takes.
    pub struct AtFlags: u32 = "AT_" {
        SYMLINK_NOFOLLOW = 0x100;
        REMOVEDIR = 0x200;
        SYMLINK_FOLLOW = 0x400;
        NO_AUTOMOUNT = 0x800;
        EMPTY_PATH = 0x1000;
        STATX_FORCE_SYNC = 0x2000;
        STATX_DONT_SYNC = 0x4000;
        RECURSIVE = 0x8000;
    }
}

impl AtFlags {
    /// faccessat2(2)'s: check with the effective ids. The bit is unlinkat(2)'s `AT_REMOVEDIR`.
    pub const EACCESS: AtFlags = AtFlags::REMOVEDIR;
}

values! {
    /// fcntl(2)\'s commands.
    pub struct FcntlCommand: i32 {
        F_DUPFD = 0;
        F_GETFD = 1;
        F_SETFD = 2;
        F_GETFL = 3;
        F_SETFL = 4;
        F_GETLK = 5;
        F_SETLK = 6;
        F_SETLKW = 7;
        F_SETOWN = 8;
        F_GETOWN = 9;
        F_SETSIG = 10;
        F_GETSIG = 11;
        F_SETOWN_EX = 15;
        F_GETOWN_EX = 16;
        F_GETOWNER_UIDS = 17;
        F_OFD_GETLK = 36;
        F_OFD_SETLK = 37;
        F_OFD_SETLKW = 38;
        F_SETLEASE = 1024;
        F_GETLEASE = 1025;
        F_NOTIFY = 1026;
        F_DUPFD_QUERY = 1027;
        F_CREATED_QUERY = 1028;
        F_CANCELLK = 1029;
        F_DUPFD_CLOEXEC = 1030;
        F_SETPIPE_SZ = 1031;
        F_GETPIPE_SZ = 1032;
        F_ADD_SEALS = 1033;
        F_GET_SEALS = 1034;
        F_GET_RW_HINT = 1035;
        F_SET_RW_HINT = 1036;
        F_GET_FILE_RW_HINT = 1037;
        F_SET_FILE_RW_HINT = 1038;
    }
}

values! {
    /// The kind of a record lock or lease.
    pub struct LockType: i32 {
        F_RDLCK = 0;
        F_WRLCK = 1;
        F_UNLCK = 2;
    }
}

values! {
    /// `struct f_owner_ex`\'s kinds.
    pub struct OwnerType: i32 {
        F_OWNER_TID = 0;
        F_OWNER_PID = 1;
        F_OWNER_PGRP = 2;
    }
}

flags! {
    /// `F_NOTIFY`\'s events.
    pub struct DnotifyMask: u32 = "DN_" {
        ACCESS = 1;
        MODIFY = 2;
        CREATE = 4;
        DELETE = 8;
        RENAME = 0x10;
        ATTRIB = 0x20;
        MULTISHOT = 0x8000_0000;
    }
}

flags! {
    /// memfd seals.
    pub struct Seals: u32 = "F_SEAL_" {
        SEAL = 1;
        SHRINK = 2;
        GROW = 4;
        WRITE = 8;
        FUTURE_WRITE = 0x10;
        EXEC = 0x20;
    }
}

flags! {
    /// flock(2)\'s operation.
    pub struct FlockOperation: u32 = "LOCK_" {
        SH = 1;
        EX = 2;
        NB = 4;
        UN = 8;
    }
}

values! {
    /// lseek(2)\'s origin.
    pub struct Whence: i32 {
        SEEK_SET = 0;
        SEEK_CUR = 1;
        SEEK_END = 2;
        SEEK_DATA = 3;
        SEEK_HOLE = 4;
    }
}

flags! {
    /// fallocate(2)\'s mode.
    pub struct FallocateMode: u32 = "FALLOC_FL_" {
        KEEP_SIZE = 1;
        PUNCH_HOLE = 2;
        NO_HIDE_STALE = 4;
        COLLAPSE_RANGE = 8;
        ZERO_RANGE = 0x10;
        INSERT_RANGE = 0x20;
        UNSHARE_RANGE = 0x40;
    }
}

flags! {
    /// renameat2(2)\'s flags.
    pub struct RenameFlags: u32 = "RENAME_" {
        NOREPLACE = 1;
        EXCHANGE = 2;
        WHITEOUT = 4;
    }
}

flags! {
    /// openat2(2)\'s `resolve`.
    pub struct ResolveFlags: u64 = "RESOLVE_" {
        NO_XDEV = 1;
        NO_MAGICLINKS = 2;
        NO_SYMLINKS = 4;
        BENEATH = 8;
        IN_ROOT = 0x10;
        CACHED = 0x20;
    }
}

values! {
    /// posix_fadvise(2)\'s advice.
    pub struct FileAdvice: i32 {
        POSIX_FADV_NORMAL = 0;
        POSIX_FADV_RANDOM = 1;
        POSIX_FADV_SEQUENTIAL = 2;
        POSIX_FADV_WILLNEED = 3;
        POSIX_FADV_DONTNEED = 4;
        POSIX_FADV_NOREUSE = 5;
    }
}

flags! {
    /// sync_file_range(2)\'s flags.
    pub struct SyncFileRangeFlags: u32 = "SYNC_FILE_RANGE_" {
        WAIT_BEFORE = 1;
        WRITE = 2;
        WAIT_AFTER = 4;
    }
}

flags! {
    /// close_range(2)\'s flags.
    pub struct CloseRangeFlags: u32 = "CLOSE_RANGE_" {
        UNSHARE = 2;
        CLOEXEC = 4;
    }
}

flags! {
    /// splice(2)\'s, tee(2)\'s and vmsplice(2)\'s flags.
    pub struct SpliceFlags: u32 = "SPLICE_F_" {
        MOVE = 1;
        NONBLOCK = 2;
        MORE = 4;
        GIFT = 8;
    }
}

flags! {
    /// access(2)\'s mode.
    pub struct AccessMode: u32 = "" {
        X_OK = 1;
        W_OK = 2;
        R_OK = 4;
    }
}

consts! {
    i32;
    AT_FDCWD = -100;
}

layout! {
    /// A record lock.
    pub struct Flock [32] {
        l_type: i16,
        l_whence: i16,
        pad: u32,
        l_start: i64,
        l_len: i64,
        l_pid: i32,
        pad2: u32,
    }
    /// Whom `SIGIO` goes to.
    pub struct FOwnerEx [8] {
        kind: i32,
        pid: i32,
    }
    /// openat2(2)'s argument.
    pub struct OpenHow [24] {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    /// `struct file_handle` without its bytes.
    pub struct FileHandle [8] {
        handle_bytes: u32,
        handle_type: i32,
    }
}

consts! {
    u32;
    MAX_HANDLE_SZ = 128;
    OPEN_HOW_SIZE_VER0 = 24;
}
