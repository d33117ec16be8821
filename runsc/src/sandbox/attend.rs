// SPDX-License-Identifier: Apache-2.0
//! Standing for a guest process: what is sent to this process goes to it, and its end is ours.

use std::os::fd::{AsFd, BorrowedFd};

use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, raise},
        signalfd::{SfdFlags, SignalFd},
    },
};
use tracing::debug;

use super::control::{Channel, Event, Failure, Request, Target};

/// The signals of this process, held back so that they can be handed to the guest.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Holds them back from now on. Faults of our own stay what they are.
    pub(crate) fn hold() -> nix::Result<Signals> {
        let mut set = SigSet::all();
        for own in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGILL,
            Signal::SIGFPE,
            Signal::SIGTRAP,
            Signal::SIGABRT,
            Signal::SIGSYS,
        ] {
            set.remove(own);
        }
        set.thread_block()?;
        for ours in [Signal::SIGCHLD, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGPIPE] {
            set.remove(ours);
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Signals(SignalFd::with_flags(&set, flags)?))
    }

    /// One that has arrived and asks this process to end. Others that have arrived by then are dropped.
    pub(crate) fn ending(&self) -> Option<Signal> {
        const ENDS: [Signal; 4] =
            [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
        while let Some(caught) = self.next() {
            if let Some(end) = ENDS.into_iter().find(|end| *end as i32 == caught.number) {
                return Some(end);
            }
        }
        None
    }

    /// One that has arrived.
    pub(super) fn next(&self) -> Option<Caught> {
        let info = self.0.read_signal().ok()??;
        let is_from_kernel = info.ssi_code == libc::SI_KERNEL;
        Some(Caught { number: info.ssi_signo.cast_signed(), is_from_kernel })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A signal that this process got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caught {
    number: i32,
    is_from_kernel: bool,
}

impl Caught {
    /// Hands it to the guest. What a terminal sends goes to whom it would go to.
    pub(super) fn forward(self, is_terminal: bool, mut ask: impl FnMut(&Request)) {
        let signal = self.number;
        let of_terminal =
            matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGWINCH);
        let target = match signal {
            // Without a terminal of the guest's own we stop as a whole, for our shell to see.
            libc::SIGTSTP if !is_terminal => {
                ask(&Request::Signal { signal: libc::SIGSTOP, target: Target::All });
                // The only way this fails is that there is no such signal.
                let _ = raise(Signal::SIGSTOP);
                ask(&Request::Signal { signal: libc::SIGCONT, target: Target::All });
                return;
            }
            _ if of_terminal && self.is_from_kernel => Target::Foreground,
            _ => Target::Init,
        };
        ask(&Request::Signal { signal, target });
    }
}

/// How a guest process ended, as far as the one can tell who stands for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a status as wait(2) has it.
    Exited(i32),
    /// It never ran.
    Failed(Failure, String),
    /// Nobody says: its sandbox is gone.
    Lost,
}

/// Waits until `channel` has a message. A signal that asks this process to end is an end of waiting too.
pub(crate) fn await_message(channel: &Channel, signals: &Signals) -> Result<(), Signal> {
    loop {
        let mut fds = [
            PollFd::new(channel.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            // The message says, or its absence.
            Err(_) => return Ok(()),
        }
        let [has_message, has_signal] = fds.map(|fd| fd.any().unwrap_or(true));
        if has_message {
            return Ok(());
        }
        if has_signal && let Some(end) = signals.ending() {
            return Err(end);
        }
    }
}

/// Hands our signals to the guest process at the other end of `channel` until it has ended.
pub(crate) fn attend(channel: &Channel, signals: &Signals, is_terminal: bool) -> End {
    loop {
        let mut fds = [
            PollFd::new(channel.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return End::Failed(Failure::Other, format!("poll: {error}")),
        }
        let [has_message, has_signal] = fds.map(|fd| fd.any().unwrap_or(true));
        if has_signal {
            while let Some(signal) = signals.next() {
                signal.forward(is_terminal, |request| {
                    if let Err(error) = channel.send(request) {
                        // The end of the conversation is seen below.
                        debug!("ask the sandbox {request:?}: {error}");
                    }
                });
            }
        }
        if has_message {
            match channel.receive() {
                Ok(Event::Exited { status }) => return End::Exited(status),
                Ok(Event::Failed { failure, message }) => return End::Failed(failure, message),
                Ok(event) => debug!("sandbox: {event:?}"),
                Err(error) => {
                    debug!("sandbox: {error}");
                    return End::Lost;
                }
            }
        }
    }
}
