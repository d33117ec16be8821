// SPDX-License-Identifier: Apache-2.0
//! The standard streams of a container: ours, or a new terminal whose master an engine gets.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use oci_spec::runtime as oci;

use crate::{sandbox::console, sys};

/// Why there are no streams.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StdioError {
    /// A detached container with a terminal has nobody to give the terminal to.
    #[error("cannot allocate tty if runsc will detach without setting console socket")]
    NoSocket,
    /// A socket was given, and there is no terminal to send.
    #[error(
        "cannot use console socket if runsc will not allocate a tty: process.terminal is false"
    )]
    NoTerminal,
    /// The socket cannot be reached.
    #[error("--console-socket {path}: {source}")]
    Socket {
        /// Where it should be.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A host call failed.
    #[error("make a terminal: {0}")]
    Host(#[from] io::Error),
}

/// The guest's streams.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Input, output, errors.
    pub(crate) files: [OwnedFd; 3],
    /// Whether they are a terminal made here, for the monitor to control.
    pub(crate) is_new_terminal: bool,
}

/// Makes the streams. `size` is the new terminal's, in rows and columns.
pub(crate) fn streams(
    is_terminal: bool,
    is_detached: bool,
    console_socket: Option<&Path>,
    size: Option<(u16, u16)>,
) -> Result<Streams, StdioError> {
    match console_socket {
        None if is_terminal && is_detached => Err(StdioError::NoSocket),
        None => Ok(Streams { files: console::streams()?, is_new_terminal: false }),
        Some(_) if !is_terminal => Err(StdioError::NoTerminal),
        Some(path) => {
            let (master, slave) = sys::open_terminal()?;
            console::make_raw(slave.as_fd()).map_err(io::Error::from)?;
            if let Some((rows, columns)) = size {
                sys::set_window_size(slave.as_fd(), rows, columns)?;
            }
            send(path, &master).map_err(|source| StdioError::Socket {
                path: path.display().to_string(),
                source,
            })?;
            let files = [slave.try_clone()?, slave.try_clone()?, slave];
            Ok(Streams { files, is_new_terminal: true })
        }
    }
}

/// The size that `process.consoleSize` gives a terminal, in rows and columns.
pub(crate) fn size(process: &oci::Process) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    Some((u16::try_from(size.height()).ok()?, u16::try_from(size.width()).ok()?))
}

/// Sends the master over the engine's socket, as runc does: one message with one descriptor.
fn send(path: &Path, master: &OwnedFd) -> io::Result<()> {
    let stream = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, stream, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let rights = [master.as_raw_fd()];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(b"/dev/ptmx")],
        &[ControlMessage::ScmRights(&rights)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}
