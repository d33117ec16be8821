// SPDX-License-Identifier: Apache-2.0
//! cgroup2: the one group that the sandbox is in, as from a cgroup namespace of its own.
//!
//! * **What it is.** What container-aware programs look for: the limits that hold, and what is used.
//! * **Invariants.** Nothing here can be changed: limits are the host's to set. Each read asks the
//!   [`View`] anew.
//! * **What it deliberately does not do.** DIFFERS: there are no groups below, and no file can be
//!   written, whatever the mount's options say.

use std::{fmt::Write as _, sync::Arc};

use crate::{
    fs::pseudo::{Description, PseudoFilesystem, StaticTree},
    vfs::Filesystem,
};

/// What `statfs(2)` says (`CGROUP2_SUPER_MAGIC`).
const MAGIC: i64 = 0x6367_7270;

/// The controllers, as `/proc/cgroups` names them, too.
pub const CONTROLLERS: [&str; 4] = ["cpuset", "cpu", "memory", "pids"];

/// What the files show.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// CPUs that there are.
    pub cpus: usize,
    /// Whether they are fewer than the host's because somebody chose them.
    pub has_cpuset: bool,
    /// Microseconds of CPU time in each period.
    pub cpu_quota_us: Option<u64>,
    /// The period.
    pub cpu_period_us: u64,
    /// 1 to 10000.
    pub cpu_weight: u64,
    /// CPU time used, in nanoseconds: user, system.
    pub cpu_time_ns: (u64, u64),
    /// Bytes that may be used.
    pub memory_max: Option<u64>,
    /// Bytes that are kept under pressure.
    pub memory_low: u64,
    /// Bytes of swap that may be used.
    pub swap_max: Option<u64>,
    /// Bytes in use.
    pub memory_used: u64,
    /// Tasks that there may be.
    pub tasks_max: Option<u64>,
    /// Tasks that there are.
    pub tasks: u64,
    /// Tasks that were not made because of the limit.
    pub refused_tasks: u64,
}

/// The sandbox as this file system sees it.
pub trait View: Send + Sync {
    /// What the files show now.
    fn facts(&self) -> Facts;

    /// All processes, by number.
    fn processes(&self) -> Vec<i32>;

    /// All threads, by number.
    fn threads(&self) -> Vec<i32>;
}

/// A cgroup2 file system over `view`.
pub fn new(view: Arc<dyn View>) -> Arc<dyn Filesystem> {
    let description =
        Description { name: "cgroup2", magic: MAGIC, options: String::new(), is_cacheable: true };
    PseudoFilesystem::new(description, 0o555, Box::new(root(&view)))
}

fn root(view: &Arc<dyn View>) -> StaticTree {
    let controllers = CONTROLLERS.join(" ") + "\n";
    let tree = StaticTree::new()
        .fixed("cgroup.controllers", &controllers)
        .fixed("cgroup.subtree_control", "\n")
        .fixed("cgroup.type", "domain\n")
        .fixed("cgroup.events", "populated 1\nfrozen 0\n")
        .fixed("cgroup.freeze", "0\n")
        .fixed("cgroup.max.depth", "max\n")
        .fixed("cgroup.max.descendants", "max\n")
        .fixed("cgroup.stat", "nr_descendants 0\nnr_dying_descendants 0\n");
    let list = |get: fn(&dyn View) -> Vec<i32>| {
        let view = Arc::clone(view);
        move || get(&*view).iter().map(|number| format!("{number}\n")).collect::<String>()
    };
    let tree = tree
        .text("cgroup.procs", list(|view| view.processes()))
        .text("cgroup.threads", list(|view| view.threads()));
    FILES.iter().fold(tree, |tree, (name, show)| {
        let view = Arc::clone(view);
        tree.text(name, move || show(&view.facts()))
    })
}

type Show = fn(&Facts) -> String;

