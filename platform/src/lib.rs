// SPDX-License-Identifier: Apache-2.0
//! How guest code runs and traps: one trait, several ways in.
//!
//! * **What it is.** A [`Platform`] makes address spaces; an [`AddressSpace`] is one stub process and
//!   the guest memory in it; a [`Context`] is one stub thread, driven by exactly one sentry thread.
//!   [`Context::switch`] runs guest code until it needs the kernel and says why as an [`Exit`].
//! * **Invariants.** Guest memory is the stub's own: nothing of it is mapped here. Every change to it
//!   is a host call that the stub thread of the calling [`Context`] carries out. What the stub or the
//!   channel says is hostile input.
//! * **What it deliberately does not know.** Tasks, inodes, OCI. It never calls up.
#![deny(unsafe_code)]

mod host;
pub mod hostio;
mod interrupt;
mod memory;
pub mod ptrace;
pub mod registers;
mod sys;
pub mod systrap;

use std::{fmt, os::fd::BorrowedFd, sync::Arc, time::Duration};

use abi::{Errno, UserAddr, UserRange};
use bitflags::bitflags;

pub use host::{
    calls::{HostCall, host_calls},
    place::{asleep, home, run_anywhere},
};
pub use registers::Registers;

/// How long a stub may leave its sentry without a sign of life where one is due, before it is given up.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// How long [`Context::switch`] goes on at most once it is interrupted, whatever the stub does: it may be
/// about to come up, and then not answer the interrupt. With some time to give it up in, on a busy host.
pub const LONGEST_INTERRUPT: Duration =
    ANSWER_DEADLINE.saturating_mul(2).saturating_add(Duration::from_secs(5));

/// Reads what only /proc tells about this process. To be called before a jail hides it; a platform that
/// starts without it does so itself.
pub fn prepare() {
    memory::range::prepare();
}

/// What went wrong between the sentry and its stubs. Guest mistakes are not errors but [`Exit`]s.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A host call of the sentry's own failed.
    #[error("{call}: {source}")]
    Host {
        /// The call that failed, with the object it was about.
        call: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The host lacks something that this platform cannot do without.
    #[error("the host has no {feature}: {hint}")]
    Unsupported {
        /// What is missing.
        feature: &'static str,
        /// What the user can do about it.
        hint: &'static str,
    },
    /// The stub process or thread is gone, or broke its protocol and was killed for it.
    #[error("stub died: {reason}")]
    StubDied {
        /// What was seen.
        reason: &'static str,
    },
}

/// Makes address spaces. One per sandbox.
pub trait Platform: Send + Sync + fmt::Debug {
    /// `ptrace` or `systrap`.
    fn name(&self) -> &'static str;

    /// A fresh, empty address space with its first stub thread: what execve(2) needs. Taken from a
    /// pool that a zygote fills, so it may be called from any thread at any time.
    fn new_address_space(&self) -> Result<(Arc<dyn AddressSpace>, Box<dyn Context>), Error>;

    /// Addresses that the guest may use. The stub lives above.
    fn user_range(&self) -> UserRange;

    /// Where the host's vDSO image (with its data pages before it) lies in every stub, if kept.
    fn vdso(&self) -> Option<Vdso>;
}

/// The host's vDSO as it lies in every stub. It is above [`Platform::user_range`].
#[derive(Debug, Clone, Copy)]
pub struct Vdso {
    /// The data pages (`[vvar]`).
    pub data: UserRange,
    /// The code pages (`[vdso]`), what `AT_SYSINFO_EHDR` names.
    pub code: UserRange,
}

bitflags! {
    /// How pages may be used.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Protection: u8 {
        /// Loads.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetches.
        const EXECUTE = 4;
    }
}

