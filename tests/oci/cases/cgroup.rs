// SPDX-License-Identifier: Apache-2.0
//! Limits, what counts against them, and what tells of them. Cgroup v1 and v2 say the same in other words.
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::oci::{
    bed::{Bed, ID},
    host,
};

const MEMORY: &[&str] = &["memory.max", "memory.limit_in_bytes"];
const PIDS: &[&str] = &["pids.max"];
const QUOTA: &[&str] = &["cpu.max", "cpu.cfs_quota_us"];
const MIB: u64 = 1 << 20;

fn file(bed: &Bed, names: &[&str]) -> Result<String> {
    host::cgroup_file(&bed.cgroup, names).with_context(|| format!("no {names:?}"))
}

pub fn the_container_is_in_its_cgroup(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let is_in = |controller: &str| {
        text.lines().any(|line| line.contains(controller) && line.ends_with(&bed.cgroup))
    };
    ensure!(is_in("memory") || is_in("0::"), "{text}");
    ensure!(is_in("pids") || is_in("0::"), "{text}");
    Ok(())
}

pub fn so_is_every_process_of_it(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    for (pid, line) in host::descendants() {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        ensure!(text.contains(&bed.cgroup), "{pid} {line}: {text}");
    }
    Ok(())
}

pub fn delete_removes_it(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.ok(&["delete", ID])?;
    let left = host::cgroups(&bed.cgroup);
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

pub fn a_memory_limit(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/resources/memory", json!({"limit": 64 * MIB}));
    bed.create()?;
    let limit = file(bed, MEMORY)?;
    ensure!(limit == (64 * MIB).to_string(), "{limit}");
    Ok(())
}

pub fn a_limit_of_processes(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/resources/pids", json!({"limit": 37}));
    bed.create()?;
    ensure!(file(bed, PIDS)? == "37");
    Ok(())
}

pub fn a_limit_of_processors(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/resources/cpu", json!({"quota": 25000, "period": 50000, "shares": 512}));
    bed.create()?;
    let quota = file(bed, QUOTA)?;
    ensure!(quota == "25000 50000" || quota == "25000", "{quota}");
    Ok(())
}

pub fn the_guest_meets_the_limit_of_processes(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/resources/pids", json!({"limit": 10}));
    bed.shell("i=0; while [ $i -lt 20 ]; do sleep 100 & i=$((i+1)); done 2>/tmp/err; echo end");
    let ended = bed.run()?;
    let refused = bed.guest_file("tmp/err")?;
    ensure!(refused.contains("can't fork") || ended.code != 0, "{ended:?} {refused}");
    Ok(())
}

pub fn out_of_memory_is_137(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/resources/memory", json!({"limit": 40 * MIB, "swap": 40 * MIB}));
    // A long line of its own memory.
    bed.shell("tail -c 200000000 /dev/zero");
    let ended = bed.run()?;
    ensure!(ended.code == 137, "{ended:?}");
    Ok(())
}

pub fn out_of_memory_is_told_by_the_cgroup(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/resources/memory", json!({"limit": 40 * MIB, "swap": 40 * MIB}));
    bed.shell("tail -c 200000000 /dev/zero");
    let pid = bed.started()?;
    ensure!(bed.await_exit(pid)? == 137);
    let told = file(bed, &["memory.events", "memory.oom_control"])?;
    let is_told = told
        .lines()
        .any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"));
    ensure!(is_told, "{told}");
    Ok(())
}

pub fn the_limit_is_seen_inside(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/resources/memory", json!({"limit": 64 * MIB}));
    bed.push(
        "/mounts",
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
    );
    let out = bed.output_of(
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true",
    )?;
    ensure!(out == format!("{}\n", 64 * MIB), "{out:?}");
    Ok(())
}

pub fn update_by_flags(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/resources/memory", json!({"limit": 64 * MIB}));
    bed.started()?;
    bed.ok(&["update", "--memory", "50331648", "--pids-limit", "30", "--cpu-quota", "20000", ID])?
        .is(0, "")?;
    ensure!(file(bed, MEMORY)? == "50331648");
    ensure!(file(bed, PIDS)? == "30");
    ensure!(file(bed, QUOTA)?.starts_with("20000"));
    Ok(())
}

pub fn update_by_a_file(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    fs::write(bed.path("r.json"), "{\"memory\":{\"limit\":67108864},\"pids\":{\"limit\":31}}")?;
    bed.ok(&["update", "--resources", &bed.path("r.json").display().to_string(), ID])?;
    ensure!(file(bed, MEMORY)? == "67108864");
    ensure!(file(bed, PIDS)? == "31");
    Ok(())
}

pub fn update_by_standard_input(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    for (args, limit) in
        [(&["update", "--resources", "-", ID][..], 32), (&["update", "--resources=-", ID], 33)]
    {
        let input = format!("{{\"pids\":{{\"limit\":{limit}}}}}");
        let ended = bed.call_with_input(args, input.as_bytes())?;
        ended.is(0, "")?;
        ensure!(file(bed, PIDS)? == limit.to_string());
    }
    Ok(())
}

pub fn update_as_docker_sends_it(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let input = json!({
        "memory": {"limit": 67108864, "reservation": 0, "swap": 67108864, "kernel": 0},
        "cpu": {"shares": 0, "quota": 50000, "period": 100000},
        "pids": {"limit": 50}, "blockIO": {"weight": 0},
    });
    let text = serde_json::to_vec(&input)?;
    bed.call_with_input(&["update", "--resources", "-", ID], &text)?.is(0, "")?;
    ensure!(file(bed, MEMORY)? == "67108864");
    ensure!(file(bed, PIDS)? == "50");
    ensure!(file(bed, QUOTA)?.starts_with("50000"));
    Ok(())
}

pub fn update_with_no_json(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let ended = bed.call_with_input(&["update", "--resources", "-", ID], b"{bad")?;
    ensure!(ended.code != 0 && !ended.err.is_empty(), "{ended:?}");
    bed.is_in("running")
}

pub fn events_has_the_shape_of_runc(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/resources/memory", json!({"limit": 64 * MIB}));
    bed.started()?;
    let stats = bed.ok(&["events", "--stats", ID])?.json()?;
    ensure!(stats["type"] == "stats" && stats["id"] == ID, "{stats}");
    let data = &stats["data"];
    for pointer in ["/cpu/usage/total", "/cpu/usage/kernel", "/cpu/usage/user"] {
        ensure!(data.pointer(pointer).is_some_and(|it| it.is_u64()), "{pointer}: {stats}");
    }
    ensure!(data["memory"]["usage"]["limit"] == 64 * MIB, "{stats}");
    ensure!(data["memory"]["usage"]["usage"].as_u64().is_some_and(|it| it > 0), "{stats}");
    ensure!(data["pids"]["current"].as_u64().is_some_and(|it| it > 0), "{stats}");
    ensure!(data["memory"]["raw"].is_object() && data["blkio"].is_object(), "{stats}");
    Ok(())
}

pub fn a_paused_one_uses_no_processor(bed: &mut Bed) -> Result<()> {
    bed.shell("while :; do :; done");
    bed.paused()?;
    let used = |bed: &Bed| file(bed, &["cpu.stat", "cpuacct.usage"]).map(|it| first_number(&it));
    used(bed)?.context("a number")?;
    // Whoever stopped it may have to tidy up.
    bed.until(
        || {
            let before = used(bed).ok().flatten();
            std::thread::sleep(std::time::Duration::from_millis(200));
            before.is_some() && used(bed).ok().flatten() == before
        },
        || format!("it goes on: {:?}", used(bed)),
    )
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().find_map(|word| word.parse().ok())
}

pub fn a_nested_path(bed: &mut Bed) -> Result<()> {
    let nested = format!("{}/deep/er", bed.cgroup);
    bed.set("/linux/cgroupsPath", json!(nested));
    let pid = bed.started()?;
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    ensure!(text.contains(&nested), "{text}");
    bed.ok(&["kill", ID, "KILL"])?;
    bed.await_exit(pid)?;
    bed.ok(&["delete", ID])?;
    ensure!(host::cgroups(&nested).is_empty());
    // What was made on the way is not the container's.
    for place in [format!("{}/deep", bed.cgroup), bed.cgroup.clone()] {
        for directory in host::cgroups(&place) {
            fs::remove_dir(&directory).with_context(|| directory.display().to_string())?;
        }
    }
    Ok(())
}

pub fn without_a_path(bed: &mut Bed) -> Result<()> {
    let name = bed.cgroup.replace('/', "-").trim_start_matches('-').to_owned();
    bed.unset("/linux/cgroupsPath");
    let pid = bed.create_as(&name, &[])?;
    bed.ok(&["start", &name])?;
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    ensure!(text.contains(&name), "{text}");
    Ok(())
}
