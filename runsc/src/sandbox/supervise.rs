// SPDX-License-Identifier: Apache-2.0
//! Waiting for a sandbox in the foreground: signals go in, the end comes out.

use std::os::fd::AsFd;

use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, raise},
        signalfd::{SfdFlags, SignalFd},
        wait::WaitStatus,
    },
};
use tracing::debug;

use super::{
    control::{ChannelError, Event, Failure, Request, Target},
    spawn::Sandbox,
};

/// How a sandbox ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The first process ended: a status as wait(2) has it.
    Exited(i32),
    /// The sandbox did not come to life, or was lost.
    Failed(Failure, String),
}

impl Outcome {
    /// The exit code that a shell would show, of a guest that ended.
    pub(crate) fn code(status: i32) -> u8 {
        let code = if libc::WIFSIGNALED(status) {
            128 + libc::WTERMSIG(status)
        } else {
            libc::WEXITSTATUS(status)
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

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
}

/// Waits until the sandbox has ended, and leaves nothing of it.
pub(crate) fn supervise(sandbox: Sandbox, signals: &Signals, is_terminal: bool) -> Outcome {
    let outcome = converse(&sandbox, signals, is_terminal);
    let lost = match outcome {
        Some(outcome @ Outcome::Exited(_)) => {
            sandbox.end();
            return outcome;
        }
        other => other,
    };
    // A gofer that failed is why the sentry failed.
    let gofer = sandbox.gofer_failure();
    let status = sandbox.end();
    match (gofer, lost) {
        (Some(message), _) => Outcome::Failed(Failure::Other, message),
        (None, Some(outcome)) => outcome,
        (None, None) => Outcome::Failed(Failure::Other, epitaph(status)),
    }
}

fn epitaph(status: Option<WaitStatus>) -> String {
    match status {
        Some(WaitStatus::Signaled(_, Signal::SIGSYS, _)) => {
            "the sandbox was killed by its own seccomp filter".into()
        }
        Some(WaitStatus::Signaled(_, signal, _)) => format!("the sandbox was killed by {signal}"),
        Some(WaitStatus::Exited(_, code)) => {
            format!("the sandbox ended without a word (exit code {code})")
        }
        _ => "the sandbox is lost".into(),
    }
}

fn converse(sandbox: &Sandbox, signals: &Signals, is_terminal: bool) -> Option<Outcome> {
    loop {
        let mut fds = [
            PollFd::new(sandbox.control.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.0.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Some(Outcome::Failed(Failure::Other, format!("poll: {error}"))),
        }
        let [control, signal] = fds.map(|fd| fd.any().unwrap_or(true));
        if signal {
            while let Ok(Some(info)) = signals.0.read_signal() {
                forward(sandbox, info.ssi_signo.cast_signed(), is_terminal);
            }
        }
        if !control {
            continue;
        }
        match sandbox.control.receive() {
            Ok(Event::Exited { status }) => return Some(Outcome::Exited(status)),
            Ok(Event::Failed { failure, message }) => {
                return Some(Outcome::Failed(failure, one_line(&message)));
            }
            Ok(Event::Report { text }) => report(&text),
            Ok(event) => debug!("sandbox: {event:?}"),
            Err(ChannelError::Closed) => return None,
            Err(error) => {
                debug!("sandbox: {error}");
                return None;
            }
        }
    }
}

/// Hands one of our signals to the guest.
fn forward(sandbox: &Sandbox, signal: i32, is_terminal: bool) {
    let of_terminal =
        matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGWINCH);
    let target = match (is_terminal, signal) {
        (true, _) if of_terminal => Target::Foreground,
        // Without a terminal of the guest's own we stop as a whole, for our shell to see.
        (false, libc::SIGTSTP) => {
            send(sandbox, libc::SIGSTOP, Target::All);
            // The only way this fails is that there is no such signal.
            let _ = raise(Signal::SIGSTOP);
            send(sandbox, libc::SIGCONT, Target::All);
            return;
        }
        _ => Target::Init,
    };
    send(sandbox, signal, target);
}

fn send(sandbox: &Sandbox, signal: i32, target: Target) {
    if let Err(error) = sandbox.control.send(&Request::Signal { signal, target }) {
        debug!("forward signal {signal}: {error}");
    }
}

/// Guest words on our terminal: no control bytes but newlines.
fn report(text: &str) {
    use std::io::Write as _;
    let clean: String =
        text.chars().filter(|character| !character.is_control() || *character == '\n').collect();
    // Nobody may be listening on standard error any more.
    let _ = write!(std::io::stderr(), "{clean}");
}

fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_a_shells() {
        assert_eq!(Outcome::code(0), 0);
        assert_eq!(Outcome::code(42 << 8), 42);
        assert_eq!(Outcome::code(9), 137);
        assert_eq!(Outcome::code(11 | 0x80), 139);
    }
}
