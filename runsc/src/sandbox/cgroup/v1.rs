// SPDX-License-Identifier: Apache-2.0
//! Resources as version 1 has them: a file a value, in the directory of its controller.
//!
//! The device controller's directory is made and entered, and its rules are not written: the guest never
//! opens a device of the host.

use super::{
    CgroupError, Write,
    resources::{BlockIo, Cpu, Memory, Resources, Throttle, given},
};

/// What to write for `resources`, in order.
pub(super) fn writes(resources: &Resources) -> Result<Vec<Write>, CgroupError> {
    if let Some(name) = resources.unified.keys().next() {
        return Err(CgroupError::Field {
            field: format!("linux.resources.unified.{name}"),
            why: "this host has cgroups of version 1".into(),
        });
    }
    let mut all = Vec::new();
    memory(&resources.memory, &mut all);
    cpu(&resources.cpu, &mut all);
    if let Some(limit) = given(resources.pids.limit) {
        let value = if limit > 0 { limit.to_string() } else { "max".into() };
        // The sentry keeps this limit; the host's file only shows it.
        all.push(Write::new("pids", "pids.limit", "pids.max", value).if_there());
    }
    block_io(&resources.block_io, &mut all);
    for limit in &resources.hugepage_limits {
        let file = format!("hugetlb.{}.limit_in_bytes", limit.page_size);
        all.push(Write::new("hugetlb", "hugepageLimits", &file, limit.limit));
    }
    if let Some(class) = resources.network.class_id {
        all.push(Write::new("net_cls", "network.classID", "net_cls.classid", class));
    }
    for it in &resources.network.priorities {
        let value = format!("{} {}", it.name, it.priority);
        all.push(Write::new("net_prio", "network.priorities", "net_prio.ifpriomap", value));
    }
    all.extend(rdma(resources));
    Ok(all)
}

/// Both versions write these alike.
pub(super) fn rdma(resources: &Resources) -> impl Iterator<Item = Write> {
    resources.rdma.iter().map(|(device, limits)| {
        let mut value = device.clone();
        let words = [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)];
        for (word, limit) in words {
            if let Some(limit) = limit {
                value.push_str(&format!(" {word}={limit}"));
            }
        }
        Write::new("rdma", "rdma", "rdma.max", value)
    })
}

fn memory(memory: &Memory, all: &mut Vec<Write>) {
    let mut number = |field, file, value: Option<i64>| {
        if let Some(value) = given(value) {
            all.push(Write::new("memory", field, file, value));
        }
    };
    number("memory.limit", "memory.limit_in_bytes", memory.limit);
    number("memory.swap", "memory.memsw.limit_in_bytes", memory.swap);
    if memory.limit == Some(-1) && given(memory.swap).is_none() {
        // Where there is no swap accounting, there is nothing to lift.
        all.push(Write::new("memory", "memory.swap", "memory.memsw.limit_in_bytes", -1).if_there());
    }
    let mut number = |field, file, value: Option<i64>| {
        if let Some(value) = given(value) {
            all.push(Write::new("memory", field, file, value));
        }
    };
    number("memory.reservation", "memory.soft_limit_in_bytes", memory.reservation);
    number("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp);
    if given(memory.kernel).is_some() {
        tracing::debug!(
            "linux.resources.memory.kernel is ignored: Linux has no such limit any more"
        );
    }
    if let Some(value) = memory.swappiness {
        all.push(Write::new("memory", "memory.swappiness", "memory.swappiness", value));
    }
    if memory.disable_oom_killer == Some(true) {
        all.push(Write::new("memory", "memory.disableOOMKiller", "memory.oom_control", 1));
    }
}

fn cpu(cpu: &Cpu, all: &mut Vec<Write>) {
    let mut number = |field, file, value: Option<String>| {
        if let Some(value) = value {
            all.push(Write::new("cpu", field, file, value));
        }
    };
    number("cpu.realtimePeriod", "cpu.rt_period_us", text(cpu.realtime_period));
    number("cpu.realtimeRuntime", "cpu.rt_runtime_us", text(cpu.realtime_runtime));
    number("cpu.shares", "cpu.shares", text(cpu.shares));
    number("cpu.period", "cpu.cfs_period_us", text(cpu.period));
    number("cpu.quota", "cpu.cfs_quota_us", text(cpu.quota.map(|quota| quota.max(-1))));
    number("cpu.burst", "cpu.cfs_burst_us", text(cpu.burst));
    number("cpu.idle", "cpu.idle", cpu.idle.map(|value| value.to_string()));
    for (field, file, list) in
        [("cpu.cpus", "cpuset.cpus", &cpu.cpus), ("cpu.mems", "cpuset.mems", &cpu.mems)]
    {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            all.push(Write::new("cpuset", field, file, list));
        }
    }
}

