// SPDX-License-Identifier: Apache-2.0
//! Where a stub's thread and the sentry's thread that drives it run.
//!
//! The two never work at the same time, so they are best on one CPU: there a wake-up is a switch of
//! threads (some 5 µs there and back), while waking a virtual CPU that has halted costs ten times
//! that. Left alone, the host's scheduler puts whoever is woken on an idle CPU. So both are tied to
//! one CPU, and we see to it that pairs are spread: each CPU has a count of the pairs that are busy
//! there, in guest code or in the sentry, but not asleep.
//!
//! A new pair starts where its parent is, for most parents wait for their child at once, and a pair
//! that shares its CPU moves to a freer one only when that has lasted: for some calls in a row, or
//! for a millisecond of guest code.
//!
//! A guest that makes call after call gets more, while there are CPUs enough: its two threads go
//! apart, and each looks at the channel's word for a while before it sleeps (some 100 ns there and
//! back). That pays only as long as both are quick; when they are not, for whatever reason (the guest
//! computes, the call blocks, another process wants the CPU), they come together again, and the next
//! try waits twice as long. While the sentry's thread sleeps in a call, its stub does not look.
//!
//! A guest that makes no call for some milliseconds, because it computes or waits in a futex, needs no sentry
//! nearby: its stub is let go, and the host's scheduler puts it where it would put the host's own
//! program, until its next call. But threads that wait for each other all the time stay on CPUs of their
//! own while there are enough: a guest's wait or wake-up has the cost of a SIGSYS on top, most of which two
//! CPUs bear at the same time.

use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::sys;

/// How often to look at a word: some 40 µs on today's processors, which is what waking one that has
/// halted costs.
const LOOKS: u32 = 2_000;
/// Ticks of the processor's clock that a quick run of the guest, or a quick call, takes at most:
/// some 30 µs on today's processors.
const QUICK: u64 = 80_000;
/// Quick runs in a row after which a pair goes apart, at first.
const PATIENCE: u32 = 6;
/// And at last.
const PATIENCE_MAX: u32 = 192;
/// How far quick runs make up for slow ones.
const CREDIT: u32 = 16;
/// What a slow one costs: it has to wake a processor, and a quick one saves a third of that.
const SLOW: u32 = 3;
/// Runs in a row in which a pair puts up with another one on its CPU.
const SHARING: u32 = 16;
/// Waits in a futex between two looks, for each millisecond, that make a guest one of those that wait for each
/// other all the time.
const CHATTY: u64 = 8;
/// How long a run lasts before the stub is let go, when the one before was long as well.
const LONG_RUN: Duration = Duration::from_millis(1);
/// The same after a short run. This one most often ends soon, and a timer that comes before the host's own next
/// tick (every 4 ms at most on most kernels) has to be programmed into the processor and out of it, which
/// takes a virtual one some 10 µs each.
const FIRST_LONG_RUN: Duration = Duration::from_millis(5);
/// What a long run takes at least, in ticks: about [`LONG_RUN`] on today's processors.
const LONG_TICKS: u64 = 1 << 21;

/// The CPUs that this process may use, with the pairs that are busy on each.
#[derive(Debug)]
struct Cpus {
    numbers: Vec<usize>,
    /// The index that this process prefers.
    first: usize,
    busy: Vec<AtomicU32>,
    /// How many pairs are apart.
    apart: AtomicU32,
    /// How many stubs run guest code where the host's scheduler puts them.
    loose: AtomicU32,
}

/// Where a pair counts as busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    At(usize),
    Loose,
}

fn cpus() -> &'static Cpus {
    static CPUS: OnceLock<Cpus> = OnceLock::new();
    CPUS.get_or_init(|| {
        let numbers = sys::affinity();
        let busy = numbers.iter().map(|_| AtomicU32::new(0)).collect();
        let first = usize::try_from(std::process::id()).unwrap_or(0) % numbers.len().max(1);
        Cpus { numbers, first, busy, apart: AtomicU32::new(0), loose: AtomicU32::new(0) }
    })
}

thread_local! {
    /// The index of the CPU that the calling thread is tied to.
    static TIED: Cell<Option<usize>> = const { Cell::new(None) };
    /// Where the calling thread's pair counts as busy.
    static COUNTED: Cell<Option<Counted>> = const { Cell::new(None) };
    /// While the calling thread's pair is apart: makes its stub sleep instead of looking.
    static CALM: Cell<Option<Calm>> = const { Cell::new(None) };
}

/// See [`Place::enter`].
pub(crate) type Calm = Box<dyn Fn()>;

