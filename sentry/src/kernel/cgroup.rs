// SPDX-License-Identifier: Apache-2.0
//! The sandbox as cgroup2 shows it.

use std::sync::Weak;

use super::Kernel;
use crate::fs::cgroup::{Facts, View};

/// The kernel as that file system sees it.
#[derive(Debug)]
pub(super) struct Group(pub(super) Weak<Kernel>);

impl View for Group {
    fn facts(&self) -> Facts {
        let Some(kernel) = self.0.upgrade() else { return Facts::default() };
        let limits = kernel.limits();
        let figures = kernel.figures();
        let tasks = kernel.tasks().charged();
        Facts {
            cpus: limits.cpus,
            has_cpuset: limits.has_cpuset,
            cpu_quota_us: limits.cpu_quota_us,
            cpu_period_us: limits.cpu_period_us,
            cpu_weight: limits.cpu_weight,
            cpu_time_ns: figures.cpu_time_ns,
            memory_max: limits.memory_max,
            memory_low: limits.memory_low,
            swap_max: limits.swap_max,
            memory_used: figures.memory_used,
            tasks_max: limits.tasks,
            tasks: abi::num::to_u64(tasks),
            refused_tasks: kernel.refused_tasks(),
        }
    }

    fn processes(&self) -> Vec<i32> {
        self.0.upgrade().map_or_else(Vec::new, |kernel| {
            kernel.tasks().processes().map(|(pid, _)| pid).collect()
        })
    }

    fn threads(&self) -> Vec<i32> {
        self.0
            .upgrade()
            .map_or_else(Vec::new, |kernel| kernel.tasks().tasks().map(|task| task.tid()).collect())
    }
}
