// SPDX-License-Identifier: Apache-2.0
//! The host around the kernel: cgroups, security modules, limits.

use std::path::Path;

use nix::{sys::resource, unistd};

use super::{
    Finding,
    kernel::{line, number},
    ok, warn,
};
use crate::sandbox::cgroup;

pub(super) fn findings() -> Vec<Finding> {
    let mut all = cgroups();
    all.push(yama());
    all.push(security_modules());
    all.extend(limits());
    all
}

fn cgroups() -> Vec<Finding> {
    let described = match cgroup::describe() {
        Ok(described) => described,
        Err(error) => {
            return vec![warn("cgroups", error.to_string(), "mount /proc")];
        }
    };
    let Some(described) = described else {
        return vec![warn(
            "cgroups",
            "none is mounted",
            "mount cgroup2 on /sys/fs/cgroup; without it there are no limits",
        )];
    };
    let mut all = Vec::new();
    let missing: Vec<&str> = ["cpu", "cpuset", "memory", "pids"]
        .into_iter()
        .filter(|name| !described.controllers.iter().any(|it| it == name))
        .collect();
    let names = described.controllers.join(" ");
    let version = described.version;
    all.push(if missing.is_empty() {
        ok("cgroups", format!("version {version}: {names}"))
    } else {
        let found = format!("version {version}: {names}; no {}", missing.join(", "));
        warn(
            "cgroups",
            found,
            "give these controllers to this hierarchy; their limits cannot be set",
        )
    });
    if !described.is_writable {
        all.push(warn(
            "cgroup of ours",
            "new groups cannot be made in it",
            "run as root, or have systemd delegate a group; --ignore-cgroups does without",
        ));
    }
    all
}

/// Who may trace whom. The sentry reads its stubs, which are its children.
fn yama() -> Finding {
    let subject = "Yama ptrace_scope";
    match number("/proc/sys/kernel/yama/ptrace_scope") {
        None => ok(subject, "Yama is not there"),
        Some(scope @ (0 | 1)) => ok(subject, scope.to_string()),
        Some(scope) => {
            let fix = "sysctl kernel.yama.ptrace_scope=1: the ptrace platform needs it";
            warn(subject, scope.to_string(), fix)
        }
    }
}

fn security_modules() -> Finding {
    let subject = "security modules";
    let list = line("/sys/kernel/security/lsm").unwrap_or_else(|| "not shown".into());
    let is_enforcing = line("/sys/fs/selinux/enforce").as_deref() == Some("1");
    let restricts =
        line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1");
    if is_enforcing {
        let fix = "label this program container_runtime_exec_t, or let its domain make namespaces";
        return warn(subject, format!("{list}; SELinux enforces"), fix);
    }
    if restricts && !unistd::geteuid().is_root() {
        let fix = "an AppArmor profile for this program with `userns,`";
        return warn(subject, format!("{list}; AppArmor keeps users from user namespaces"), fix);
    }
    ok(subject, list)
}

fn limits() -> Vec<Finding> {
    let mut all = Vec::new();
    let mut least = |subject: &str, value: Option<u64>, least: u64, fix: &str| match value {
        Some(value) if value >= least => all.push(ok(subject, value.to_string())),
        Some(value) => all.push(warn(subject, value.to_string(), fix)),
        None => {}
    };
    let files = resource::getrlimit(resource::Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard);
    let fix = "raise the hard limit of open files (ulimit -Hn): each file of a guest is one here";
    least("open files", files, 4096, fix);
    let tasks = resource::getrlimit(resource::Resource::RLIMIT_NPROC).ok().map(|(_, hard)| hard);
    least("processes of a user", tasks, 4096, "raise the hard limit of processes (ulimit -Hu)");
    let proc = |name: &str| number(&format!("/proc/sys/{name}"));
    least("kernel.pid_max", proc("kernel/pid_max"), 32_768, "sysctl kernel.pid_max=4194304");
    let fix = "sysctl kernel.threads-max: each guest thread is two here";
    least("kernel.threads-max", proc("kernel/threads-max"), 8192, fix);
    let fix = "sysctl vm.max_map_count=262144: a guest's mappings are the host's";
    least("vm.max_map_count", proc("vm/max_map_count"), 65_530, fix);
    if proc("vm/overcommit_memory") == Some(2) {
        let fix = "sysctl vm.overcommit_memory=0: guests reserve address space that they never use";
        all.push(warn("vm.overcommit_memory", "2", fix));
    }
    if let Some(value @ 65_537..) = proc("vm/mmap_min_addr") {
        let fix = "sysctl vm.mmap_min_addr=65536";
        all.push(warn("vm.mmap_min_addr", value.to_string(), fix));
    }
    if !Path::new("/dev/null").exists() {
        all.push(warn("/dev/null", "not there", "mount /dev"));
    }
    all
}
