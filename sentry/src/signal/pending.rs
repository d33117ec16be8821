// SPDX-License-Identifier: Apache-2.0
//! Pending signals of a task or of a thread group.

use std::collections::VecDeque;

use abi::{
    SigInfo, SigSet, Signal,
    signal::{SI_USER, SYS_SECCOMP},
};

/// Signals that an instruction causes: delivered before all others.
pub const SYNCHRONOUS: SigSet = SigSet::of(&[
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGFPE,
    Signal::SIGSYS,
]);

/// What is pending: a set, and the infos of those that came with one.
#[derive(Debug, Default)]
pub struct Pending {
    set: SigSet,
    queue: VecDeque<SigInfo>,
}

impl Pending {
    /// The signals that are pending.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// How many infos are queued.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// The queued infos, oldest first.
    pub fn infos(&self) -> Vec<SigInfo> {
        self.queue.iter().copied().collect()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Makes `signal` pending. One that does not queue and is pending already is dropped. With
    /// `has_room` false, the signal comes without its info. Returns whether the info was lost.
    pub fn push(&mut self, signal: Signal, info: SigInfo, has_room: bool) -> bool {
        if !signal.is_realtime() && self.set.contains(signal) {
            return false;
        }
        self.set.insert(signal);
        if has_room {
            self.queue.push_back(info);
        }
        !has_room
    }

    /// Takes the next signal that `mask` does not block: those an instruction caused first, then the
    /// lowest number, then the oldest.
    pub fn take(&mut self, mask: SigSet) -> Option<SigInfo> {
        let open = self.set.difference(mask);
        let caused = self.queue.iter().find(|info| {
            (info.si_code > SI_USER || info.si_code == SYS_SECCOMP)
                && info
                    .signal()
                    .is_some_and(|signal| SYNCHRONOUS.contains(signal) && open.contains(signal))
        });
        let signal = caused.and_then(|info| info.signal()).or_else(|| open.first())?;
        Some(self.take_one(signal))
    }

    /// Takes the oldest of `signal`, which is pending.
    fn take_one(&mut self, signal: Signal) -> SigInfo {
        let of_signal = |info: &SigInfo| info.si_signo == signal.raw();
        let at = self.queue.iter().position(of_signal);
        let info = at.and_then(|at| self.queue.remove(at));
        if !self.queue.iter().any(of_signal) {
            self.set.remove(signal);
        }
        info.unwrap_or_else(|| SigInfo::user(signal, SI_USER, 0, 0))
    }

    /// Forgets all of `signals`.
    pub fn discard(&mut self, signals: SigSet) {
        if self.set.intersection(signals).is_empty() {
            return;
        }
        self.set = self.set.difference(signals);
        self.queue.retain(|info| info.signal().is_none_or(|signal| !signals.contains(signal)));
    }

    /// Forgets infos that `is_doomed` picks, for timers that are deleted or set anew.
    pub fn retain(&mut self, mut keep: impl FnMut(&SigInfo) -> bool) {
        self.queue.retain(|info| keep(info));
        for signal in self.set.iter().filter(|signal| signal.is_realtime()) {
            if !self.queue.iter().any(|info| info.si_signo == signal.raw()) {
                self.set.remove(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use abi::{
        SigInfo, SigSet, Signal,
        signal::{SEGV_MAPERR, SI_QUEUE, SI_USER},
    };

    use super::Pending;

    fn user(signal: Signal, pid: i32) -> SigInfo {
        SigInfo::user(signal, SI_USER, pid, 0)
    }

    #[test]
    fn ordinary_signals_coalesce_and_realtime_ones_queue() {
        let rt = Signal::from_raw(34).expect("a signal");
        let mut pending = Pending::default();
        for pid in 1..=2 {
            pending.push(Signal::SIGUSR1, user(Signal::SIGUSR1, pid), true);
            pending.push(rt, SigInfo::queue(rt, SI_QUEUE, pid, 0, 0), true);
        }
        let mut taken = Vec::new();
        while let Some(info) = pending.take(SigSet::EMPTY) {
            taken.push((info.si_signo, info.pid()));
        }
        assert_eq!(taken, [(10, 1), (34, 1), (34, 2)]);
        assert!(pending.is_empty());
    }

    #[test]
    fn faults_come_first_and_masks_hold_back() {
        let mut pending = Pending::default();
        pending.push(Signal::SIGHUP, user(Signal::SIGHUP, 1), true);
        pending.push(Signal::SIGSEGV, SigInfo::fault(Signal::SIGSEGV, SEGV_MAPERR, 7), true);
        assert_eq!(pending.take(SigSet::EMPTY).map(|info| info.si_signo), Some(11));
        assert!(pending.take(SigSet::of(&[Signal::SIGHUP])).is_none());
        pending.discard(SigSet::FULL);
        assert!(pending.is_empty());
    }
}
