// SPDX-License-Identifier: Apache-2.0
//! What a container may use, read back from the host: its own limits and those above it.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{Cgroup, Resources, Version, v2};
use crate::config::Config;

/// What a sandbox is told of its limits. `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Bytes of memory, the least of the container's and of what is above it.
    pub(crate) memory_total: Option<u64>,
    /// The container's own bytes.
    pub(crate) memory: Option<u64>,
    /// Bytes that it keeps under pressure.
    pub(crate) memory_low: u64,
    /// Bytes of swap.
    pub(crate) swap: Option<u64>,
    /// Processors by quota, rounded up, the least of the container's and of what is above it.
    pub(crate) cpus_by_quota: Option<u64>,
    /// Processors that it may run on.
    pub(crate) cpus: Option<u64>,
    /// Whether it was asked to run on these alone.
    pub(crate) has_cpuset: bool,
    /// Microseconds of each period.
    pub(crate) cpu_quota_us: Option<u64>,
    /// The period.
    pub(crate) cpu_period_us: Option<u64>,
    /// The weight, as version 2 counts.
    pub(crate) cpu_weight: Option<u64>,
    /// Tasks.
    pub(crate) tasks: Option<u64>,
}

impl Limits {
    /// As the global flags would have the guest see them.
    pub(crate) fn as_seen(mut self, config: &Config) -> Limits {
        if !config.has_cpus_by_quota {
            self.cpus_by_quota = None;
        }
        self
    }
}

impl Cgroup {
    /// What holds now. `resources` are those that were applied.
    pub(crate) fn limits(&self, resources: &Resources) -> Limits {
        let quota = |text: &(u64, u64)| text.0.div_ceil(text.1.max(1)).max(1);
        let own = self.quota(0);
        let memory = self.memory(0);
        let swap = match self.version {
            Version::V1 => self
                .number("memory", "memory.memsw.limit_in_bytes")
                .zip(memory)
                .map(|(both, memory)| both.saturating_sub(memory)),
            Version::V2 => self.number("memory", "memory.swap.max"),
        };
        let weight = match self.version {
            Version::V1 => self.number("cpu", "cpu.shares").map(v2::weight_of_shares),
            Version::V2 => self.number("cpu", "cpu.weight"),
        };
        let (low, cpus) = match self.version {
            Version::V1 => (None, "cpuset.effective_cpus"),
            Version::V2 => (self.number("memory", "memory.low"), "cpuset.cpus.effective"),
        };
        let above = |depth: &usize| self.is_there(*depth);
        Limits {
            memory_total: (0..).take_while(above).filter_map(|depth| self.memory(depth)).min(),
            memory,
            memory_low: low.unwrap_or(0),
            swap,
            cpus_by_quota: (0..)
                .take_while(above)
                .filter_map(|depth| self.quota(depth).as_ref().map(quota))
                .min(),
            cpus: self.read("cpuset", cpus).map(|list| count(&list)).filter(|count| *count > 0),
            has_cpuset: resources.cpu.cpus.as_ref().is_some_and(|list| !list.is_empty()),
            cpu_quota_us: own.map(|(quota, _)| quota),
            cpu_period_us: own.map(|(_, period)| period),
            cpu_weight: weight,
            tasks: resources.task_limit(),
        }
    }

    /// Whether there is a directory `depth` above the container's own.
    fn is_there(&self, depth: usize) -> bool {
        let deepest = self.directories.iter().map(|it| {
            it.path.strip_prefix(&it.mount).map_or(0, |below| below.components().count())
        });
        depth <= deepest.max().unwrap_or(0)
    }

    fn above(&self, controller: &str, depth: usize, file: &str) -> Option<String> {
        let directory = self.directory(controller)?;
        let mount = self.directories.iter().find(|it| it.path == directory).map(|it| &*it.mount)?;
        let path = directory.ancestors().nth(depth).filter(|path| path.starts_with(mount))?;
        fs::read_to_string(Path::new(path).join(file)).ok()
    }

    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        limit(&self.read(controller, file)?)
    }

    fn memory(&self, depth: usize) -> Option<u64> {
        let file = match self.version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        };
        limit(&self.above("memory", depth, file)?)
    }

    /// Quota and period in microseconds.
    fn quota(&self, depth: usize) -> Option<(u64, u64)> {
        match self.version {
            Version::V1 => {
                let quota = limit(&self.above("cpu", depth, "cpu.cfs_quota_us")?)?;
                Some((quota, limit(&self.above("cpu", depth, "cpu.cfs_period_us")?)?))
            }
            Version::V2 => {
                let text = self.above("cpu", depth, "cpu.max")?;
                let (quota, period) = text.trim().split_once(' ')?;
                Some((limit(quota)?, limit(period)?))
            }
        }
    }
}

/// A number that is a limit: -1, `max` and the kernel's greatest are none.
fn limit(text: &str) -> Option<u64> {
    /// Version 1 shows "no limit" as the greatest number of pages.
    const NONE: u64 = 1 << 62;
    text.trim().parse().ok().filter(|value| *value < NONE)
}

/// How many numbers a list like `0-3,7` has.
fn count(list: &str) -> u64 {
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.trim().split(',').filter_map(part).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_has_many_names() {
        assert_eq!(limit("67108864\n"), Some(67_108_864));
        for none in ["-1\n", "max\n", "9223372036854771712\n", ""] {
            assert_eq!(limit(none), None, "{none}");
        }
    }

    #[test]
    fn lists_are_counted() {
        for (list, want) in
            [("0-3,7\n", 5), ("0\n", 1), ("\n", 0), ("3-1", 0), ("0-18446744073709551615", 0)]
        {
            assert_eq!(count(list), want, "{list}");
        }
    }
}
