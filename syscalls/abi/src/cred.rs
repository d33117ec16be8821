// SPDX-License-Identifier: Apache-2.0
//! `linux/capability.h`: capabilities(7).

use bitflags::bitflags;

use crate::macros::{consts, layout};

bitflags! {
    /// A set of capabilities; bit numbers are Linux's.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    #[allow(missing_docs, reason = "capabilities(7) explains each")]
    pub struct Capabilities: u64 {
        const CHOWN = 1 << 0;
        const DAC_OVERRIDE = 1 << 1;
        const DAC_READ_SEARCH = 1 << 2;
        const FOWNER = 1 << 3;
        const FSETID = 1 << 4;
        const KILL = 1 << 5;
        const SETGID = 1 << 6;
        const SETUID = 1 << 7;
        const SETPCAP = 1 << 8;
        const LINUX_IMMUTABLE = 1 << 9;
        const NET_BIND_SERVICE = 1 << 10;
        const NET_BROADCAST = 1 << 11;
        const NET_ADMIN = 1 << 12;
        const NET_RAW = 1 << 13;
        const IPC_LOCK = 1 << 14;
        const IPC_OWNER = 1 << 15;
        const SYS_MODULE = 1 << 16;
        const SYS_RAWIO = 1 << 17;
        const SYS_CHROOT = 1 << 18;
        const SYS_PTRACE = 1 << 19;
        const SYS_PACCT = 1 << 20;
        const SYS_ADMIN = 1 << 21;
        const SYS_BOOT = 1 << 22;
        const SYS_NICE = 1 << 23;
        const SYS_RESOURCE = 1 << 24;
        const SYS_TIME = 1 << 25;
        const SYS_TTY_CONFIG = 1 << 26;
        const MKNOD = 1 << 27;
        const LEASE = 1 << 28;
        const AUDIT_WRITE = 1 << 29;
        const AUDIT_CONTROL = 1 << 30;
        const SETFCAP = 1 << 31;
        const MAC_OVERRIDE = 1 << 32;
        const MAC_ADMIN = 1 << 33;
        const SYSLOG = 1 << 34;
        const WAKE_ALARM = 1 << 35;
        const BLOCK_SUSPEND = 1 << 36;
        const AUDIT_READ = 1 << 37;
        const PERFMON = 1 << 38;
        const BPF = 1 << 39;
        const CHECKPOINT_RESTORE = 1 << 40;
    }
}

impl Capabilities {
    /// The set with only capability `number`; `None` if there is no such.
    pub const fn from_number(number: u64) -> Option<Capabilities> {
        if number <= CAP_LAST_CAP {
            Some(Capabilities::from_bits_retain(1 << number))
        } else {
            None
        }
    }
}

/// The highest capability.
pub const CAP_LAST_CAP: u64 = 40;

/// The id shown for what has none (`/proc/sys/kernel/overflowuid`).
pub const OVERFLOW_ID: u32 = 65534;

consts! {
    u32;
    LINUX_CAPABILITY_VERSION_1 = 0x1998_0330;
    LINUX_CAPABILITY_VERSION_2 = 0x2007_1026;
    LINUX_CAPABILITY_VERSION_3 = 0x2008_0522;
    VFS_CAP_REVISION_MASK = 0xff00_0000;
    VFS_CAP_REVISION_1 = 0x0100_0000;
    VFS_CAP_REVISION_2 = 0x0200_0000;
    VFS_CAP_REVISION_3 = 0x0300_0000;
    VFS_CAP_FLAGS_EFFECTIVE = 1;
}

layout! {
    /// capget(2)'s and capset(2)'s first argument.
    pub struct CapUserHeader [8] {
        version: u32,
        pid: i32,
    }
    /// Their second: 32 capabilities of each set. Version 3 has two of these.
    pub struct CapUserData [12] {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    /// The value of `security.capability`.
    pub struct VfsNsCapData [24] {
        magic_etc: u32,
        permitted_low: u32,
        inheritable_low: u32,
        permitted_high: u32,
        inheritable_high: u32,
        rootid: u32,
    }
}
