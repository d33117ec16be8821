// SPDX-License-Identifier: Apache-2.0
//! The stub's system call filter: what keeps a guest from the host's kernel.
//!
//! A call happens only when its `syscall` instruction stands in the stub's own code *and* the call is
//! on the list below. Everything else traps (or, for an operation's odd argument, fails), in four instructions
//! for code below the stub. A guest may jump to the stub's instructions with any registers, so the rule for the list is: **whatever a
//! stub can do from there hurts only itself**. So no call that names another process, opens
//! anything, writes to a file, or changes a signal's disposition.

use crate::host::seccomp::{Assembler, Instruction, Label, Word};

/// `AUDIT_ARCH_X86_64`.
const ARCH: u32 = 0xc000_003e;

/// What an operation with an argument off the list gets.
const EINVAL: u16 = 22;

/// clone(2)'s flags for a guest's thread.
pub(crate) const THREAD_FLAGS: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM;
/// clone(2)'s flags for a guest's fork: the parent of all stubs is the sentry.
pub(crate) const FORK_FLAGS: i32 = libc::CLONE_PARENT | libc::SIGCHLD;

/// Flags that a mapping may have.
const MAP_FLAGS: i32 = libc::MAP_SHARED
    | libc::MAP_PRIVATE
    | libc::MAP_FIXED
    | libc::MAP_FIXED_NOREPLACE
    | libc::MAP_ANONYMOUS
    | libc::MAP_GROWSDOWN
    | libc::MAP_NORESERVE
    | libc::MAP_POPULATE
    | libc::MAP_LOCKED;

