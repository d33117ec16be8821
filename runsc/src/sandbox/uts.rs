// SPDX-License-Identifier: Apache-2.0
//! Host and domain names of the host's namespaces.
//!
//! The guest's names are the sentry's. Those of the host count where config.json has the container share
//! them, as the containers of a pod do with its first one: their sandboxes begin with the same names. For that
//! a monitor stands in a namespace with its container's names.

use std::{ffi::OsStr, fs, io, path::Path};

use nix::{
    fcntl::{OFlag, open},
    sched::{CloneFlags, setns, unshare},
    sys::{stat::Mode, utsname},
    unistd,
};
use tracing::debug;

/// A host name and a domain name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// The host name.
    pub(crate) host: String,
    /// The domain name.
    pub(crate) domain: String,
}

impl Names {
    /// Those that this process sees.
    pub(crate) fn here() -> io::Result<Names> {
        let names = utsname::uname()?;
        let text = |name: &OsStr| name.to_string_lossy().into_owned();
        Ok(Names { host: text(names.nodename()), domain: text(names.domainname()) })
    }

    /// Those of the namespace that is found there. The caller is single-threaded.
    pub(crate) fn at(path: &Path) -> io::Result<Names> {
        // Whatever else lies there is not opened in a way that could wait or act.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let namespace = open(path, flags, Mode::empty())?;
        let ours = open("/proc/self/ns/uts", flags, Mode::empty())?;
        setns(namespace, CloneFlags::CLONE_NEWUTS)?;
        let names = Names::here();
        setns(ours, CloneFlags::CLONE_NEWUTS)?;
        names
    }

    /// Moves this process to a namespace with these names, if the host lets it.
    pub(crate) fn show(&self) {
        let shown = unshare(CloneFlags::CLONE_NEWUTS)
            .and_then(|()| unistd::sethostname(&self.host))
            .map_err(io::Error::from)
            .and_then(|()| fs::write("/proc/sys/kernel/domainname", &self.domain));
        if let Err(error) = shown {
            debug!("the monitor has the host's names: {error}");
        }
    }
}
