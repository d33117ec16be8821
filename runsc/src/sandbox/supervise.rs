// SPDX-License-Identifier: Apache-2.0
//! Waiting for a sandbox in the foreground: signals go in, the end comes out.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{signal::Signal, wait::WaitStatus},
};
use tracing::debug;

use super::{
    attend::{Caught, Signals},
    control::{Channel, ChannelError, Event, Failure, Request},
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

/// What else to do while a sandbox lives.
pub(crate) struct Watch<'a> {
    /// The signals to hand to the guest.
    pub(crate) signals: &'a Signals,
    /// Whether the guest has a terminal.
    pub(crate) is_terminal: bool,
    /// Whether one that asks this process to end does that until the first process runs: hooks run before it,
    /// and may hang.
    pub(crate) ends_early: bool,
    /// Where other commands connect to.
    pub(crate) listener: Option<OwnedFd>,
    /// One that is connected from the start.
    pub(crate) owner: Option<Channel>,
    /// Sees what the sandbox says, before anybody acts on it.
    pub(crate) on_event: &'a mut dyn FnMut(&Event),
}

/// Waits until the sandbox has ended, and leaves nothing of it.
pub(crate) fn supervise(sandbox: Sandbox, mut watch: Watch<'_>) -> Outcome {
    let owner = watch.owner.take().map(|channel| Client { number: 0, channel });
    let mut conversation = Conversation {
        sandbox: &sandbox,
        watch,
        clients: owner.into_iter().collect(),
        asked: VecDeque::new(),
        next: 1,
        has_started: false,
        awaiting_start: Vec::new(),
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
    // Without its gofer a sentry has nothing to write down, and may not notice.
    let is_gofer_lost = sandbox.is_gofer_lost();
    if !is_gofer_lost {
        sandbox.await_end();
    }
    // A gofer that failed is why the sentry failed.
    let gofer = sandbox.gofer_failure();
    let status = sandbox.end();
    match (gofer, lost) {
        (Some(message), _) => Outcome::Failed(Failure::Other, message),
        (None, Some(outcome)) => outcome,
        (None, None) if is_gofer_lost => {
            Outcome::Failed(Failure::Other, "the sandbox lost its gofer".into())
        }
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

/// How long a sandbox may go on without its gofer.
const LAST_WORD: Duration = Duration::from_secs(3);

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
    has_started: bool,
    awaiting_start: Vec<u64>,
}

impl Conversation<'_, '_> {
    /// Until the sandbox says how it ended; `None` if it just went away.
    fn run(&mut self) -> Option<Outcome> {
        let mut last_word: Option<Instant> = None;
        loop {
            let mut fds = vec![
                PollFd::new(self.sandbox.control.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.watch.signals.as_fd(), PollFlags::POLLIN),
            ];
            if last_word.is_none() {
                fds.push(PollFd::new(self.sandbox.gofer.pidfd.as_fd(), PollFlags::POLLIN));
            }
            fds.extend(
                self.clients.iter().map(|it| PollFd::new(it.channel.as_fd(), PollFlags::POLLIN)),
            );
            if let Some(listener) = &self.watch.listener
                && self.clients.len() < CLIENTS
            {
                fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
            }
            let timeout = last_word.map_or(PollTimeout::NONE, |deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)
            });
            match poll(&mut fds, timeout) {
                // The gofer ends before the sandbox has said its last word only if it was killed.
                Ok(0) => return None,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    return Some(Outcome::Failed(Failure::Other, format!("poll: {error}")));
                }
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
            let mut ready = ready.into_iter();
            let mut is_next_ready = || ready.next() == Some(true);
            let (control, signal) = (is_next_ready(), is_next_ready());
            if last_word.is_none() && is_next_ready() {
                if self.sandbox.was_gofer_killed() {
                    return None;
                }
                last_word = Some(Instant::now() + LAST_WORD);
            }
            let numbers: Vec<u64> = self.clients.iter().map(|it| it.number).collect();
            let speaking: Vec<u64> =
                numbers.into_iter().filter(|_| ready.next() == Some(true)).collect();
            if signal && self.watch.ends_early && !self.has_started {
                if let Some(signal) = self.watch.signals.ending() {
                    // Nothing of it is worth waiting for.
                    let _ = sys::send_signal(self.sandbox.boot.pidfd.as_fd(), libc::SIGKILL);
                    let why = format!("startContainer hook was ended by our {signal}");
                    return Some(Outcome::Failed(Failure::Other, why));
                }
            } else if signal {
                while let Some(signal) = self.watch.signals.next() {
                    self.forward(signal);
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
            Event::Done { .. } | Event::Tasks { .. } => {
                if let Some(Some(number)) = self.asked.pop_front() {
                    self.answer(number, &event);
                }
            }
            Event::Started => {
                self.has_started = true;
                for number in std::mem::take(&mut self.awaiting_start) {
                    self.answer(number, &Event::Started);
                }
            }
            Event::Created | Event::Joined { .. } => debug!("sandbox: {event:?}"),
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
        match client.channel.receive_files::<Request>() {
            // The answer is the end of the sandbox.
            Ok((Request::Wait, _)) => {}
            Ok((Request::AwaitStart, _)) if self.has_started => {
                self.answer(number, &Event::Started);
            }
            Ok((Request::AwaitStart, _)) => {
                if !self.awaiting_start.contains(&number) {
                    self.awaiting_start.push(number);
                }
            }
            Ok((request, files)) => self.ask(&request, &files, Some(number)),
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

    fn ask(&mut self, request: &Request, files: &[OwnedFd], asker: Option<u64>) {
        match self.sandbox.control.send_files(request, files) {
            Ok(()) => self.asked.push_back(asker),
            Err(error) => {
                debug!("ask the sandbox {request:?}: {error}");
                if let Some(number) = asker {
                    self.answer(number, &Event::Done { errno: libc::ESRCH });
                }
            }
        }
    }

    /// Hands one of our signals to the guest.
    fn forward(&mut self, signal: Caught) {
        signal.forward(self.watch.is_terminal, |request| self.ask(request, &[], None));
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
