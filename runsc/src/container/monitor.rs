// SPDX-License-Identifier: Apache-2.0
//! The monitor of a detached container: starts its sandbox, waits, and ends as it ended.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    fcntl::{OFlag, open},
    libc,
    sys::{
        prctl, resource,
        signal::{self, SigSet, Signal},
        stat::Mode,
    },
    unistd::{self, pipe2},
};
use serde::{Deserialize, Serialize};

use crate::{
    sandbox::{
        control::{Event, Failure},
        spawn::{self, Launch},
        supervise::{self, Outcome, Signals, Watch},
    },
    state::process::ProcessId,
    sys,
};

/// What a monitor tells the command that started it, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum News {
    /// The sandbox's processes are there.
    Processes {
        /// The sentry.
        sentry: ProcessId,
        /// The gofer.
        gofer: ProcessId,
    },
    /// The container is made.
    Created,
    /// It is not, and the monitor is ending.
    Failed(String),
}

/// A monitor that is at work.
#[derive(Debug)]
pub(crate) struct Monitor {
    /// The process.
    pub(crate) process: ProcessId,
    news: BufReader<File>,
}

impl Monitor {
    /// Starts the monitor of `launch`. It ends with this process until it has said `Created`.
    pub(crate) fn start(
        launch: Launch<'_>,
        listener: OwnedFd,
        is_new_terminal: bool,
    ) -> io::Result<Monitor> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        let child = sys::spawn(0, || {
            // The reading end stays open here too; PDEATHSIG, not a broken pipe, tells of our
            // starter's death.
            let mut news = File::from(writer);
            match live(launch, listener, is_new_terminal, &mut news) {
                Ok(status) => end_like(status),
                Err(message) => {
                    tell(&mut news, &News::Failed(message));
                    1
                }
            }
        })?;
        let process = ProcessId::of(child.pid)?;
        Ok(Monitor { process, news: BufReader::new(File::from(reader)) })
    }

    /// Waits for the next news.
    pub(crate) fn next(&mut self) -> Result<News, String> {
        let mut line = String::new();
        match self.news.read_line(&mut line) {
            Ok(0) => Err("the container's monitor ended without a word".into()),
            Ok(_) => serde_json::from_str(&line).map_err(|error| format!("monitor: {error}")),
            Err(error) => Err(format!("monitor: {error}")),
        }
    }
}

fn tell(news: &mut File, what: &News) {
    let line = serde_json::to_string(what).unwrap_or_default();
    // Without a reader we are about to be killed.
    let _ = writeln!(news, "{line}");
}

/// In the monitor: the container's whole life. Its status, or why it never lived.
fn live(
    launch: Launch<'_>,
    listener: OwnedFd,
    is_new_terminal: bool,
    news: &mut File,
) -> Result<i32, String> {
    let step = |step: &'static str| move |error: io::Error| format!("{step}: {error}");
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("pdeathsig: {error}"))?;
    unistd::setsid().map_err(|error| format!("setsid: {error}"))?;
    if let (true, [terminal, ..]) = (is_new_terminal, &launch.stdio) {
        // Keys that signal, and changes of the window's size, come to us to be handed on.
        sys::control_terminal(terminal.as_fd()).map_err(step("control the terminal"))?;
    }
    let signals = Signals::hold().map_err(|error| format!("hold signals: {error}"))?;
    let is_terminal = launch.boot.process.terminal;
    let sandbox = spawn::start(launch).map_err(|error| error.to_string())?;
    // From here on the streams are the sandbox's alone: their readers wait for the last writer.
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|error| format!("open /dev/null: {error}"))?;
    for number in 0..3 {
        sys::replace(null.as_fd(), number).map_err(step("let go of the standard streams"))?;
    }
    let id = |pid| ProcessId::of(pid).map_err(step("look at the sandbox"));
    let (sentry, gofer) = (id(sandbox.boot.pid)?, id(sandbox.gofer.pid)?);
    tell(news, &News::Processes { sentry, gofer });
    let mut was_created = false;
    let mut on_event = |event: &Event| {
        if matches!(event, Event::Created | Event::Started) && !was_created {
            was_created = true;
            // Our starter may go now. That it is still there is what the pipe is for.
            let _ = prctl::set_pdeathsig(None);
            tell(news, &News::Created);
        }
    };
    let watch =
        Watch { signals: &signals, is_terminal, listener: Some(listener), on_event: &mut on_event };
    match supervise::supervise(sandbox, watch) {
        Outcome::Exited(status) => Ok(status),
        // Whoever waits for a container that was made sees the death of its sandbox.
        Outcome::Failed(Failure::Other, _) if was_created => Ok(libc::SIGKILL),
        Outcome::Failed(_, message) => Err(message),
    }
}

/// Ends this process as the container's first process ended. Returns the exit code if it was no signal.
fn end_like(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) {
        let number = libc::WTERMSIG(status);
        if let Ok(signal) = Signal::try_from(number) {
            // None of these can fail for a real signal; the exit code below says the same.
            let _ = resource::setrlimit(resource::Resource::RLIMIT_CORE, 0, 0);
            let _ = sys::reset_signal(signal);
            let _ = SigSet::empty().thread_set_mask();
            let _ = signal::raise(signal);
        }
        return 128 + number;
    }
    libc::WEXITSTATUS(status)
}