impl Cpus {
    fn count(&self, index: usize) -> u32 {
        self.busy.get(index).map_or(0, |busy| busy.load(Ordering::Relaxed))
    }

    /// The CPU with the fewest; of several not the same one as in every other sandbox.
    fn least(&self) -> usize {
        let len = self.numbers.len();
        let from_own = (0..len).map(|index| (index + self.first) % len);
        from_own.min_by_key(|index| self.count(*index)).unwrap_or(0)
    }

    /// Whether there are CPUs for all that is busy, for those that are apart, and for so many more.
    fn has_room(&self, more: u32) -> bool {
        let busy: u32 = (0..self.numbers.len()).map(|index| self.count(index)).sum();
        let elsewhere = self.apart.load(Ordering::Relaxed) + self.loose.load(Ordering::Relaxed);
        let wanted = busy + elsewhere + more;
        usize::try_from(wanted).is_ok_and(|wanted| wanted <= self.numbers.len())
    }

    /// Whether the calling thread's pair, which counts at `at`, is not alone there while another CPU
    /// has fewer.
    fn is_crowded(&self, at: usize) -> bool {
        self.count(at) > self.count(self.least()) + 1
    }

    fn counter(&self, counted: Option<Counted>) -> Option<&AtomicU32> {
        match counted? {
            Counted::At(index) => self.busy.get(index),
            Counted::Loose => Some(&self.loose),
        }
    }

    fn add(&self, counted: Option<Counted>) {
        if let Some(busy) = self.counter(counted) {
            busy.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn subtract(&self, counted: Option<Counted>) {
        if let Some(busy) = self.counter(counted) {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
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
    TIED.set(None);
}

/// Which CPU the calling thread is tied to: what is woken there is woken fast.
pub fn home() -> Option<usize> {
    TIED.get()
}

/// Runs `sleep`, in which the calling thread only waits: its pair is not busy meanwhile.
pub fn asleep<T>(sleep: impl FnOnce() -> T) -> T {
    let counted = COUNTED.get();
    if let Some(calm) = CALM.take() {
        calm();
        CALM.set(Some(calm));
    }
    cpus().subtract(counted);
    let result = sleep();
    cpus().add(counted);
    result
}

/// Has the calling thread's pair count there, and nowhere else.
fn count(counted: Option<Counted>) {
    if COUNTED.get() != counted {
        cpus().subtract(COUNTED.replace(counted));
        cpus().add(counted);
    }
}

fn tie_self(at: usize) -> bool {
    if TIED.get() == Some(at) {
        return true;
    }
    let number = cpus().numbers.get(at).copied().unwrap_or(0);
    let tied = sys::tie(0, &[number]);
    TIED.set(tied.then_some(at));
    tied
}

/// What a guest does that makes no calls, by its stub's word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quiet {
    /// How often it has waited in a futex so far.
    pub(crate) waits: u64,
    /// It does now.
    pub(crate) is_waiting: bool,
}

/// Where one pair of threads is.
#[derive(Debug)]
pub(crate) struct Place {
    /// The index of the pair's CPU, once it has one.
    at: Option<usize>,
    /// The index of the CPU that the stub is tied to.
    stub_at: Option<usize>,
    /// Runs in a row with another pair on the CPU.
    shared_in_row: u32,
    /// While apart: slow runs until that ends.
    apart: Option<u32>,
    quick_in_row: u32,
    patience: u32,
    /// The guest's last run was a long one.
    was_long: bool,
    /// One of its runs was.
    has_long: bool,
    /// For its parent and its kin: the last one of them of whom it is known had a long run.
    kin: Arc<AtomicBool>,
    /// The same of its own children: the next one may have one as well.
    children: Arc<AtomicBool>,
    /// When it was last looked at, by the processor's clock, and how often the guest had waited by then.
    looked: (u64, u64),
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
            stub_at: None,
            shared_in_row: 0,
            apart: None,
            quick_in_row: 0,
            patience: PATIENCE,
            was_long: false,
            has_long: false,
            kin: Arc::default(),
            children: Arc::default(),
            looked: (0, 0),
            given: 0,
            back: 0,
            is_free: cpus().numbers.len() < 2,
        }
    }
}

impl Place {
    /// The place of a child: where its parent is, to which its stub is tied from birth.
    pub(crate) fn child(&self) -> Place {
        let own = Place::default();
        let is_free = own.is_free || self.is_free;
        let kin = Arc::clone(&self.children);
        Place { at: self.stub_at, stub_at: self.stub_at, is_free, kin, ..own }
    }

