// SPDX-License-Identifier: Apache-2.0
//! A thread's own place to sleep.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use abi::Errno;

use super::{Ready, Registration, Try, WaitQueue, Wake};
use crate::sync::{Condvar, Mutex, assert_none_held, levels};

/// Why a wait ended without what was waited for.
///
/// There is deliberately no conversion into the handlers' error: a handler says by `or_restart` what
/// an interruption means for its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The operation failed, or (`ETIMEDOUT`) the deadline passed.
    Failed(Errno),
    /// A signal is to be handled, or the task is to stop or die.
    Interrupted,
}

impl From<Errno> for Cut {
    fn from(errno: Errno) -> Cut {
        Cut::Failed(errno)
    }
}

#[derive(Default)]
struct State {
    woken: bool,
    interrupted: bool,
    /// Counts calls to look up, whether or not they end a sleep.
    calls: u64,
}

/// Where one thread sleeps. Shared with those who wake it.
#[derive(Default)]
pub struct Sleeper {
    state: Mutex<State, levels::Sleeper>,
    changed: Condvar,
    /// Somebody has changed the state: what a thread looks at before it sleeps.
    is_poked: AtomicBool,
    /// Whether looking has been worth it lately.
    luck: AtomicU32,
    /// The thread sleeps, or looks for a moment before it does.
    is_asleep: AtomicBool,
}

/// Threads that look instead of sleeping. They must leave a processor to whoever is to wake them.
static LOOKERS: AtomicUsize = AtomicUsize::new(0);

/// How long a thread looks: less than waking a halted processor costs.
const LOOK: Duration = Duration::from_micros(40);
/// Luck of a thread whose looks were never in vain.
const MOST_LUCK: u32 = 8;
/// Of the unlucky one in so many looks all the same.
const RETRY: u32 = 32;

/// How many threads may look at once: one less than there are processors.
fn most_lookers() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
        let allowed = |set: nix::sched::CpuSet| {
            (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).count()
        };
        set.map_or(0, allowed).saturating_sub(1)
    })
}

impl Sleeper {
    /// A sleeper that is awake.
    pub fn new() -> Arc<Sleeper> {
        // Asked first by whoever makes the first task: later threads may be held to one processor.
        most_lookers();
        Arc::default()
    }

