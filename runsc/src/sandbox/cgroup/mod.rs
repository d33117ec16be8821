// SPDX-License-Identifier: Apache-2.0
//! The host's cgroups of a container: made, filled, limited, read, and removed whatever happened.
//!
//! * **The types to know.** A [`Cgroup`] is the directories of one container, as its state.json names
//!   them before they are made; [`Resources`] what config.json asks for; [`Limits`] what came of it.
//! * **Invariants.** Every process of a sandbox is in them, the monitor first, so that nothing it starts is
//!   ever outside. Nothing is removed but directories, and of those above the container's own only such as
//!   it made.
//! * **Tasks.** The guest's tasks are counted by the sentry: each is more than one task of the host. The
//!   pids controller of version 1 holds, in the container's directory, the processes that stand for the
//!   container and its execs, so that `pids.max` is the number that was asked for; the sandbox's other
//!   threads are in the directory above. On version 2, where all is in one place, the number is scaled.
//! * **Who makes them.** We do, or systemd does when it is asked to (`systemd`): then the container's unit
//!   begins with the monitor in it, and what systemd leaves to others is made and limited as ever.
//! * **What it deliberately does not do.** It writes no device rules: the guest never opens a device of the
//!   host. It does not freeze: a container is paused by its sentry.

mod host;
mod limits;
mod mark;
mod oom;
mod process;
mod resources;
mod stats;
mod systemd;
mod v1;
mod v2;
mod write;

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

use host::{Hierarchy, Mounted};
use serde::{Deserialize, Serialize};

use crate::log::Timestamp;

pub(crate) use limits::Limits;
pub(crate) use oom::OutOfMemory;
pub(crate) use resources::Resources;
pub(crate) use systemd::SystemdError;
use systemd::Unit;
use write::Write;

/// The file that lists a cgroup's processes, and takes new ones.
const PROCESSES: &str = "cgroup.procs";

/// Why a container's cgroup is not as it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    /// A field makes no sense.
    #[error("{field}: {why}")]
    Field {
        /// Its path in config.json.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The host does not take a value.
    #[error("{field}: write {value:?} to {path}: {source}")]
    Write {
        /// Its path in config.json.
        field: String,
        /// What was written.
        value: String,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is more in use than would be allowed.
    #[error(
        "linux.resources.memory.limit: unable to set memory limit to {wanted} (current usage: {usage}, peak usage: {peak})"
    )]
    InUse {
        /// What was asked for.
        wanted: String,
        /// Bytes now.
        usage: String,
        /// Bytes at most so far.
        peak: String,
    },
    /// Another container has just taken the place that nobody asked for.
    #[error("linux.cgroupsPath: {0} is another container's")]
    Taken(PathBuf),
    /// Somebody else is in there.
    #[error(
        "linux.cgroupsPath: container's cgroup is not empty: {count} process(es) found in {path}"
    )]
    NotEmpty {
        /// How many.
        count: usize,
        /// Where.
        path: PathBuf,
    },
    /// systemd does not make it.
    #[error("linux.cgroupsPath: {0}")]
    Systemd(#[from] SystemdError),
    /// A host call failed.
    #[error("linux.cgroupsPath: {step} {path}: {source}")]
    Host {
        /// What for.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl CgroupError {
    /// Whether another container has what was to be made.
    pub(crate) fn is_anothers(&self) -> bool {
        matches!(self, CgroupError::NotEmpty { .. } | CgroupError::Taken(_))
    }
}

/// Which sort of cgroups the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One for all.
    V2,
}

/// One directory of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Directory {
    /// Its controllers of version 1.
    controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    /// The directory.
    path: PathBuf,
    /// The outermost directory that was not there before.
    first_made: PathBuf,
    /// Where the command is that made the container.
    origin: PathBuf,
}

/// The directories of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    version: Version,
    /// config.json asked for this path, so that it must be had.
    is_asked: bool,
    /// What tells its directories from another container's.
    token: String,
    /// The unit whose directories these are, if systemd makes them.
    #[serde(default)]
    unit: Option<Unit>,
    directories: Vec<Directory>,
}

/// What the processes of a sandbox enter.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    /// The directories, which are made, or will be with the first process.
    pub(crate) cgroup: Cgroup,
    /// What was asked of them.
    pub(crate) resources: Resources,
}

