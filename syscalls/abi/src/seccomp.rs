// SPDX-License-Identifier: Apache-2.0
//! `linux/seccomp.h`, `linux/filter.h`, `linux/audit.h`: seccomp(2).

use crate::macros::{consts, flags, layout, values};

values! {
    /// seccomp(2)\'s operations.
    pub struct SeccompOperation: u32 {
        SECCOMP_SET_MODE_STRICT = 0;
        SECCOMP_SET_MODE_FILTER = 1;
        SECCOMP_GET_ACTION_AVAIL = 2;
        SECCOMP_GET_NOTIF_SIZES = 3;
    }
}

consts! {
    u32;
    SECCOMP_MODE_DISABLED = 0;
    SECCOMP_MODE_STRICT = 1;
    SECCOMP_MODE_FILTER = 2;
}

flags! {
    /// `SECCOMP_SET_MODE_FILTER`\'s flags.
    pub struct SeccompFilterFlags: u32 = "SECCOMP_FILTER_FLAG_" {
        TSYNC = 1;
        LOG = 2;
        SPEC_ALLOW = 4;
        NEW_LISTENER = 8;
        TSYNC_ESRCH = 0x10;
        WAIT_KILLABLE_RECV = 0x20;
    }
}

values! {
    /// What a filter decides.
    pub struct SeccompAction: u32 {
        SECCOMP_RET_KILL_PROCESS = 0x80000000;
        SECCOMP_RET_KILL_THREAD = 0;
        SECCOMP_RET_TRAP = 0x30000;
        SECCOMP_RET_ERRNO = 0x50000;
        SECCOMP_RET_USER_NOTIF = 0x7fc00000;
        SECCOMP_RET_TRACE = 0x7ff00000;
        SECCOMP_RET_LOG = 0x7ffc0000;
        SECCOMP_RET_ALLOW = 0x7fff0000;
    }
}

consts! {
    u32;
    SECCOMP_RET_ACTION_FULL = 0xffff0000;
    SECCOMP_RET_DATA = 0xffff;
    AUDIT_ARCH_X86_64 = 0xc000003e;
    AUDIT_ARCH_AARCH64 = 0xc00000b7;
    AUDIT_ARCH_I386 = 0x40000003;
}

consts! {
    u16;
    BPF_LD = 0;
    BPF_LDX = 1;
    BPF_ST = 2;
    BPF_STX = 3;
    BPF_ALU = 4;
    BPF_JMP = 5;
    BPF_RET = 6;
    BPF_MISC = 7;
    BPF_W = 0;
    BPF_H = 8;
    BPF_B = 0x10;
    BPF_IMM = 0;
    BPF_ABS = 0x20;
    BPF_IND = 0x40;
    BPF_MEM = 0x60;
    BPF_LEN = 0x80;
    BPF_MSH = 0xa0;
    BPF_ADD = 0;
    BPF_SUB = 0x10;
    BPF_MUL = 0x20;
    BPF_DIV = 0x30;
    BPF_OR = 0x40;
    BPF_AND = 0x50;
    BPF_LSH = 0x60;
    BPF_RSH = 0x70;
    BPF_NEG = 0x80;
    BPF_MOD = 0x90;
    BPF_XOR = 0xa0;
    BPF_JA = 0;
    BPF_JEQ = 0x10;
    BPF_JGT = 0x20;
    BPF_JGE = 0x30;
    BPF_JSET = 0x40;
    BPF_K = 0;
    BPF_X = 8;
    BPF_A = 0x10;
    BPF_TAX = 0;
    BPF_TXA = 0x80;
}

consts! {
    usize;
    BPF_MAXINSNS = 4096;
    BPF_MEMWORDS = 16;
}

layout! {
    /// One instruction of a classic BPF program.
    pub struct SockFilter [8] {
        code: u16,
        jt: u8,
        jf: u8,
        k: u32,
    }
    /// A classic BPF program in guest memory.
    pub struct SockFprog [16] {
        len: u16,
        pad: [u16; 3],
        filter: u64,
    }
    /// What a filter sees of a call.
    pub struct SeccompData [64] {
        nr: i32,
        arch: u32,
        instruction_pointer: u64,
        args: [u64; 6],
    }
    /// `SECCOMP_GET_NOTIF_SIZES`' result.
    pub struct SeccompNotifSizes [6] {
        seccomp_notif: u16,
        seccomp_notif_resp: u16,
        seccomp_data: u16,
    }
}
