// SPDX-License-Identifier: Apache-2.0
//! Private futexes that the platform has of its own: the host's, on the stub's memory.
//!
//! Linux never mixes private and other waiters, so a private word's are known to nobody but its address
//! space. Those that the stub cannot have wait for themselves (with a bit set, for several words, to own
//! the word, seen by a tracer) stand in the [`FutexTable`], and a [`Hold`] has wake-ups come to the sentry
//! meanwhile; what is left of a wake-up after those is the host's.
//!
//! DIFFERS: of waiters in both places, a wake-up takes those in the table first and a requeue those in the
//! stub, whoever came first.

use std::sync::Arc;

use abi::{
    Errno, UserAddr,
    futex::{FUTEX_CMP_REQUEUE, FUTEX_REQUEUE, FUTEX_WAKE_BITSET, FUTEX_WAKE_OP},
};
use platform::{AddressSpace, Context, FutexCall, HostCallError};

use super::{FutexTable, Key, RequeueRequest, Word};

/// Has an address space's private wake-ups come to the sentry as long as it lives.
pub(super) struct Hold(Arc<dyn AddressSpace>);

impl Hold {
    pub(super) fn new(space: &Arc<dyn AddressSpace>) -> Hold {
        space.hold_wakes();
        Hold(Arc::clone(space))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.release_wakes();
    }
}

/// Whether waiters at `key` may be the platform's.
pub(super) fn are_own(context: &dyn Context, key: &Key) -> bool {
    matches!(key, Key::Private { is_shared: false, .. }) && context.has_own_futexes()
}

impl FutexTable {
    /// As [`FutexTable::wake`], with those who wait in the stub; the word is at `addr`.
    pub fn wake_all_kinds(
        &self,
        context: &mut dyn Context,
        (key, addr): (&Key, UserAddr),
        count: i32,
        bitset: u32,
    ) -> Result<u64, Errno> {
        let woken = self.wake(key, count, bitset)?;
        Ok(woken + wake_rest(context, (key, addr), count, bitset, woken)?)
    }
}

/// Wakes in the stub what is left of `count`, which for Linux is always one at least.
pub(super) fn wake_rest(
    context: &mut dyn Context,
    (key, addr): (&Key, UserAddr),
    count: i32,
    bitset: u32,
    woken: u64,
) -> Result<u64, Errno> {
    let left = i64::from(count).max(1) - i64::try_from(woken).unwrap_or(i64::MAX);
    if left <= 0 || !are_own(context, key) {
        return Ok(0);
    }
    let value = i32::try_from(left).unwrap_or(i32::MAX);
    let operation = FUTEX_WAKE_BITSET;
    let call = FutexCall { addr, operation, value, value2: 0, addr2: addr, value3: bitset };
    make(context, &call)
}

/// How many waiters in the stub were woken and moved.
pub(super) fn requeue(
    word: &mut Word<'_>,
    to: UserAddr,
    request: &RequeueRequest,
) -> Result<(i32, i32), Errno> {
    if !are_own(word.context, &request.from) || !are_own(word.context, &request.to) {
        return Ok((0, 0));
    }
    let operation = if request.expected.is_some() { FUTEX_CMP_REQUEUE } else { FUTEX_REQUEUE };
    let call = FutexCall {
        addr: word.addr,
        operation,
        value: request.wake,
        value2: request.requeue,
        addr2: to,
        value3: request.expected.unwrap_or(0),
    };
    let done = i32::try_from(make(word.context, &call)?).unwrap_or(i32::MAX);
    // It moves nobody before it has woken all that it may.
    let woken = done.min(request.wake);
    Ok((woken, (done - woken).min(request.requeue)))
}

/// `FUTEX_WAKE_OP` in the stub, where nobody waits in the table.
pub(super) fn wake_op(
    context: &mut dyn Context,
    addr: UserAddr,
    addr2: UserAddr,
    (value, value2): (i32, i32),
    value3: u32,
) -> Result<u64, Errno> {
    make(context, &FutexCall { addr, operation: FUTEX_WAKE_OP, value, value2, addr2, value3 })
}

fn make(context: &mut dyn Context, call: &FutexCall) -> Result<u64, Errno> {
    match context.futex(call) {
        Ok(count) => Ok(u64::from(count)),
        Err(HostCallError::Refused(errno)) => Err(errno),
        // The next switch says so, and ends the process.
        Err(HostCallError::Lost(_)) => Err(Errno::EFAULT),
    }
}
