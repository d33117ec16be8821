// SPDX-License-Identifier: Apache-2.0
//! Timers on CPU clocks: of a process or of one thread.
//!
//! No clock of the host ticks with them, so a timer on the monotonic clock looks again when the time
//! could have come at the earliest.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::{Task, ThreadGroup};
use crate::{
    sync::{Mutex, levels},
    time::{Clock, Setting, Timer, Timers},
};

/// Looking more often than this would be a load of its own.
const SHORTEST_LOOK: u64 = 4_000_000;

/// A clock that ticks while somebody runs.
#[derive(Clone)]
pub enum CpuClock {
    /// Any thread of the process.
    Process(Weak<ThreadGroup>),
    /// This thread.
    Thread(Weak<Task>),
}

impl CpuClock {
    /// What it shows; `None` once there is nobody left to run.
    pub fn now(&self) -> Option<u64> {
        match self {
            CpuClock::Process(group) => {
                let usage = group.upgrade()?.usage();
                Some(usage.user_ns.saturating_add(usage.system_ns))
            }
            CpuClock::Thread(task) => {
                let (user, system) = task.upgrade()?.cpu_time();
                Some(user.saturating_add(system))
            }
        }
    }
}

impl fmt::Debug for CpuClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CpuClock")
    }
}

#[derive(Debug, Default)]
struct Plan {
    /// What the clock shows at the next expiry; 0 while disarmed.
    expiry: u64,
    interval: u64,
}

/// A timer on a CPU clock.
pub(crate) struct CpuAlarm {
    clock: CpuClock,
    plan: Mutex<Plan, levels::Leaf>,
    look: Mutex<Option<Timer>, levels::TaskState>,
    action: Box<dyn Fn(u64) + Send + Sync>,
}

impl CpuAlarm {
    /// A disarmed one, which tells `action` how many expiries there were.
    pub(crate) fn new(
        timers: &Arc<Timers>,
        clock: CpuClock,
        action: impl Fn(u64) + Send + Sync + 'static,
    ) -> Arc<CpuAlarm> {
        let (plan, look) = (Mutex::default(), Mutex::new(None));
        let alarm = Arc::new(CpuAlarm { clock, plan, look, action: Box::new(action) });
        let me = Arc::downgrade(&alarm);
        let timer = Timer::new(timers, Clock::Monotonic, move |_| {
            if let Some(alarm) = me.upgrade() {
                alarm.look();
            }
        });
        *alarm.look.lock() = Some(timer);
        alarm
    }

    /// What is left.
    pub(crate) fn get(&self) -> Setting {
        let now = self.clock.now().unwrap_or(0);
        self.plan.lock().left(now)
    }

    /// Sets it; what was left.
    pub(crate) fn set(&self, setting: Setting, is_absolute: bool) -> Setting {
        let now = self.clock.now().unwrap_or(0);
        let (old, left) = {
            let mut plan = self.plan.lock();
            let old = plan.left(now);
            plan.expiry = match (setting.value, is_absolute) {
                (0, _) => 0,
                (value, true) => value,
                (value, false) => now.saturating_add(value),
            };
            plan.interval = setting.interval;
            (old, plan.next_look(now))
        };
        self.look_in(left);
        old
    }

    fn look(&self) {
        // Whoever it belongs to is gone: so is the alarm, soon.
        let Some(now) = self.clock.now() else { return };
        let (expiries, left) = {
            let mut plan = self.plan.lock();
            (plan.advance(now), plan.next_look(now))
        };
        if expiries > 0 {
            (self.action)(expiries);
        }
        self.look_in(left);
    }

    /// 0: not at all.
    fn look_in(&self, value: u64) {
        if let Some(timer) = &*self.look.lock() {
            timer.set(Setting { value, interval: 0 }, false);
        }
    }
}

impl fmt::Debug for CpuAlarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CpuAlarm")
    }
}

impl Plan {
    fn left(&self, now: u64) -> Setting {
        if self.expiry == 0 {
            return Setting { value: 0, interval: self.interval };
        }
        Setting { value: self.expiry.saturating_sub(now).max(1), interval: self.interval }
    }

    fn next_look(&self, now: u64) -> u64 {
        if self.expiry == 0 { 0 } else { self.expiry.saturating_sub(now).max(SHORTEST_LOOK) }
    }

    /// How often it has expired; the next expiry is planned.
    fn advance(&mut self, now: u64) -> u64 {
        if self.expiry == 0 || now < self.expiry {
            return 0;
        }
        let Some(more) = (now - self.expiry).checked_div(self.interval) else {
            self.expiry = 0;
            return 1;
        };
        let expiries = more.saturating_add(1);
        self.expiry = self.expiry.saturating_add(self.interval.saturating_mul(expiries));
        expiries
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn expiries_are_counted_and_the_next_is_planned() {
        let mut plan = Plan { expiry: 100, interval: 30 };
        assert_eq!((plan.advance(99), plan.expiry), (0, 100));
        assert_eq!((plan.advance(165), plan.expiry), (3, 190));
        plan.interval = 0;
        assert_eq!((plan.advance(500), plan.expiry, plan.next_look(500)), (1, 0, 0));
    }
}
