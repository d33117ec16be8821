// SPDX-License-Identifier: Apache-2.0
//! The host's network namespace that a container's monitor stands in.
//!
//! Engines know a container's network by `/proc/<pid>/ns/net` of the process in the pid file: they move
//! interfaces there between create and start. The sandbox itself is elsewhere, in an empty one.

use std::{
    io,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, open},
    sched::{CloneFlags, setns, unshare},
    sys::stat::Mode,
};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use tracing::debug;

use crate::state::process::ProcessId;

/// Which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkNamespace {
    /// The one that runsc was started in.
    Host,
    /// A new one.
    New,
    /// One that is there.
    At(PathBuf),
}

impl NetworkNamespace {
    /// What config.json says.
    pub(crate) fn of(spec: &Spec) -> NetworkNamespace {
        let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let network = namespaces
            .into_iter()
            .flatten()
            .find(|namespace| namespace.typ() == LinuxNamespaceType::Network);
        match network.map(|namespace| namespace.path()) {
            None => NetworkNamespace::Host,
            Some(Some(path)) if !path.as_os_str().is_empty() => NetworkNamespace::At(path.clone()),
            Some(_) => NetworkNamespace::New,
        }
    }

    /// Moves this process there.
    pub(super) fn enter(&self) -> Result<(), String> {
        match self {
            NetworkNamespace::Host => Ok(()),
            NetworkNamespace::New => match unshare(CloneFlags::CLONE_NEWNET) {
                Ok(()) => Ok(()),
                // An ordinary user has no right to one. The guest's network is its own all the same.
                Err(nix::errno::Errno::EPERM) => {
                    debug!("no network namespace for the monitor: the host refuses it");
                    Ok(())
                }
                Err(error) => Err(format!("make a network namespace: {error}")),
            },
            NetworkNamespace::At(path) => join(path).map_err(|error| {
                format!("linux.namespaces: join the network namespace {}: {error}", path.display())
            }),
        }
    }
}

/// Moves this process to where another is, if the host lets us: for a process that stands for a guest's, it
/// is a matter of show.
pub(super) fn join_process(process: ProcessId) {
    let moved = process.open().ok_or(nix::errno::Errno::ESRCH);
    if let Err(error) = moved.and_then(|handle| setns(handle, CloneFlags::CLONE_NEWNET)) {
        debug!("join the container's network namespace: {error}");
    }
}

fn join(path: &Path) -> io::Result<()> {
    // Whatever else lies there is not opened in a way that could wait or act.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let namespace = open(path, flags, Mode::empty())?;
    Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
}
