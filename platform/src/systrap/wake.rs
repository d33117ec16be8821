// SPDX-License-Identifier: Apache-2.0
//! Handing the turn to a stub and waiting for it to come back.
//!
//! The word says whose turn it is and whether the other side sleeps, so one atomic exchange hands
//! over and tells whether somebody must be woken. Whoever waits looks at the word for a short while
//! and then sleeps. The word is shared with the guest: any value may appear at any time, and a wake-up
//! may be lost; so every sleep ends, and after each the caller's `check` runs.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::shared::{
    TURN_DEAD, TURN_SENTRY, TURN_SENTRY_STUB_SLEEPS, TURN_STUB, TURN_STUB_SENTRY_SLEEPS,
};
use crate::{Error, sys};

/// How long a sleep lasts before the other side is checked.
pub(crate) const DEADLINE: Duration = Duration::from_millis(250);

/// Gives the turn to the stub.
pub(crate) fn give(turn: &AtomicU32) {
    if turn.swap(TURN_STUB, Ordering::SeqCst) == TURN_SENTRY_STUB_SLEEPS {
        sys::futex_wake(turn);
    }
}

/// Whether the stub is looking at the word right now: then it answers a command in no time.
pub(crate) fn is_watching(turn: &AtomicU32) -> bool {
    turn.load(Ordering::Relaxed) == TURN_SENTRY
}

/// Whether the stub waits for a command.
pub(crate) fn is_waiting(turn: &AtomicU32) -> bool {
    matches!(turn.load(Ordering::Acquire), TURN_SENTRY | TURN_SENTRY_STUB_SLEEPS)
}

/// Waits for the sentry's turn. Looks `spins` times, then sleeps, `first` for so long; `check` runs after
/// each sleep that timed out or was for nothing, and ends the wait with its error or says how long the next
/// sleep may be.
pub(crate) fn wait(
    turn: &AtomicU32,
    spins: u32,
    first: Option<Duration>,
    mut check: impl FnMut() -> Result<Duration, Error>,
) -> Result<(), Error> {
    for _ in 0..spins {
        if turn.load(Ordering::Acquire) >= TURN_SENTRY {
            break;
        }
        std::hint::spin_loop();
    }
    let mut nap = first.unwrap_or(DEADLINE);
    loop {
        match turn.load(Ordering::Acquire) {
            TURN_SENTRY | TURN_SENTRY_STUB_SLEEPS => return Ok(()),
            TURN_STUB => {
                let (from, to) = (TURN_STUB, TURN_STUB_SENTRY_SLEEPS);
                let sleeps = turn.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
                if sleeps.is_err() {
                    continue;
                }
            }
            TURN_STUB_SENTRY_SLEEPS => {}
            TURN_DEAD => return Err(Error::StubDied { reason: "its process ended" }),
            _ => return Err(Error::StubDied { reason: "its channel says nonsense" }),
        }
        sys::futex_wait(turn, TURN_STUB_SENTRY_SLEEPS, nap);
        if turn.load(Ordering::Acquire) == TURN_STUB_SENTRY_SLEEPS {
            nap = nap.saturating_mul(4).min(check()?);
        }
    }
}

/// Has the sentry's side, if it sleeps, check the stub now.
pub(crate) fn nudge(turn: &AtomicU32) {
    sys::futex_wake(turn);
}

/// Ends the wait of whoever waits for a stub that is gone.
pub(crate) fn mark_dead(turn: &AtomicU32) {
    turn.store(TURN_DEAD, Ordering::SeqCst);
    sys::futex_wake(turn);
}
