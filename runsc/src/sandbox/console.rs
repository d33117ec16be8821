// SPDX-License-Identifier: Apache-2.0
//! The terminal that runsc was started on.

use std::{
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    sys::termios::{self, SetArg, Termios},
    unistd::{getpgrp, tcgetpgrp},
};

/// Puts the terminal back as it was, however the guest leaves it.
#[derive(Debug)]
pub(crate) struct Saved(Option<Termios>);

impl Saved {
    /// Remembers the settings of standard input, if it is a terminal.
    pub(crate) fn of_stdin() -> Saved {
        Saved(termios::tcgetattr(io::stdin()).ok())
    }

    /// Hands every key to the guest, whose own terminal gives it its meaning.
    pub(crate) fn make_raw(&self) -> nix::Result<()> {
        let Some(settings) = &self.0 else { return Ok(()) };
        raw(io::stdin().as_fd(), settings)
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        let Some(settings) = &self.0 else { return };
        let now = termios::tcgetattr(io::stdin());
        if now.is_ok_and(|now| now == *settings) {
            return;
        }
        // All signals are blocked here, so that SIGTTOU cannot stop us if the terminal is another
        // group's by now. If it is gone, there is nothing to put back.
        let _ = termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, settings);
    }
}

fn raw(terminal: BorrowedFd<'_>, settings: &Termios) -> nix::Result<()> {
    let mut raw = settings.clone();
    termios::cfmakeraw(&mut raw);
    termios::tcsetattr(terminal, SetArg::TCSADRAIN, &raw)
}

/// Makes a fresh terminal hand everything through as it is.
pub(crate) fn make_raw(terminal: BorrowedFd<'_>) -> nix::Result<()> {
    raw(terminal, &termios::tcgetattr(terminal)?)
}

/// Whether the guest gets a terminal of its own: standard input and output are one, and we are in its
/// foreground, so that its settings and its keys are ours. Otherwise a program beside us in a pipeline
/// may be using the terminal, and the guest gets the host's as it is.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal()
        && io::stdout().is_terminal()
        && tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Our standard streams, for the guest. One that is closed is the null device.
pub(crate) fn streams() -> io::Result<[std::os::fd::OwnedFd; 3]> {
    // Rust's runtime has opened /dev/null at start for each of the three that was closed.
    Ok([
        io::stdin().as_fd().try_clone_to_owned()?,
        io::stdout().as_fd().try_clone_to_owned()?,
        io::stderr().as_fd().try_clone_to_owned()?,
    ])
}
