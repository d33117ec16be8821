// SPDX-License-Identifier: Apache-2.0
//! The kernel of this sandbox and its first process.

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    sync::Arc,
};

use abi::Errno;
use nix::{
    libc,
    sched::{CpuSet, sched_getaffinity},
    sys::sysinfo::sysinfo,
    unistd::Pid,
};
use platform::Platform;
use sentry::kernel::{IdMaps, Kernel, KernelConfig, Limits, MemoryUsage, TraceSink};

use super::{control::Guest, exec::Executor, terminal::Window};
use crate::{
    config::Strace,
    log,
    sandbox::{
        cgroup,
        control::{Failure, Target},
        plan::{BootPlan, Bytes, IdRange},
    },
};

/// The number of the first process.
pub(super) const INIT: i32 = 1;

/// What the sandbox is made of. What it asks the host is asked before the filter.
pub(super) fn config(
    plan: &BootPlan,
    platform: Arc<dyn Platform>,
    machine: &Limits,
    usage: Option<File>,
) -> KernelConfig {
    KernelConfig {
        platform,
        syscalls: syscalls::TABLE,
        hostname: plan.hostname.clone(),
        domainname: plan.domainname.clone(),
        limits: limits(&plan.limits, machine),
        memory_usage: usage.map(memory_usage),
        cpu_description: plan.cpu_description.clone(),
        max_tasks: MAX_TASKS,
        id_maps: IdMaps {
            users: ranges(&plan.extras.ids.uids),
            groups: ranges(&plan.extras.ids.gids),
        },
        trace: plan.strace.as_ref().map(trace),
    }
}

/// Reads the host's count anew each time.
fn memory_usage(file: File) -> MemoryUsage {
    Arc::new(move || {
        let mut text = [0; 32];
        let length = file.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok()
    })
}

fn ranges(ranges: &[IdRange]) -> Vec<(u32, u32, u32)> {
    ranges.iter().map(|range| (range.guest, range.host, range.count)).collect()
}

/// Each task is a thread here and one in a stub.
const MAX_TASKS: usize = 16 * 1024;

/// What the guest may use of this machine.
fn limits(granted: &cgroup::Limits, machine: &Limits) -> Limits {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let chosen = granted.cpus.map_or(machine.cpus, number);
    let by_quota = granted.cpus_by_quota.map_or(chosen, number);
    Limits {
        cpus: chosen.min(by_quota).clamp(1, MAX_CPUS),
        memory_total: granted
            .memory_total
            .map_or(machine.memory_total, |it| it.min(machine.memory_total)),
        tasks: granted.tasks,
        memory_max: granted.memory,
        memory_low: granted.memory_low,
        swap_max: granted.swap,
        cpu_quota_us: granted.cpu_quota_us,
        cpu_period_us: granted.cpu_period_us.unwrap_or(machine.cpu_period_us),
        cpu_weight: granted.cpu_weight.unwrap_or(machine.cpu_weight),
        has_cpuset: granted.has_cpuset,
    }
}

/// No machine has more.
const MAX_CPUS: usize = 8192;

/// All of this machine that this process may use. To be asked before the filter.
pub(super) fn machine() -> Limits {
    Limits::machine(cpu_count(), sysinfo().map_or(1 << 30, |info| info.ram_total()))
}

fn cpu_count() -> usize {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return 1 };
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count().max(1)
}

/// Passes the lines on of the calls that were asked for, which runsc has checked to exist.
fn trace(strace: &Strace) -> TraceSink {
    if let Ok(filter) = syscalls::trace::Filter::parse(&strace.calls) {
        syscalls::trace::configure(filter);
    }
    Arc::new(|line: &str| {
        if !line.is_empty() {
            tracing::info!(target: log::STRACE, "{line}");
        }
    })
}

/// A process of a running guest, as runsc asks for it.
#[derive(Debug)]
pub(super) struct Running {
    /// Its kernel.
    pub(super) kernel: Arc<Kernel>,
    /// The window of its terminal.
    pub(super) window: Option<Window>,
    /// The process that is meant.
    pub(super) pid: i32,
}

impl Running {
    /// Sends a signal to the process, or to its group where a terminal would.
    pub(super) fn signal_one(&self, signal: i32, target: Target) -> Result<(), Errno> {
        if let (libc::SIGWINCH, Some(window)) = (signal, &self.window) {
            return window.resize();
        }
        match target {
            Target::Init => self.kernel.signal(self.pid, signal),
            Target::All | Target::Foreground => self.kernel.signal_process_group(self.pid, signal),
            // It speaks for one process alone.
            Target::Process(_) | Target::Group(_) => Err(Errno::EPERM),
        }
    }
}

