// SPDX-License-Identifier: Apache-2.0
//! `linux/ptrace.h`, `asm/ptrace.h`: ptrace(2).

use crate::macros::{consts, flags, layout, values};

values! {
    /// ptrace(2)\'s requests.
    pub struct PtraceRequest: i64 {
        PTRACE_TRACEME = 0;
        PTRACE_PEEKTEXT = 1;
        PTRACE_PEEKDATA = 2;
        PTRACE_PEEKUSER = 3;
        PTRACE_POKETEXT = 4;
        PTRACE_POKEDATA = 5;
        PTRACE_POKEUSER = 6;
        PTRACE_CONT = 7;
        PTRACE_KILL = 8;
        PTRACE_SINGLESTEP = 9;
        PTRACE_GETREGS = 0xc;
        PTRACE_SETREGS = 0xd;
        PTRACE_GETFPREGS = 0xe;
        PTRACE_SETFPREGS = 0xf;
        PTRACE_ATTACH = 0x10;
        PTRACE_DETACH = 0x11;
        PTRACE_SYSCALL = 0x18;
        PTRACE_ARCH_PRCTL = 0x1e;
        PTRACE_SYSEMU = 0x1f;
        PTRACE_SYSEMU_SINGLESTEP = 0x20;
        PTRACE_SETOPTIONS = 0x4200;
        PTRACE_GETEVENTMSG = 0x4201;
        PTRACE_GETSIGINFO = 0x4202;
        PTRACE_SETSIGINFO = 0x4203;
        PTRACE_GETREGSET = 0x4204;
        PTRACE_SETREGSET = 0x4205;
        PTRACE_SEIZE = 0x4206;
        PTRACE_INTERRUPT = 0x4207;
        PTRACE_LISTEN = 0x4208;
        PTRACE_PEEKSIGINFO = 0x4209;
        PTRACE_GETSIGMASK = 0x420a;
        PTRACE_SETSIGMASK = 0x420b;
        PTRACE_SECCOMP_GET_FILTER = 0x420c;
        PTRACE_SECCOMP_GET_METADATA = 0x420d;
        PTRACE_GET_SYSCALL_INFO = 0x420e;
        PTRACE_GET_RSEQ_CONFIGURATION = 0x420f;
        PTRACE_SET_SYSCALL_INFO = 0x4212;
    }
}

flags! {
    /// `PTRACE_SETOPTIONS`\' options.
    pub struct PtraceOptions: u32 = "PTRACE_O_" {
        TRACESYSGOOD = 1;
        TRACEFORK = 2;
        TRACEVFORK = 4;
        TRACECLONE = 8;
        TRACEEXEC = 0x10;
        TRACEVFORKDONE = 0x20;
        TRACEEXIT = 0x40;
        TRACESECCOMP = 0x80;
        EXITKILL = 0x100000;
        SUSPEND_SECCOMP = 0x200000;
    }
}

consts! {
    u8;
    PTRACE_SYSCALL_INFO_NONE = 0;
    PTRACE_SYSCALL_INFO_ENTRY = 1;
    PTRACE_SYSCALL_INFO_EXIT = 2;
    PTRACE_SYSCALL_INFO_SECCOMP = 3;
}

consts! {
    i32;
    PTRACE_EVENT_FORK = 1;
    PTRACE_EVENT_VFORK = 2;
    PTRACE_EVENT_CLONE = 3;
    PTRACE_EVENT_EXEC = 4;
    PTRACE_EVENT_VFORK_DONE = 5;
    PTRACE_EVENT_EXIT = 6;
    PTRACE_EVENT_SECCOMP = 7;
    PTRACE_EVENT_STOP = 128;
}

layout! {
    /// `struct user_regs_struct` of x86-64.
    pub struct UserRegs [216] {
        r15: u64,
        r14: u64,
        r13: u64,
        r12: u64,
        rbp: u64,
        rbx: u64,
        r11: u64,
        r10: u64,
        r9: u64,
        r8: u64,
        rax: u64,
        rcx: u64,
        rdx: u64,
        rsi: u64,
        rdi: u64,
        orig_rax: u64,
        rip: u64,
        cs: u64,
        eflags: u64,
        rsp: u64,
        ss: u64,
        fs_base: u64,
        gs_base: u64,
        ds: u64,
        es: u64,
        fs: u64,
        gs: u64,
    }
    /// `struct ptrace_syscall_info`; what the union holds depends on `op`.
    pub struct SyscallInfo [88] {
        op: u8,
        reserved: u8,
        flags: u16,
        arch: u32,
        instruction_pointer: u64,
        stack_pointer: u64,
        /// Number and arguments, or the result and whether it is an error.
        words: [u64; 7],
        ret_data: u32,
        reserved2: u32,
    }
    /// `struct ptrace_peeksiginfo_args`.
    pub struct PeekSiginfoArgs [16] {
        off: u64,
        flags: u32,
        nr: i32,
    }
}
