// SPDX-License-Identifier: Apache-2.0
//! What a container uses, in the shape of runc's `events --stats`.

use serde_json::{Map, Value, json};

use super::{Cgroup, Version};

/// Clock ticks a second of the kernel's user interfaces, as nanoseconds.
const NS_PER_TICK: u64 = 1_000_000_000 / 100;

impl Cgroup {
    /// The `data` of runc's stats event. `tasks` and `task_limit` are the guest's.
    pub(crate) fn stats(&self, tasks: Option<u64>, task_limit: Option<u64>) -> Value {
        let mut pids = Map::new();
        if let Some(tasks) = tasks {
            pids.insert("current".into(), tasks.into());
        }
        if let Some(limit) = task_limit {
            pids.insert("limit".into(), limit.into());
        }
        let (cpu, memory, cpuset) = match self.version {
            Version::V1 => (self.cpu_v1(), self.memory_v1(), self.cpuset_v1()),
            Version::V2 => (self.cpu_v2(), self.memory_v2(), json!({})),
        };
        json!({
            "cpu": cpu,
            "cpuset": cpuset,
            "memory": memory,
            "pids": pids,
            "blkio": self.block_io(),
            "hugetlb": {},
            "intel_rdt": {},
            "network_interfaces": null,
        })
    }

    /// How often the out-of-memory killer came, or found nobody; `None` if that cannot be told.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        match self.version {
            Version::V1 => self.field("memory", "memory.oom_control", "oom_kill"),
            Version::V2 => self.field("memory", "memory.events", "oom_kill"),
        }
    }

    fn value(&self, controller: &str, file: &str) -> Option<u64> {
        self.read(controller, file)?.trim().parse().ok()
    }

    /// The value behind a word of a file of `word value` lines.
    fn field(&self, controller: &str, file: &str, word: &str) -> Option<u64> {
        fields(&self.read(controller, file)?).find(|(name, _)| name == word).map(|(_, value)| value)
    }

    fn all_fields(&self, controller: &str, file: &str) -> Map<String, Value> {
        let text = self.read(controller, file).unwrap_or_default();
        fields(&text).map(|(name, value)| (name, value.into())).collect()
    }

    fn cpu_v1(&self) -> Value {
        let list = |file| -> Vec<u64> {
            let text = self.read("cpuacct", file).unwrap_or_default();
            text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let mut usage = Map::new();
        usage.insert("total".into(), self.value("cpuacct", "cpuacct.usage").unwrap_or(0).into());
        for (name, file) in [
            ("percpu", "cpuacct.usage_percpu"),
            ("percpu_kernel", "cpuacct.usage_percpu_sys"),
            ("percpu_user", "cpuacct.usage_percpu_user"),
        ] {
            let values = list(file);
            if !values.is_empty() {
                usage.insert(name.into(), values.into());
            }
        }
        for (name, word) in [("kernel", "system"), ("user", "user")] {
            let ticks = self.field("cpuacct", "cpuacct.stat", word).unwrap_or(0);
            usage.insert(name.into(), ticks.saturating_mul(NS_PER_TICK).into());
        }
        json!({ "usage": usage, "throttling": self.throttling("throttled_time", 1) })
    }

    fn cpu_v2(&self) -> Value {
        let ns = |word| self.field("cpu", "cpu.stat", word).unwrap_or(0).saturating_mul(1000);
        let usage = json!({
            "total": ns("usage_usec"), "kernel": ns("system_usec"), "user": ns("user_usec")
        });
        json!({ "usage": usage, "throttling": self.throttling("throttled_usec", 1000) })
    }

    /// As runc: what is 0 is left out.
    fn throttling(&self, time: &str, unit: u64) -> Map<String, Value> {
        let field = |word| self.field("cpu", "cpu.stat", word).unwrap_or(0);
        let rows = [
            ("periods", field("nr_periods")),
            ("throttledPeriods", field("nr_throttled")),
            ("throttledTime", field(time).saturating_mul(unit)),
        ];
        let rows = rows.into_iter().filter(|(_, value)| *value > 0);
        rows.map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn memory_v1(&self) -> Value {
        let entry = |prefix: &str, has_usage: bool| {
            let value = |file: &str| self.value("memory", &format!("memory.{prefix}{file}"));
            let mut entry = Map::new();
            entry.insert("limit".into(), value("limit_in_bytes").unwrap_or(0).into());
            if has_usage || value("usage_in_bytes").unwrap_or(0) > 0 {
                entry.insert("usage".into(), value("usage_in_bytes").unwrap_or(0).into());
                entry.insert("max".into(), value("max_usage_in_bytes").unwrap_or(0).into());
            }
            entry.insert("failcnt".into(), value("failcnt").unwrap_or(0).into());
            entry
        };
        let raw = self.all_fields("memory", "memory.stat");
        let mut memory = Map::new();
        if let Some(cache) = raw.get("cache").filter(|cache| **cache != json!(0)) {
            memory.insert("cache".into(), cache.clone());
        }
        memory.insert("usage".into(), entry("", true).into());
        memory.insert("swap".into(), entry("memsw.", true).into());
        memory.insert("kernel".into(), entry("kmem.", true).into());
        memory.insert("kernelTCP".into(), entry("kmem.tcp.", false).into());
        memory.insert("raw".into(), raw.into());
        memory.into()
    }

    fn memory_v2(&self) -> Value {
        let limit = |file| self.value("memory", file).unwrap_or(u64::MAX);
        let (usage, swap) =
            (self.value("memory", "memory.current"), self.value("memory", "memory.swap.current"));
        let peak = self.value("memory", "memory.peak").unwrap_or(0);
        let failures = self.field("memory", "memory.events", "max").unwrap_or(0);
        let raw = self.all_fields("memory", "memory.stat");
        let cache = raw.get("file").cloned().unwrap_or_else(|| json!(0));
        json!({
            "cache": cache,
            "usage": {
                "limit": limit("memory.max"), "usage": usage.unwrap_or(0), "max": peak,
                "failcnt": failures,
            },
            "swap": { "limit": limit("memory.swap.max"), "usage": swap.unwrap_or(0), "failcnt": 0 },
            "kernel": { "limit": 0, "failcnt": 0 },
            "kernelTCP": { "limit": 0, "failcnt": 0 },
            "raw": raw,
        })
    }

    fn cpuset_v1(&self) -> Value {
        let list = |file: &str| -> Vec<u64> {
            let text = self.read("cpuset", file).unwrap_or_default();
            text.trim().split(',').flat_map(numbers).collect()
        };
        let mut cpuset = Map::new();
        cpuset.insert("cpus".into(), list("cpuset.cpus").into());
        cpuset.insert("mems".into(), list("cpuset.mems").into());
        for name in [
            "cpu_exclusive",
            "mem_hardwall",
            "mem_exclusive",
            "memory_migrate",
            "memory_spread_page",
            "memory_spread_slab",
            "memory_pressure",
            "sched_load_balance",
            "sched_relax_domain_level",
        ] {
            let text = self.read("cpuset", &format!("cpuset.{name}")).unwrap_or_default();
            cpuset.insert(name.into(), text.trim().parse::<i64>().unwrap_or(0).into());
        }
        cpuset.into()
    }

    fn block_io(&self) -> Value {
        let mut io = Map::new();
        match self.version {
            Version::V1 => {
                for (name, kind) in [
                    ("ioServiceBytesRecursive", "io_service_bytes"),
                    ("ioServicedRecursive", "io_serviced"),
                ] {
                    let of = |prefix: &str| {
                        self.read("blkio", &format!("blkio.{prefix}{kind}_recursive"))
                    };
                    let entries = of("bfq.").map(|text| devices(&text)).unwrap_or_default();
                    let entries = match of("throttle.") {
                        Some(text) if entries.is_empty() => devices(&text),
                        _ => entries,
                    };
                    if !entries.is_empty() {
                        io.insert(name.into(), entries.into());
                    }
                }
            }
            Version::V2 => {
                let text = self.read("io", "io.stat").unwrap_or_default();
                let of = |words: [(&str, &str); 2]| {
                    text.lines().flat_map(|line| device(line, &words)).collect::<Vec<_>>()
                };
                for (name, words) in [
                    ("ioServiceBytesRecursive", [("rbytes", "Read"), ("wbytes", "Write")]),
                    ("ioServicedRecursive", [("rios", "Read"), ("wios", "Write")]),
                ] {
                    let entries = of(words);
                    if !entries.is_empty() {
                        io.insert(name.into(), entries.into());
                    }
                }
            }
        }
        io.into()
    }
}

fn fields(text: &str) -> impl Iterator<Item = (String, u64)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_string(), value.trim().parse().ok()?))
    })
}

