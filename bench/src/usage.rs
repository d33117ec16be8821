// SPDX-License-Identifier: Apache-2.0
//! What processes cost: proportional memory and CPU time, read from `/proc`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, iter, thread,
    time::Duration,
};

use anyhow::Result;

/// How long an idle sandbox is watched.
const WATCH: Duration = Duration::from_secs(2);

/// What an idle sandbox costs.
#[derive(Debug)]
pub(crate) struct Idle {
    /// Sum of `Pss` over its processes.
    pub(crate) pss_kib: f64,
    /// CPU time used, in milliseconds a second.
    pub(crate) cpu_ms_per_s: f64,
    /// How many processes it is.
    pub(crate) processes: f64,
}

/// The processes below this one: what a runtime leaves behind comes to the bench, which is a subreaper.
pub(crate) fn processes() -> Result<BTreeSet<i32>> {
    let entries = fs::read_dir("/proc")?;
    let all = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let parents: BTreeMap<i32, i32> = all.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let me = i32::try_from(std::process::id())?;
    let is_below = |pid: &i32| {
        let mut line = iter::successors(Some(*pid), |pid| parents.get(pid).copied());
        // A process that ends meanwhile may leave a ring: no line is longer than all there are.
        *pid != me && line.by_ref().take(parents.len()).any(|ancestor| ancestor == me)
    };
    Ok(parents.keys().copied().filter(is_below).collect())
}

fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// The fields of a process's `stat` behind its name; `None` when it is gone.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// What the processes cost that are not in `before`.
pub(crate) fn of_new_since(before: &BTreeSet<i32>) -> Result<Idle> {
    thread::sleep(Duration::from_millis(300));
    let new: Vec<i32> = processes()?.difference(before).copied().collect();
    let start: f64 = new.iter().filter_map(|pid| ticks(*pid)).sum();
    thread::sleep(WATCH);
    let end: f64 = new.iter().filter_map(|pid| ticks(*pid)).sum();
    let pss: Vec<f64> = new.iter().filter_map(|pid| pss_kib(*pid)).collect();
    Ok(Idle {
        pss_kib: pss.iter().sum(),
        // Ticks are 10 ms on every Linux.
        cpu_ms_per_s: (end - start) * 10.0 / WATCH.as_secs_f64(),
        processes: pss.len() as f64,
    })
}

/// User and system time in ticks; `None` when the process is gone.
fn ticks(pid: i32) -> Option<f64> {
    let fields = stat(pid)?;
    Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
}

fn pss_kib(pid: i32) -> Option<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