    /// Ends the current or the next sleep: something may have become ready.
    pub fn wake_up(&self) {
        self.state.lock().woken = true;
        self.is_poked.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Ends the current sleep, and every later one at once, with [`Cut::Interrupted`], until
    /// [`Sleeper::clear_interrupt`]. Linux's `TIF_SIGPENDING` with its wake-up.
    pub fn interrupt(&self) {
        {
            let mut state = self.state.lock();
            state.interrupted = true;
            state.calls = state.calls.wrapping_add(1);
        }
        self.is_poked.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Ends [`Sleeper::stand`], and nothing else.
    pub fn call(&self) {
        let mut state = self.state.lock();
        state.calls = state.calls.wrapping_add(1);
        drop(state);
        self.changed.notify_one();
    }

    /// How often somebody has called so far: what [`Sleeper::stand`] compares with.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Stands still until somebody has called or interrupted since `seen`. What the thread sleeps for
    /// otherwise goes on unseen.
    pub fn stand(&self, seen: u64) {
        assert_none_held();
        let mut state = self.state.lock();
        while state.calls == seen {
            self.changed.wait(&mut state);
        }
    }

    /// Sleeping works again. The caller has taken note of what interrupted it.
    pub fn clear_interrupt(&self) {
        self.state.lock().interrupted = false;
    }

    /// Whether [`Sleeper::interrupt`] stands.
    pub fn is_interrupted(&self) -> bool {
        self.state.lock().interrupted
    }

    /// Looks for a short while whether somebody comes: on most machines a halted processor takes longer
    /// to wake than two tasks that talk to each other need for an answer.
    fn look(&self) {
        let luck = self.luck.load(Ordering::Relaxed);
        // The luck of the unlucky counts down to the next try.
        if luck > MOST_LUCK {
            self.luck.store(luck - 1, Ordering::Relaxed);
            return;
        }
        if LOOKERS.fetch_add(1, Ordering::Relaxed) < most_lookers() {
            let start = Instant::now();
            let mut is_lucky = false;
            while !is_lucky && start.elapsed() < LOOK {
                for _ in 0..32 {
                    is_lucky |= self.is_poked.load(Ordering::Acquire);
                    std::hint::spin_loop();
                }
            }
            let luck = match (is_lucky, luck) {
                (true, luck) => (luck + 1).min(MOST_LUCK),
                (false, 0) => MOST_LUCK + RETRY,
                (false, luck) => luck / 2,
            };
            self.luck.store(luck, Ordering::Relaxed);
        }
        LOOKERS.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sleeps until woken, interrupted or `deadline`. `Ok` may come without a cause.
    pub fn sleep(&self, deadline: Option<Instant>) -> Result<(), Cut> {
        assert_none_held();
        self.is_asleep.store(true, Ordering::Relaxed);
        let result = platform::asleep(|| self.sleep_counted(deadline));
        self.is_asleep.store(false, Ordering::Relaxed);
        result
    }

    /// Whether its thread sleeps now: what `/proc` shows, nothing to rely on.
    pub fn is_asleep(&self) -> bool {
        self.is_asleep.load(Ordering::Relaxed)
    }

    fn sleep_counted(&self, deadline: Option<Instant>) -> Result<(), Cut> {
        if !self.is_poked.swap(false, Ordering::AcqRel) {
            self.look();
        }
        let mut state = self.state.lock();
        loop {
            if std::mem::take(&mut state.woken) {
                return Ok(());
            }
            if state.interrupted {
                return Err(Cut::Interrupted);
            }
            match deadline {
                None => self.changed.wait(&mut state),
                Some(at) => {
                    if self.changed.wait_until(&mut state, at) && !state.woken {
                        return Err(Cut::Failed(Errno::ETIMEDOUT));
                    }
                }
            }
        }
    }

    /// Tries `attempt` until it is done, sleeping on `queues` for `interest` in between.
    ///
    /// The attempt runs once before anybody sleeps, even when interrupted: what is ready is taken.
    pub fn until<T>(
        self: &Arc<Self>,
        queues: &[&WaitQueue],
        interest: Ready,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Result<Try<T>, Errno>,
    ) -> Result<T, Cut> {
        if let Try::Done(value) = attempt()? {
            return Ok(value);
        }
        let _places: Vec<Registration> = queues
            .iter()
            .map(|queue| queue.register(Arc::clone(self) as Arc<dyn Wake>, interest))
            .collect();
        loop {
            if let Try::Done(value) = attempt()? {
                return Ok(value);
            }
            self.sleep(deadline)?;
        }
    }
}

impl Wake for Sleeper {
    fn wake(&self, _ready: Ready) {
        self.wake_up();
    }
}

impl fmt::Debug for Sleeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleeper")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::{Duration, Instant},
    };

    use abi::Errno;

    use super::{Cut, Sleeper};
    use crate::wait::{Ready, Try, WaitQueue};

    #[test]
    fn a_notification_after_registering_is_not_lost() {
        let (queue, flag) = (WaitQueue::new(), Arc::new(AtomicBool::new(false)));
        let sleeper = Sleeper::new();
        let notifier = {
            let (queue, flag) = (queue.clone(), Arc::clone(&flag));
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                flag.store(true, Ordering::SeqCst);
                queue.notify(Ready::IN);
            })
        };
        let got = sleeper.until(&[&queue], Ready::IN, None, || {
            Ok(if flag.load(Ordering::SeqCst) { Try::Done(7) } else { Try::WouldBlock })
        });
        assert_eq!(got, Ok(7));
        notifier.join().expect("the notifier ends");
        assert!(queue.is_empty());
    }

    #[test]
    fn deadlines_and_interrupts_cut() {
        let sleeper = Sleeper::new();
        let soon = Some(Instant::now() + Duration::from_millis(5));
        let never = || Ok(Try::<()>::WouldBlock);
        assert_eq!(sleeper.until(&[], Ready::IN, soon, never), Err(Cut::Failed(Errno::ETIMEDOUT)));
        sleeper.interrupt();
        assert_eq!(sleeper.until(&[], Ready::IN, None, never), Err(Cut::Interrupted));
        assert_eq!(sleeper.until(&[], Ready::IN, None, || Ok(Try::Done(1))), Ok(1));
    }
}
