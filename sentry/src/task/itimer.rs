// SPDX-License-Identifier: Apache-2.0
//! The timers of setitimer(2) and alarm(2).

use std::sync::{Arc, Weak};

use abi::{
    SigInfo, Signal,
    resource::{RLIM_INFINITY, RLIMIT_CPU, Rlimit64},
};

use super::{ThreadGroup, send::Sender};
use crate::time::{Clock, Setting, Timer};

/// A timer on the process's CPU time. There is no clock that ticks with it, so a timer on the monotonic
/// clock looks again when it could have expired at the earliest.
#[derive(Debug, Default)]
pub(crate) struct CpuTimer {
    timer: Option<Timer>,
    /// CPU time at the next expiry; 0 while disarmed.
    expiry: u64,
    interval: u64,
}

const SECOND: u64 = 1_000_000_000;

/// Looking more often than this would be a load of its own.
const SHORTEST_LOOK: u64 = 4_000_000;

impl ThreadGroup {
    fn timers_service(&self) -> Option<Arc<crate::time::Timers>> {
        Some(Arc::clone(self.kernel()?.timers()))
    }

    /// `ITIMER_REAL`: what is left.
    pub fn real_timer(&self) -> Setting {
        self.real_timer.lock().as_ref().map(Timer::get).unwrap_or_default()
    }

    /// Sets `ITIMER_REAL`; what was left.
    pub fn set_real_timer(self: &Arc<Self>, setting: Setting) -> Setting {
        let mut timer = self.real_timer.lock();
        if timer.is_none() {
            if setting.value == 0 {
                return Setting::default();
            }
            let Some(service) = self.timers_service() else { return Setting::default() };
            let me = Arc::downgrade(self);
            *timer = Some(Timer::new(&service, Clock::Monotonic, move |_| {
                if let Some(group) = me.upgrade() {
                    // One that is pending already is enough.
                    let _ = group.send(SigInfo::kernel(Signal::SIGALRM), Sender::Guest);
                }
            }));
        }
        timer.as_ref().map(|timer| timer.set(setting, false)).unwrap_or_default()
    }

    fn cpu_now(&self, is_prof: bool) -> u64 {
        let usage = self.usage();
        if is_prof { usage.user_ns.saturating_add(usage.system_ns) } else { usage.user_ns }
    }

    fn cpu_slot(
        &self,
        is_prof: bool,
    ) -> &crate::sync::Mutex<CpuTimer, crate::sync::levels::TaskState> {
        if is_prof { &self.prof_timer } else { &self.virtual_timer }
    }

    /// `ITIMER_PROF` or `ITIMER_VIRTUAL`: what is left.
    pub fn cpu_timer(&self, is_prof: bool) -> Setting {
        let now = self.cpu_now(is_prof);
        self.cpu_slot(is_prof).lock().remaining(now)
    }

    /// Sets `ITIMER_PROF` or `ITIMER_VIRTUAL`; what was left.
    pub fn set_cpu_timer(self: &Arc<Self>, is_prof: bool, setting: Setting) -> Setting {
        let now = self.cpu_now(is_prof);
        let mut slot = self.cpu_slot(is_prof).lock();
        let old = slot.remaining(now);
        slot.expiry = if setting.value == 0 { 0 } else { now.saturating_add(setting.value) };
        slot.interval = setting.interval;
        if slot.timer.is_none() && slot.expiry != 0 {
            let Some(service) = self.timers_service() else { return old };
            let me: Weak<ThreadGroup> = Arc::downgrade(self);
            slot.timer = Some(Timer::new(&service, Clock::Monotonic, move |_| {
                if let Some(group) = me.upgrade() {
                    group.look_at_cpu_timer(is_prof);
                }
            }));
        }
        slot.look_again(setting.value);
        old
    }

    fn look_at_cpu_timer(self: &Arc<Self>, is_prof: bool) {
        let now = self.cpu_now(is_prof);
        let has_expired = {
            let mut slot = self.cpu_slot(is_prof).lock();
            if slot.expiry == 0 {
                return;
            }
            let has_expired = slot.expiry <= now;
            if has_expired {
                slot.expiry = if slot.interval == 0 { 0 } else { now + slot.interval };
            }
            let left = slot.expiry.saturating_sub(now);
            slot.look_again(left);
            has_expired
        };
        if has_expired {
            let signal = if is_prof { Signal::SIGPROF } else { Signal::SIGVTALRM };
            // One that is pending already is enough.
            let _ = self.send(SigInfo::kernel(signal), Sender::Guest);
        }
    }
}

impl ThreadGroup {
    /// `RLIMIT_CPU` has been set or inherited: watches over it if it limits anything.
    pub fn watch_cpu_limit(self: &Arc<Self>) {
        let soft = self.rlimits().soft(RLIMIT_CPU);
        let now = self.cpu_now(true);
        let mut slot = self.cpu_limit.lock();
        slot.expiry = if soft == RLIM_INFINITY { 0 } else { soft.saturating_mul(SECOND).max(1) };
        if slot.timer.is_none() && slot.expiry != 0 {
            let Some(service) = self.timers_service() else { return };
            let me: Weak<ThreadGroup> = Arc::downgrade(self);
            slot.timer = Some(Timer::new(&service, Clock::Monotonic, move |_| {
                if let Some(group) = me.upgrade() {
                    group.look_at_cpu_limit();
                }
            }));
        }
        let left = slot.expiry.saturating_sub(now);
        slot.look_again(left);
    }

    /// SIGXCPU at the soft limit and each second after it, SIGKILL at the hard one
    /// (`check_process_timers()`).
    fn look_at_cpu_limit(self: &Arc<Self>) {
        let Ok(limit) = self.rlimits().get(RLIMIT_CPU) else { return };
        let now = self.cpu_now(true);
        let reached =
            |seconds: u64| seconds != RLIM_INFINITY && now >= seconds.saturating_mul(SECOND);
        if reached(limit.rlim_max) {
            // It ends by it, whatever else is pending.
            let _ = self.send(SigInfo::kernel(Signal::SIGKILL), Sender::Host);
            return;
        }
        if reached(limit.rlim_cur) {
            // One that is pending already is enough.
            let _ = self.send(SigInfo::kernel(Signal::SIGXCPU), Sender::Guest);
            let next = Rlimit64 { rlim_cur: limit.rlim_cur.saturating_add(1), ..limit };
            if self.rlimits().set(RLIMIT_CPU, next).is_err() {
                return;
            }
        }
        self.watch_cpu_limit();
    }
}

impl CpuTimer {
    fn remaining(&self, now: u64) -> Setting {
        if self.expiry == 0 {
            return Setting::default();
        }
        Setting { value: self.expiry.saturating_sub(now).max(1), interval: self.interval }
    }

    fn look_again(&self, left: u64) {
        let Some(timer) = &self.timer else { return };
        let value = if self.expiry == 0 { 0 } else { left.max(SHORTEST_LOOK) };
        timer.set(Setting { value, interval: 0 }, false);
    }
}