/// The whole guest, as runsc asks for it.
#[derive(Debug)]
pub(super) struct Whole {
    /// Its first process.
    pub(super) init: Running,
    /// The machine that it runs on, of which its limits leave a part.
    pub(super) machine: Limits,
    /// How it gets others.
    pub(super) executor: Arc<Executor>,
}

impl Guest for Whole {
    fn signal(&self, signal: i32, target: Target) -> Result<(), Errno> {
        match target {
            _ if signal == 0 => Ok(()),
            Target::All => self.init.kernel.signal(-1, signal),
            Target::Process(pid) => self.init.kernel.signal(pid, signal),
            Target::Group(group) => self.init.kernel.signal_process_group(group, signal),
            Target::Init | Target::Foreground => self.init.signal_one(signal, target),
        }
    }

    fn pause(&self) -> Result<(), Errno> {
        self.init.kernel.pause()
    }

    fn resume(&self) -> Result<(), Errno> {
        self.init.kernel.resume();
        Ok(())
    }

    fn count_tasks(&self) -> u64 {
        u64::try_from(self.init.kernel.tasks().charged()).unwrap_or(u64::MAX)
    }

    fn limit(&self, granted: &cgroup::Limits) {
        self.init.kernel.set_limits(limits(granted, &self.machine));
    }

    fn exec(&self, files: Vec<OwnedFd>) -> Result<(), Errno> {
        self.executor.accept(files)
    }
}

/// Why the first process cannot run, in the words that engines look for.
pub(super) fn refusal(program: Option<&Bytes>, errno: Errno) -> (Failure, String) {
    let name = program.map_or_else(String::new, |name| String::from_utf8_lossy(&name.0).into());
    let has_slash = name.contains('/');
    match errno {
        Errno::ENOENT if !has_slash => {
            let text = format!("exec: {name:?}: executable file not found in $PATH");
            (Failure::NotFound, text)
        }
        Errno::ENOENT | Errno::ENOTDIR => {
            (Failure::NotFound, format!("exec: {name:?}: stat {name}: {}", reason(errno)))
        }
        Errno::EACCES | Errno::EPERM => {
            (Failure::NotExecutable, format!("exec: {name:?}: permission denied"))
        }
        Errno::ENOEXEC => (Failure::NotExecutable, format!("exec: {name:?}: exec format error")),
        Errno::EISDIR => (Failure::NotExecutable, format!("exec: {name:?}: is a directory")),
        other => (Failure::Other, format!("exec: {name:?}: {}", other.message())),
    }
}

/// An errno in the words of Go's library, which engines look for.
pub(super) fn reason(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT => "no such file or directory",
        Errno::ENOTDIR => "not a directory",
        Errno::EACCES => "permission denied",
        other => other.message(),
    }
}

/// What `do --report` prints: calls that nobody answered, by name, with how often they were made.
pub(super) fn report(kernel: &Kernel) -> String {
    let missed = kernel.unimplemented().into_iter();
    let mut lines: Vec<String> = missed
        .map(|(number, count)| {
            let name = syscalls::support::name(number);
            let name = name.map_or_else(|| format!("number {number}"), str::to_string);
            format!("runsc: not supported: {name} ({count} times)\n")
        })
        .collect();
    if lines.is_empty() {
        lines.push("runsc: every system call of the program is supported\n".into());
    }
    // One packet holds it all, and nobody reads more.
    lines.truncate(500);
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_in_the_words_that_engines_look_for() {
        let of = |name: &str, errno| refusal(Some(&Bytes::from(name)), errno);
        let (failure, text) = of("nosuch", Errno::ENOENT);
        assert_eq!(failure, Failure::NotFound);
        assert_eq!(text, "exec: \"nosuch\": executable file not found in $PATH");
        let (failure, text) = of("/no/such", Errno::ENOENT);
        assert_eq!(failure, Failure::NotFound);
        assert_eq!(text, "exec: \"/no/such\": stat /no/such: no such file or directory");
        let (failure, text) = of("/etc/passwd", Errno::EACCES);
        assert_eq!(failure, Failure::NotExecutable);
        assert!(text.ends_with("permission denied"));
    }
}
