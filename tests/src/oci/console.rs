// SPDX-License-Identifier: Apache-2.0
//! An engine's end of a container's terminal: the socket, the master that comes through it, its bytes.

use std::{
    fs::File,
    io::{IoSliceMut, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
};

/// A socket that waits for a terminal.
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    /// For `--console-socket`.
    pub path: PathBuf,
}

impl ConsoleSocket {
    /// Listens in this directory.
    pub fn new(directory: &Path) -> Result<ConsoleSocket> {
        let path = directory.join("console.sock");
        let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        Ok(ConsoleSocket { listener, path })
    }

    /// Takes the terminal. As engines do, only after the runtime has ended.
    pub fn accept(&self) -> Result<Terminal> {
        ensure!(readable(&self.listener, Duration::from_secs(30))?, "nobody connected");
        let (stream, _) = self.listener.accept()?;
        let mut payload = [0; 4096];
        let mut buffers = [IoSliceMut::new(&mut payload)];
        let mut space = nix::cmsg_space!([RawFd; 4]);
        let message = recvmsg::<()>(
            stream.as_raw_fd(),
            &mut buffers,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )?;
        let mut received = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                received.extend(fds);
            }
        }
        ensure!(message.bytes > 0, "no payload");
        let [master] = *received.as_slice() else { bail!("{} descriptors", received.len()) };
        Ok(Terminal { master: File::from(own(master)), seen: Vec::new() })
    }
}

/// Takes over a descriptor that the kernel has just made for us.
#[allow(unsafe_code, reason = "a descriptor comes out of a message as a number")]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made it for this message, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn readable(fd: &impl std::os::fd::AsFd, within: Duration) -> Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX))? > 0)
}

/// The master of a container's terminal.
#[derive(Debug)]
pub struct Terminal {
    /// The master.
    pub master: File,
    seen: Vec<u8>,
}

impl Terminal {
    /// Types.
    pub fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Waits for a piece of output; all there was until then.
    pub fn expect(&mut self, wanted: &str) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let text = String::from_utf8_lossy(&self.seen).into_owned();
            if text.contains(wanted) {
                self.seen.clear();
                return Ok(text);
            }
            ensure!(Instant::now() < deadline, "no {wanted:?} on the terminal, but {text:?}");
            if !readable(&self.master.as_fd(), Duration::from_millis(100))? {
                continue;
            }
            let mut bytes = [0; 4096];
            // EIO is a terminal's end of file.
            match self.master.read(&mut bytes) {
                Ok(count) if count > 0 => {
                    self.seen.extend(bytes.get(..count).unwrap_or_default());
                }
                end => bail!("no {wanted:?} on the terminal, but {text:?}, then {end:?}"),
            }
        }
    }

    /// Everything until the container has let go of the terminal.
    pub fn rest(&mut self) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if !readable(&self.master.as_fd(), Duration::from_millis(100)).unwrap_or(false) {
                continue;
            }
            let mut bytes = [0; 4096];
            match self.master.read(&mut bytes) {
                Ok(count) if count > 0 => {
                    self.seen.extend(bytes.get(..count).unwrap_or_default());
                }
                _ => break,
            }
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.seen)).into_owned()
    }
}