/// Files that are about the facts, in the order of the kernel's controllers.
const FILES: &[(&str, Show)] = &[
    ("cpuset.cpus", |facts| if facts.has_cpuset { cpus(facts) } else { "\n".into() }),
    ("cpuset.cpus.effective", cpus),
    ("cpuset.cpus.partition", |_| "member\n".into()),
    ("cpuset.mems", |_| "\n".into()),
    ("cpuset.mems.effective", |_| "0\n".into()),
    ("cpu.idle", |_| "0\n".into()),
    ("cpu.max", |facts| {
        let quota = facts.cpu_quota_us.map_or("max".into(), |quota| quota.to_string());
        format!("{quota} {}\n", facts.cpu_period_us)
    }),
    ("cpu.max.burst", |_| "0\n".into()),
    ("cpu.pressure", |_| PRESSURE.into()),
    ("cpu.stat", cpu_stat),
    ("cpu.weight", |facts| format!("{}\n", facts.cpu_weight)),
    ("cpu.weight.nice", |_| "0\n".into()),
    ("io.pressure", |_| PRESSURE.into()),
    ("memory.current", |facts| format!("{}\n", facts.memory_used)),
    ("memory.events", |_| EVENTS.into()),
    ("memory.events.local", |_| EVENTS.into()),
    ("memory.high", |_| "max\n".into()),
    ("memory.low", |facts| format!("{}\n", facts.memory_low)),
    ("memory.max", |facts| or_max(facts.memory_max)),
    ("memory.min", |_| "0\n".into()),
    ("memory.oom.group", |_| "0\n".into()),
    ("memory.pressure", |_| PRESSURE.into()),
    ("memory.stat", memory_stat),
    ("memory.swap.current", |_| "0\n".into()),
    ("memory.swap.events", |_| "high 0\nmax 0\nfail 0\n".into()),
    ("memory.swap.high", |_| "max\n".into()),
    ("memory.swap.max", |facts| or_max(facts.swap_max)),
    ("pids.current", |facts| format!("{}\n", facts.tasks)),
    ("pids.events", |facts| format!("max {}\n", facts.refused_tasks)),
    ("pids.max", |facts| or_max(facts.tasks_max)),
];

const PRESSURE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
const EVENTS: &str = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n";

fn or_max(value: Option<u64>) -> String {
    value.map_or("max\n".into(), |value| format!("{value}\n"))
}

fn cpus(facts: &Facts) -> String {
    match facts.cpus {
        0 | 1 => "0\n".into(),
        cpus => format!("0-{}\n", cpus - 1),
    }
}

/// Throttling is the host's, and not seen from here.
fn cpu_stat(facts: &Facts) -> String {
    let (user, system) = (facts.cpu_time_ns.0 / 1000, facts.cpu_time_ns.1 / 1000);
    let rows = [
        ("usage_usec", user.saturating_add(system)),
        ("user_usec", user),
        ("system_usec", system),
        ("nice_usec", 0),
        ("core_sched.force_idle_usec", 0),
        ("nr_periods", 0),
        ("nr_throttled", 0),
        ("throttled_usec", 0),
        ("nr_bursts", 0),
        ("burst_usec", 0),
    ];
    rows_of(&rows)
}

/// Which of the pages are of which kind only the host knows: all that is known to be used is anonymous.
fn memory_stat(facts: &Facts) -> String {
    let rows = [
        ("anon", facts.memory_used),
        ("file", 0),
        ("kernel", 0),
        ("kernel_stack", 0),
        ("pagetables", 0),
        ("sock", 0),
        ("shmem", 0),
        ("file_mapped", 0),
        ("file_dirty", 0),
        ("file_writeback", 0),
        ("anon_thp", 0),
        ("inactive_anon", 0),
        ("active_anon", facts.memory_used),
        ("inactive_file", 0),
        ("active_file", 0),
        ("unevictable", 0),
        ("slab_reclaimable", 0),
        ("slab_unreclaimable", 0),
        ("slab", 0),
        ("pgfault", 0),
        ("pgmajfault", 0),
    ];
    rows_of(&rows)
}

fn rows_of(rows: &[(&str, u64)]) -> String {
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name} {value}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{FILES, Facts};

    #[test]
    fn limits_are_shown_as_linux_does() {
        let show = |facts: &Facts, name: &str| {
            let file = FILES.iter().find(|(file, _)| *file == name).expect("it is in the list");
            (file.1)(facts)
        };
        let free = Facts { cpus: 4, cpu_period_us: 100_000, ..Facts::default() };
        let bound = Facts {
            cpus: 1,
            has_cpuset: true,
            cpu_quota_us: Some(50_000),
            memory_max: Some(1 << 20),
            tasks_max: Some(20),
            ..free.clone()
        };
        for (name, without, with) in [
            ("cpu.max", "max 100000\n", "50000 100000\n"),
            ("cpuset.cpus", "\n", "0\n"),
            ("cpuset.cpus.effective", "0-3\n", "0\n"),
            ("memory.max", "max\n", "1048576\n"),
            ("pids.max", "max\n", "20\n"),
        ] {
            assert_eq!(show(&free, name), without, "{name}");
            assert_eq!(show(&bound, name), with, "{name}");
        }
    }
}
