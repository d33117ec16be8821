// SPDX-License-Identifier: Apache-2.0
//! Timers and the one thread that waits for them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
    time::Instant,
};

use super::{Clock, instant_after};
use crate::sync::{Condvar, Mutex, levels};

/// When a timer is to expire: what timer_settime(2) and timer_gettime(2) speak of, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setting {
    /// Until (or, for an absolute one, at) the next expiry; 0 disarms.
    pub value: u64,
    /// Between the later ones; 0 for a single one.
    pub interval: u64,
}

/// Called on the timer thread with the number of expiries since the last call.
type Action = Arc<dyn Fn(u64) + Send + Sync>;

#[derive(Default)]
struct Queue {
    /// Armed timers by the instant at which to look at them, then by number.
    due: BTreeMap<(Instant, u64), Weak<Inner>>,
    next_number: u64,
    has_thread: bool,
}

/// All armed timers of a sandbox.
#[derive(Default)]
pub struct Timers {
    queue: Mutex<Queue, levels::Timers>,
    changed: Condvar,
}

impl Timers {
    /// No timer is armed; the thread starts with the first one.
    pub fn new() -> Arc<Timers> {
        Arc::default()
    }

    fn enter(self: &Arc<Self>, queue: &mut Queue, at: Instant, number: u64, timer: Weak<Inner>) {
        let is_first = queue.due.keys().next().is_none_or(|first| at < first.0);
        queue.due.insert((at, number), timer);
        if !queue.has_thread {
            queue.has_thread = true;
            let timers = Arc::clone(self);
            std::thread::Builder::new()
                .name("timers".into())
                .stack_size(256 * 1024)
                .spawn(move || {
                    platform::run_anywhere();
                    timers.serve();
                })
                .expect("the host grants one thread for timers");
        } else if is_first {
            self.changed.notify_one();
        }
    }

    fn serve(self: Arc<Self>) {
        let mut queue = self.queue.lock();
        loop {
            let Some((&(at, _), _)) = queue.due.first_key_value() else {
                self.changed.wait(&mut queue);
                continue;
            };
            if at > Instant::now() {
                self.changed.wait_until(&mut queue, at);
                continue;
            }
            let Some((_, timer)) = queue.due.pop_first() else { continue };
            let Some(timer) = timer.upgrade() else { continue };
            drop(queue);
            timer.expire();
            drop(timer);
            queue = self.queue.lock();
        }
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timers")
    }
}

#[derive(Default)]
struct Armed {
    /// The clock's reading at the next expiry; `None` while disarmed.
    expiry: Option<u64>,
    interval: u64,
    /// Where it stands in the queue.
    key: Option<(Instant, u64)>,
}

struct Inner {
    timers: Arc<Timers>,
    clock: Clock,
    armed: Mutex<Armed, levels::ArmedTimer>,
    action: Action,
}

impl Inner {
    /// Takes due expiries into account and enters the queue again if there are more to come.
    fn expire(self: &Arc<Self>) {
        let count = {
            let mut armed = self.armed.lock();
            armed.key = None;
            let count = armed.advance(self.clock.now());
            self.enqueue(&mut armed);
            count
        };
        if count > 0 {
            (self.action)(count);
        }
    }

    fn enqueue(self: &Arc<Self>, armed: &mut Armed) {
        let Some(expiry) = armed.expiry else { return };
        let at = instant_after(expiry.saturating_sub(self.clock.now()));
        let mut queue = self.timers.queue.lock();
        queue.next_number += 1;
        let number = queue.next_number;
        armed.key = Some((at, number));
        self.timers.enter(&mut queue, at, number, Arc::downgrade(self));
    }

    fn dequeue(&self, armed: &mut Armed) {
        if let Some(key) = armed.key.take() {
            self.timers.queue.lock().due.remove(&key);
        }
    }
}

impl Armed {
    /// Counts expiries up to `now` and moves the next one behind it.
    fn advance(&mut self, now: u64) -> u64 {
        let Some(expiry) = self.expiry.filter(|expiry| *expiry <= now) else { return 0 };
        if self.interval == 0 {
            self.expiry = None;
            return 1;
        }
        let count = (now - expiry) / self.interval + 1;
        self.expiry = Some(expiry.saturating_add(count.saturating_mul(self.interval)));
        count
    }

    fn remaining(&self, now: u64) -> Setting {
        // A timer that is due but not yet served still shows a nanosecond (`posix_get_timer`).
        let value = self.expiry.map_or(0, |expiry| expiry.saturating_sub(now).max(1));
        Setting { value, interval: self.interval }
    }
}

/// A timer on one clock. Dropping it disarms it.
pub struct Timer(Arc<Inner>);

impl Timer {
    /// A disarmed timer that does `action` with the number of expiries whenever it expires.
    pub fn new(
        timers: &Arc<Timers>,
        clock: Clock,
        action: impl Fn(u64) + Send + Sync + 'static,
    ) -> Timer {
        Timer(Arc::new(Inner {
            timers: Arc::clone(timers),
            clock,
            armed: Mutex::default(),
            action: Arc::new(action),
        }))
    }

    /// Its clock.
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Arms or disarms it; returns what was left of the old setting. `is_absolute` says that
    /// `setting.value` is a reading of the clock; one in the past expires at once.
    pub fn set(&self, setting: Setting, is_absolute: bool) -> Setting {
        let mut armed = self.0.armed.lock();
        let now = self.0.clock.now();
        let old = armed.remaining(now);
        self.0.dequeue(&mut armed);
        armed.interval = setting.interval;
        armed.expiry = match setting.value {
            0 => None,
            value if is_absolute => Some(value),
            value => Some(now.saturating_add(value)),
        };
        self.0.enqueue(&mut armed);
        old
    }

    /// What is left.
    pub fn get(&self) -> Setting {
        self.0.armed.lock().remaining(self.0.clock.now())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut armed = self.0.armed.lock();
        self.0.dequeue(&mut armed);
        armed.expiry = None;
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timer({:?})", self.0.clock)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::{Armed, Setting, Timer, Timers};
    use crate::time::Clock;

    #[test]
    fn expiries_are_counted_and_moved_on() {
        let mut armed = Armed { expiry: Some(100), interval: 10, key: None };
        assert_eq!(armed.advance(99), 0);
        assert_eq!(armed.advance(125), 3);
        assert_eq!(armed.remaining(125), Setting { value: 5, interval: 10 });
        let mut single = Armed { expiry: Some(100), interval: 0, key: None };
        assert_eq!(single.advance(500), 1);
        assert_eq!(single.advance(600), 0);
    }

    #[test]
    fn a_periodic_timer_fires_until_it_is_dropped() {
        let timers = Timers::new();
        let (send, receive) = mpsc::channel();
        let timer = Timer::new(&timers, Clock::Monotonic, move |count| {
            let _ = send.send(count);
        });
        timer.set(Setting { value: 1_000_000, interval: 1_000_000 }, false);
        for _ in 0..3 {
            assert!(receive.recv_timeout(Duration::from_secs(5)).expect("it fires") >= 1);
        }
        assert_eq!(timer.get().interval, 1_000_000);
        drop(timer);
        // It may be at it just now; but before long its action is gone, and so is who could send.
        let end = loop {
            match receive.recv_timeout(Duration::from_secs(10)) {
                Ok(_) => {}
                Err(end) => break end,
            }
        };
        assert_eq!(end, mpsc::RecvTimeoutError::Disconnected);
    }
}