/// What a new mapping shows.
#[derive(Debug, Clone, Copy)]
pub enum Backing<'a> {
    /// Zeroes, private to this address space (and copied on fork).
    Anonymous,
    /// A host file, from `offset` on; writes go to private copies.
    Private {
        /// A file with no more rights than the guest's own open had. Duplicated into the stub only
        /// for the length of the call.
        file: BorrowedFd<'a>,
        /// Page-aligned.
        offset: u64,
    },
    /// A host file, from `offset` on; writes go to the file.
    Shared {
        /// As above.
        file: BorrowedFd<'a>,
        /// Page-aligned.
        offset: u64,
    },
}

bitflags! {
    /// What else a mapping asks for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct MapOptions: u8 {
        /// `MAP_POPULATE`.
        const POPULATE = 1;
        /// `MAP_NORESERVE`.
        const NORESERVE = 2;
        /// `MAP_GROWSDOWN`.
        const GROWS_DOWN = 4;
        /// `MAP_LOCKED`.
        const LOCKED = 8;
    }
}

/// Why a host call on guest memory did not happen.
#[derive(Debug, thiserror::Error)]
pub enum HostCallError {
    /// The host refused; the guest may be told so.
    #[error("the host refused: {0}")]
    Refused(Errno),
    /// The stub is lost.
    #[error(transparent)]
    Lost(#[from] Error),
}

/// One stub process: guest memory, seen from anywhere in the sentry.
pub trait AddressSpace: Send + Sync + fmt::Debug {
    /// Copies from guest memory as far as it is readable: returns the bytes copied, which are fewer
    /// than asked for exactly when the next one would fault. `process_vm_readv(2)`; the stub need not
    /// stand still. A space that is gone reads nothing.
    fn read(&self, addr: UserAddr, to: &mut [u8]) -> usize;

    /// Copies into guest memory as far as it is writable; as [`AddressSpace::read`].
    fn write(&self, addr: UserAddr, from: &[u8]) -> usize;

    /// As [`AddressSpace::write`], but also through read-only private pages: for a debugger. Under
    /// ptrace only the thread that traces can do that, see [`Context::poke`]; this then writes only
    /// what the guest could.
    fn poke(&self, addr: UserAddr, from: &[u8]) -> usize;

    /// Has wake-ups of private futexes come as calls, also where the stub could answer them, until
    /// [`AddressSpace::release_wakes`] was called as often: for the caller has waiters of its own. Who looks
    /// at the word after this misses no wake-up by whoever changed it before.
    fn hold_wakes(&self) {}

    /// See [`AddressSpace::hold_wakes`].
    fn release_wakes(&self) {}

    /// Kills the stub process. Contexts in it report [`Exit::Died`]. Idempotent.
    fn kill(&self);

    /// Whether the stub process has ended or is just ending. What was killed a moment ago may look alive until
    /// a command to it fails.
    fn has_ended(&self) -> bool;

    /// Has `lost` called, once and from another thread, when the stub has ended without having been told
    /// to. Not on ptrace, where only the thread that traces a stub learns of its end.
    fn watch(&self, lost: Box<dyn FnOnce() + Send>) {
        drop(lost);
    }

    /// The host's process number of the stub; for logs and for tests.
    fn host_pid(&self) -> i32;
}

/// One stub thread. Owned and driven by one sentry thread.
///
/// All methods but [`Context::switch`] want the guest stopped, which it is between switches.
pub trait Context: Send + fmt::Debug {
    /// Runs guest code with `registers` until it needs the kernel, and leaves its registers there.
    ///
    /// After [`Exit::Syscall`], `registers.orig_rax` is the number and `rip` stands behind the
    /// instruction; `rcx` and `r11` are clobbered as by the hardware.
    fn switch(&mut self, registers: &mut Registers) -> Result<Exit, Error>;

    /// The part that another thread may own.
    fn interrupter(&self) -> Interrupter;

    /// Whether private futexes are the host's own on the stub's memory: then their waiters are there, and
    /// others than the caller's own wait there too.
    fn has_own_futexes(&self) -> bool {
        false
    }

