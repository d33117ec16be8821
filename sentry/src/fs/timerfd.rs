// SPDX-License-Identifier: Apache-2.0
//! timerfd_create(2): a timer that is read.
//!
//! As in Linux's `fs/timerfd.c`, a periodic timer stands still between its first expiry and the read or
//! look that counts the later ones: a short period costs nothing while nobody reads.

use std::{any::Any, fmt, sync::Arc};

use abi::Errno;

use crate::{
    io::Sink,
    sync::{Mutex, levels},
    time::{Clock, Setting, Timer, Timers},
    vfs::FileOps,
    wait::{Ready, Try, WaitQueue},
};

/// Bytes of the count.
const SIZE: usize = 8;

#[derive(Default)]
struct State {
    /// The clock's reading at the next expiry that has not been counted; `None` while disarmed.
    expiry: Option<u64>,
    interval: u64,
    /// Expiries not yet read.
    ticks: u64,
    /// How the expiry was given, for `/proc/<pid>/fdinfo`.
    set_flags: u32,
}

impl State {
    /// Counts what has expired by `now`.
    fn advance(&mut self, now: u64) {
        let Some(expiry) = self.expiry.filter(|expiry| *expiry <= now) else { return };
        match self.interval {
            0 => {
                self.ticks = self.ticks.saturating_add(1);
                self.expiry = None;
            }
            interval => {
                let count = (now - expiry) / interval + 1;
                self.ticks = self.ticks.saturating_add(count);
                self.expiry = Some(expiry.saturating_add(count.saturating_mul(interval)));
            }
        }
    }

    fn remaining(&self, now: u64) -> Setting {
        let value = self.expiry.map_or(0, |expiry| expiry.saturating_sub(now).max(1));
        Setting { value, interval: self.interval }
    }
}

struct Inner {
    clock: Clock,
    state: Mutex<State, levels::Queue>,
    queue: WaitQueue,
}

/// A timerfd's side of its open file.
pub struct TimerFd {
    inner: Arc<Inner>,
    timer: Timer,
    clock_id: i32,
}

impl TimerFd {
    /// A disarmed timer on `clock`, which has the number `clock_id`.
    pub fn new(timers: &Arc<Timers>, clock: Clock, clock_id: i32) -> TimerFd {
        let inner = Arc::new(Inner { clock, state: Mutex::default(), queue: WaitQueue::new() });
        let told = Arc::downgrade(&inner);
        let timer = Timer::new(timers, clock, move |_| {
            if let Some(inner) = told.upgrade() {
                // The ticks are counted by whoever looks; the timer is set again by then.
                inner.queue.notify(Ready::IN);
            }
        });
        TimerFd { inner, timer, clock_id }
    }

    /// timerfd_settime(2): returns what was left.
    pub fn set(&self, setting: Setting, is_absolute: bool, flags: u32) -> Setting {
        let now = self.inner.clock.now();
        let mut state = self.inner.state.lock();
        state.advance(now);
        let old = state.remaining(now);
        state.ticks = 0;
        state.interval = setting.interval;
        state.set_flags = flags;
        state.expiry = match setting.value {
            0 => None,
            value if is_absolute => Some(value),
            value => Some(now.saturating_add(value)),
        };
        let expiry = state.expiry;
        drop(state);
        self.arm(expiry);
        old
    }

    /// timerfd_gettime(2).
    pub fn get(&self) -> Setting {
        let now = self.inner.clock.now();
        let mut state = self.inner.state.lock();
        let before = state.expiry;
        state.advance(now);
        let setting = state.remaining(now);
        let moved = state.expiry.filter(|_| state.expiry != before);
        drop(state);
        if moved.is_some() {
            self.arm(moved);
        }
        setting
    }

    fn arm(&self, expiry: Option<u64>) {
        let setting = Setting { value: expiry.unwrap_or(0), interval: 0 };
        // An absolute zero would disarm: it is long past, and so is one.
        let value = if expiry == Some(0) { 1 } else { setting.value };
        self.timer.set(Setting { value, ..setting }, true);
    }
}

impl FileOps for TimerFd {
    fn is_stream(&self) -> bool {
        true
    }

    fn ignores_seeks(&self) -> bool {
        true
    }

    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        if sink.remaining() < SIZE {
            return Err(Errno::EINVAL);
        }
        let mut state = self.inner.state.lock();
        state.advance(self.inner.clock.now());
        let ticks = std::mem::take(&mut state.ticks);
        let expiry = state.expiry;
        drop(state);
        if ticks == 0 {
            return Ok(Try::WouldBlock);
        }
        if expiry.is_some() {
            self.arm(expiry);
        }
        if sink.write(&ticks.to_ne_bytes())? < SIZE {
            return Err(Errno::EFAULT);
        }
        Ok(Try::Done(SIZE))
    }

    fn ready(&self) -> Ready {
        let state = self.inner.state.lock();
        let is_due = state.expiry.is_some_and(|expiry| expiry <= self.inner.clock.now());
        if state.ticks > 0 || is_due { Ready::IN } else { Ready::empty() }
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.inner.queue.clone())
    }

    fn fdinfo(&self) -> String {
        let setting = self.get();
        let state = self.inner.state.lock();
        let split = |nanos: u64| (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let (value, interval) = (split(setting.value), split(setting.interval));
        format!(
            "clockid: {}\nticks: {}\nsettime flags: 0{:o}\nit_value: ({}, {})\nit_interval: ({}, {})\n",
            self.clock_id, state.ticks, state.set_flags, value.0, value.1, interval.0, interval.1,
        )
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for TimerFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerFd").field("clock", &self.inner.clock).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use abi::Errno;

    use super::TimerFd;
    use crate::{
        io::SliceSink,
        time::{Clock, Setting, Timers},
        vfs::FileOps,
        wait::{Ready, Sleeper, Try},
    };

    fn read(file: &TimerFd) -> Result<Try<u64>, Errno> {
        let mut room = [0; 8];
        let got = file.read_at(&mut SliceSink::new(&mut room), 0)?;
        Ok(got.map(|_| u64::from_ne_bytes(room)))
    }

    #[test]
    fn it_expires_once_and_again() {
        let file = TimerFd::new(&Timers::new(), Clock::Monotonic, 1);
        assert_eq!((read(&file), file.ready()), (Ok(Try::WouldBlock), Ready::empty()));
        file.set(Setting { value: 2_000_000, interval: 0 }, false, 0);
        let queue = file.wait_queue().expect("it has one");
        let deadline = Some(Instant::now() + Duration::from_secs(10));
        let ticks = Sleeper::new().until(&[&queue], Ready::IN, deadline, || read(&file));
        assert_eq!(ticks, Ok(1));
        assert_eq!(file.get(), Setting::default());
        file.set(Setting { value: 1, interval: 1_000_000 }, true, 1);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(file.ready(), Ready::IN);
        assert!(matches!(read(&file), Ok(Try::Done(ticks)) if ticks > 1000));
        let ticks = Sleeper::new().until(&[&queue], Ready::IN, deadline, || read(&file));
        assert!(matches!(ticks, Ok(1..)), "{ticks:?}");
        assert_eq!(file.set(Setting::default(), false, 0).interval, 1_000_000);
        assert_eq!(read(&file), Ok(Try::WouldBlock));
    }
}
