// SPDX-License-Identifier: Apache-2.0
//! The timers of timer_create(2).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use abi::{Errno, SigInfo, Signal, signal::SI_TIMER};

use super::{
    Current, Task, ThreadGroup,
    cpu_alarm::{CpuAlarm, CpuClock},
    send::Sender,
};
use crate::time::{Clock, Setting, Timer};

/// The most timers of a process. Linux counts them against RLIMIT_SIGPENDING.
const MOST: usize = 4096;

/// How an expiry is told.
#[derive(Debug, Clone)]
pub enum Notify {
    /// Not at all.
    None,
    /// By a signal to the process, with a value.
    Process(Signal, Option<u64>),
    /// By a signal to this thread.
    Thread(Signal, u64, Weak<Task>),
}

/// What expiries have done so far. At most one signal of a timer is pending; more expiries count as its
/// overrun.
#[derive(Debug, Default)]
struct Count {
    is_queued: AtomicBool,
    overrun: AtomicU64,
    last_overrun: AtomicU64,
}

/// What a timer goes by.
#[derive(Debug, Clone)]
pub enum TimerClock {
    /// A clock that ticks by itself.
    Global(Clock),
    /// A clock that ticks while somebody runs.
    Cpu(CpuClock),
}

#[derive(Debug, Clone)]
enum Ticker {
    Global(Arc<Timer>),
    Cpu(Arc<CpuAlarm>),
}

impl Ticker {
    fn get(&self) -> Setting {
        match self {
            Ticker::Global(timer) => timer.get(),
            Ticker::Cpu(alarm) => alarm.get(),
        }
    }

    fn set(&self, setting: Setting, is_absolute: bool) -> Setting {
        match self {
            Ticker::Global(timer) => timer.set(setting, is_absolute),
            Ticker::Cpu(alarm) => alarm.set(setting, is_absolute),
        }
    }
}

#[derive(Debug)]
struct PosixTimer {
    timer: Ticker,
    count: Arc<Count>,
}

/// A process's timers by id.
#[derive(Debug, Default)]
pub(crate) struct PosixTimers {
    timers: BTreeMap<i32, PosixTimer>,
    next_id: i32,
}

fn clamp(overrun: u64) -> i32 {
    i32::try_from(overrun).unwrap_or(i32::MAX)
}

impl PosixTimers {
    pub(crate) fn clear(&mut self) {
        self.timers.clear();
    }

    /// The signal of a timer is about to be handled: only now its overrun is known.
    pub(crate) fn delivered(&self, info: &mut SigInfo) {
        if info.si_code != SI_TIMER {
            return;
        }
        let Some(timer) = self.timers.get(&info.pid()) else { return };
        timer.count.is_queued.store(false, Ordering::SeqCst);
        let overrun = timer.count.overrun.swap(0, Ordering::SeqCst);
        timer.count.last_overrun.store(overrun, Ordering::SeqCst);
        info.set_overrun(clamp(overrun));
    }

    fn get(&self, id: i32) -> Result<&PosixTimer, Errno> {
        self.timers.get(&id).ok_or(Errno::EINVAL)
    }
}

impl Count {
    /// `expiries` more. Returns whether a signal is to be sent.
    fn add(&self, expiries: u64) -> bool {
        if self.is_queued.swap(true, Ordering::SeqCst) {
            self.overrun.fetch_add(expiries, Ordering::SeqCst);
            return false;
        }
        self.overrun.store(expiries.saturating_sub(1), Ordering::SeqCst);
        true
    }
}

impl Current {
    /// timer_create(2): the new timer's id.
    pub fn create_timer(&mut self, clock: TimerClock, notify: Notify) -> Result<i32, Errno> {
        let group = Arc::clone(self.group());
        let mut timers = group.posix_timers.lock();
        if timers.timers.len() >= MOST {
            return Err(Errno::EAGAIN);
        }
        while timers.timers.contains_key(&timers.next_id) {
            timers.next_id = timers.next_id.wrapping_add(1) & i32::MAX;
        }
        let id = timers.next_id;
        timers.next_id = timers.next_id.wrapping_add(1) & i32::MAX;
        let count = Arc::<Count>::default();
        let (seen, me) = (Arc::clone(&count), Arc::downgrade(&group));
        let expire = move |expiries| {
            if let Some(group) = me.upgrade() {
                tell(&group, &notify, id, &seen, expiries);
            }
        };
        let service = self.kernel().timers();
        let timer = match clock {
            TimerClock::Global(clock) => {
                Ticker::Global(Arc::new(Timer::new(service, clock, expire)))
            }
            TimerClock::Cpu(clock) => Ticker::Cpu(CpuAlarm::new(service, clock, expire)),
        };
        timers.timers.insert(id, PosixTimer { timer, count });
        Ok(id)
    }

    /// timer_settime(2): what was left.
    pub fn set_timer(
        &mut self,
        id: i32,
        setting: Setting,
        is_absolute: bool,
    ) -> Result<Setting, Errno> {
        let ticker = {
            let timers = self.group().posix_timers.lock();
            let timer = timers.get(id)?;
            timer.count.overrun.store(0, Ordering::SeqCst);
            timer.count.last_overrun.store(0, Ordering::SeqCst);
            timer.timer.clone()
        };
        Ok(ticker.set(setting, is_absolute))
    }

    /// timer_gettime(2).
    pub fn timer_left(&self, id: i32) -> Result<Setting, Errno> {
        let ticker = self.group().posix_timers.lock().get(id).map(|timer| timer.timer.clone())?;
        Ok(ticker.get())
    }

    /// timer_getoverrun(2).
    pub fn timer_overrun(&self, id: i32) -> Result<i32, Errno> {
        let timers = self.group().posix_timers.lock();
        Ok(clamp(timers.get(id)?.count.last_overrun.load(Ordering::SeqCst)))
    }

    /// timer_delete(2).
    pub fn delete_timer(&mut self, id: i32) -> Result<(), Errno> {
        let removed = self.group().posix_timers.lock().timers.remove(&id);
        removed.map(drop).ok_or(Errno::EINVAL)
    }
}

fn tell(group: &Arc<ThreadGroup>, notify: &Notify, id: i32, count: &Count, expiries: u64) {
    if matches!(notify, Notify::None) || !count.add(expiries) {
        return;
    }
    let id_value = u64::from(id.cast_unsigned());
    let sent = match notify {
        Notify::None => Ok(()),
        Notify::Process(signal, value) => {
            let info = SigInfo::timer(*signal, id, 0, value.unwrap_or(id_value));
            group.send(info, Sender::Guest)
        }
        Notify::Thread(signal, value, task) => match task.upgrade() {
            Some(task) => task.send(SigInfo::timer(*signal, id, 0, *value), Sender::Guest),
            None => Ok(()),
        },
    };
    if sent.is_err() {
        count.is_queued.store(false, Ordering::SeqCst);
    }
}
