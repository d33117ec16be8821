// SPDX-License-Identifier: Apache-2.0
//! `asm/signal.h`, `asm-generic/siginfo.h`, `asm/ucontext.h`: signals and their frames.

use crate::macros::layout;

pub use crate::signal_codes::*;

/// A signal's number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident = $number:literal;)*) => {
        impl Signal {
            $(pub const $name: Signal = Signal($number);)*

            /// The name, such as `SIGINT`; real-time signals have none here.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

signals! {
    SIGHUP = 1;
    SIGINT = 2;
    SIGQUIT = 3;
    SIGILL = 4;
    SIGTRAP = 5;
    SIGABRT = 6;
    SIGBUS = 7;
    SIGFPE = 8;
    SIGKILL = 9;
    SIGUSR1 = 10;
    SIGSEGV = 11;
    SIGUSR2 = 12;
    SIGPIPE = 13;
    SIGALRM = 14;
    SIGTERM = 15;
    SIGSTKFLT = 16;
    SIGCHLD = 17;
    SIGCONT = 18;
    SIGSTOP = 19;
    SIGTSTP = 20;
    SIGTTIN = 21;
    SIGTTOU = 22;
    SIGURG = 23;
    SIGXCPU = 24;
    SIGXFSZ = 25;
    SIGVTALRM = 26;
    SIGPROF = 27;
    SIGWINCH = 28;
    SIGIO = 29;
    SIGPWR = 30;
    SIGSYS = 31;
}

impl Signal {
    /// The highest number (`_NSIG`).
    pub const MAX: u8 = 64;
    /// The first real-time signal, as the kernel counts.
    pub const RTMIN: u8 = 32;

    /// The signal with this number; `None` for zero and what is above 64.
    pub const fn from_raw(number: i32) -> Option<Signal> {
        if number >= 1 && number <= 64 { Some(Signal(number as u8)) } else { None }
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }

    /// The number less one: the index into tables of 64.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// Whether it queues (`SIGRTMIN` and up).
    pub const fn is_realtime(self) -> bool {
        self.0 >= Signal::RTMIN
    }

    /// All 64.
    pub fn all() -> impl Iterator<Item = Signal> {
        (1..=Signal::MAX).map(Signal)
    }
}

impl core::fmt::Debug for Signal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "SIGRT_{}", self.0 - Signal::RTMIN),
        }
    }
}

impl core::fmt::Display for Signal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self, f)
    }
}

/// A set of signals; bit `n - 1` is signal `n`.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(transparent)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet(0);
    /// Every signal.
    pub const FULL: SigSet = SigSet(u64::MAX);
    /// SIGKILL and SIGSTOP, which nobody can block, catch or ignore.
    pub const UNBLOCKABLE: SigSet = SigSet::of(&[Signal::SIGKILL, Signal::SIGSTOP]);

    /// The set of these.
    pub const fn of(signals: &[Signal]) -> SigSet {
        let mut bits = 0;
        let mut rest = signals;
        while let [first, others @ ..] = rest {
            bits |= 1 << (first.0 - 1);
            rest = others;
        }
        SigSet(bits)
    }

    /// Whether `signal` is in it.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << (signal.0 - 1)) != 0
    }

    /// Puts `signal` in.
    pub const fn insert(&mut self, signal: Signal) {
        self.0 |= 1 << (signal.0 - 1);
    }

    /// Takes `signal` out.
    pub const fn remove(&mut self, signal: Signal) {
        self.0 &= !(1 << (signal.0 - 1));
    }

    /// What is in either.
    pub const fn union(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }

    /// What is in both.
    pub const fn intersection(self, other: SigSet) -> SigSet {
        SigSet(self.0 & other.0)
    }

    /// What is here and not in `other`.
    pub const fn difference(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }

    /// Everything else.
    pub const fn complement(self) -> SigSet {
        SigSet(!self.0)
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest signal in it.
    pub const fn first(self) -> Option<Signal> {
        if self.0 == 0 { None } else { Some(Signal(self.0.trailing_zeros() as u8 + 1)) }
    }

    /// The signals in it, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        Signal::all().filter(move |signal| self.contains(*signal))
    }
}

impl core::fmt::Debug for SigSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

