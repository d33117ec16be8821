// SPDX-License-Identifier: Apache-2.0
//! A seam for tests: the n-th host call of a thread fails.
//!
//! Outside this crate's own tests it is nothing at all.

use abi::Errno;

#[cfg(test)]
thread_local! {
    static COUNTDOWN: std::cell::Cell<Option<(u64, Errno)>> = const { std::cell::Cell::new(None) };
}

/// Fails if this is the call that a test chose.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn point() -> Result<(), Errno> {
    Ok(())
}

/// Fails if this is the call that a test chose.
#[cfg(test)]
pub(crate) fn point() -> Result<(), Errno> {
    match COUNTDOWN.get() {
        Some((1, errno)) => {
            COUNTDOWN.set(None);
            Err(errno)
        }
        Some((left, errno)) => {
            COUNTDOWN.set(Some((left - 1, errno)));
            Ok(())
        }
        None => Ok(()),
    }
}

/// Makes this thread's `nth` host call from now fail (once) with `errno`.
#[cfg(test)]
pub(crate) fn arm(nth: u64, errno: Errno) {
    COUNTDOWN.set(Some((nth, errno)));
}

/// Whether the armed failure has not happened; disarms it.
#[cfg(test)]
pub(crate) fn disarm() -> bool {
    COUNTDOWN.take().is_some()
}
