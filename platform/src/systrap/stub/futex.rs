// SPDX-License-Identifier: Apache-2.0
//! Private futexes, answered in the stub: the host's own, on the guest's own memory.
//!
//! A wait is the host's futex_waitv(2) for two words, so that the sentry can end it: its own in the
//! channel, and the guest's. The guest's comes last, for then the call tells of a wake-up there even if
//! an interrupt came at the same moment, and none is lost. Whatever is not plain goes to the sentry.

use super::{
    SIGSYS, SYS_FUTEX, arch,
    shared::{CUT, CUT_NOT, CUT_UNTIL, Control},
};

const SYS_CLOCK_GETTIME: u64 = 228;
const SYS_FUTEX_WAITV: u64 = 449;
const CLOCK_REALTIME: u64 = 0;
const CLOCK_MONOTONIC: u64 = 1;

const WAIT: u32 = 128;
const WAKE: u32 = 128 | 1;
const REQUEUE: u32 = 128 | 3;
const CMP_REQUEUE: u32 = 128 | 4;
const WAIT_BITSET: u32 = 128 | 9;
const WAIT_BITSET_REALTIME: u32 = 256 | 128 | 9;
const WAKE_BITSET: u32 = 128 | 10;
const MATCH_ANY: u32 = u32::MAX;

/// `FUTEX2_SIZE_U32`, shared with the sentry.
const SHARED_U32: u64 = 2;
/// The same with `FUTEX2_PRIVATE`.
const PRIVATE_U32: u64 = 2 | 128;

const EAGAIN: i64 = -11;
const ETIMEDOUT: i64 = -110;
const NANOSECONDS: u64 = 1_000_000_000;

/// `AUDIT_ARCH_X86_64`, and where a SIGSYS says it.
const ARCH: u32 = 0xc000_003e;
const INFO_ARCH: u64 = 28;

/// What becomes of a call.
pub enum Answer {
    /// This is its result.
    Done(i64),
    /// It is the sentry's, which is to hear `CUT…` of it.
    Sentry(u32),
}

const OTHER: Answer = Answer::Sentry(CUT_NOT);

/// Answers the call that trapped, if it is about a private futex and nobody wants to see it.
///
/// # Safety
/// `control` is the calling thread's channel, `info` the signal's.
#[inline(always)]
pub unsafe fn answer(
    control: *mut Control,
    signal: u32,
    info: u64,
    registers: &[u64; 16],
) -> Answer {
    if signal != SIGSYS || registers[arch::RAX] != SYS_FUTEX {
        return OTHER;
    }
    // SAFETY: the caller's promise; the kernel wrote the signal's information.
    let (end, held, arch) = unsafe {
        let arch = ((info + INFO_ARCH) as *const u32).read_volatile();
        let held = (&raw const (*control).held).read_volatile();
        ((&raw const (*control).futex_end).read_volatile(), held, arch)
    };
    let [word, operation, value, time, second, bits] = arguments(registers);
    if arch != ARCH || word >= end {
        return OTHER;
    }
    // The kernel takes an `int`.
    match operation as u32 {
        WAIT => {
            // SAFETY: the caller's promise.
            unsafe { wait(control, word, value, Time::Relative(time)) }
        }
        WAIT_BITSET if bits as u32 == MATCH_ANY => {
            // SAFETY: the caller's promise.
            unsafe { wait(control, word, value, Time::Absolute(time, CLOCK_MONOTONIC)) }
        }
        WAIT_BITSET_REALTIME if bits as u32 == MATCH_ANY => {
            // SAFETY: the caller's promise.
            unsafe { wait(control, word, value, Time::Absolute(time, CLOCK_REALTIME)) }
        }
        // What the guest changed before its call was visible before `held` was read here: whoever set
        // that flag first and then looks at the word sees the change.
        WAKE | WAKE_BITSET if held == 0 => Answer::Done(call(registers)),
        REQUEUE | CMP_REQUEUE if held == 0 && second < end => Answer::Done(call(registers)),
        _ => OTHER,
    }
}

