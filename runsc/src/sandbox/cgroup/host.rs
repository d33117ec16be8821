// SPDX-License-Identifier: Apache-2.0
//! Which cgroup hierarchies this host has mounted, and where in them this process is.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// Where the unified hierarchy is on a host that has only that one.
const UNIFIED: &str = "/sys/fs/cgroup";

/// Controllers of version 1 that a container is entered into.
const CONTROLLERS: &[&str] = &[
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
];

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Its controllers, by name; none for the unified one.
    pub(super) controllers: Vec<String>,
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// Where this process is, beneath the mount.
    pub(super) own: PathBuf,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mounted {
    /// No hierarchy at all.
    Nothing,
    /// One hierarchy for each controller, or a few.
    V1(Vec<Hierarchy>),
    /// One for all.
    V2(Hierarchy),
}

/// Looks at the host.
pub(super) fn look() -> std::io::Result<Mounted> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let is_unified = statfs(UNIFIED).is_ok_and(|it| it.filesystem_type() == CGROUP2_SUPER_MAGIC);
    Ok(read(&mounts, &own, is_unified))
}

/// The hierarchies of a host of version 1 by which systemd knows what belongs to its units.
pub(super) fn look_for_systemds() -> std::io::Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    Ok(systemds(&mounts, &own))
}

fn systemds(mounts: &str, own: &str) -> Vec<Hierarchy> {
    const NAMED: &str = "name=systemd";
    let own = own_paths(own);
    let find = |name: &str, is_meant: &dyn Fn(&Mount) -> bool| {
        let it = mounts.lines().filter_map(mount).find(is_meant)?;
        let own = beneath(own.get(name).map_or(Path::new("/"), PathBuf::as_path), &it.root);
        Some(Hierarchy { controllers: vec![name.into()], mount: it.mount, own })
    };
    let named = find(NAMED, &|it| it.kind == "cgroup" && it.options.iter().any(|it| it == NAMED));
    named.into_iter().chain(find("", &|it| it.kind == "cgroup2")).collect()
}

fn read(mounts: &str, own: &str, is_unified: bool) -> Mounted {
    let own = own_paths(own);
    let mounts: Vec<Mount> = mounts.lines().filter_map(mount).collect();
    if is_unified {
        let root = mounts.iter().rev().find(|it| it.mount == Path::new(UNIFIED));
        let root = root.map_or(Path::new("/"), |it| &it.root);
        let own = beneath(own.get("").map_or(Path::new("/"), PathBuf::as_path), root);
        return Mounted::V2(Hierarchy { controllers: Vec::new(), mount: UNIFIED.into(), own });
    }
    let mut found: Vec<Hierarchy> = Vec::new();
    for it in mounts.iter().filter(|it| it.kind == "cgroup") {
        // The first mount of a controller counts: later ones are copies.
        let is_new =
            |name: &&str| !found.iter().any(|old| old.controllers.iter().any(|n| n == name));
        let names = CONTROLLERS.iter().filter(|name| it.options.iter().any(|word| word == *name));
        let controllers: Vec<String> =
            names.copied().filter(|name| is_new(name)).map(String::from).collect();
        let Some(first) = controllers.first() else { continue };
        let path = own.get(first).map_or(Path::new("/"), PathBuf::as_path);
        let own = beneath(path, &it.root);
        found.push(Hierarchy { controllers, mount: it.mount.clone(), own });
    }
    if found.is_empty() { Mounted::Nothing } else { Mounted::V1(found) }
}

struct Mount {
    root: PathBuf,
    mount: PathBuf,
    kind: String,
    options: Vec<String>,
}

/// One line of `/proc/self/mountinfo`.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, mount) = (unescape(fields.next()?), unescape(fields.next()?));
    let mut fields = after.split(' ');
    let kind = fields.next()?.to_string();
    let options = fields.nth(1).unwrap_or_default();
    Some(Mount { root, mount, kind, options: options.split(',').map(String::from).collect() })
}

/// Undoes the kernel's `\040` and its like.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

/// `/proc/self/cgroup` by controller; the unified hierarchy has the empty name.
fn own_paths(text: &str) -> BTreeMap<String, PathBuf> {
    let mut paths = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else { continue };
        for name in names.split(',') {
            paths.insert(name.to_string(), PathBuf::from(path));
        }
    }
    paths
}

/// The path beneath a mount that shows `root`. What lies outside of it, as in a container that sees the
/// host's paths, is taken for the mount itself.
fn beneath(path: &Path, root: &Path) -> PathBuf {
    let rest = path.strip_prefix(root).unwrap_or(Path::new(""));
    let is_plain = |it: &std::path::Component<'_>| matches!(it, std::path::Component::Normal(_));
    if rest.components().all(|it| is_plain(&it)) { rest.into() } else { PathBuf::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
29 23 0:25 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
30 29 0:26 / /sys/fs/cgroup/cpu\\040x rw,relatime - cgroup cgroup rw,cpu,cpuacct
31 29 0:27 /docker/a /sys/fs/cgroup/pids rw,relatime shared:7 - cgroup cgroup rw,pids
32 29 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
33 29 0:27 / /other/pids rw - cgroup cgroup rw,pids
34 29 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn systemds_own_are_found() {
        let all = systemds(MOUNTS, "3:pids:/a\n1:name=systemd:/x\n0::/y\n");
        let of = |name: &str, mount: &str, own: &str| Hierarchy {
            controllers: vec![name.into()],
            mount: mount.into(),
            own: own.into(),
        };
        assert_eq!(
            all,
            [
                of("name=systemd", "/sys/fs/cgroup/systemd", "x"),
                of("", "/sys/fs/cgroup/unified", "y")
            ]
        );
    }

    #[test]
    fn version_1_is_read_controller_by_controller() {
        let own = "3:cpu,cpuacct:/a/b\n2:pids:/docker/a/c\n1:name=systemd:/x\n0::/y\n";
        let Mounted::V1(found) = read(MOUNTS, own, false) else { panic!("not version 1") };
        let all: Vec<(String, &str, &str)> = found
            .iter()
            .map(|it| {
                let names = it.controllers.join("+");
                (names, it.mount.to_str().unwrap(), it.own.to_str().unwrap())
            })
            .collect();
        assert_eq!(
            all,
            [
                ("cpu+cpuacct".into(), "/sys/fs/cgroup/cpu x", "a/b"),
                ("pids".into(), "/sys/fs/cgroup/pids", "c"),
            ]
        );
    }

    #[test]
    fn paths_outside_of_a_mount_are_the_mount() {
        assert_eq!(beneath(Path::new("/a/b"), Path::new("/a")), Path::new("b"));
        assert_eq!(beneath(Path::new("/x"), Path::new("/a")), Path::new(""));
        assert_eq!(beneath(Path::new("/../x"), Path::new("/")), Path::new(""));
    }

    #[test]
    fn version_2_is_where_it_belongs() {
        let mounts = "29 23 0:25 /part /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let own = "0::/part/of/it\n";
        let Mounted::V2(it) = read(mounts, own, true) else { panic!("not version 2") };
        assert_eq!(
            (it.mount.as_path(), it.own.as_path()),
            (Path::new(UNIFIED), Path::new("of/it"))
        );
        assert_eq!(read("", own, false), Mounted::Nothing);
    }
}