impl Placement {
    /// Puts this process, the first of all, where all that it starts is to be.
    pub(crate) fn enter(&self) -> Result<(), CgroupError> {
        if let Some(unit) = &self.cgroup.unit {
            self.cgroup.begin(unit, &self.resources)?;
        }
        self.cgroup.enter()
    }
}

impl Cgroup {
    /// The directories for the container `id`, none of which is made yet; `path` is config.json's.
    pub(crate) fn plan(path: Option<&Path>, id: &str) -> Result<Cgroup, CgroupError> {
        let (mounted, token) = (look()?, token(id));
        match path.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => {
                let (inner, is_absolute) = (clean(path)?, path.is_absolute());
                let cgroup = Cgroup::at(mounted, &inner, is_absolute, true, token);
                // Asked before anything is written down: what is another's must never be taken for ours.
                cgroup.directories.iter().try_for_each(Directory::check_empty)?;
                Ok(cgroup)
            }
            None => {
                let cgroup =
                    Cgroup::at(mounted.clone(), Path::new(id), false, false, token.clone());
                if !cgroup.directories.iter().any(|it| it.path.exists()) {
                    return Ok(cgroup);
                }
                // Containers of other `--root`s may have the same id.
                let name = format!("{id}-{}", std::process::id());
                Ok(Cgroup::at(mounted, Path::new(&name), false, false, token))
            }
        }
    }

    /// The directories that systemd makes for the container `id`. `path` and `annotations` are
    /// config.json's.
    pub(crate) fn plan_unit(
        path: Option<&Path>,
        id: &str,
        annotations: &BTreeMap<String, String>,
        is_users: bool,
    ) -> Result<Cgroup, CgroupError> {
        let unit = Unit::of(path, id, annotations, is_users)?;
        let inner = clean(&unit.root()?.join(unit.directory()))?;
        let mut mounted = look()?;
        if let Mounted::V1(all) = &mut mounted {
            all.extend(host::look_for_systemds().map_err(unseen)?);
        }
        let mut cgroup = Cgroup::at(mounted, &inner, true, true, token(id));
        cgroup.directories.iter().try_for_each(Directory::check_empty)?;
        for directory in &mut cgroup.directories {
            // Those above are slices, which systemd removes.
            directory.first_made.clone_from(&directory.path);
        }
        cgroup.unit = Some(unit);
        Ok(cgroup)
    }

    fn at(
        mounted: Mounted,
        inner: &Path,
        is_absolute: bool,
        is_asked: bool,
        token: String,
    ) -> Cgroup {
        let (version, hierarchies) = match mounted {
            Mounted::Nothing => (Version::V1, Vec::new()),
            Mounted::V1(all) => (Version::V1, all),
            Mounted::V2(one) => (Version::V2, vec![one]),
        };
        let place = |it: Hierarchy| {
            let origin = it.mount.join(&it.own);
            let base = match (is_absolute, version) {
                (true, _) => it.mount.clone(),
                (false, Version::V1) => origin.clone(),
                // Where there are processes there can be no controllers for groups below: beside us.
                (false, Version::V2) => it.mount.join(it.own.parent().unwrap_or(Path::new(""))),
            };
            let path = base.join(inner);
            let first_made = first_missing(&path);
            Directory { controllers: it.controllers, mount: it.mount, path, first_made, origin }
        };
        let directories = hierarchies.into_iter().map(place).collect();
        Cgroup { version, is_asked, token, unit: None, directories }
    }

    /// Makes the directories. Where the host refuses and nobody asked for them, they are left out. systemd
    /// makes its own with the first process: see [`Placement::enter`].
    pub(crate) fn make(&mut self, resources: &Resources) -> Result<(), CgroupError> {
        if self.unit.is_some() {
            return Ok(());
        }
        let (mut made, mut refused) = (Vec::new(), Vec::new());
        let mut why = String::new();
        for directory in std::mem::take(&mut self.directories) {
            match directory.make(self).and_then(|()| directory.check_empty()) {
                Ok(()) => made.push(directory),
                Err(CgroupError::Host { step, path, source })
                    if !self.is_asked && is_refusal(&source) =>
                {
                    why = format!("{step} {}: {source}", path.display());
                    refused.extend(directory.controllers);
                }
                Err(error) => {
                    // Whoever is in there stays; what is empty goes.
                    if error.is_anothers() {
                        for directory in &made {
                            let _ = fs::remove_dir(&directory.path);
                        }
                    }
                    return Err(error);
                }
            }
        }
        self.directories = made;
        if !why.is_empty() {
            tracing::warn!("the sandbox is in no cgroup for {}: {why}", refused.join(", "));
        }
        write::apply(self, self.writes(resources)?)
    }

    /// Has systemd make the unit with this process in it, and makes what it leaves to us.
    fn begin(&self, unit: &Unit, resources: &Resources) -> Result<(), CgroupError> {
        let writes = self.writes(resources)?;
        unit.start(&self.token, self.version, &writes)?;
        for directory in &self.directories {
            match self.version {
                // systemd has only the controllers that it knows of.
                Version::V1 => directory.make(self)?,
                Version::V2 => mark::set(&directory.path, &self.token),
            }
        }
        write::apply(self, writes)
    }

    /// Sets what `resources` asks for instead of `before`, which is put back if something cannot be had.
    pub(crate) fn change(
        &self,
        before: &Resources,
        resources: &Resources,
    ) -> Result<(), CgroupError> {
        write::apply(self, self.writes(resources)?)?;
        let Some(unit) = &self.unit else { return Ok(()) };
        if let Err(error) = unit.set(self.version, &self.writes(resources)?) {
            let back = write::apply(self, self.writes(before)?);
            back.unwrap_or_else(|error| tracing::warn!("{error}"));
            return Err(error.into());
        }
        // systemd rounds quotas: what was asked for is to hold to the last.
        write::apply(self, self.writes(resources)?)
    }

    /// What `resources` is in the files of the directories.
    fn writes(&self, resources: &Resources) -> Result<Vec<Write>, CgroupError> {
        match self.version {
            Version::V1 => v1::writes(resources),
            Version::V2 => v2::writes(resources),
        }
    }

    /// The directory of a controller.
    fn directory(&self, controller: &str) -> Option<&Path> {
        let is_meant = |it: &&Directory| {
            self.version == Version::V2 || it.controllers.iter().any(|name| name == controller)
        };
        self.directories.iter().find(is_meant).map(|it| &*it.path)
    }

    /// Whether a directory is this container's. Where there are no marks, its state alone says so.
    fn owns(&self, directory: &Directory) -> bool {
        mark::get(&directory.path).is_none_or(|token| token == self.token)
    }

    /// The file that tells how many bytes of memory are in use.
    pub(crate) fn memory_usage(&self) -> Option<OwnedFd> {
        let file = match self.version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        };
        fs::File::open(self.directory("memory")?.join(file)).ok().map(OwnedFd::from)
    }

    /// A file of a controller, if it can be read.
    fn read(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.directory(controller)?.join(file)).ok()
    }
}