    /// Whether the stub may answer calls about private futexes itself from the next switch on, unseen.
    fn answer_futexes(&mut self, may: bool) {
        let _ = may;
    }

    /// After [`Exit::Syscall`]: says, once, that the call is a wait for a private futex that the stub had
    /// begun and that [`Interrupter::interrupt`] ended.
    fn take_cut(&mut self) -> Option<CutWait> {
        None
    }

    /// Makes a call about private futexes in the stub. Where [`Context::has_own_futexes`] says no, nobody
    /// waits for such.
    fn futex(&mut self, call: &FutexCall) -> Result<u32, HostCallError> {
        let _ = call;
        Ok(0)
    }

    /// How much of the last switch, which took `ns` nanoseconds, the guest waited in futexes.
    fn waited(&self, ns: u64) -> u64 {
        let _ = ns;
        0
    }

    /// The address space this thread runs in.
    fn space(&self) -> &Arc<dyn AddressSpace>;

    /// Maps `range` (replacing what was there).
    fn map(
        &mut self,
        range: UserRange,
        protection: Protection,
        backing: Backing<'_>,
        options: MapOptions,
    ) -> Result<(), HostCallError>;

    /// Unmaps `range`.
    fn unmap(&mut self, range: UserRange) -> Result<(), HostCallError>;

    /// Changes the protection of mapped pages.
    fn protect(&mut self, range: UserRange, protection: Protection) -> Result<(), HostCallError>;

    /// Moves and resizes the mapping of `from` to `to` (`MREMAP_MAYMOVE | MREMAP_FIXED` where the
    /// starts differ). `keep` leaves the old range mapped and empty (`MREMAP_DONTUNMAP`).
    fn remap(&mut self, from: UserRange, to: UserRange, keep: bool) -> Result<(), HostCallError>;

    /// madvise(2) with an advice number that the sentry has checked.
    fn advise(&mut self, range: UserRange, advice: i32) -> Result<(), HostCallError>;

    /// msync(2) with checked flags.
    fn sync(&mut self, range: UserRange, flags: i32) -> Result<(), HostCallError>;

    /// mincore(2): one byte a page into `to`, which has one byte for each page of `range`.
    fn residency(&mut self, range: UserRange, to: &mut [u8]) -> Result<(), HostCallError>;

    /// membarrier(2) with a checked command, carried out in the stub.
    fn membarrier(&mut self, command: i32, flags: u32) -> Result<i32, HostCallError>;

    /// Copies from guest memory by the cheapest door; semantics of [`AddressSpace::read`].
    fn read(&mut self, addr: UserAddr, to: &mut [u8]) -> usize;

    /// Copies into guest memory by the cheapest door; semantics of [`AddressSpace::write`].
    fn write(&mut self, addr: UserAddr, from: &[u8]) -> usize;

    /// Makes the aligned word at `addr` `new` if it is `old`; what it was, or `None` if it cannot be read
    /// or written.
    ///
    /// DIFFERS: this default is not atomic against guest code that changes the word at the same moment.
    fn compare_exchange_u32(&mut self, addr: UserAddr, old: u32, new: u32) -> Option<u32> {
        let mut bytes = [0; 4];
        if self.read(addr, &mut bytes) != bytes.len() {
            return None;
        }
        let found = u32::from_le_bytes(bytes);
        if found == old && self.write(addr, &new.to_le_bytes()) != bytes.len() {
            return None;
        }
        Some(found)
    }

    /// As [`AddressSpace::poke`], done by this thread itself: the way that works on every platform.
    fn poke(&mut self, addr: UserAddr, from: &[u8]) -> usize {
        self.space().poke(addr, from)
    }

    /// A new thread in the same address space, stopped, with this one's floating-point state. Its
    /// first switch decides where it runs.
    fn spawn_thread(&mut self) -> Result<Box<dyn Context>, Error>;

    /// A copy of this address space with one stopped thread in it that has this one's
    /// floating-point state: a host fork, so memory is copied on write by the host.
    fn fork(&mut self) -> Result<Box<dyn Context>, Error>;