/// What an allowed call's arguments must be, beyond nothing at all.
enum Rule {
    /// Anything.
    Any,
    /// The argument is one of these.
    OneOf(u32, &'static [i32]),
    /// The argument has no other bits than these.
    Bits(u32, i32),
    /// The argument is below the number, and not the other.
    BelowBut(u32, i32, i32),
    /// Two arguments are exactly these.
    Exactly([(u32, i32); 2]),
}

/// The list, most frequent first. The reason why each hurts nobody else stands beside it.
const ALLOWED: &[(i64, Rule)] = &[
    // Waits, wakes and moves waiters only on memory that the stub itself has mapped: the channel's words,
    // and by address what nobody but its own threads can wait for.
    (libc::SYS_futex, Rule::OneOf(1, FUTEX_OPERATIONS)),
    // Waits only on memory that the stub itself has mapped; so many words that it takes no time.
    (libc::SYS_futex_waitv, Rule::Exactly([(1, 2), (2, 0)])),
    // Registers and signal mask of the calling thread; a thread that blocks SIGSYS is killed by
    // its next call.
    (libc::SYS_rt_sigreturn, Rule::Any),
    // Its own memory. File mappings need a descriptor, and it only ever has what it was handed.
    (libc::SYS_mmap, Rule::Bits(3, MAP_FLAGS)),
    (libc::SYS_munmap, Rule::Any),
    (libc::SYS_mprotect, Rule::Any),
    (libc::SYS_mremap, Rule::Any),
    // Not MADV_MERGEABLE, which sets the host's page merger to work, nor memory failure injection.
    (libc::SYS_madvise, Rule::BelowBut(2, 26, libc::MADV_MERGEABLE)),
    (libc::SYS_msync, Rule::Any),
    (libc::SYS_mincore, Rule::Any),
    (libc::SYS_membarrier, Rule::Any),
    // Takes what the sentry sent to its one socket.
    (libc::SYS_recvmsg, Rule::Any),
    // Says to the sentry "I am"; without an address it works on that socket only.
    (libc::SYS_sendto, Rule::Exactly([(4, 0), (5, 0)])),
    (libc::SYS_close, Rule::Any),
    // Another thread, or another stub under the same filter; but see the gate.
    (libc::SYS_clone, Rule::OneOf(0, &[THREAD_FLAGS, FORK_FLAGS])),
    (libc::SYS_exit, Rule::Any),
    (libc::SYS_exit_group, Rule::Any),
    (libc::SYS_sigaltstack, Rule::Any),
    // ARCH_SET_GS, ARCH_SET_FS.
    (libc::SYS_arch_prctl, Rule::OneOf(0, &[0x1001, 0x1002])),
    (libc::SYS_prctl, Rule::Exactly([(0, libc::PR_SET_PDEATHSIG), (1, libc::SIGKILL)])),
    (libc::SYS_pause, Rule::Any),
    // Reads the time, which any code may.
    (libc::SYS_clock_gettime, Rule::OneOf(0, &[libc::CLOCK_MONOTONIC])),
];

const FUTEX_OPERATIONS: &[i32] = &[
    libc::FUTEX_WAIT,
    libc::FUTEX_WAKE,
    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
    libc::FUTEX_WAKE_BITSET | libc::FUTEX_PRIVATE_FLAG,
    libc::FUTEX_REQUEUE | libc::FUTEX_PRIVATE_FLAG,
    libc::FUTEX_CMP_REQUEUE | libc::FUTEX_PRIVATE_FLAG,
    libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG,
];

/// The filter for a stub whose code lies from `start` to `end`, which share their upper halves. With a
/// `password`, a clone without it waits at the gate.
pub(crate) fn stub(start: u64, end: u64, password: Option<u64>) -> Option<Vec<Instruction>> {
    let (high, low) = halves(start);
    let (end_high, end_low) = halves(end);
    if high != end_high {
        return None;
    }
    let mut code = Assembler::default();
    let trap = code.label();
    let ours = code.label();
    let refused = code.label();
    code.load(Word::PointerHigh);
    code.if_equal(high, ours);
    code.trap();
    code.place(ours);
    // The pointer stands behind the instruction, so neither end can be its own.
    code.load(Word::PointerLow);
    code.if_below(low, trap);
    code.if_at_least(end_low, trap);
    code.load(Word::Arch);
    code.unless_equal(ARCH, trap);
    code.load(Word::Number);
    for (number, rule) in ALLOWED {
        let next = code.label();
        code.unless_equal(u32::try_from(*number).ok()?, next);
        argument(&mut code, rule, refused);
        if let Some(password) = password
            && *number == libc::SYS_clone
        {
            // In an argument that clone(2) does not look at with these flags.
            let asked = code.label();
            let (high, low) = halves(password);
            code.load(Word::ArgHigh(4));
            code.unless_equal(high, asked);
            code.load(Word::ArgLow(4));
            code.unless_equal(low, asked);
            code.allow();
            code.place(asked);
            code.ask();
        }
        code.allow();
        code.place(next);
    }
    code.place(trap);
    code.trap();
    code.place(refused);
    code.fail(EINVAL);
    code.finish()
}

fn argument(code: &mut Assembler, rule: &Rule, refused: Label) {
    match *rule {
        Rule::Any => {}
        Rule::OneOf(index, values) => {
            let good = code.label();
            code.load(Word::ArgHigh(index));
            code.unless_equal(0, refused);
            code.load(Word::ArgLow(index));
            for value in values {
                code.if_equal(value.cast_unsigned(), good);
            }
            code.jump(refused);
            code.place(good);
        }
        Rule::Bits(index, mask) => {
            code.load(Word::ArgHigh(index));
            code.unless_equal(0, refused);
            code.load(Word::ArgLow(index));
            code.and(!mask.cast_unsigned());
            code.unless_equal(0, refused);
        }
        Rule::BelowBut(index, limit, but) => {
            code.load(Word::ArgHigh(index));
            code.unless_equal(0, refused);
            code.load(Word::ArgLow(index));
            code.if_at_least(limit.cast_unsigned(), refused);
            code.if_equal(but.cast_unsigned(), refused);
        }
        Rule::Exactly(pairs) => {
            for (index, value) in pairs {
                code.load(Word::ArgHigh(index));
                code.unless_equal(0, refused);
                code.load(Word::ArgLow(index));
                code.unless_equal(value.cast_unsigned(), refused);
            }
        }
    }
}

/// Upper and lower half.
fn halves(address: u64) -> (u32, u32) {
    let low = u32::try_from(address & 0xffff_ffff).unwrap_or(u32::MAX);
    (u32::try_from(address >> 32).unwrap_or(u32::MAX), low)
}
