// SPDX-License-Identifier: Apache-2.0
//! How long what was learnt of files is believed that others may change.
//!
//! Between an engine's `cp` and the guest's next look at the file nothing tells us of the change. So what
//! was learnt is asked for again after a while; and at once when somebody outside has just asked the
//! sandbox for something, for he may well have changed files before ([`doubt`]).

use std::sync::atomic::{AtomicU64, Ordering};

use nix::time::{ClockId, clock_gettime};

/// How far a file system's names are believed once they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// For good: only we change them.
    Always,
    /// For as long as [`Learnt::is_recent`] says: others change them now and then.
    Recent,
    /// Never: each walk asks again.
    Never,
}

/// How long something recent is: a person who has copied a file in does not look sooner.
const RECENT_NS: u64 = 1_000_000_000;

static DOUBTED: AtomicU64 = AtomicU64::new(0);

/// When something was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learnt(u64);

impl Learnt {
    /// Just now.
    pub fn now() -> Learnt {
        // Were there no clock, it would be old at once.
        Learnt(read(ClockId::CLOCK_MONOTONIC).unwrap_or(0))
    }

    /// Whether that is recent, and nobody has raised doubts since.
    pub fn is_recent(self) -> bool {
        // Asked for each component of a path: this clock costs a fifth of the exact one, which it lags
        // behind by a few milliseconds.
        let now = read(ClockId::CLOCK_MONOTONIC_COARSE).unwrap_or(u64::MAX);
        self.0 >= DOUBTED.load(Ordering::Acquire) && now.saturating_sub(self.0) < RECENT_NS
    }
}

fn read(clock: ClockId) -> Option<u64> {
    let time = clock_gettime(clock).ok()?;
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec()).ok()?)
}

/// Nothing that was learnt before now is recent any more.
pub fn doubt() {
    let Learnt(now) = Learnt::now();
    DOUBTED.fetch_max(now, Ordering::AcqRel);
}

/// A [`Learnt`] that is renewed.
#[derive(Debug)]
pub(super) struct Renewed(AtomicU64);

impl Renewed {
    pub(super) fn now() -> Renewed {
        Renewed(AtomicU64::new(Learnt::now().0))
    }

    pub(super) fn renew(&self) {
        self.0.store(Learnt::now().0, Ordering::Release);
    }

    pub(super) fn is_recent(&self) -> bool {
        Learnt(self.0.load(Ordering::Acquire)).is_recent()
    }
}

#[cfg(test)]
mod tests {
    use super::{Learnt, doubt};

    #[test]
    fn doubt_makes_all_before_it_old() {
        let learnt = Learnt::now();
        std::thread::sleep(std::time::Duration::from_millis(1));
        doubt();
        assert!(!learnt.is_recent());
        assert!(!Learnt(0).is_recent());
        // A second may pass between the two, but not time after time.
        assert!((0..5).any(|_| Learnt::now().is_recent()));
    }
}