layout! {
    /// `struct kernel_sigaction`.
    pub struct SigAction [32] {
        sa_handler: u64,
        sa_flags: u64,
        sa_restorer: u64,
        sa_mask: SigSet,
    }
    /// `stack_t`.
    pub struct StackT [24] {
        ss_sp: u64,
        ss_flags: u32,
        pad: u32,
        ss_size: u64,
    }
    /// `struct sigevent`; `data` starts with the thread id for `SIGEV_THREAD_ID`.
    pub struct SigEvent [64] {
        sigev_value: u64,
        sigev_signo: i32,
        sigev_notify: i32,
        sigev_notify_thread_id: i32,
        pad: [u8; 44],
    }
    /// `siginfo_t`: a head, and a union that [`SigInfo`]'s constructors and readers know.
    pub struct SigInfo [128] {
        si_signo: i32,
        si_errno: i32,
        si_code: i32,
        pad: u32,
        fields: [u8; 112],
    }
    /// `struct sigcontext` of x86-64.
    pub struct SigContext [256] {
        r8: u64,
        r9: u64,
        r10: u64,
        r11: u64,
        r12: u64,
        r13: u64,
        r14: u64,
        r15: u64,
        rdi: u64,
        rsi: u64,
        rbp: u64,
        rbx: u64,
        rdx: u64,
        rax: u64,
        rcx: u64,
        rsp: u64,
        rip: u64,
        eflags: u64,
        cs: u16,
        gs: u16,
        fs: u16,
        ss: u16,
        err: u64,
        trapno: u64,
        oldmask: u64,
        cr2: u64,
        fpstate: u64,
        reserved1: [u64; 8],
    }
    /// `struct ucontext` of x86-64.
    pub struct UContext [304] {
        uc_flags: u64,
        uc_link: u64,
        uc_stack: StackT,
        uc_mcontext: SigContext,
        uc_sigmask: SigSet,
    }
    /// What lies at the stack pointer when a handler starts: `struct rt_sigframe`.
    pub struct RtSigFrame [440] {
        pretcode: u64,
        uc: UContext,
        info: SigInfo,
    }
    /// The legacy area of the extended state: FXSAVE's 512 bytes.
    pub struct FpState [512] {
        cwd: u16,
        swd: u16,
        twd: u16,
        fop: u16,
        rip: u64,
        rdp: u64,
        mxcsr: u32,
        mxcr_mask: u32,
        st_space: [u32; 32],
        xmm_space: [u32; 64],
        reserved2: [u32; 12],
        sw_reserved: FpxSwBytes,
    }
    /// What the kernel says in the legacy area's unused bytes of the state behind it.
    pub struct FpxSwBytes [48] {
        magic1: u32,
        extended_size: u32,
        xfeatures: u64,
        xstate_size: u32,
        padding: [u32; 7],
    }
}

/// Puts `bytes` at `offset` of the union (which starts at byte 16 of `siginfo_t`).
const fn put<const N: usize>(mut fields: [u8; 112], offset: usize, bytes: [u8; N]) -> [u8; 112] {
    let (_, tail) = fields.split_at_mut(offset);
    let (slot, _) = tail.split_at_mut(N);
    slot.copy_from_slice(&bytes);
    fields
}

impl SigInfo {
    const fn head(signal: Signal, code: i32) -> SigInfo {
        SigInfo { si_signo: signal.raw(), si_errno: 0, si_code: code, pad: 0, fields: [0; 112] }
    }

    /// What the kernel itself sends (`SI_KERNEL`).
    pub const fn kernel(signal: Signal) -> SigInfo {
        SigInfo::head(signal, SI_KERNEL)
    }

    /// kill(2) (`SI_USER`), tkill(2) (`SI_TKILL`).
    pub const fn user(signal: Signal, code: i32, pid: i32, uid: u32) -> SigInfo {
        let mut info = SigInfo::head(signal, code);
        info.fields = put(put(info.fields, 0, pid.to_ne_bytes()), 4, uid.to_ne_bytes());
        info
    }

    /// A POSIX timer's expiry.
    pub const fn timer(signal: Signal, timer_id: i32, overrun: i32, value: u64) -> SigInfo {
        let mut info = SigInfo::head(signal, SI_TIMER);
        let fields = put(info.fields, 0, timer_id.to_ne_bytes());
        info.fields = put(put(fields, 4, overrun.to_ne_bytes()), 8, value.to_ne_bytes());
        info
    }

    /// What a child did: `code` is one of `CLD_*`.
    pub const fn child(code: i32, pid: i32, uid: u32, status: i32, utime: i64, stime: i64) -> Self {
        let mut info = SigInfo::user(Signal::SIGCHLD, code, pid, uid);
        let fields = put(info.fields, 8, status.to_ne_bytes());
        info.fields = put(put(fields, 16, utime.to_ne_bytes()), 24, stime.to_ne_bytes());
        info
    }

    /// A hardware exception at `addr`.
    pub const fn fault(signal: Signal, code: i32, addr: u64) -> SigInfo {
        let mut info = SigInfo::head(signal, code);
        info.fields = put(info.fields, 0, addr.to_ne_bytes());
        info
    }

    /// A system call that seccomp trapped (`SYS_SECCOMP`).
    pub const fn sys(call_addr: u64, syscall: i32, arch: u32, errno: i32) -> SigInfo {
        let mut info = SigInfo::head(Signal::SIGSYS, SYS_SECCOMP);
        info.si_errno = errno;
        let fields = put(info.fields, 0, call_addr.to_ne_bytes());
        info.fields = put(put(fields, 8, syscall.to_ne_bytes()), 12, arch.to_ne_bytes());
        info
    }

