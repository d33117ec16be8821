// SPDX-License-Identifier: Apache-2.0
//! What a container could leave behind on the host.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

/// Every process below this one: its number, and its command line. Zombies do not count.
pub fn descendants() -> BTreeMap<i32, String> {
    let mut found = BTreeMap::new();
    let mut parents = vec![i32::try_from(std::process::id()).unwrap_or(i32::MAX)];
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            // Zombies have no children.
            if !is_zombie(child) && found.insert(child, command_line(child)).is_none() {
                parents.push(child);
            }
        }
    }
    found
}

/// The children of a process's every thread.
pub fn children(pid: i32) -> Vec<i32> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    all
}

/// The letter of a process's state, if it is there.
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether a process is there and has not ended.
pub fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

fn is_zombie(pid: i32) -> bool {
    !is_alive(pid)
}

/// The arguments of a process.
pub fn arguments(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&line);
    text.split_terminator('\0').map(str::to_owned).collect()
}

fn command_line(pid: i32) -> String {
    let line = arguments(pid).join(" ");
    if line.is_empty() {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
    } else {
        line
    }
}

/// The mounts that this process sees.
pub fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().count()
}

/// The open descriptors of this process.
pub fn fds() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The directories that a container's cgroup has, over all hierarchies.
pub fn cgroups(path: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let path = path.trim_start_matches('/');
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|it| it.path());
    [root.to_path_buf()]
        .into_iter()
        .chain(hierarchies)
        .map(|hierarchy| hierarchy.join(path))
        .filter(|directory| is_cgroup(directory))
        .collect()
}

fn is_cgroup(directory: &Path) -> bool {
    let kind = statfs(directory).map(|it| it.filesystem_type());
    kind.is_ok_and(|it| it == CGROUP_SUPER_MAGIC || it == CGROUP2_SUPER_MAGIC)
}

/// A file of a container's cgroup: the first of these names that is there, in any hierarchy.
pub fn cgroup_file(path: &str, names: &[&str]) -> Option<String> {
    let directories = cgroups(path);
    names.iter().find_map(|name| {
        let text = directories.iter().find_map(|it| fs::read_to_string(it.join(name)).ok())?;
        Some(text.trim().to_owned())
    })
}

/// Every path below a directory.
pub fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}
