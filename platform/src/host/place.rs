// SPDX-License-Identifier: Apache-2.0
//! Where a stub's thread and the sentry's thread that drives it run.
//!
//! The two never work at the same time, so they are best on one CPU: there a wake-up is a switch of
//! threads (some 5 µs there and back), while waking a virtual CPU that has halted costs ten times
//! that. Left alone, the host's scheduler puts whoever is woken on an idle CPU. So both are tied to
//! one CPU, and we see to it that pairs are spread: each CPU has a count of the guests that run there,
//! and a pair that is not alone moves to where fewer are.
//!
//! A guest that makes call after call gets more, while there are CPUs enough: its two threads go
//! apart, and each looks at the channel's word for a while before it sleeps (some 100 ns there and
//! back). That pays only as long as both are quick; when they are not, for whatever reason (the guest
//! computes, the call blocks, another process wants the CPU), they come together again, and the next
//! try waits twice as long.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use crate::sys;

/// How often to look at a word: some 20 µs on today's processors.
const LOOKS: u32 = 1_000;
/// Ticks of the processor's clock that a quick run of the guest, or a quick call, takes at most:
/// 10 to 20 µs on today's processors.
const QUICK: u64 = 40_000;
/// Quick runs in a row after which a pair goes apart, at first.
const PATIENCE: u32 = 32;
/// And at last.
const PATIENCE_MAX: u32 = 1 << 16;
/// How far quick runs make up for slow ones.
const CREDIT: u32 = 8;

/// The CPUs that this process may use, with the guests that run on each.
#[derive(Debug)]
struct Cpus {
    numbers: Vec<usize>,
    guests: Vec<AtomicU32>,
    /// How many pairs are apart.
    apart: AtomicU32,
}

fn cpus() -> &'static Cpus {
    static CPUS: OnceLock<Cpus> = OnceLock::new();
    CPUS.get_or_init(|| {
        let numbers = sys::affinity();
        let guests = numbers.iter().map(|_| AtomicU32::new(0)).collect();
        Cpus { numbers, guests, apart: AtomicU32::new(0) }
    })
}

impl Cpus {
    fn count(&self, index: usize) -> u32 {
        self.guests.get(index).map_or(0, |guests| guests.load(Ordering::Relaxed))
    }

    fn least(&self) -> usize {
        (0..self.numbers.len()).min_by_key(|index| self.count(*index)).unwrap_or(0)
    }

    /// Whether another pair may have two CPUs for itself.
    fn has_room(&self) -> bool {
        let guests: u32 = (0..self.numbers.len()).map(|index| self.count(index)).sum();
        let wanted = guests + self.apart.load(Ordering::Relaxed) + 2;
        usize::try_from(wanted).is_ok_and(|wanted| wanted <= self.numbers.len())
    }
}

/// To be called before any thread is tied to a CPU: finds those that there are.
pub(crate) fn prepare() {
    cpus();
}

/// Lets the calling thread run on any CPU again. A thread starts where its parent is tied, so one
/// that a guest's thread starts but that drives no guest does well to call this first.
pub fn run_anywhere() {
    sys::tie(0, &cpus().numbers);
}

/// Where one pair of threads is.
#[derive(Debug)]
pub(crate) struct Place {
    /// The index of the stub's CPU, once it has one.
    at: Option<usize>,
    /// While apart: slow runs until that ends.
    apart: Option<u32>,
    quick_in_row: u32,
    patience: u32,
    /// When the guest was last given the turn, and when it came back.
    given: u64,
    back: u64,
    /// Whether the host refuses to tie threads, so that nothing is tried again.
    is_free: bool,
}

impl Default for Place {
    fn default() -> Place {
        Place {
            at: None,
            apart: None,
            quick_in_row: 0,
            patience: PATIENCE,
            given: 0,
            back: 0,
            is_free: cpus().numbers.len() < 2,
        }
    }
}

