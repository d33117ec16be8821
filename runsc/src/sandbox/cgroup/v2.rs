// SPDX-License-Identifier: Apache-2.0
//! Resources as version 2 has them: all files in one directory.

use super::{
    CgroupError, Write,
    resources::{BlockIo, Cpu, Memory, Resources, Throttle, given},
    v1,
};

/// What to write for `resources`, in order.
pub(super) fn writes(resources: &Resources) -> Result<Vec<Write>, CgroupError> {
    let mut all = Vec::new();
    memory(&resources.memory, &mut all)?;
    cpu(&resources.cpu, &mut all);
    if let Some(limit) = given(resources.pids.limit) {
        let value = resources.task_limit().map(host_tasks);
        let value = value.filter(|_| limit > 0).map_or("max".into(), |it| it.to_string());
        // The sentry keeps this limit; the host's is a second one.
        all.push(Write::new("pids", "pids.limit", "pids.max", value).if_there());
    }
    block_io(&resources.block_io, &mut all);
    for limit in &resources.hugepage_limits {
        let file = format!("hugetlb.{}.max", limit.page_size);
        all.push(Write::new("hugetlb", "hugepageLimits", &file, limit.limit));
    }
    if resources.network != Default::default() {
        return Err(CgroupError::Field {
            field: "linux.resources.network".into(),
            why: "cgroups of version 2, which this host has, cannot mark packets".into(),
        });
    }
    all.extend(v1::rdma(resources));
    for (name, value) in &resources.unified {
        let controller = name.split('.').next().unwrap_or_default();
        // Several lines are several writes: the kernel takes one at a time.
        for line in value.lines().filter(|line| !line.is_empty()) {
            all.push(Write::new(controller, &format!("unified.{name}"), name, line));
        }
    }
    Ok(all)
}

/// How many tasks of the host a sandbox of `tasks` tasks may need: a thread of the sentry and one of a stub
/// for each, as many again on their way in and out, and what is there without any guest. The guest's own
/// limit is the sentry's to keep.
fn host_tasks(tasks: u64) -> u64 {
    const OWN: u64 = 256;
    tasks.saturating_mul(4).saturating_add(OWN)
}

/// -1 is no limit.
fn bytes(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

fn memory(memory: &Memory, all: &mut Vec<Write>) -> Result<(), CgroupError> {
    let (limit, swap) = (given(memory.limit), given(memory.swap));
    let swap_max = match (swap, limit) {
        (Some(-1), _) | (None, Some(-1)) => Some("max".into()),
        (None, _) => None,
        (Some(swap), Some(limit @ 1..)) => Some((swap - limit).to_string()),
        (Some(_), _) => {
            return Err(CgroupError::Field {
                field: "linux.resources.memory.swap".into(),
                why: "unable to set swap limit without memory limit".into(),
            });
        }
    };
    // Swap first when it grows, last when it shrinks: version 2 does not care.
    if let Some(value) = swap_max {
        let write = Write::new("memory", "memory.swap", "memory.swap.max", value);
        // A kernel without swap accounting has no swap to limit.
        all.push(if swap.is_some_and(|swap| swap > 0) { write } else { write.if_there() });
    }
    if let Some(limit) = limit {
        all.push(Write::new("memory", "memory.limit", "memory.max", bytes(limit)));
    }
    if let Some(value) = given(memory.reservation) {
        all.push(Write::new("memory", "memory.reservation", "memory.low", bytes(value)));
    }
    for (name, is_given) in [
        ("kernel", given(memory.kernel).is_some()),
        ("kernelTCP", given(memory.kernel_tcp).is_some()),
        ("swappiness", memory.swappiness.is_some()),
        ("disableOOMKiller", memory.disable_oom_killer == Some(true)),
    ] {
        if is_given {
            tracing::debug!("linux.resources.memory.{name} is ignored: version 2 has no such file");
        }
    }
    Ok(())
}

fn cpu(cpu: &Cpu, all: &mut Vec<Write>) {
    if let Some(shares) = given(cpu.shares) {
        all.push(Write::new("cpu", "cpu.shares", "cpu.weight", weight_of_shares(shares)));
    }
    let (quota, period) = (given(cpu.quota), given(cpu.period));
    if quota.is_some() || period.is_some() {
        let quota = quota.filter(|quota| *quota > 0).map_or("max".into(), |it| it.to_string());
        let value = format!("{quota} {}", period.unwrap_or(100_000));
        all.push(Write::new("cpu", "cpu.quota", "cpu.max", value));
    }
    if let Some(burst) = cpu.burst {
        all.push(Write::new("cpu", "cpu.burst", "cpu.max.burst", burst));
    }
    if let Some(idle) = cpu.idle {
        all.push(Write::new("cpu", "cpu.idle", "cpu.idle", idle));
    }
    for (field, file, list) in
        [("cpu.cpus", "cpuset.cpus", &cpu.cpus), ("cpu.mems", "cpuset.mems", &cpu.mems)]
    {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            all.push(Write::new("cpuset", field, file, list));
        }
    }
    if given(cpu.realtime_period).is_some() || given(cpu.realtime_runtime).is_some() {
        tracing::debug!("linux.resources.cpu.realtime… is ignored: version 2 has no such file");
    }
}