    /// sigqueue(3), mq_notify(3): a value with the sender.
    pub const fn queue(signal: Signal, code: i32, pid: i32, uid: u32, value: u64) -> SigInfo {
        let mut info = SigInfo::user(signal, code, pid, uid);
        info.fields = put(info.fields, 8, value.to_ne_bytes());
        info
    }

    /// Readiness of a file (`POLL_*`).
    pub const fn poll(signal: Signal, code: i32, band: i64, fd: i32) -> SigInfo {
        let mut info = SigInfo::head(signal, code);
        info.fields = put(put(info.fields, 0, band.to_ne_bytes()), 8, fd.to_ne_bytes());
        info
    }

    /// The signal it is for, if the number is one.
    pub const fn signal(&self) -> Option<Signal> {
        Signal::from_raw(self.si_signo)
    }

    /// `si_pid`, and a timer's id.
    pub fn pid(&self) -> i32 {
        self.i32_at(0)
    }

    /// `si_uid`.
    pub fn uid(&self) -> u32 {
        self.i32_at(4) as u32
    }

    /// `si_overrun`.
    pub fn overrun(&self) -> i32 {
        self.i32_at(4)
    }

    /// `si_status`.
    pub fn status(&self) -> i32 {
        self.i32_at(8)
    }

    /// `si_value` as a pointer.
    pub fn value(&self) -> u64 {
        self.u64_at(8)
    }

    /// `si_addr`, `si_band`, `si_call_addr`.
    pub fn addr(&self) -> u64 {
        self.u64_at(0)
    }

    /// `si_fd`.
    pub fn fd(&self) -> i32 {
        self.i32_at(8)
    }

    /// `si_utime` and `si_stime`.
    pub fn times(&self) -> (u64, u64) {
        (self.u64_at(16), self.u64_at(24))
    }

    /// `si_syscall` and `si_arch`.
    pub fn syscall(&self) -> (i32, u32) {
        (self.i32_at(8), self.i32_at(12) as u32)
    }

    /// Sets the sender, as another pid or user namespace sees it.
    pub const fn set_sender(&mut self, pid: i32, uid: u32) {
        self.fields = put(put(self.fields, 0, pid.to_ne_bytes()), 4, uid.to_ne_bytes());
    }

    /// Sets a timer's overrun count, which is known only at delivery.
    pub const fn set_overrun(&mut self, overrun: i32) {
        self.fields = put(self.fields, 4, overrun.to_ne_bytes());
    }

    fn i32_at(&self, offset: usize) -> i32 {
        let bytes = self.fields.get(offset..).and_then(|tail| tail.first_chunk());
        bytes.map_or(0, |bytes| i32::from_ne_bytes(*bytes))
    }

    fn u64_at(&self, offset: usize) -> u64 {
        let bytes = self.fields.get(offset..).and_then(|tail| tail.first_chunk());
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn numbers_agree_with_libc() {
        assert_eq!(Signal::SIGSYS.raw(), libc::SIGSYS);
        assert_eq!(Signal::SIGSTKFLT.raw(), libc::SIGSTKFLT);
        assert_eq!(Signal::SIGURG.raw(), libc::SIGURG);
        assert_eq!(Signal::from_raw(0), None);
        assert_eq!(Signal::from_raw(65), None);
        assert_eq!(Signal::from_raw(64).map(Signal::index), Some(63));
    }

    #[test]
    fn sets_behave() {
        let mut set = SigSet::of(&[Signal::SIGINT]);
        set.insert(Signal::SIGHUP);
        assert_eq!(set.0, 3);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Signal::SIGHUP, Signal::SIGINT]);
        set.remove(Signal::SIGHUP);
        assert_eq!(set.first(), Some(Signal::SIGINT));
        assert_eq!(SigSet::UNBLOCKABLE.0, 1 << 8 | 1 << 18);
    }

    #[test]
    fn info_lies_where_libc_looks() {
        let info = SigInfo::child(CLD_EXITED, 7, 8, 9, 10, 11);
        let bytes = info.as_bytes();
        assert_eq!(bytes.len(), size_of::<libc::siginfo_t>());
        assert_eq!(&bytes[16..20], &7i32.to_ne_bytes());
        assert_eq!(&bytes[24..28], &9i32.to_ne_bytes());
        assert_eq!(&bytes[32..40], &10i64.to_ne_bytes());
        assert_eq!((info.pid(), info.uid(), info.status(), info.times()), (7, 8, 9, (10, 11)));
        let info = SigInfo::timer(Signal::SIGALRM, 1, 2, 3);
        assert_eq!((info.pid(), info.overrun(), info.value()), (1, 2, 3));
        assert_eq!(SigInfo::fault(Signal::SIGSEGV, SEGV_MAPERR, 0xabc).addr(), 0xabc);
    }

    #[test]
    fn frames_have_libc_sizes() {
        assert_eq!(size_of::<StackT>(), size_of::<libc::stack_t>());
        assert_eq!(size_of::<SigEvent>(), size_of::<libc::sigevent>());
        assert_eq!(size_of::<FpState>(), size_of::<libc::_libc_fpstate>());
    }
}