impl Place {
    /// Before the guest runs: settles where both threads run, and counts the guest there. Returns how
    /// often each shall look before it sleeps.
    pub(crate) fn enter(&mut self, stub: impl Fn() -> Option<i32>, can_look: Look) -> u32 {
        if self.is_free {
            return 0;
        }
        self.given = sys::ticks();
        let cpus = cpus();
        match self.apart {
            Some(credit) => {
                let slow = self.given.saturating_sub(self.back) > QUICK;
                if slow && credit == 0 {
                    self.come_together();
                } else if slow {
                    self.apart = Some(credit - 1);
                }
            }
            None if can_look == Look::Yes
                && self.quick_in_row >= self.patience
                && cpus.has_room() =>
            {
                self.go_apart();
            }
            None => {
                let at = match self.at {
                    Some(at) if cpus.count(at) == 0 => at,
                    Some(at) => {
                        let least = cpus.least();
                        if cpus.count(at) > cpus.count(least) { least } else { at }
                    }
                    None => cpus.least(),
                };
                if self.at != Some(at) && !self.settle(at, &stub) {
                    return 0;
                }
            }
        }
        if let Some(guests) = self.at.and_then(|at| cpus.guests.get(at)) {
            guests.fetch_add(1, Ordering::Relaxed);
        }
        if self.apart.is_some() { LOOKS } else { 0 }
    }

    /// After the guest ran.
    pub(crate) fn leave(&mut self) {
        if self.is_free {
            return;
        }
        if let Some(guests) = self.at.and_then(|at| cpus().guests.get(at)) {
            guests.fetch_sub(1, Ordering::Relaxed);
        }
        let before = self.back;
        self.back = sys::ticks();
        let is_quick = self.back.saturating_sub(self.given) < QUICK
            && self.given.saturating_sub(before) < QUICK;
        self.quick_in_row = if is_quick { self.quick_in_row.saturating_add(1) } else { 0 };
        if let Some(credit) = self.apart {
            if is_quick {
                self.apart = Some((credit + 1).min(CREDIT));
                if self.quick_in_row > self.patience {
                    self.patience = PATIENCE;
                }
            } else if credit == 0 {
                self.come_together();
            } else {
                self.apart = Some(credit - 1);
            }
        }
    }

    /// The calling thread drives no guest any more.
    pub(crate) fn leave_for_good(&mut self) {
        if self.apart.take().is_some() {
            cpus().apart.fetch_sub(1, Ordering::Relaxed);
        }
        if self.at.take().is_some() {
            sys::tie(0, &cpus().numbers);
        }
        self.is_free = true;
    }

    fn settle(&mut self, at: usize, stub: &impl Fn() -> Option<i32>) -> bool {
        let cpu = cpus().numbers.get(at).copied().unwrap_or(0);
        let tied = stub().is_some_and(|tid| sys::tie(tid, &[cpu]) && sys::tie(0, &[cpu]));
        if tied {
            self.at = Some(at);
        } else {
            self.leave_for_good();
        }
        tied
    }

    /// The stub stays, this thread goes to another CPU.
    fn go_apart(&mut self) {
        let cpus = cpus();
        let others: Vec<usize> = cpus
            .numbers
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != self.at && cpus.count(*index) == 0)
            .map(|(_, number)| *number)
            .collect();
        self.quick_in_row = 0;
        if !others.is_empty() && sys::tie(0, &others) {
            cpus.apart.fetch_add(1, Ordering::Relaxed);
            self.apart = Some(CREDIT);
        }
    }

    fn come_together(&mut self) {
        let cpus = cpus();
        cpus.apart.fetch_sub(1, Ordering::Relaxed);
        self.apart = None;
        self.quick_in_row = 0;
        self.patience = self.patience.saturating_mul(2).min(PATIENCE_MAX);
        if let Some(cpu) = self.at.and_then(|at| cpus.numbers.get(at)) {
            sys::tie(0, &[*cpu]);
        }
    }
}

/// Whether a platform's threads can look at a word at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// They share one.
    Yes,
    /// They wait in the kernel.
    No,
}
