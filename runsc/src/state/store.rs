// SPDX-License-Identifier: Apache-2.0
//! The directory of `--root`, and one container's directory in it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
    },
};

use super::{
    process::ProcessId,
    record::{Record, Status},
};
use crate::{
    container::id,
    sandbox::{cgroup::CgroupError, control::Channel},
};

/// How long a killed process may take to go.
const END: Duration = Duration::from_secs(10);

const RECORD: &str = "state.json";
const SOCKET: &str = "control.sock";
const EXEC: &str = "exec-";
const EXIT: &str = "exit";

/// Why a container's state cannot be had. The first two are texts that engines look for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Nobody has made it, or somebody has deleted it.
    #[error("container does not exist")]
    Missing,
    /// It is there already.
    #[error("container with given ID already exists")]
    Exists,
    /// A name that cannot be one.
    #[error(transparent)]
    Id(#[from] id::InvalidId),
    /// A host call failed.
    #[error("{step} {path}: {source}")]
    Host {
        /// What for.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its cgroup would not go.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// It has stopped, and its monitor had no time to say how.
    #[error("how the container ended is not known: its monitor was killed")]
    NoStatus,
    /// A process would not die.
    #[error("process {0} is still there")]
    Undead(i32),
}

/// Every container of one `--root`.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
}

/// One container's directory, locked until this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    path: PathBuf,
    lock: Flock<File>,
}

impl Store {
    /// The store in this directory, which need not be there yet.
    pub(crate) fn new(root: &Path) -> Store {
        Store { root: root.into() }
    }

    /// Makes the directory of a container that is not there yet.
    pub(crate) fn create(&self, id: &str) -> Result<Entry, StateError> {
        id::check(id)?;
        let host = |step, path: &Path| {
            let path = path.to_path_buf();
            move |source| StateError::Host { step, path, source }
        };
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o711).create(&self.root);
        made.map_err(host("make", &self.root))?;
        let path = self.root.join(id);
        match DirBuilder::new().mode(0o711).create(&path) {
            // Somebody who was killed may have left it before anything was in it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if read(&path)?.is_some() {
                    return Err(StateError::Exists);
                }
            }
            Err(error) => return Err(host("make", &path)(error)),
            Ok(()) => {}
        }
        // Of several who come this far, the first to write a record has made the container; another runsc
        // may delete it in between, which is its right.
        let entry = self.open(id)?;
        if entry.load()?.is_some() { Err(StateError::Exists) } else { Ok(entry) }
    }

    /// Locks the directory of a container.
    pub(crate) fn open(&self, id: &str) -> Result<Entry, StateError> {
        id::check(id)?;
        let path = self.root.join(id);
        let host = |step, source| StateError::Host { step, path: path.clone(), source };
        let missing = |step, source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StateError::Missing,
            _ => host(step, source),
        };
        let directory = File::open(&path).map_err(|error| missing("open", error))?;
        let opened = directory.metadata().map_err(|error| host("stat", error))?;
        let lock = Flock::lock(directory, FlockArg::LockExclusive)
            .map_err(|(_, errno)| host("lock", errno.into()))?;
        // Whoever held the lock may have deleted the container, and a third may have made it anew.
        let named = fs::metadata(&path).map_err(|error| missing("stat", error))?;
        if (named.dev(), named.ino()) != (opened.dev(), opened.ino()) {
            return Err(StateError::Missing);
        }
        Ok(Entry { path, lock })
    }

    /// Reads a container's record without waiting for its lock.
    pub(crate) fn read(&self, id: &str) -> Result<Record, StateError> {
        id::check(id)?;
        let path = self.root.join(id);
        let mut record = read(&path)?.ok_or(StateError::Missing)?;
        // Whoever makes a container holds its lock. What was left half made is not being made.
        let is_left = || {
            let free = |directory| Flock::lock(directory, FlockArg::LockSharedNonblock).is_ok();
            File::open(&path).is_ok_and(free)
        };
        if record.status == Status::Creating && is_left() {
            // It may have been finished while we looked.
            record = read(&path)?.ok_or(StateError::Missing)?;
            if record.status == Status::Creating {
                record.status = Status::Stopped;
            }
        }
        Ok(record)
    }

    /// How a container that has stopped ended, if its monitor could say so.
    pub(crate) fn exit_status(&self, id: &str) -> Result<Option<i32>, StateError> {
        id::check(id)?;
        let path = self.root.join(id).join(EXIT);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Host { step: "read", path, source }),
        }
    }

    /// Every container, by name. What is not one is left out.
    pub(crate) fn list(&self) -> Result<Vec<Record>, StateError> {
        let host = |source| StateError::Host { step: "read", path: self.root.clone(), source };
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(host)?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let name = entry.map_err(host)?.file_name();
            match self.read(&name.to_string_lossy()) {
                Ok(record) => records.push(record),
                Err(error) => tracing::debug!("list: {}: {error}", name.display()),
            }
        }
        records.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(records)
    }

    /// Speaks to the process that stands for a container.
    pub(crate) fn connect(&self, id: &str) -> Result<Channel, StateError> {
        let path = self.root.join(id);
        let host =
            |source: io::Error| StateError::Host { step: "connect to", path: path.clone(), source };
        let directory = File::open(&path).map_err(host)?;
        let socket = new_socket().map_err(host)?;
        let address = address(&directory).map_err(host)?;
        connect(socket.as_raw_fd(), &address).map_err(|errno| host(errno.into()))?;
        Ok(Channel::new(socket))
    }
}