/// Shares of version 1 (2 to 262144) as a weight (1 to 10000), as runc converts them.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    1 + shares.clamp(2, 262_144).saturating_sub(2) * 9999 / 262_142
}

fn block_io(io: &BlockIo, all: &mut Vec<Write>) {
    if let Some(weight) = given(io.weight) {
        let scaled = 1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990;
        let write = Write::new("io", "blockIO.weight", "io.bfq.weight", weight);
        all.push(write.or_other("io.weight", scaled));
    }
    for it in &io.weight_device {
        if let Some(weight) = given(it.weight) {
            let value = format!("{}:{} {weight}", it.major, it.minor);
            all.push(Write::new("io", "blockIO.weightDevice", "io.bfq.weight", value));
        }
    }
    let rates: [(&str, &str, &[Throttle]); 4] = [
        ("ReadBps", "rbps", &io.throttle_read_bps_device),
        ("WriteBps", "wbps", &io.throttle_write_bps_device),
        ("ReadIOPS", "riops", &io.throttle_read_iops_device),
        ("WriteIOPS", "wiops", &io.throttle_write_iops_device),
    ];
    for (name, word, devices) in rates {
        for it in devices {
            let value = format!("{}:{} {word}={}", it.major, it.minor, it.rate);
            all.push(Write::new("io", &format!("blockIO.throttle{name}Device"), "io.max", value));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(value: serde_json::Value) -> Vec<String> {
        let all = writes(&serde_json::from_value(value).unwrap()).unwrap();
        all.iter().map(|it| format!("{}={}", it.file, it.value)).collect()
    }

    #[test]
    fn values_of_version_1_are_converted() {
        assert_eq!(
            lines(json!({
                "memory": {"limit": 100, "swap": 150, "reservation": 50},
                "cpu": {"shares": 1024, "quota": 50_000, "period": 100_000},
                "pids": {"limit": 20}, "blockIO": {"weight": 1000},
                "unified": {"io.max": "8:0 rbps=1\n8:16 rbps=2\n"},
            })),
            [
                "memory.swap.max=50",
                "memory.max=100",
                "memory.low=50",
                "cpu.weight=39",
                "cpu.max=50000 100000",
                "pids.max=336",
                "io.bfq.weight=1000",
                "io.max=8:0 rbps=1",
                "io.max=8:16 rbps=2",
            ]
        );
        assert_eq!(lines(json!({"cpu": {"quota": -1}})), ["cpu.max=max 100000"]);
        assert_eq!(
            lines(json!({"memory": {"limit": -1}})),
            ["memory.swap.max=max", "memory.max=max"]
        );
        assert_eq!((weight_of_shares(2), weight_of_shares(262_144)), (1, 10_000));
    }

    #[test]
    fn what_version_2_cannot_do_is_refused() {
        for value in [json!({"memory": {"swap": 5}}), json!({"network": {"classID": 1}})] {
            assert!(writes(&serde_json::from_value(value).unwrap()).is_err());
        }
    }
}