/// A number that was given.
pub(super) fn text<T: Copy + Default + PartialEq + ToString>(value: Option<T>) -> Option<String> {
    given(value).map(|value| value.to_string())
}

fn block_io(io: &BlockIo, all: &mut Vec<Write>) {
    if let Some(weight) = given(io.weight) {
        let write = Write::new("blkio", "blockIO.weight", "blkio.weight", weight);
        all.push(write.or_file("blkio.bfq.weight"));
    }
    if let Some(weight) = given(io.leaf_weight) {
        all.push(Write::new("blkio", "blockIO.leafWeight", "blkio.leaf_weight", weight));
    }
    for it in &io.weight_device {
        let of = |weight| format!("{}:{} {weight}", it.major, it.minor);
        if let Some(weight) = given(it.weight) {
            let write =
                Write::new("blkio", "blockIO.weightDevice", "blkio.weight_device", of(weight));
            all.push(write.or_file("blkio.bfq.weight_device"));
        }
        if let Some(weight) = given(it.leaf_weight) {
            let file = "blkio.leaf_weight_device";
            all.push(Write::new("blkio", "blockIO.weightDevice", file, of(weight)));
        }
    }
    let rates: [(&str, &str, &[Throttle]); 4] = [
        ("ReadBps", "read_bps", &io.throttle_read_bps_device),
        ("WriteBps", "write_bps", &io.throttle_write_bps_device),
        ("ReadIOPS", "read_iops", &io.throttle_read_iops_device),
        ("WriteIOPS", "write_iops", &io.throttle_write_iops_device),
    ];
    for (name, file, devices) in rates {
        let field = format!("blockIO.throttle{name}Device");
        let file = format!("blkio.throttle.{file}_device");
        for it in devices {
            let value = format!("{}:{} {}", it.major, it.minor, it.rate);
            all.push(Write::new("blkio", &field, &file, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_has_its_file() {
        let resources: Resources = serde_json::from_value(json!({
            "memory": {"limit": 100, "swap": 200, "swappiness": 0, "disableOOMKiller": true},
            "cpu": {"shares": 512, "quota": -5, "period": 100_000, "cpus": "0", "idle": 0},
            "pids": {"limit": 20},
            "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
            "network": {"classID": 7, "priorities": [{"name": "lo", "priority": 3}]},
            "rdma": {"mlx": {"hcaHandles": 2}},
        }))
        .unwrap();
        let all = writes(&resources).unwrap();
        let all: Vec<String> =
            all.iter().map(|it| format!("{}/{}={}", it.controller, it.file, it.value)).collect();
        assert_eq!(
            all,
            [
                "memory/memory.limit_in_bytes=100",
                "memory/memory.memsw.limit_in_bytes=200",
                "memory/memory.swappiness=0",
                "memory/memory.oom_control=1",
                "cpu/cpu.shares=512",
                "cpu/cpu.cfs_period_us=100000",
                "cpu/cpu.cfs_quota_us=-1",
                "cpu/cpu.idle=0",
                "cpuset/cpuset.cpus=0",
                "pids/pids.max=20",
                "blkio/blkio.weight=10",
                "blkio/blkio.throttle.read_bps_device=8:0 9",
                "hugetlb/hugetlb.2MB.limit_in_bytes=4",
                "net_cls/net_cls.classid=7",
                "net_prio/net_prio.ifpriomap=lo 3",
                "rdma/rdma.max=mlx hca_handle=2",
            ]
        );
    }

    #[test]
    fn no_limit_lifts_the_swap_limit_too() {
        let resources =
            serde_json::from_value(json!({"memory": {"limit": -1}, "pids": {"limit": -1}}));
        let all = writes(&resources.unwrap()).unwrap();
        let all: Vec<_> = all.iter().map(|it| (&*it.file, &*it.value)).collect();
        let swap = ("memory.memsw.limit_in_bytes", "-1");
        assert_eq!(all, [("memory.limit_in_bytes", "-1"), swap, ("pids.max", "max")]);
    }

    #[test]
    fn files_of_version_2_are_refused() {
        let resources = serde_json::from_value(json!({"unified": {"memory.max": "1"}})).unwrap();
        assert!(writes(&resources).unwrap_err().to_string().contains("unified.memory.max"));
    }
}