/// Processes that were added to a container: a file for each, named after the one that stands for it.
impl Store {
    fn exec_path(&self, id: &str, pid: i32) -> PathBuf {
        self.root.join(id).join(format!("{EXEC}{pid}"))
    }

    /// Writes down that a process stands for a further one of the container.
    pub(crate) fn add_exec(&self, id: &str, process: ProcessId) -> Result<(), StateError> {
        let path = self.exec_path(id, process.pid);
        let write = || fs::write(&path, serde_json::to_vec(&process)?);
        write().map_err(|source| StateError::Host { step: "write", path: path.clone(), source })
    }

    /// Forgets it; the container may be gone by then.
    pub(crate) fn remove_exec(&self, id: &str, pid: i32) {
        let path = self.exec_path(id, pid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!("remove {}: {error}", path.display());
            }
            _ => {}
        }
    }

    /// Those that are alive, in the order of their start.
    pub(crate) fn execs(&self, id: &str) -> Result<Vec<ProcessId>, StateError> {
        id::check(id)?;
        let path = self.root.join(id);
        let entries = fs::read_dir(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StateError::Missing,
            _ => StateError::Host { step: "read", path, source },
        })?;
        let mut processes: Vec<ProcessId> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(EXEC))
            // One that has just ended took its file along.
            .filter_map(|entry| fs::read(entry.path()).ok())
            .filter_map(|text| serde_json::from_slice(&text).ok())
            .filter(|process: &ProcessId| process.is_alive())
            .collect();
        processes.sort_by_key(|process| (process.start, process.pid));
        Ok(processes)
    }
}

impl Entry {
    /// What `state.json` says; nothing if the container was never finished.
    pub(crate) fn load(&self) -> Result<Option<Record>, StateError> {
        read(&self.path)
    }

    /// Replaces `state.json`.
    pub(crate) fn save(&self, record: &Record) -> Result<(), StateError> {
        let path = self.path.join(RECORD);
        let temporary = self.path.join("state.json.new");
        let write = || {
            // The variables of its hooks are nobody else's to read.
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| StateError::Host { step: "write", path: path.clone(), source })
    }

    /// The socket on which the container is spoken to.
    pub(crate) fn listen(&self) -> Result<OwnedFd, StateError> {
        let make = || -> io::Result<OwnedFd> {
            let socket = new_socket()?;
            bind(socket.as_raw_fd(), &address(&self.lock)?)?;
            listen(&socket, Backlog::new(64).unwrap_or(Backlog::MAXCONN))?;
            Ok(socket)
        };
        make().map_err(|source| StateError::Host {
            step: "listen in",
            path: self.path.clone(),
            source,
        })
    }

    /// Where the monitor writes down how the container ended, as wait(2) has it.
    pub(crate) fn exit_note(&self) -> PathBuf {
        self.path.join(EXIT)
    }

    /// The number of the descriptor that holds the lock.
    pub(crate) fn lock_number(&self) -> RawFd {
        self.lock.as_raw_fd()
    }

    /// Lets others at the container while it runs.
    pub(crate) fn unlock(self) {
        drop(self.lock);
    }

    /// Kills every process of the container.
    pub(crate) fn kill(&self) -> Result<(), StateError> {
        let Some(record) = self.load()? else { return Ok(()) };
        if let Some(cgroup) = &record.cgroup {
            cgroup.thaw();
        }
        let deadline = Instant::now() + END;
        record.processes().try_for_each(|process| end(process, deadline))
    }

    /// Kills every process of the container and removes what else is left of it on the host.
    pub(crate) fn end(&self) -> Result<(), StateError> {
        self.kill()?;
        match self.load()?.and_then(|record| record.cgroup) {
            Some(cgroup) => Ok(cgroup.remove()?),
            None => Ok(()),
        }
    }