impl Directory {
    fn make(&self, of: &Cgroup) -> Result<(), CgroupError> {
        let version = of.version;
        let below = self.path.strip_prefix(&self.mount).unwrap_or(Path::new(""));
        let mut at = self.mount.clone();
        if version == Version::V2 {
            enable_controllers(&at);
        }
        for (index, name) in below.components().enumerate() {
            at.push(name);
            let is_last = index + 1 == below.components().count();
            let is_new = make_one(&at)?;
            if is_last && !is_new && !of.is_asked {
                return Err(CgroupError::Taken(at));
            }
            if is_last || is_new {
                mark::set(&at, if is_last { &of.token } else { "" });
            }
            match version {
                Version::V1 if self.controllers.iter().any(|name| name == "cpuset") => {
                    fill_cpuset(&at)?;
                }
                Version::V2 if !is_last => enable_controllers(&at),
                _ => {}
            }
        }
        Ok(())
    }

    fn check_empty(&self) -> Result<(), CgroupError> {
        let count = process::list(&self.path).len();
        if count > 0 {
            return Err(CgroupError::NotEmpty { count, path: self.path.clone() });
        }
        Ok(())
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// What a host has, for `doctor`.
#[derive(Debug)]
pub(crate) struct Described {
    /// 1 or 2.
    pub(crate) version: u8,
    /// The controllers that a container can have.
    pub(crate) controllers: Vec<String>,
    /// Whether groups can be made where this process is.
    pub(crate) is_writable: bool,
}

/// Looks at the host's cgroups; nothing if there are none.
pub(crate) fn describe() -> io::Result<Option<Described>> {
    let can_write = |it: &Hierarchy| {
        let path = it.mount.join(&it.own);
        nix::unistd::access(&path, nix::unistd::AccessFlags::W_OK).is_ok()
    };
    Ok(match host::look()? {
        Mounted::Nothing => None,
        Mounted::V1(all) => Some(Described {
            version: 1,
            is_writable: all.iter().all(can_write),
            controllers: all.into_iter().flat_map(|it| it.controllers).collect(),
        }),
        Mounted::V2(one) => {
            let text = fs::read_to_string(one.mount.join("cgroup.controllers"))?;
            let controllers = text.split_whitespace().map(String::from).collect();
            Some(Described { version: 2, is_writable: can_write(&one), controllers })
        }
    })
}

fn look() -> Result<Mounted, CgroupError> {
    host::look().map_err(unseen)
}

fn unseen(source: io::Error) -> CgroupError {
    CgroupError::Host { step: "look for", path: "/proc/self/mountinfo".into(), source }
}

/// What tells the directories of the container `id` from those of another of this name.
fn token(id: &str) -> String {
    format!("{id}:{}:{}", std::process::id(), Timestamp::now())
}

/// Makes one directory: whether it is new. Another container's end may take the one above away under our
/// hands.
fn make_one(path: &Path) -> Result<bool, CgroupError> {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        match fs::create_dir(path) {
            Ok(()) => return Ok(true),
            // The name may be a file's: each directory has a few.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
                return Ok(false);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && Instant::now() < deadline => {
                let Some(parent) = path.parent() else { continue };
                // The next turn tells what comes of it.
                let _ = fs::create_dir(parent);
            }
            Err(source) => {
                return Err(CgroupError::Host { step: "make", path: path.into(), source });
            }
        }
    }
}

/// A new cpuset is empty, and no process can enter it: it gets what is above it.
fn fill_cpuset(path: &Path) -> Result<(), CgroupError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (own, above) = (path.join(file), parent.join(file));
        let fail = |path: &Path| {
            let path = path.to_path_buf();
            move |source| CgroupError::Host { step: "fill", path, source }
        };
        let text = fs::read_to_string(&own).map_err(fail(&own))?;
        if !text.trim().is_empty() {
            continue;
        }
        let text = fs::read_to_string(&above).map_err(fail(&above))?;
        fs::write(&own, text.trim()).map_err(fail(&own))?;
    }
    Ok(())
}

