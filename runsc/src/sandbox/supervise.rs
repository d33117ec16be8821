// SPDX-License-Identifier: Apache-2.0
//! Waiting for a sandbox in the foreground: signals go in, the end comes out.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
};

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
    control::{Channel, ChannelError, Event, Failure, Request, Target},
    spawn::Sandbox,
};
use crate::sys;

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

/// What else to do while a sandbox lives.
pub(crate) struct Watch<'a> {
    /// The signals to hand to the guest.
    pub(crate) signals: &'a Signals,
    /// Whether the guest has a terminal.
    pub(crate) is_terminal: bool,
    /// Where other commands connect to.
    pub(crate) listener: Option<OwnedFd>,
    /// Sees what the sandbox says, before anybody acts on it.
    pub(crate) on_event: &'a mut dyn FnMut(&Event),
}

/// Waits until the sandbox has ended, and leaves nothing of it.
pub(crate) fn supervise(sandbox: Sandbox, watch: Watch<'_>) -> Outcome {
    let mut conversation = Conversation {
        sandbox: &sandbox,
        watch,
        clients: Vec::new(),
        asked: VecDeque::new(),
        next: 0,
    };
    let outcome = conversation.run();
    let waiting: Vec<Channel> = conversation.clients.into_iter().map(|it| it.channel).collect();
    let lost = match outcome {
        Some(Outcome::Exited(status)) => {
            sandbox.end();
            for client in waiting {
                // It asked to wait, and may have gone since.
                let _ = client.send(&Event::Exited { status });
            }
            return Outcome::Exited(status);
        }
        other => other,
    };
    sandbox.await_end();
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
            "the sandbox was killed by its own seccomp filter (the host's log names the call)"
                .into()
        }
        Some(WaitStatus::Signaled(_, signal, _)) => format!("the sandbox was killed by {signal}"),
        Some(WaitStatus::Exited(_, code)) => {
            format!("the sandbox ended without a word (exit code {code})")
        }
        _ => "the sandbox is lost".into(),
    }
}

/// No more commands may be connected at once.
const CLIENTS: usize = 256;

struct Client {
    number: u64,
    channel: Channel,
}

struct Conversation<'s, 'w> {
    sandbox: &'s Sandbox,
    watch: Watch<'w>,
    clients: Vec<Client>,
    /// Who made the requests that the sandbox has not answered yet, in order. It answers each.
    asked: VecDeque<Option<u64>>,
    next: u64,
}

impl Conversation<'_, '_> {
    /// Until the sandbox says how it ended; `None` if it just went away.
    fn run(&mut self) -> Option<Outcome> {
        loop {
            let mut fds = vec![
                PollFd::new(self.sandbox.control.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.watch.signals.0.as_fd(), PollFlags::POLLIN),
            ];
            fds.extend(
                self.clients.iter().map(|it| PollFd::new(it.channel.as_fd(), PollFlags::POLLIN)),
            );
            if let Some(listener) = &self.watch.listener
                && self.clients.len() < CLIENTS
            {
                fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    return Some(Outcome::Failed(Failure::Other, format!("poll: {error}")));
                }
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
            let mut ready = ready.into_iter();
            let (control, signal) = (ready.next() == Some(true), ready.next() == Some(true));
            let numbers: Vec<u64> = self.clients.iter().map(|it| it.number).collect();
            let speaking: Vec<u64> =
                numbers.into_iter().filter(|_| ready.next() == Some(true)).collect();
            if signal {
                while let Ok(Some(info)) = self.watch.signals.0.read_signal() {
                    self.forward(info.ssi_signo.cast_signed(), info.ssi_code == libc::SI_KERNEL);
                }
            }
            for number in speaking {
                self.hear(number);
            }
            if ready.next() == Some(true) {
                self.welcome();
            }
            if control && let Some(end) = self.listen() {
                return end;
            }
        }
    }

    /// One message of the sandbox: whether and how it is the last.
    fn listen(&mut self) -> Option<Option<Outcome>> {
        let event = match self.sandbox.control.receive() {
            Ok(event) => event,
            Err(ChannelError::Closed) => return Some(None),
            Err(error) => {
                debug!("sandbox: {error}");
                return Some(None);
            }
        };
        (self.watch.on_event)(&event);
        match event {
            Event::Exited { status } => return Some(Some(Outcome::Exited(status))),
            Event::Failed { failure, message } => {
                return Some(Some(Outcome::Failed(failure, one_line(&message))));
            }
            Event::Report { text } => report(&text),
            Event::Done { .. } => {
                if let Some(Some(number)) = self.asked.pop_front() {
                    self.answer(number, &event);
                }
            }
            Event::Created | Event::Started => debug!("sandbox: {event:?}"),
        }
        None
    }

    fn welcome(&mut self) {
        let Some(listener) = &self.watch.listener else { return };
        match sys::accept(listener.as_fd()) {
            Ok(socket) => {
                self.clients.push(Client { number: self.next, channel: Channel::new(socket) });
                self.next += 1;
            }
            Err(error) => debug!("accept: {error}"),
        }
    }

    /// One message of a client.
    fn hear(&mut self, number: u64) {
        let Some(client) = self.clients.iter().find(|it| it.number == number) else { return };
        match client.channel.receive::<Request>() {
            // The answer is the end of the sandbox.
            Ok(Request::Wait) => {}
            Ok(request) => self.ask(&request, Some(number)),
            Err(error) => {
                if !matches!(error, ChannelError::Closed) {
                    debug!("client: {error}");
                }
                self.clients.retain(|it| it.number != number);
            }
        }
    }

    fn answer(&mut self, number: u64, event: &Event) {
        if let Some(client) = self.clients.iter().find(|it| it.number == number)
            && let Err(error) = client.channel.send(event)
        {
            debug!("client: {error}");
        }
    }

    fn ask(&mut self, request: &Request, asker: Option<u64>) {
        match self.sandbox.control.send(request) {
            Ok(()) => self.asked.push_back(asker),
            Err(error) => {
                debug!("ask the sandbox {request:?}: {error}");
                if let Some(number) = asker {
                    self.answer(number, &Event::Done { errno: libc::ESRCH });
                }
            }
        }
    }

    /// Hands one of our signals to the guest. What a terminal sends goes to whom it would go to.
    fn forward(&mut self, signal: i32, is_from_kernel: bool) {
        let of_terminal =
            matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGWINCH);
        let target = match signal {
            // Without a terminal of the guest's own we stop as a whole, for our shell to see.
            libc::SIGTSTP if !self.watch.is_terminal => {
                self.ask(&Request::Signal { signal: libc::SIGSTOP, target: Target::All }, None);
                // The only way this fails is that there is no such signal.
                let _ = raise(Signal::SIGSTOP);
                self.ask(&Request::Signal { signal: libc::SIGCONT, target: Target::All }, None);
                return;
            }
            _ if of_terminal && is_from_kernel => Target::Foreground,
            _ => Target::Init,
        };
        self.ask(&Request::Signal { signal, target }, None);
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
