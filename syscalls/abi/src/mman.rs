// SPDX-License-Identifier: Apache-2.0
//! `asm-generic/mman.h`, `linux/mman.h`: memory mappings.

use crate::macros::{consts, flags, layout, values};

flags! {
    /// mmap(2)\'s and mprotect(2)\'s protection.
    pub struct Prot: u32 = "PROT_" {
        READ = 1;
        WRITE = 2;
        EXEC = 4;
        SEM = 8;
        GROWSDOWN = 0x1000000;
        GROWSUP = 0x2000000;
    }
}

flags! {
    /// mmap(2)\'s flags; `SHARED_VALIDATE` is `SHARED|PRIVATE`.
    pub struct MapFlags: u32 = "MAP_" {
        SHARED = 1;
        PRIVATE = 2;
        FIXED = 0x10;
        ANONYMOUS = 0x20;
        LOW_2GB = 0x40;
        ABOVE4G = 0x80;
        GROWSDOWN = 0x100;
        DENYWRITE = 0x800;
        EXECUTABLE = 0x1000;
        LOCKED = 0x2000;
        NORESERVE = 0x4000;
        POPULATE = 0x8000;
        NONBLOCK = 0x10000;
        STACK = 0x20000;
        HUGETLB = 0x40000;
        SYNC = 0x80000;
        FIXED_NOREPLACE = 0x100000;
        UNINITIALIZED = 0x4000000;
    }
}

impl MapFlags {
    /// The bits that say shared or private.
    pub const TYPE: MapFlags = MapFlags::from_bits_retain(0xf);
    /// Shared, and unknown flags are refused.
    pub const SHARED_VALIDATE: MapFlags = MapFlags::from_bits_retain(3);
}

flags! {
    /// mremap(2)\'s flags.
    pub struct RemapFlags: u32 = "MREMAP_" {
        MAYMOVE = 1;
        FIXED = 2;
        DONTUNMAP = 4;
    }
}

flags! {
    /// msync(2)\'s flags.
    pub struct SyncFlags: u32 = "MS_" {
        ASYNC = 1;
        INVALIDATE = 2;
        SYNC = 4;
    }
}

flags! {
    /// mlockall(2)\'s flags.
    pub struct LockFlags: u32 = "MCL_" {
        CURRENT = 1;
        FUTURE = 2;
        ONFAULT = 4;
    }
}

flags! {
    /// mlock2(2)\'s flags.
    pub struct Mlock2Flags: u32 = "MLOCK_" {
        ONFAULT = 1;
    }
}

flags! {
    /// memfd_create(2)\'s flags.
    pub struct MemfdFlags: u32 = "MFD_" {
        CLOEXEC = 1;
        ALLOW_SEALING = 2;
        HUGETLB = 4;
        NOEXEC_SEAL = 8;
        EXEC = 0x10;
    }
}

values! {
    /// madvise(2)\'s advice.
    pub struct Advice: i32 {
        MADV_NORMAL = 0;
        MADV_RANDOM = 1;
        MADV_SEQUENTIAL = 2;
        MADV_WILLNEED = 3;
        MADV_DONTNEED = 4;
        MADV_FREE = 8;
        MADV_REMOVE = 9;
        MADV_DONTFORK = 10;
        MADV_DOFORK = 11;
        MADV_MERGEABLE = 12;
        MADV_UNMERGEABLE = 13;
        MADV_HUGEPAGE = 14;
        MADV_NOHUGEPAGE = 15;
        MADV_DONTDUMP = 16;
        MADV_DODUMP = 17;
        MADV_WIPEONFORK = 18;
        MADV_KEEPONFORK = 19;
        MADV_COLD = 20;
        MADV_PAGEOUT = 21;
        MADV_POPULATE_READ = 22;
        MADV_POPULATE_WRITE = 23;
        MADV_DONTNEED_LOCKED = 24;
        MADV_COLLAPSE = 25;
        MADV_HWPOISON = 100;
        MADV_SOFT_OFFLINE = 101;
        MADV_GUARD_INSTALL = 102;
        MADV_GUARD_REMOVE = 103;
    }
}

consts! {
    u32;
    MAP_HUGE_SHIFT = 26;
    MAP_HUGE_MASK = 63;
    MFD_HUGE_SHIFT = 26;
}

layout! {
    /// `struct cachestat_range`.
    pub struct CachestatRange [16] {
        off: u64,
        len: u64,
    }
    /// `struct cachestat`.
    pub struct Cachestat [40] {
        nr_cache: u64,
        nr_dirty: u64,
        nr_writeback: u64,
        nr_evicted: u64,
        nr_recently_evicted: u64,
    }
}
