// SPDX-License-Identifier: Apache-2.0
//! The host's namespaces that a container's monitor stands in.
//!
//! Engines know a container's network by `/proc/<pid>/ns/net` of the process in the pid file: they move
//! interfaces there between create and start. The sandbox itself is elsewhere, in an empty one. The others
//! are for hooks, and for whoever enters the namespaces of that process; its host name is `sandbox/uts.rs`'s.
//!
//! Not there: a pid namespace, whose first process would end by no signal of its own, where the monitor has to
//! end as the container did; and a user namespace, which would take the monitor's rights on the host.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sched::{CloneFlags, setns, unshare},
    sys::stat::Mode,
};
use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};
use tracing::debug;

use crate::state::process::ProcessId;

/// Where a monitor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespaces {
    network: Choice,
    ipc: Choice,
    cgroup: Choice,
}

/// Which namespace of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    /// The one that runsc was started in.
    Host,
    /// A new one.
    New,
    /// One that is there.
    At(PathBuf),
}

impl Namespaces {
    /// What config.json says.
    pub(crate) fn of(spec: &Spec) -> Namespaces {
        let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let choice = |typ: Type| {
            let mut all = list.into_iter().flatten();
            match all.find(|namespace| namespace.typ() == typ).map(|it| it.path()) {
                None => Choice::Host,
                Some(Some(path)) if !path.as_os_str().is_empty() => Choice::At(path.clone()),
                Some(_) => Choice::New,
            }
        };
        Namespaces {
            network: choice(Type::Network),
            ipc: choice(Type::Ipc),
            cgroup: choice(Type::Cgroup),
        }
    }

    /// Moves this process there. It is in the container's cgroup, which becomes the root of a new cgroup
    /// namespace.
    pub(super) fn enter(&self) -> Result<(), String> {
        self.network.enter(CloneFlags::CLONE_NEWNET).map_err(|error| match &self.network {
            Choice::At(path) => {
                format!("linux.namespaces: join the network namespace {}: {error}", path.display())
            }
            _ => format!("make a network namespace: {error}"),
        })?;
        for (choice, flag) in
            [(&self.ipc, CloneFlags::CLONE_NEWIPC), (&self.cgroup, CloneFlags::CLONE_NEWCGROUP)]
        {
            // The guest's are the sentry's own; nothing of the container's is in these.
            if let Err(error) = choice.enter(flag) {
                debug!("the monitor keeps the host's namespace: {choice:?} of {flag:?}: {error}");
            }
        }
        Ok(())
    }
}

impl Choice {
    fn enter(&self, flag: CloneFlags) -> io::Result<()> {
        match self {
            Choice::Host => Ok(()),
            Choice::New => match unshare(flag) {
                // An ordinary user has no right to one. The guest's is its own all the same.
                Err(Errno::EPERM) => {
                    debug!("no namespace for the monitor: the host refuses {flag:?}");
                    Ok(())
                }
                made => Ok(made?),
            },
            Choice::At(path) => join(path, flag),
        }
    }
}

/// Moves this process to where another is, if the host lets us: for a process that stands for a guest's, it
/// is a matter of show.
pub(super) fn join_process(process: ProcessId) {
    let all = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    let moved = process.open().ok_or(Errno::ESRCH);
    if let Err(error) = moved.and_then(|handle| setns(handle, all)) {
        debug!("join the container's namespaces: {error}");
    }
}

fn join(path: &Path, flag: CloneFlags) -> io::Result<()> {
    // Whatever else lies there is not opened in a way that could wait or act.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let namespace = open(path, flags, Mode::empty())?;
    Ok(setns(namespace, flag)?)
}