fn arguments(registers: &[u64; 16]) -> [u64; 6] {
    [arch::RDI, arch::RSI, arch::RDX, arch::R10, arch::R8, arch::R9].map(|at| registers[at])
}

/// The host's very call.
#[inline(always)]
fn call(registers: &[u64; 16]) -> i64 {
    let [word, operation, value, time, second, bits] = arguments(registers);
    arch::syscall(SYS_FUTEX, [word, operation & 0xffff_ffff, value, time, second, bits])
}

/// How a call says when its wait ends: a pointer, which may be null.
enum Time {
    Relative(u64),
    Absolute(u64, u64),
}

/// # Safety
/// `control` is the calling thread's channel.
#[inline(always)]
unsafe fn wait(control: *mut Control, word: u64, value: u64, time: Time) -> Answer {
    let (timeout, clock, cut) = match time {
        Time::Relative(0) => (0, CLOCK_MONOTONIC, CUT),
        Time::Relative(at) => {
            // SAFETY: the caller's promise.
            let Some(deadline) = (unsafe { deadline(control, at) }) else { return OTHER };
            (deadline, CLOCK_MONOTONIC, CUT_UNTIL)
        }
        Time::Absolute(at, clock) => (at, clock, CUT),
    };
    // SAFETY: the caller's promise, for all that follows; the sentry and the guest may change the
    // channel at the same time.
    unsafe {
        let interrupt = &raw mut (*control).interrupt;
        let list = &raw mut (*control).wait_list;
        let ours = [0, interrupt as u64, SHARED_U32];
        let guests = [value & 0xffff_ffff, word, PRIVATE_U32];
        list.cast::<[u64; 3]>().write_volatile(ours);
        list.cast::<[u64; 3]>().add(1).write_volatile(guests);
        let waits = &raw mut (*control).waits;
        waits.write_volatile(waits.read_volatile().wrapping_add(1));
        let start = arch::ticks();
        (&raw mut (*control).waiting_since).write_volatile(start);
        (&raw mut (*control).waiting).write_volatile(1);
        let result = arch::syscall(SYS_FUTEX_WAITV, [list as u64, 2, 0, timeout, clock, 0]);
        (&raw mut (*control).waiting).write_volatile(0);
        let waited = &raw mut (*control).waited;
        let sum = waited.read_volatile().wrapping_add(arch::ticks().wrapping_sub(start));
        waited.write_volatile(sum);
        match result {
            1 => Answer::Done(0),
            0 => Answer::Sentry(cut),
            EAGAIN if interrupt.read_volatile() != 0 => Answer::Sentry(cut),
            EAGAIN | ETIMEDOUT => Answer::Done(result),
            _ => OTHER,
        }
    }
}

/// Where the point in time stands that the relative one at `at` means from now on; nowhere if it is none.
///
/// # Safety
/// `control` is the calling thread's channel.
#[inline(always)]
unsafe fn deadline(control: *mut Control, at: u64) -> Option<u64> {
    let mut time = [0_u64; 2];
    // SAFETY: 16 bytes of our own; a bad guest address is fixed up by the handler.
    if unsafe { arch::copy((&raw mut time) as usize, at as usize, 16) } != 0 {
        return None;
    }
    // SAFETY: the copy above may have changed it, which the compiler need not see.
    let [seconds, nanoseconds] = unsafe { (&raw const time).read_volatile() };
    if seconds as i64 <= -1 || nanoseconds >= NANOSECONDS {
        return None;
    }
    // SAFETY: the caller's promise.
    let to = unsafe { &raw mut (*control).deadline };
    if arch::syscall(SYS_CLOCK_GETTIME, [CLOCK_MONOTONIC, to as u64, 0, 0, 0, 0]) != 0 {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let [now, fraction] = to.read_volatile();
        let sum = fraction.wrapping_add(nanoseconds);
        let (carry, rest) = if sum >= NANOSECONDS { (1, sum - NANOSECONDS) } else { (0, sum) };
        let far = i64::MAX as u64;
        let until = now.saturating_add(seconds).saturating_add(carry);
        to.write_volatile([if until < far { until } else { far }, rest]);
    }
    Some(to as u64)
}
