// SPDX-License-Identifier: Apache-2.0
//! `asm-generic/siginfo.h`, `asm-generic/signal-defs.h`: codes and flags of signals.

use crate::macros::{consts, flags, values};

flags! {
    /// sigaction(2)\'s flags.
    pub struct SaFlags: u64 = "SA_" {
        NOCLDSTOP = 1;
        NOCLDWAIT = 2;
        SIGINFO = 4;
        UNSUPPORTED = 0x400;
        EXPOSE_TAGBITS = 0x800;
        RESTORER = 0x4000000;
        ONSTACK = 0x8000000;
        RESTART = 0x10000000;
        NODEFER = 0x40000000;
        RESETHAND = 0x80000000;
    }
}

flags! {
    /// `stack_t.ss_flags`.
    pub struct SsFlags: u32 = "SS_" {
        ONSTACK = 1;
        DISABLE = 2;
        AUTODISARM = 0x80000000;
    }
}

values! {
    /// rt_sigprocmask(2)\'s `how`.
    pub struct SigmaskHow: i32 {
        SIG_BLOCK = 0;
        SIG_UNBLOCK = 1;
        SIG_SETMASK = 2;
    }
}

values! {
    /// `sigev_notify`.
    pub struct SigevNotify: i32 {
        SIGEV_SIGNAL = 0;
        SIGEV_NONE = 1;
        SIGEV_THREAD = 2;
        SIGEV_THREAD_ID = 4;
    }
}

consts! {
    i32;
    SI_USER = 0;
    SI_KERNEL = 128;
    SI_QUEUE = -1;
    SI_TIMER = -2;
    SI_MESGQ = -3;
    SI_ASYNCIO = -4;
    SI_SIGIO = -5;
    SI_TKILL = -6;
    SI_DETHREAD = -7;
    SI_ASYNCNL = -60;
    ILL_ILLOPC = 1;
    ILL_ILLOPN = 2;
    ILL_ILLADR = 3;
    ILL_ILLTRP = 4;
    ILL_PRVOPC = 5;
    ILL_PRVREG = 6;
    ILL_COPROC = 7;
    ILL_BADSTK = 8;
    FPE_INTDIV = 1;
    FPE_INTOVF = 2;
    FPE_FLTDIV = 3;
    FPE_FLTOVF = 4;
    FPE_FLTUND = 5;
    FPE_FLTRES = 6;
    FPE_FLTINV = 7;
    FPE_FLTSUB = 8;
    SEGV_MAPERR = 1;
    SEGV_ACCERR = 2;
    SEGV_BNDERR = 3;
    SEGV_PKUERR = 4;
    SEGV_CPERR = 10;
    BUS_ADRALN = 1;
    BUS_ADRERR = 2;
    BUS_OBJERR = 3;
    BUS_MCEERR_AR = 4;
    BUS_MCEERR_AO = 5;
    TRAP_BRKPT = 1;
    TRAP_TRACE = 2;
    TRAP_BRANCH = 3;
    TRAP_HWBKPT = 4;
    TRAP_UNK = 5;
    TRAP_PERF = 6;
    CLD_EXITED = 1;
    CLD_KILLED = 2;
    CLD_DUMPED = 3;
    CLD_TRAPPED = 4;
    CLD_STOPPED = 5;
    CLD_CONTINUED = 6;
    POLL_IN = 1;
    POLL_OUT = 2;
    POLL_MSG = 3;
    POLL_ERR = 4;
    POLL_PRI = 5;
    POLL_HUP = 6;
    SYS_SECCOMP = 1;
    SYS_USER_DISPATCH = 2;
}

consts! {
    u64;
    SIG_DFL = 0;
    SIG_IGN = 1;
    MINSIGSTKSZ = 2048;
    SIGSTKSZ = 8192;
}

consts! {
    u32;
    FP_XSTATE_MAGIC1 = 0x46505853;
    FP_XSTATE_MAGIC2 = 0x46505845;
}

consts! {
    u64;
    UC_FP_XSTATE = 1;
    UC_SIGCONTEXT_SS = 2;
    UC_STRICT_RESTORE_SS = 4;
}