    /// The place of a fresh stub, which is made ready where the calling thread runs before its guest is.
    pub(crate) fn fresh(stub: impl Fn() -> Option<i32>) -> Place {
        let place = Place::default();
        let Some(at) = TIED.get().filter(|_| !place.is_free) else { return place };
        let number = cpus().numbers.get(at).copied().unwrap_or(0);
        let is_tied = stub().is_some_and(|tid| sys::tie(tid, &[number]));
        place.with_stub_at(is_tied.then_some(at))
    }

    /// The same for a thread that is tied elsewhere already.
    pub(crate) fn with_stub_at(self, stub_at: Option<usize>) -> Place {
        Place { stub_at, ..self }
    }

    /// Where the stub is tied.
    pub(crate) fn stub_at(&self) -> Option<usize> {
        self.stub_at
    }

    /// Before the guest runs: settles where both threads run, and counts the pair there. Returns how
    /// often each shall look before it sleeps. `last_cpu`: where the stub says that it last ran. `can_look`:
    /// both share a word to look at; then it gives what keeps the stub from looking.
    pub(crate) fn enter(
        &mut self,
        last_cpu: u32,
        stub: impl Fn() -> Option<i32>,
        can_look: Option<&dyn Fn() -> Calm>,
    ) -> u32 {
        if self.is_free {
            return 0;
        }
        self.given = sys::ticks();
        self.looked = (self.given, 0);
        let cpus = cpus();
        if let Some(credit) = self.apart {
            self.shared_in_row = if cpus.has_room(0) { 0 } else { self.shared_in_row + 1 };
            if self.shared_in_row > SHARING {
                self.come_together();
            } else if self.given.saturating_sub(self.back) > QUICK {
                self.spend(credit);
            }
        } else if let Some(calm) = can_look
            && self.quick_in_row >= self.patience
            && self.at.is_some()
            && cpus.has_room(1)
        {
            self.go_apart(calm());
        }
        if self.apart.is_some() {
            return LOOKS;
        }
        let came_from = (self.at.is_some() && self.stub_at.is_none())
            .then(|| cpus.numbers.iter().position(|cpu| u32::try_from(*cpu) == Ok(last_cpu)))
            .flatten();
        let mut at = came_from.or(self.at).or(TIED.get()).unwrap_or_else(|| cpus.least());
        let is_crowded = if COUNTED.get() == Some(Counted::At(at)) {
            cpus.is_crowded(at)
        } else {
            cpus.count(at) > cpus.count(cpus.least())
        };
        self.shared_in_row = if is_crowded { self.shared_in_row + 1 } else { 0 };
        // Who waits in the kernel cannot be moved while it does.
        if self.shared_in_row > SHARING || (is_crowded && can_look.is_none()) {
            at = cpus.least();
            self.shared_in_row = 0;
        }
        self.settle(at, &stub);
        0
    }

    /// How long to wait for the guest before [`Place::let_go`], if the stub is tied.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let is_expected = self.was_long || self.kin.load(Ordering::Relaxed);
        let patience = if is_expected { LONG_RUN } else { FIRST_LONG_RUN };
        (!self.is_free).then_some(patience)
    }

    /// The guest has been running for long: its stub may run anywhere.
    pub(crate) fn let_go(&mut self, quiet: Quiet, stub: impl Fn() -> Option<i32>) {
        let Some(at) = self.at.filter(|_| !self.is_free) else { return };
        let cpus = cpus();
        self.shared_in_row = 0;
        if self.is_chatty(quiet) {
            if COUNTED.get() != Some(Counted::At(at)) {
                count(Some(Counted::At(at)));
            }
            if cpus.has_room(0) {
                let at = if cpus.is_crowded(at) { cpus.least() } else { at };
                self.settle(at, &stub);
                return;
            }
        }
        if self.apart.is_some() {
            self.come_together();
        }
        if self.stub_at.is_some() {
            if !stub().is_some_and(|tid| sys::tie(tid, &cpus.numbers)) {
                self.leave_for_good();
                run_anywhere();
                return;
            }
            self.stub_at = None;
        }
        count((!quiet.is_waiting).then_some(Counted::Loose));
    }

    /// Whether the guest has waited all the time since the last look.
    fn is_chatty(&mut self, quiet: Quiet) -> bool {
        /// Some tenth of a millisecond on today's processors.
        const TICKS: u64 = 1 << 18;
        let now = sys::ticks();
        let (then, before) = std::mem::replace(&mut self.looked, (now, quiet.waits));
        let tenths = now.saturating_sub(then) / TICKS;
        quiet.waits.saturating_sub(before).saturating_mul(10) >= tenths.saturating_mul(CHATTY)
            && quiet.waits != before
    }

