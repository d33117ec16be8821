// SPDX-License-Identifier: Apache-2.0
//! The directory of `--root`, and one container's directory in it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
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

use super::{process::ProcessId, record::Record};
use crate::{
    container::id,
    sandbox::{cgroup::CgroupError, control::Channel},
};

/// How long a killed process may take to go.
const END: Duration = Duration::from_secs(10);

const RECORD: &str = "state.json";
const SOCKET: &str = "control.sock";

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
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StateError::Exists),
            Err(error) => Err(host("make", &path)(error)),
            // Between the two calls another runsc may delete it again, which is its right.
            Ok(()) => self.open(id),
        }
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
        read(&self.root.join(id))?.ok_or(StateError::Missing)
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
            let mut file = File::create(&temporary)?;
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

    /// Lets others at the container while it runs.
    pub(crate) fn unlock(self) {
        drop(self.lock);
    }

    /// Ends every process of the container and forgets it.
    pub(crate) fn destroy(self) -> Result<(), StateError> {
        if let Some(record) = self.load()? {
            if let Some(cgroup) = &record.cgroup {
                cgroup.thaw();
            }
            let deadline = Instant::now() + END;
            for process in record.processes() {
                end(process, deadline)?;
            }
        }
        self.remove()
    }

    /// Removes what is left of the container on the host, and forgets it.
    pub(crate) fn remove(self) -> Result<(), StateError> {
        if let Some(cgroup) = self.load()?.and_then(|record| record.cgroup) {
            cgroup.remove()?;
        }
        fs::remove_dir_all(&self.path).map_err(|source| StateError::Host {
            step: "remove",
            path: self.path.clone(),
            source,
        })
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
        sandbox::{cgroup::Resources, control::Request},
        state::record::Status,
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
        assert!(matches!(store.create("c1"), Err(StateError::Exists)));
        assert!(entry.load().unwrap().is_none());
        entry.save(&record("c1")).unwrap();
        assert_eq!(store.read("c1").unwrap().status, Status::Created);
        assert_eq!(store.list().unwrap().len(), 1);
        entry.remove().unwrap();
        assert!(matches!(store.open("c1"), Err(StateError::Missing)));
        assert!(matches!(store.read("c1"), Err(StateError::Missing)));
        assert!(matches!(store.read("a/b"), Err(StateError::Id(_))));
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