    /// The extended state in the XSAVE standard format, as a signal frame carries it (with the
    /// `FP_XSTATE_MAGIC1` software-reserved bytes filled in; `FP_XSTATE_MAGIC2` is not included).
    fn extended_state(&mut self) -> Result<Vec<u8>, Error>;

    /// Replaces the extended state. Bytes come from the guest (rt_sigreturn, PTRACE_SETREGSET):
    /// sizes and reserved bits are checked, `EINVAL` otherwise, and nothing has changed then.
    fn set_extended_state(&mut self, state: &[u8]) -> Result<(), HostCallError>;

    /// The state of a new program: FNINIT and MXCSR's default.
    fn reset_extended_state(&mut self) -> Result<(), Error>;

    /// Ends the stub thread (and its process, if it was the last). Never blocks for long.
    fn exit(self: Box<Self>);
}

/// Why guest code stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It made a system call.
    Syscall,
    /// It did something that Linux answers with a signal.
    Fault(Fault),
    /// Somebody called [`Interrupter::interrupt`]. May come without a cause.
    Interrupted,
    /// The stub is gone: killed by the host (out of memory), by [`AddressSpace::kill`], or for
    /// breaking its protocol. The raw wait status where known.
    Died(i32),
}

/// A hardware exception in guest code, in the words of siginfo_t and of `struct sigcontext`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub addr: u64,
    /// The exception's number (`trapno`).
    pub trap_no: u64,
    /// The exception's error code (`err`).
    pub error_code: u64,
}

/// A wait for a private futex that was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutWait {
    /// The same call goes on with it: it had no end, or one that is a point in time.
    Again,
    /// It was to end after some time, which is over at this many nanoseconds of the monotonic clock.
    Until(u64),
}

/// futex(2) without a wait, on private words, in the man page's words.
#[derive(Debug, Clone, Copy)]
pub struct FutexCall {
    /// The word.
    pub addr: UserAddr,
    /// `FUTEX_WAKE_BITSET`, `FUTEX_REQUEUE`, `FUTEX_CMP_REQUEUE` or `FUTEX_WAKE_OP`.
    pub operation: i32,
    /// `val`.
    pub value: i32,
    /// `val2`.
    pub value2: i32,
    /// The second word.
    pub addr2: UserAddr,
    /// `val3`.
    pub value3: u32,
}

/// What another thread may do with a context.
pub(crate) trait Remote: Send + Sync {
    fn interrupt(&self);

    fn is_waiting(&self) -> bool {
        false
    }

    fn waited(&self, ns: u64) -> u64 {
        let _ = ns;
        0
    }
}

impl<F: Fn() + Send + Sync> Remote for F {
    fn interrupt(&self) {
        self();
    }
}

/// Makes one [`Context::switch`] return early. Cheap to clone; outlives the context harmlessly.
#[derive(Clone)]
pub struct Interrupter(Arc<dyn Remote>);

impl Interrupter {
    /// An interrupter that does `action`.
    pub fn new(action: impl Fn() + Send + Sync + 'static) -> Interrupter {
        Interrupter(Arc::new(action))
    }

    pub(crate) fn of(remote: impl Remote + 'static) -> Interrupter {
        Interrupter(Arc::new(remote))
    }

    /// Makes the current or the next switch return [`Exit::Interrupted`] soon; out of a wait for a private
    /// futex with [`Exit::Syscall`] and [`Context::take_cut`]. Never blocks.
    pub fn interrupt(&self) {
        self.0.interrupt();
    }

    /// Whether the guest waits for a private futex in a switch that goes on.
    pub fn is_waiting(&self) -> bool {
        self.0.is_waiting()
    }

    /// As [`Context::waited`] for a switch that goes on and has taken `ns` nanoseconds so far.
    pub fn waited(&self, ns: u64) -> u64 {
        self.0.waited(ns)
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupter")
    }
}
