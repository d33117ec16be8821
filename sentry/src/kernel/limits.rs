// SPDX-License-Identifier: Apache-2.0
//! What the host's cgroup grants the sandbox, as the guest is to see it. It may change at any time.

use std::sync::{Arc, atomic::Ordering};

use abi::Errno;

use super::Kernel;
use crate::task::{Task, TaskTable};

/// What a sandbox may use. A value that is `None` has no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// CPUs that the guest sees.
    pub cpus: usize,
    /// Bytes of memory that the guest sees.
    pub memory_total: u64,
    /// The most tasks at a time, zombies included.
    pub tasks: Option<u64>,
    /// `memory.max`.
    pub memory_max: Option<u64>,
    /// `memory.low`.
    pub memory_low: u64,
    /// `memory.swap.max`: 0 is no swap at all.
    pub swap_max: Option<u64>,
    /// `cpu.max`: microseconds of each period.
    pub cpu_quota_us: Option<u64>,
    /// The period.
    pub cpu_period_us: u64,
    /// `cpu.weight`.
    pub cpu_weight: u64,
    /// Whether it has less than all CPUs of the host to choose from.
    pub has_cpuset: bool,
}

impl Limits {
    /// A machine of this size, all of which may be used.
    pub fn machine(cpus: usize, memory_total: u64) -> Limits {
        Limits {
            cpus,
            memory_total,
            tasks: None,
            memory_max: None,
            memory_low: 0,
            swap_max: None,
            cpu_quota_us: None,
            cpu_period_us: 100_000,
            cpu_weight: 100,
            has_cpuset: false,
        }
    }
}

impl Kernel {
    /// What the sandbox may use now.
    pub fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// Sets what it may use from now on. Tasks that are there already stay.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// Whether one more task may be born (`pids_can_fork`).
    pub(crate) fn admit(&self, tasks: &TaskTable) -> Result<(), Errno> {
        let Some(most) = self.limits().tasks else { return Ok(()) };
        if abi::num::to_u64(tasks.charged()) < most {
            return Ok(());
        }
        self.refused_tasks.fetch_add(1, Ordering::Relaxed);
        Err(Errno::EAGAIN)
    }

    /// CPU time of tasks that have ended, in nanoseconds: user, system.
    pub(super) fn buried_time(&self) -> (u64, u64) {
        let [user, system] = &self.buried_ns;
        (user.load(Ordering::Relaxed), system.load(Ordering::Relaxed))
    }

    /// Keeps the times of a task that has ended.
    pub(crate) fn bury(&self, task: &Task) {
        let (user, system) = task.cpu_time();
        for (sum, time) in self.buried_ns.iter().zip([user, system]) {
            sum.fetch_add(time, Ordering::Relaxed);
        }
    }

    /// How often a task was not made because of the limit.
    pub fn refused_tasks(&self) -> u64 {
        self.refused_tasks.load(Ordering::Relaxed)
    }
}
