// SPDX-License-Identifier: Apache-2.0
//! How long what was learnt of files is believed that others may change.
//!
//! Between an engine's `cp` and the guest's next look at the file nothing tells us of the change. So what
//! was learnt is asked for again after a while; and at once when somebody outside has just asked the
//! sandbox for something, for he may well have changed files before ([`doubt`]).

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

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

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
static DOUBTED: AtomicU64 = AtomicU64::new(0);

/// When something was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learnt(u64);

impl Learnt {
    /// Just now.
    pub fn now() -> Learnt {
        Learnt(u64::try_from(BEGIN.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Whether that is recent, and nobody has raised doubts since.
    pub fn is_recent(self) -> bool {
        let Learnt(now) = Learnt::now();
        self.0 >= DOUBTED.load(Ordering::Acquire) && now.saturating_sub(self.0) < RECENT_NS
    }
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