    /// Forgets the container.
    pub(crate) fn remove(self) -> Result<(), StateError> {
        let mut tries = 0;
        loop {
            match fs::remove_dir_all(&self.path) {
                // Somebody who stood for a process of it was just writing that down.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < 10 => {
                    tries += 1;
                }
                done => {
                    let host = |source| {
                        let path = self.path.clone();
                        StateError::Host { step: "remove", path, source }
                    };
                    return done.map_err(host);
                }
            }
        }
    }
}

fn end(process: ProcessId, deadline: Instant) -> Result<(), StateError> {
    if process.kill(deadline) { Ok(()) } else { Err(StateError::Undead(process.pid)) }
}

fn read(directory: &Path) -> Result<Option<Record>, StateError> {
    let path = directory.join(RECORD);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && directory.is_dir() => {
            return Ok(None);
        }
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Err(StateError::Missing);
        }
        Err(source) => return Err(StateError::Host { step: "read", path, source }),
    };
    let parse =
        |source: serde_json::Error| StateError::Host { step: "read", path, source: source.into() };
    serde_json::from_slice(&text).map(Some).map_err(parse)
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?)
}

/// The socket's name by way of the open directory: the path of `--root` may be longer than a socket's
/// name can be.
fn address(directory: &File) -> io::Result<UnixAddr> {
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_fd().as_raw_fd());
    Ok(UnixAddr::new(&*path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        oci::hooks::HostHooks,
        sandbox::{cgroup::Resources, control::Request},
    };

    fn record(id: &str) -> Record {
        Record {
            id: id.into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "now".into(),
            annotations: [("a".to_string(), "b".to_string())].into(),
            owner: 0,
            status: Status::Created,
            before_pause: None,
            cgroup: None,
            resources: Resources::default(),
            oom_score_adj: None,
            exec_affinity: Default::default(),
            hooks: HostHooks::default(),
            monitor: None,
            sentry: None,
            gofer: None,
        }
    }

    #[test]
    fn one_of_two_creates_wins_and_a_deleted_one_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(&root.path().join("deep/root"));
        assert!(store.list().unwrap().is_empty());
        let entry = store.create("c1").unwrap();
        assert!(entry.load().unwrap().is_none());
        // Who comes second waits until it is clear that somebody has won.
        let other = store.clone();
        let second = std::thread::spawn(move || other.create("c1").map(drop));
        std::thread::sleep(Duration::from_millis(50));
        entry.save(&record("c1")).unwrap();
        assert!(matches!(store.create("c1"), Err(StateError::Exists)));
        entry.unlock();
        assert!(matches!(second.join().unwrap(), Err(StateError::Exists)));
        let entry = store.open("c1").unwrap();
        assert_eq!(store.read("c1").unwrap().status, Status::Created);
        assert_eq!(store.list().unwrap().len(), 1);
        entry.remove().unwrap();
        assert!(matches!(store.open("c1"), Err(StateError::Missing)));
        assert!(matches!(store.read("c1"), Err(StateError::Missing)));
        assert!(matches!(store.read("a/b"), Err(StateError::Id(_))));
    }

    #[test]
    fn what_a_killed_create_left_is_stopped_or_nothing() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        // Killed before it had written anything: the name is free.
        drop(store.create("c1").unwrap());
        assert!(matches!(store.read("c1"), Err(StateError::Missing)));
        let entry = store.create("c1").unwrap();
        entry.save(&Record { status: Status::Creating, ..record("c1") }).unwrap();
        assert_eq!(store.read("c1").unwrap().status_now(), Status::Creating);
        // Killed after that: it is there, and may be deleted.
        drop(entry);
        assert_eq!(store.read("c1").unwrap().status_now(), Status::Stopped);
        assert!(matches!(store.create("c1"), Err(StateError::Exists)));
        let entry = store.open("c1").unwrap();
        entry.end().unwrap();
        entry.remove().unwrap();
        assert!(matches!(store.read("c1"), Err(StateError::Missing)));
    }

    #[test]
    fn a_waiting_opener_sees_the_deletion() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        let entry = store.create("c1").unwrap();
        let other = store.clone();
        let waiter = std::thread::spawn(move || other.open("c1").map(drop));
        std::thread::sleep(Duration::from_millis(50));
        entry.remove().unwrap();
        assert!(matches!(waiter.join().unwrap(), Err(StateError::Missing)));
    }

    #[test]
    fn a_long_root_has_a_socket_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(&root.path().join("x".repeat(200)));
        let entry = store.create("c1").unwrap();
        let listener = entry.listen().unwrap();
        let client = store.connect("c1").unwrap();
        client.send(&Request::Start).unwrap();
        let server = Channel::new(crate::sys::accept(listener.as_fd()).unwrap());
        assert_eq!(server.receive::<Request>().unwrap(), Request::Start);
    }
}
