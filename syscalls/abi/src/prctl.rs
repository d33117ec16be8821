// SPDX-License-Identifier: Apache-2.0
//! `linux/prctl.h`, `asm/prctl.h`: prctl(2) and arch_prctl(2).

use crate::macros::{consts, flags, values};

values! {
    /// prctl(2)\'s operations.
    pub struct PrctlOption: i32 {
        PR_SET_PDEATHSIG = 1;
        PR_GET_PDEATHSIG = 2;
        PR_GET_DUMPABLE = 3;
        PR_SET_DUMPABLE = 4;
        PR_GET_UNALIGN = 5;
        PR_SET_UNALIGN = 6;
        PR_GET_KEEPCAPS = 7;
        PR_SET_KEEPCAPS = 8;
        PR_GET_FPEMU = 9;
        PR_SET_FPEMU = 0xa;
        PR_GET_FPEXC = 0xb;
        PR_SET_FPEXC = 0xc;
        PR_GET_TIMING = 0xd;
        PR_SET_TIMING = 0xe;
        PR_SET_NAME = 0xf;
        PR_GET_NAME = 0x10;
        PR_GET_ENDIAN = 0x13;
        PR_SET_ENDIAN = 0x14;
        PR_GET_SECCOMP = 0x15;
        PR_SET_SECCOMP = 0x16;
        PR_CAPBSET_READ = 0x17;
        PR_CAPBSET_DROP = 0x18;
        PR_GET_TSC = 0x19;
        PR_SET_TSC = 0x1a;
        PR_GET_SECUREBITS = 0x1b;
        PR_SET_SECUREBITS = 0x1c;
        PR_SET_TIMERSLACK = 0x1d;
        PR_GET_TIMERSLACK = 0x1e;
        PR_TASK_PERF_EVENTS_DISABLE = 0x1f;
        PR_TASK_PERF_EVENTS_ENABLE = 0x20;
        PR_MCE_KILL = 0x21;
        PR_MCE_KILL_GET = 0x22;
        PR_SET_MM = 0x23;
        PR_SET_PTRACER = 0x59616d61;
        PR_SET_CHILD_SUBREAPER = 0x24;
        PR_GET_CHILD_SUBREAPER = 0x25;
        PR_SET_NO_NEW_PRIVS = 0x26;
        PR_GET_NO_NEW_PRIVS = 0x27;
        PR_GET_TID_ADDRESS = 0x28;
        PR_SET_THP_DISABLE = 0x29;
        PR_GET_THP_DISABLE = 0x2a;
        PR_MPX_ENABLE_MANAGEMENT = 0x2b;
        PR_MPX_DISABLE_MANAGEMENT = 0x2c;
        PR_SET_FP_MODE = 0x2d;
        PR_GET_FP_MODE = 0x2e;
        PR_CAP_AMBIENT = 0x2f;
        PR_SVE_SET_VL = 0x32;
        PR_SVE_GET_VL = 0x33;
        PR_GET_SPECULATION_CTRL = 0x34;
        PR_SET_SPECULATION_CTRL = 0x35;
        PR_PAC_RESET_KEYS = 0x36;
        PR_SET_TAGGED_ADDR_CTRL = 0x37;
        PR_GET_TAGGED_ADDR_CTRL = 0x38;
        PR_SET_IO_FLUSHER = 0x39;
        PR_GET_IO_FLUSHER = 0x3a;
        PR_SET_SYSCALL_USER_DISPATCH = 0x3b;
        PR_PAC_SET_ENABLED_KEYS = 0x3c;
        PR_PAC_GET_ENABLED_KEYS = 0x3d;
        PR_SCHED_CORE = 0x3e;
        PR_SME_SET_VL = 0x3f;
        PR_SME_GET_VL = 0x40;
        PR_SET_MDWE = 0x41;
        PR_GET_MDWE = 0x42;
        PR_SET_VMA = 0x53564d41;
        PR_GET_AUXV = 0x41555856;
        PR_SET_MEMORY_MERGE = 0x43;
        PR_GET_MEMORY_MERGE = 0x44;
        PR_TIMER_CREATE_RESTORE_IDS = 0x4d;
        PR_FUTEX_HASH = 0x4e;
    }
}

values! {
    /// arch_prctl(2)\'s operations.
    pub struct ArchPrctlOption: i32 {
        ARCH_SET_GS = 0x1001;
        ARCH_SET_FS = 0x1002;
        ARCH_GET_FS = 0x1003;
        ARCH_GET_GS = 0x1004;
        ARCH_GET_CPUID = 0x1011;
        ARCH_SET_CPUID = 0x1012;
        ARCH_GET_XCOMP_SUPP = 0x1021;
        ARCH_GET_XCOMP_PERM = 0x1022;
        ARCH_REQ_XCOMP_PERM = 0x1023;
        ARCH_MAP_VDSO_X32 = 0x2001;
        ARCH_MAP_VDSO_32 = 0x2002;
        ARCH_MAP_VDSO_64 = 0x2003;
        ARCH_SHSTK_ENABLE = 0x5001;
        ARCH_SHSTK_DISABLE = 0x5002;
        ARCH_SHSTK_LOCK = 0x5003;
        ARCH_SHSTK_STATUS = 0x5005;
    }
}

consts! {
    u64;
    PR_SET_MM_START_CODE = 1;
    PR_SET_MM_END_CODE = 2;
    PR_SET_MM_START_DATA = 3;
    PR_SET_MM_END_DATA = 4;
    PR_SET_MM_START_STACK = 5;
    PR_SET_MM_START_BRK = 6;
    PR_SET_MM_BRK = 7;
    PR_SET_MM_ARG_START = 8;
    PR_SET_MM_ARG_END = 9;
    PR_SET_MM_ENV_START = 0xa;
    PR_SET_MM_ENV_END = 0xb;
    PR_SET_MM_AUXV = 0xc;
    PR_SET_MM_EXE_FILE = 0xd;
    PR_SET_MM_MAP = 0xe;
    PR_SET_MM_MAP_SIZE = 0xf;
    PR_CAP_AMBIENT_IS_SET = 1;
    PR_CAP_AMBIENT_RAISE = 2;
    PR_CAP_AMBIENT_LOWER = 3;
    PR_CAP_AMBIENT_CLEAR_ALL = 4;
    PR_SET_VMA_ANON_NAME = 0;
    PR_TSC_ENABLE = 1;
    PR_TSC_SIGSEGV = 2;
    PR_SPEC_NOT_AFFECTED = 0;
    PR_SPEC_PRCTL = 1;
    PR_SPEC_ENABLE = 2;
    PR_SPEC_DISABLE = 4;
    PR_SPEC_FORCE_DISABLE = 8;
    PR_SPEC_STORE_BYPASS = 0;
    PR_SPEC_INDIRECT_BRANCH = 1;
    PR_SYS_DISPATCH_OFF = 0;
    PR_SYS_DISPATCH_ON = 1;
    PR_SET_PTRACER_ANY = 0xffffffffffffffff;
}

flags! {
    /// capabilities(7): the securebits.
    pub struct SecureBits: u32 = "SECBIT_" {
        NOROOT = 1;
        NOROOT_LOCKED = 2;
        NO_SETUID_FIXUP = 4;
        NO_SETUID_FIXUP_LOCKED = 8;
        KEEP_CAPS = 0x10;
        KEEP_CAPS_LOCKED = 0x20;
        NO_CAP_AMBIENT_RAISE = 0x40;
        NO_CAP_AMBIENT_RAISE_LOCKED = 0x80;
    }
}
