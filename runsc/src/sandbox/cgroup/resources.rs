// SPDX-License-Identifier: Apache-2.0
//! `linux.resources` of config.json, and of `runsc update`: what is asked for, checked for sense.
//!
//! As runc and the engines have it, a number 0 and an empty text mean "as it is", and -1 means without
//! limit.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Deserializer, Serialize};

use super::CgroupError;

/// Everything that may be asked of a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Resources {
    /// The memory controller's.
    #[serde(deserialize_with = "or_default")]
    pub(crate) memory: Memory,
    /// The cpu and cpuset controllers'.
    #[serde(deserialize_with = "or_default")]
    pub(crate) cpu: Cpu,
    /// The pids controller's.
    #[serde(deserialize_with = "or_default")]
    pub(crate) pids: Pids,
    /// The blkio or io controller's.
    #[serde(rename = "blockIO", deserialize_with = "or_default")]
    pub(crate) block_io: BlockIo,
    /// The hugetlb controller's.
    #[serde(deserialize_with = "or_default")]
    pub(crate) hugepage_limits: Vec<HugepageLimit>,
    /// The net_cls and net_prio controllers'.
    #[serde(deserialize_with = "or_default")]
    pub(crate) network: Network,
    /// The rdma controller's, by device.
    #[serde(deserialize_with = "or_default")]
    pub(crate) rdma: BTreeMap<String, Rdma>,
    /// Files of version 2, by name.
    #[serde(deserialize_with = "or_default")]
    pub(crate) unified: BTreeMap<String, String>,
}

/// Bytes of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct Memory {
    pub(crate) limit: Option<i64>,
    pub(crate) reservation: Option<i64>,
    /// Memory and swap together.
    pub(crate) swap: Option<i64>,
    pub(crate) kernel: Option<i64>,
    #[serde(rename = "kernelTCP")]
    pub(crate) kernel_tcp: Option<i64>,
    pub(crate) swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller")]
    pub(crate) disable_oom_killer: Option<bool>,
}

/// Processors, and microseconds of their time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct Cpu {
    pub(crate) shares: Option<u64>,
    pub(crate) quota: Option<i64>,
    pub(crate) period: Option<u64>,
    pub(crate) burst: Option<u64>,
    pub(crate) realtime_runtime: Option<i64>,
    pub(crate) realtime_period: Option<u64>,
    pub(crate) cpus: Option<String>,
    pub(crate) mems: Option<String>,
    pub(crate) idle: Option<i64>,
}

/// Tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct Pids {
    pub(crate) limit: Option<i64>,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct BlockIo {
    pub(crate) weight: Option<u16>,
    pub(crate) leaf_weight: Option<u16>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) weight_device: Vec<WeightDevice>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) throttle_read_bps_device: Vec<Throttle>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) throttle_write_bps_device: Vec<Throttle>,
    #[serde(rename = "throttleReadIOPSDevice", deserialize_with = "or_default")]
    pub(crate) throttle_read_iops_device: Vec<Throttle>,
    #[serde(rename = "throttleWriteIOPSDevice", deserialize_with = "or_default")]
    pub(crate) throttle_write_iops_device: Vec<Throttle>,
}

/// The weight of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct WeightDevice {
    pub(crate) major: i64,
    pub(crate) minor: i64,
    pub(crate) weight: Option<u16>,
    pub(crate) leaf_weight: Option<u16>,
}

/// The rate of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct Throttle {
    pub(crate) major: i64,
    pub(crate) minor: i64,
    pub(crate) rate: u64,
}

/// Bytes of huge pages of one size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct HugepageLimit {
    pub(crate) page_size: String,
    pub(crate) limit: i64,
}

/// Marks of packets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct Network {
    #[serde(rename = "classID")]
    pub(crate) class_id: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) priorities: Vec<Priority>,
}

/// The priority of one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct Priority {
    pub(crate) name: String,
    pub(crate) priority: u32,
}

/// Handles and objects of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs, reason = "the specification's words")]
pub(crate) struct Rdma {
    pub(crate) hca_handles: Option<u32>,
    pub(crate) hca_objects: Option<u32>,
}

/// Go's decoder takes `null` for "not given".
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A number that was given: 0 is none.
pub(super) fn given<T: Copy + Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn refuse<T>(field: &str, why: impl Into<String>) -> Result<T, CgroupError> {
    Err(CgroupError::Field { field: format!("linux.resources.{field}"), why: why.into() })
}

impl Resources {
    /// What config.json asks for.
    pub(crate) fn of_spec(spec: &LinuxResources) -> Result<Resources, CgroupError> {
        let same = serde_json::to_value(spec).and_then(serde_json::from_value);
        let resources: Resources = match same {
            Ok(resources) => resources,
            Err(error) => return refuse("", error.to_string()),
        };
        resources.check()?;
        Ok(resources)
    }

