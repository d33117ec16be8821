// SPDX-License-Identifier: Apache-2.0
//! The layout of a channel: the pages that one stub thread shares with the sentry.
//!
//! This file is compiled twice: into the platform and, by `build.rs`, into the stub. So it uses
//! `core` alone. Everything in a channel may be rewritten by the guest at any time.
//!
//! A channel lies at a multiple of its own size, in the stub as in the sentry, so that the stub's
//! signal handler finds it from its stack pointer.

/// Bytes in a channel.
pub const CHANNEL_SIZE: usize = 0x2_0000;
/// Where the operations stand.
pub const OPS_OFFSET: usize = 0x1000;
/// How many operations fit.
pub const OPS_MAX: usize = 48;
/// The one by which a newborn process says that its first frame is complete.
pub const OP_ANNOUNCE: usize = OPS_MAX - 1;
/// Small structures that operations point to.
pub const SCRATCH_OFFSET: usize = 0x1c00;
/// The beginning of the path that a call names.
pub const PEEK_OFFSET: usize = 0x1e00;
/// Bytes of it.
pub const PEEK_SIZE: usize = 128;
/// The copy buffer.
pub const BUFFER_OFFSET: usize = 0x2000;
/// Bytes in it.
pub const BUFFER_SIZE: usize = 0x1_0000;
/// The alternate signal stack: signal frames, with all registers, lie here.
pub const STACK_OFFSET: usize = BUFFER_OFFSET + BUFFER_SIZE;
/// Bytes in it.
pub const STACK_SIZE: usize = CHANNEL_SIZE - STACK_OFFSET;

/// The stub acts, and the sentry is awake.
pub const TURN_STUB: u32 = 0;
/// The stub acts, and the sentry sleeps on the word.
pub const TURN_STUB_SENTRY_SLEEPS: u32 = 1;
/// The sentry acts, and the stub is awake.
pub const TURN_SENTRY: u32 = 2;
/// The sentry acts, and the stub sleeps on the word.
pub const TURN_SENTRY_STUB_SLEEPS: u32 = 3;
/// The stub process is gone; written by the sentry.
pub const TURN_DEAD: u32 = 4;
/// The stub acts, and has nobody to wake: the sentry waits for what [`OP_ANNOUNCE`] does.
pub const TURN_NEWBORN: u32 = 5;

/// Go back to the guest.
pub const COMMAND_RESUME: u32 = 1;
/// Carry out the operations.
pub const COMMAND_OPS: u32 = 2;
/// Copy from guest memory into the buffer.
pub const COMMAND_COPY_IN: u32 = 3;
/// Copy from the buffer into guest memory.
pub const COMMAND_COPY_OUT: u32 = 4;
/// End this thread.
pub const COMMAND_EXIT: u32 = 5;

/// The word says why the guest stopped: a signal's frame is complete.
pub const EVENT_SIGNAL: u32 = 1;
/// A command is done.
pub const EVENT_DONE: u32 = 2;

/// In [`Op::number`]: go on when this fails, and do not count it as a failure.
pub const OP_MAY_FAIL: u64 = 1 << 32;
/// In [`Op::number`]: do this even after a failure.
pub const OP_ALWAYS: u64 = 1 << 33;

/// The processor has `rdfsbase` and its kin, and the kernel lets us use them.
pub const FEATURE_FSGSBASE: u32 = 1;
/// The processor has `rdpid`.
pub const FEATURE_RDPID: u32 = 2;

/// The host has futex_waitv(2).
pub const FEATURE_FUTEX: u32 = 4;

/// The call that trapped is no wait that was cut short.
pub const CUT_NOT: u32 = 0;
/// It is, and may simply be made again.
pub const CUT: u32 = 1;
/// It is, and would have ended at `deadline`.
pub const CUT_UNTIL: u32 = 2;

/// The first page of a channel.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Control {
    /// Whose turn it is: a futex.
    pub turn: u32,
    /// How often the stub looks at `turn` before it sleeps.
    pub spins: u32,
    /// What the sentry wants.
    pub command: u32,
    /// Whether a resume sets the segment bases.
    pub set_bases: u32,
    /// How many operations.
    pub op_count: u32,
    /// `FEATURE_*`.
    pub features: u32,
    /// What the stub says.
    pub event: u32,
    /// Which signal.
    pub signal: u32,
    /// Where the signal's `ucontext` is, in the stub's addresses.
    pub context: u64,
    /// Where the signal's `siginfo_t` is.
    pub info: u64,
    /// The guest's FS base: the stub tells, and is told.
    pub fs_base: u64,
    /// The guest's GS base.
    pub gs_base: u64,
    /// Guest address of a copy.
    pub copy_addr: u64,
    /// Bytes to copy.
    pub copy_len: u64,
    /// Bytes not copied.
    pub copy_left: u64,
    /// The CPU on which the stub last ran.
    pub cpu: u32,
    /// How much of a path the stub has copied: 0 for none.
    pub peek_len: u32,
    /// Where in the guest it is.
    pub peek_addr: u64,
    /// Calls about private futexes below this address are answered in the stub; 0: none are.
    pub futex_end: u64,
    /// The sentry has waiters of this process in its own queues: wake-ups are for it to do.
    pub held: u32,
    /// A futex: what ends the stub's wait, once it is not 0.
    pub interrupt: u32,
    /// The stub waits in a futex.
    pub waiting: u32,
    /// `CUT…`, of the call that trapped.
    pub cut: u32,
    /// Since when it waits, by the processor's clock.
    pub waiting_since: u64,
    /// How long it has waited since the last resume, by that clock.
    pub waited: u64,
    /// How often it has since then.
    pub waits: u64,
    /// On the monotonic clock, a `struct timespec`.
    pub deadline: [u64; 2],
    /// Two `struct futex_waitv`: the interrupt's and the guest's.
    pub wait_list: [u64; 6],
}

/// A host call for the stub to make.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Op {
    /// The number, with `OP_*` bits.
    pub number: u64,
    /// The arguments.
    pub args: [u64; 6],
    /// What it returned.
    pub result: i64,
}

const _: () = assert!(size_of::<Control>() == 256);
const _: () = assert!(size_of::<Op>() == 64);
const _: () = assert!(OPS_OFFSET + OPS_MAX * size_of::<Op>() <= SCRATCH_OFFSET);
