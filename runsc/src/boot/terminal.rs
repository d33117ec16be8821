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
    fs::devpts::{Devpts, Master, Slave, Terminal, relay},
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
}

/// How long what was written last may take to be shown.
const PATIENCE: Duration = Duration::from_secs(2);

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
        terminal.give_to(INIT);
        if let Ok(size) = hostio::window_size(host.as_fd()) {
            terminal.set_size(size);
        }
        let file = open_slave(&terminal, tree, creds).map_err(TerminalError::Make)?;
        let drained = connect(&host, master)?;
        Ok((Console { terminal, host, drained }, file))
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

/// The first session of the guest.
const INIT: i32 = 1;

fn connect(host: &OwnedFd, master: Master) -> io::Result<Receiver<()>> {
    let (sender, receiver) = sync_channel(1);
    relay(host.try_clone()?, Arc::new(master), move || {
        // Nobody waits while the guest still runs.
        let _ = sender.try_send(());
    })?;
    Ok(receiver)
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