    /// Whether the values make sense. What depends on the host is left to the host.
    pub(crate) fn check(&self) -> Result<(), CgroupError> {
        self.check_memory()?;
        self.check_cpu()?;
        let io = &self.block_io;
        let weights = [("weight", io.weight), ("leafWeight", io.leaf_weight)].into_iter();
        let of_devices = io.weight_device.iter().flat_map(|it| {
            [("weightDevice.weight", it.weight), ("weightDevice.leafWeight", it.leaf_weight)]
        });
        for (name, weight) in weights.chain(of_devices) {
            if let Some(weight) = given(weight)
                && !(10..=1000).contains(&weight)
            {
                return refuse(&format!("blockIO.{name}"), format!("{weight} is not 10 to 1000"));
            }
        }
        for limit in &self.hugepage_limits {
            let is_size = limit.page_size.ends_with('B')
                && limit.page_size.chars().all(|it| it.is_ascii_alphanumeric());
            if !is_size {
                let size = &limit.page_size;
                return refuse("hugepageLimits.pageSize", format!("{size:?} is no size"));
            }
        }
        let names = self.network.priorities.iter().map(|it| ("network.priorities", &it.name));
        for (field, name) in names.chain(self.rdma.keys().map(|name| ("rdma", name))) {
            let is_name = !name.is_empty()
                && name.chars().all(|it| !it.is_whitespace() && !it.is_control() && it != '/');
            if !is_name {
                return refuse(field, format!("{name:?} is no name of a device"));
            }
        }
        for name in self.unified.keys() {
            let is_file = !name.is_empty()
                && !name.contains(['/', '\0'])
                && name.contains('.')
                && !name.starts_with('.')
                && !name.starts_with("cgroup.");
            if !is_file {
                return refuse("unified", format!("{name:?} is no file of a controller"));
            }
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<(), CgroupError> {
        let memory = &self.memory;
        for (name, value) in [
            ("limit", memory.limit),
            ("reservation", memory.reservation),
            ("swap", memory.swap),
            ("kernelTCP", memory.kernel_tcp),
        ] {
            if let Some(value) = value
                && value < -1
            {
                return refuse(&format!("memory.{name}"), format!("{value} is below -1"));
            }
        }
        if let (Some(limit @ 1..), Some(swap @ 1..)) = (memory.limit, memory.swap)
            && swap < limit
        {
            return refuse(
                "memory.swap",
                format!("{swap} is below the memory limit {limit}: it counts memory and swap"),
            );
        }
        match memory.swappiness {
            Some(value @ 101..) => {
                refuse("memory.swappiness", format!("{value} is not in the range of 0 to 100"))
            }
            _ => Ok(()),
        }
    }

    fn check_cpu(&self) -> Result<(), CgroupError> {
        let cpu = &self.cpu;
        if let Some(period) = given(cpu.period)
            && !(1000..=1_000_000).contains(&period)
        {
            return refuse("cpu.period", format!("{period} is not 1000 to 1000000 µs"));
        }
        if let Some(quota @ 1..1000) = cpu.quota {
            return refuse("cpu.quota", format!("{quota} is below the least, 1000 µs"));
        }
        match cpu.shares {
            Some(1) => return refuse("cpu.shares", "the minimum allowed cpu-shares is 2"),
            Some(262_145..) => {
                return refuse("cpu.shares", "the maximum allowed cpu-shares is 262144");
            }
            _ => {}
        }
        if let Some(idle) = cpu.idle
            && !(0..=1).contains(&idle)
        {
            return refuse("cpu.idle", format!("{idle} is neither 0 nor 1"));
        }
        for (name, list) in [("cpus", &cpu.cpus), ("mems", &cpu.mems)] {
            if let Some(list) = list
                && !is_list(list)
            {
                return refuse(&format!("cpu.{name}"), format!("{list:?} is no list like 0-3,7"));
            }
        }
        Ok(())
    }

    /// Takes over what `change` gives; the rest stays.
    pub(crate) fn merge(&mut self, change: &Resources) {
        fn take<T: Copy + Default + PartialEq>(old: &mut Option<T>, new: Option<T>) {
            if given(new).is_some() {
                *old = new;
            }
        }
        fn take_text(old: &mut Option<String>, new: &Option<String>) {
            if new.as_ref().is_some_and(|text| !text.is_empty()) {
                old.clone_from(new);
            }
        }
        fn take_list<T: Clone>(old: &mut Vec<T>, new: &[T]) {
            if !new.is_empty() {
                *old = new.to_vec();
            }
        }
        let (memory, new) = (&mut self.memory, &change.memory);
        take(&mut memory.limit, new.limit);
        take(&mut memory.reservation, new.reservation);
        take(&mut memory.swap, new.swap);
        take(&mut memory.kernel_tcp, new.kernel_tcp);
        memory.swappiness = new.swappiness.or(memory.swappiness);
        memory.disable_oom_killer = new.disable_oom_killer.or(memory.disable_oom_killer);
        let (cpu, new) = (&mut self.cpu, &change.cpu);
        take(&mut cpu.shares, new.shares);
        take(&mut cpu.quota, new.quota);
        take(&mut cpu.period, new.period);
        take(&mut cpu.burst, new.burst);
        take(&mut cpu.realtime_runtime, new.realtime_runtime);
        take(&mut cpu.realtime_period, new.realtime_period);
        cpu.idle = new.idle.or(cpu.idle);
        take_text(&mut cpu.cpus, &new.cpus);
        take_text(&mut cpu.mems, &new.mems);
        take(&mut self.pids.limit, change.pids.limit);
        let (io, new) = (&mut self.block_io, &change.block_io);
        take(&mut io.weight, new.weight);
        take(&mut io.leaf_weight, new.leaf_weight);
        take_list(&mut io.weight_device, &new.weight_device);
        take_list(&mut io.throttle_read_bps_device, &new.throttle_read_bps_device);
        take_list(&mut io.throttle_write_bps_device, &new.throttle_write_bps_device);
        take_list(&mut io.throttle_read_iops_device, &new.throttle_read_iops_device);
        take_list(&mut io.throttle_write_iops_device, &new.throttle_write_iops_device);
        take_list(&mut self.hugepage_limits, &change.hugepage_limits);
        take_list(&mut self.network.priorities, &change.network.priorities);
        self.network.class_id = change.network.class_id.or(self.network.class_id);
        self.rdma.extend(change.rdma.clone());
        self.unified.extend(change.unified.clone());
    }

    /// The most tasks, if there is a limit.
    pub(crate) fn task_limit(&self) -> Option<u64> {
        self.pids.limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0)
    }
}

/// `0-3,7`: the kernel's lists of numbers. Empty is none.
fn is_list(list: &str) -> bool {
    const MOST: u32 = 1 << 16;
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number < MOST);
    list.trim().is_empty()
        || list.trim().split(',').all(|part| match part.split_once('-') {
            None => number(part).is_some(),
            Some((first, last)) => {
                number(first).zip(number(last)).is_some_and(|(first, last)| first <= last)
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: serde_json::Value) -> Resources {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_docker_sends_is_read() {
        let sent = parse(json!({
            "memory": {"limit": 67_108_864, "reservation": 0, "swap": 67_108_864, "kernel": 0},
            "cpu": {"shares": 0, "quota": 50_000, "period": 100_000},
            "pids": {}, "blockIO": {"weight": 0}, "devices": null, "rdma": null,
        }));
        sent.check().unwrap();
        assert_eq!((sent.memory.limit, sent.cpu.quota), (Some(67_108_864), Some(50_000)));
        assert_eq!(sent.task_limit(), None);
    }

    #[test]
    fn nonsense_is_named() {
        for (value, says) in [
            (json!({"memory": {"limit": -2}}), "linux.resources.memory.limit: -2"),
            (
                json!({"memory": {"limit": 10, "swap": 9}}),
                "linux.resources.memory.swap: 9 is below",
            ),
            (json!({"memory": {"swappiness": 101}}), "memory.swappiness"),
            (json!({"cpu": {"period": 1}}), "cpu.period"),
            (json!({"cpu": {"quota": 1}}), "cpu.quota"),
            (json!({"cpu": {"shares": 1}}), "minimum allowed cpu-shares is 2"),
            (json!({"cpu": {"idle": 2}}), "cpu.idle"),
            (json!({"cpu": {"cpus": "3-1"}}), "cpu.cpus"),
            (json!({"cpu": {"mems": "a"}}), "cpu.mems"),
            (json!({"blockIO": {"weight": 9}}), "blockIO.weight: 9"),
            (json!({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}), "pageSize"),
            (json!({"rdma": {"a b": {}}}), "linux.resources.rdma"),
            (json!({"unified": {"../memory.max": "1"}}), "linux.resources.unified"),
            (json!({"unified": {"cgroup.procs": "1"}}), "linux.resources.unified"),
        ] {
            let error = parse(value).check().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let mut old = parse(json!({"memory": {"limit": 5}, "cpu": {"quota": 7, "cpus": "0"}}));
        old.merge(&parse(json!({
            "memory": {"limit": 0, "swap": -1}, "cpu": {"quota": -1, "cpus": ""}, "pids": {"limit": 3}
        })));
        assert_eq!((old.memory.limit, old.memory.swap), (Some(5), Some(-1)));
        assert_eq!((old.cpu.quota, old.cpu.cpus.as_deref()), (Some(-1), Some("0")));
        assert_eq!(old.task_limit(), Some(3));
    }

    #[test]
    fn lists() {
        for good in ["", "0", "0-3,7", "1,2 "] {
            assert!(is_list(good), "{good}");
        }
        for bad in ["-", "1-", "3-1", "a", "1,,2", "99999999"] {
            assert!(!is_list(bad), "{bad}");
        }
    }
}
