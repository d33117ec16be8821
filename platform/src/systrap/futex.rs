// SPDX-License-Identifier: Apache-2.0
//! Private futexes from the sentry's side: ending a stub's wait, and knowing of it.
//!
//! The stub answers calls about private futexes itself (`stub/futex.rs`), so the sentry's thread may be
//! waiting for a guest that sleeps. What is read here of a channel is the guest's word: a false one gives
//! its own thread a wrong state and a wrong clock, and makes its end take seconds.

use std::{
    sync::{Weak, atomic::Ordering},
    time::Duration,
};

use super::{thread::Thread, wake};
use crate::{
    ANSWER_DEADLINE, CutWait, Remote, host::place::Quiet, memory::channel::field, sys,
    systrap::shared,
};

/// How long a stub that says it waits in a futex may take to come out of it.
const WAKE_DEADLINE: Duration = Duration::from_secs(5);
/// How long the sentry's thread sleeps at most while its stub sleeps too.
const DOZE: Duration = Duration::from_secs(10);

impl Thread {
    /// Makes the current or the next run end, also out of a futex.
    pub(crate) fn ring(&self) {
        if self.bell.ring() {
            self.end_wait();
        }
    }

    /// As [`Thread::ring`] for a thread that was rung before and has not come: whether it was.
    pub(crate) fn ring_again(&self) -> bool {
        let rung = self.bell.ring_again();
        if rung {
            self.end_wait();
        }
        rung
    }

    fn end_wait(&self) {
        let word = self.channel.interrupt_word();
        word.store(1, Ordering::SeqCst);
        // Asked for or not: whether the stub waits is only its own word.
        sys::futex_wake(word);
        if self.bell.is_dozing() {
            wake::nudge(self.channel.turn());
        }
    }

    /// How long the guest may take to answer an interrupt: not long where only a lie can keep it from that.
    pub(crate) fn answer_deadline(&self) -> Duration {
        if self.is_waiting() { WAKE_DEADLINE } else { ANSWER_DEADLINE }
    }

    /// Before the guest runs, and before the bell is at work: no wait is to end, none has been.
    pub(crate) fn begin_run(&self) {
        self.channel.interrupt_word().store(0, Ordering::SeqCst);
        self.channel.set(field::WAITED, 0);
        self.channel.set(field::WAITING, 0);
        self.channel.set(field::WAITS, 0);
        self.given.store(sys::ticks(), Ordering::Relaxed);
    }

    /// Whether the guest waits in a futex, as the stub has it.
    pub(crate) fn is_waiting(&self) -> bool {
        self.channel.get(field::WAITING) != 0
    }

    /// What the guest does, that makes no call that the sentry sees.
    pub(crate) fn quiet(&self) -> Quiet {
        Quiet { waits: self.channel.get(field::WAITS), is_waiting: self.is_waiting() }
    }

    /// How long to sleep at most until the stub is looked after again.
    pub(crate) fn longest_nap(&self) -> Duration {
        if self.bell.doze(self.is_waiting()) { DOZE } else { wake::DEADLINE }
    }

    /// How much of the `ns` nanoseconds since the last resume the guest has waited in futexes.
    pub(crate) fn waited(&self, ns: u64) -> u64 {
        let (channel, now) = (&self.channel, sys::ticks());
        let mut waited = channel.get(field::WAITED);
        if self.is_waiting() {
            let since = channel.get(field::WAITING_SINCE);
            waited = waited.saturating_add(now.saturating_sub(since));
        }
        let all = now.saturating_sub(self.given.load(Ordering::Relaxed)).max(1);
        share(ns, waited, all)
    }

    /// What the call that trapped is, if it is a wait that was cut short.
    pub(crate) fn cut(&self) -> Option<CutWait> {
        match self.channel.get(field::CUT) {
            shared::CUT => Some(CutWait::Again),
            shared::CUT_UNTIL => {
                let [seconds, nanoseconds] = self.channel.get(field::DEADLINE);
                let nanoseconds = nanoseconds.min(999_999_999);
                let until = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
                Some(CutWait::Until(until))
            }
            shared::CUT_NOT.. => None,
        }
    }
}

/// `part` of `all`, of `ns`.
fn share(ns: u64, part: u64, all: u64) -> u64 {
    let share = u128::from(ns) * u128::from(part.min(all)) / u128::from(all.max(1));
    u64::try_from(share).unwrap_or(ns)
}

/// What another thread may own of a stub thread.
pub(crate) struct Handle(pub(crate) Weak<Thread>);

impl Remote for Handle {
    fn interrupt(&self) {
        if let Some(thread) = self.0.upgrade() {
            thread.ring();
        }
    }

    fn is_waiting(&self) -> bool {
        self.0.upgrade().is_some_and(|thread| thread.is_waiting())
    }

    fn waited(&self, ns: u64) -> u64 {
        self.0.upgrade().map_or(0, |thread| thread.waited(ns))
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn nobody_waits_for_longer_than_there_was_time() {
        assert_eq!(share(1000, 1, 4), 250);
        assert_eq!(share(1000, 9, 4), 1000);
        assert_eq!(share(u64::MAX, u64::MAX, 1), u64::MAX);
        assert_eq!(share(1000, 9, 0), 0);
        assert_eq!(share(1000, 0, 0), 0);
    }
}