/// Gives the groups below a directory of version 2 every controller that it has itself. One that cannot
/// be had is missed when a limit needs it.
fn enable_controllers(path: &Path) {
    let names = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
    let control = path.join("cgroup.subtree_control");
    for name in names.split_whitespace() {
        if let Err(error) = fs::write(&control, format!("+{name}")) {
            tracing::debug!("enable {name} below {}: {error}", path.display());
        }
    }
}

/// The path beneath the root of a hierarchy: `..` leads nowhere above it.
fn clean(path: &Path) -> Result<PathBuf, CgroupError> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let refuse =
        |why: &str| Err(CgroupError::Field { field: "linux.cgroupsPath".into(), why: why.into() });
    let text = clean.as_os_str().as_encoded_bytes();
    if text.is_empty() {
        return refuse("it names the root, which is not a container's to have");
    }
    if text.iter().any(|byte| *byte < b' ') {
        return refuse("a control character in a name");
    }
    Ok(clean)
}

/// The outermost directory of a path that is not there.
fn first_missing(path: &Path) -> PathBuf {
    let missing = path.ancestors().take_while(|path| !path.is_dir()).last();
    missing.unwrap_or(path).into()
}

/// Whether the host does not let us, as ordinary users and read-only mounts are not let.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        for (path, want) in [
            ("/a/b", "a/b"),
            ("a", "a"),
            ("/../../a", "a"),
            ("/a/../b", "b"),
            ("x/../../../y", "y"),
            ("//a//./b/", "a/b"),
        ] {
            assert_eq!(clean(Path::new(path)).unwrap(), Path::new(want), "{path}");
        }
        for bad in ["/", "..", "/a/..", "a\nb", "a\0b"] {
            let error = clean(Path::new(bad)).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath: "), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_known_before_it_is_made() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("a/b/c");
        assert_eq!(first_missing(&deep), place.path().join("a"));
        fs::create_dir_all(place.path().join("a/b")).unwrap();
        assert_eq!(first_missing(&deep), deep);
        fs::create_dir(&deep).unwrap();
        assert_eq!(first_missing(&deep), deep, "a container's own directory is always removed");
    }
}
