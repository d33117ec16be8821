// SPDX-License-Identifier: Apache-2.0
//! The guest's terminal: a pseudo-terminal of the sandbox whose far end is a terminal of the host.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    time::Duration,
};

use abi::{Errno, fcntl::OpenFlags};
use platform::hostio;
use sentry::{
    creds::Credentials,
    fs::{
        devpts::{Devpts, Master, Relay, Slave, Terminal},
        host::HostFile,
    },
    vfs::{FileDescription, Lookup, MountNamespace, ResolveContext, resolve},
};

/// Why the guest has no terminal.
#[derive(Debug, thiserror::Error)]
pub(super) enum TerminalError {
    /// The pair cannot be made.
    #[error("make the guest's terminal: {0}")]
    Make(Errno),
    /// Its threads do not start.
    #[error("start the terminal's threads: {0}")]
    Relay(#[from] io::Error),
}

/// A terminal that is connected.
#[derive(Debug)]
pub(super) struct Console {
    terminal: Arc<Terminal>,
    host: OwnedFd,
    drained: Receiver<()>,
    /// Ends with the console: whatever is typed later is for others.
    _relay: Relay,
}

/// How long what was written last may take to be shown.
const PATIENCE: Duration = Duration::from_secs(5);

impl Console {
    /// Connects a new terminal of `devpts` with the host's, and opens the guest's end.
    pub(super) fn open(
        devpts: &Arc<Devpts>,
        tree: &Arc<MountNamespace>,
        creds: Credentials,
        host: OwnedFd,
    ) -> Result<(Console, Arc<FileDescription>), TerminalError> {
        let master = devpts.open_master(&creds).map_err(TerminalError::Make)?;
        let terminal = Arc::clone(master.terminal());
        terminal.unlock();
        if let Ok(size) = hostio::window_size(host.as_fd()) {
            terminal.set_size(size);
        }
        let file = open_slave(&terminal, tree, creds).map_err(TerminalError::Make)?;
        let (relay, drained) = connect(&host, master)?;
        Ok((Console { terminal, host, drained, _relay: relay }, file))
    }

    /// Puts a process group in the foreground.
    pub(super) fn give_to(&self, group: i32) {
        self.terminal.give_to(group);
    }

    /// What tasks remember it by.
    pub(super) fn identity(&self) -> u64 {
        self.terminal.identity()
    }

    /// The part that lives as long as there are requests.
    pub(super) fn window(&self) -> io::Result<Window> {
        Ok(Window { terminal: Arc::clone(&self.terminal), host: self.host.try_clone()? })
    }

    /// Waits until everything has been shown: the guest has closed its end.
    pub(super) fn drain(self) {
        // Somebody may hold the end open for good, or the host's terminal be stopped.
        let _ = self.drained.recv_timeout(PATIENCE);
    }
}

/// The window of a terminal.
#[derive(Debug)]
pub(super) struct Window {
    terminal: Arc<Terminal>,
    host: OwnedFd,
}

impl Window {
    /// Takes the host's size over.
    pub(super) fn resize(&self) -> Result<(), Errno> {
        self.terminal.set_size(hostio::window_size(self.host.as_fd())?);
        Ok(())
    }
}

fn connect(host: &OwnedFd, master: Master) -> io::Result<(Relay, Receiver<()>)> {
    let (sender, receiver) = sync_channel(1);
    let typing = HostFile::import(host.try_clone()?)
        .map_err(|errno| io::Error::from_raw_os_error(errno.raw()))?;
    let relay = Relay::start(host.try_clone()?, Box::new(typing), Arc::new(master), move || {
        // Nobody waits while the guest still runs.
        let _ = sender.try_send(());
    })?;
    Ok((relay, receiver))
}

fn open_slave(
    terminal: &Arc<Terminal>,
    tree: &Arc<MountNamespace>,
    creds: Credentials,
) -> Result<Arc<FileDescription>, Errno> {
    let root = tree.root();
    let creds = Arc::new(creds);
    let cx = ResolveContext { start: root.clone(), root, creds: Arc::clone(&creds) };
    let path = format!("/dev/pts/{}", terminal.index);
    let place = resolve::walk(&cx, path.as_bytes(), Lookup::FOLLOW)?;
    let slave = Slave::open(terminal, false)?;
    Ok(FileDescription::new(place, Box::new(slave), OpenFlags::RDWR, creds))
}