    /// After the guest ran.
    pub(crate) fn leave(&mut self) {
        if self.is_free {
            return;
        }
        let before = self.back;
        self.back = sys::ticks();
        self.was_long = self.back.saturating_sub(self.given) >= LONG_TICKS;
        if self.was_long && !self.has_long {
            self.has_long = true;
            self.kin.store(true, Ordering::Relaxed);
        }
        let is_quick = self.back.saturating_sub(self.given) < QUICK
            && self.given.saturating_sub(before) < QUICK;
        self.quick_in_row = if is_quick { self.quick_in_row.saturating_add(1) } else { 0 };
        if let Some(credit) = self.apart {
            if is_quick {
                self.apart = Some((credit + 1).min(CREDIT));
                if self.quick_in_row > self.patience {
                    self.patience = PATIENCE;
                }
            } else {
                self.spend(credit);
            }
        }
    }

    /// A slow run or call while apart.
    fn spend(&mut self, credit: u32) {
        match credit.checked_sub(SLOW) {
            Some(left) => self.apart = Some(left),
            None => {
                self.patience = self.patience.saturating_mul(2).min(PATIENCE_MAX);
                self.come_together();
            }
        }
    }

    /// The pair gets a child, which starts on its CPU: there must be room for it.
    pub(crate) fn make_room(&mut self) {
        if self.apart.is_some() {
            self.come_together();
        }
    }

    /// The calling thread drives this guest no more. It stays where it is: most often the next one that
    /// it drives is there too.
    pub(crate) fn leave_for_good(&mut self) {
        if !self.has_long {
            self.kin.store(false, Ordering::Relaxed);
        }
        if self.apart.take().is_some() {
            cpus().apart.fetch_sub(1, Ordering::Relaxed);
            CALM.take();
        }
        if self.at.take().is_some() {
            count(None);
        }
        self.is_free = true;
    }

    /// Ties both threads to a CPU and counts the pair there.
    fn settle(&mut self, at: usize, stub: &impl Fn() -> Option<i32>) {
        let cpu = cpus().numbers.get(at).copied().unwrap_or(0);
        // Before the ties, which take a while: who looks for a place meanwhile, as threads that were let wait
        // at the same time do, must not take the same one.
        self.at = Some(at);
        count(Some(Counted::At(at)));
        if self.stub_at != Some(at) {
            if !stub().is_some_and(|tid| sys::tie(tid, &[cpu])) {
                self.leave_for_good();
                run_anywhere();
                return;
            }
            self.stub_at = Some(at);
        }
        if !tie_self(at) {
            self.leave_for_good();
        }
    }

    /// The stub stays, this thread goes to another CPU.
    fn go_apart(&mut self, calm: Calm) {
        let cpus = cpus();
        let others: Vec<usize> = cpus
            .numbers
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != self.at && cpus.count(*index) == 0)
            .map(|(_, number)| *number)
            .collect();
        (self.quick_in_row, self.shared_in_row) = (0, 0);
        if !others.is_empty() && sys::tie(0, &others) {
            TIED.set(None);
            cpus.apart.fetch_add(1, Ordering::Relaxed);
            self.apart = Some(CREDIT);
            CALM.set(Some(calm));
        }
    }

    fn come_together(&mut self) {
        let cpus = cpus();
        cpus.apart.fetch_sub(1, Ordering::Relaxed);
        self.apart = None;
        (self.quick_in_row, self.shared_in_row) = (0, 0);
        CALM.take();
        if let Some(at) = self.at {
            tie_self(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::Cpus;

    fn cpus(busy: &[u32], apart: u32) -> Cpus {
        Cpus {
            numbers: (0..busy.len()).collect(),
            first: 0,
            busy: busy.iter().map(|count| AtomicU32::new(*count)).collect(),
            apart: AtomicU32::new(apart),
            loose: AtomicU32::new(0),
        }
    }

    #[test]
    fn a_pair_is_crowded_when_a_move_would_make_it_less_so() {
        assert!(!cpus(&[1, 0], 0).is_crowded(0));
        assert!(cpus(&[2, 0], 0).is_crowded(0));
        assert!(!cpus(&[2, 1], 0).is_crowded(0));
        assert_eq!(cpus(&[2, 1, 0], 0).least(), 2);
    }

    #[test]
    fn there_is_room_while_each_busy_pair_and_each_half_has_a_cpu() {
        assert!(cpus(&[1, 0], 0).has_room(1));
        assert!(!cpus(&[1, 1], 0).has_room(1));
        assert!(cpus(&[1, 0], 1).has_room(0));
        assert!(!cpus(&[2, 0], 1).has_room(0));
    }
}