/// The numbers of one part of a list. No machine has more than a few thousand.
fn numbers(part: &str) -> std::ops::RangeInclusive<u64> {
    const MOST: u64 = 1 << 16;
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if last < MOST => first..=last,
        // An empty range.
        _ => std::ops::RangeInclusive::new(1, 0),
    }
}

/// `8:0 Read 4096` lines.
fn devices(text: &str) -> Vec<Value> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let (op, value) = (words.next()?, words.next()?.parse::<u64>().ok()?);
        Some(json!({
            "major": major.parse::<u64>().ok()?, "minor": minor.parse::<u64>().ok()?,
            "op": op, "value": value,
        }))
    };
    text.lines().filter_map(entry).collect()
}

/// One `8:0 rbytes=1 wbytes=2` line.
fn device(line: &str, wanted: &[(&str, &str)]) -> Vec<Value> {
    let mut words = line.split_whitespace();
    let Some((major, minor)) = words.next().and_then(|word| word.split_once(':')) else {
        return Vec::new();
    };
    let (Ok(major), Ok(minor)) = (major.parse::<u64>(), minor.parse::<u64>()) else {
        return Vec::new();
    };
    let entry = |word: &str| {
        let (name, value) = word.split_once('=')?;
        let (_, op) = wanted.iter().find(|(wanted, _)| *wanted == name)?;
        let value = value.parse::<u64>().ok()?;
        Some(json!({ "major": major, "minor": minor, "op": op, "value": value }))
    };
    words.filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(
            devices("8:0 Read 4096\n8:0 Write 1\nTotal 5\n"),
            [
                json!({"major": 8, "minor": 0, "op": "Read", "value": 4096}),
                json!({"major": 8, "minor": 0, "op": "Write", "value": 1}),
            ]
        );
        assert_eq!(
            device("8:16 rbytes=5 rios=2", &[("rbytes", "Read")]),
            [json!({"major": 8, "minor": 16, "op": "Read", "value": 5})]
        );
        assert_eq!("0-2,5".split(',').flat_map(numbers).collect::<Vec<_>>(), [0, 1, 2, 5]);
        assert!(numbers("0-99999999").is_empty());
    }
}
