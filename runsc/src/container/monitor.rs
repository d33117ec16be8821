// SPDX-License-Identifier: Apache-2.0
//! The monitor of a detached container: starts its sandbox, waits, and ends as it ended.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd, RawFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl, resource,
        signal::{self, SigSet, Signal},
        stat::Mode,
        wait::WaitStatus,
    },
    unistd::{self, Pid, pipe2},
};
use serde::{Deserialize, Serialize};

use super::{
    hooks::{self, Moment},
    namespaces::Namespaces,
    title,
    view::{self, View},
};
use crate::{
    log,
    sandbox::{
        attend::Signals,
        control::{Channel, Event, Failure},
        spawn::{self, Launch},
        supervise::{self, Outcome, Watch},
        uts::Names,
    },
    state::{
        process::ProcessId,
        record::{Record, Status},
    },
    sys,
};

/// What a monitor tells the command that started it, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum News {
    /// It is where the container is to be, and waits at its gate.
    Placed,
    /// The sandbox's processes are there.
    Processes {
        /// The sentry.
        sentry: ProcessId,
        /// The gofer.
        gofer: ProcessId,
    },
    /// The container is made.
    Created,
    /// A further process runs: its number inside.
    Joined(i32),
    /// Nothing came of it, and the monitor is ending.
    Failed(String),
}

/// What a monitor is started with.
pub(crate) struct Job<'a> {
    /// Its sandbox.
    pub(crate) launch: Launch<'a>,
    /// Where other commands connect to.
    pub(crate) listener: OwnedFd,
    /// Whether the streams are a terminal made for the container, for the monitor to control.
    pub(crate) is_new_terminal: bool,
    /// Where it stands.
    pub(crate) namespaces: Namespaces,
    /// Where it waits before it starts the sandbox, if there are hooks to be run.
    pub(crate) gate: Option<Gate>,
    /// Our lock on the container's state, which is not the monitor's to hold.
    pub(crate) lock: RawFd,
    /// Where it writes down how the container ended.
    pub(crate) exit_note: PathBuf,
    /// Whom it serves from the start, and ends with: a command that waits for the container.
    pub(crate) owner: Option<Channel>,
}

/// Where a monitor waits while hooks see to its namespaces and its cgroup, and runs those that are for it.
pub(crate) struct Gate {
    /// Readable when it may go on.
    pub(crate) go: OwnedFd,
    /// The container as it is written down.
    pub(crate) record: Record,
}

impl Gate {
    fn pass(mut self, news: &mut File, signals: &Signals) -> Result<(), String> {
        view::separate_mounts()?;
        tell(news, &News::Placed);
        File::from(self.go)
            .read_exact(&mut [0])
            .map_err(|error| format!("wait for the hooks: {error}"))?;
        let me = ProcessId::of(unistd::getpid().as_raw());
        self.record.monitor = Some(me.map_err(|error| format!("look at the monitor: {error}"))?);
        let moment = Moment {
            directory: &self.record.rootfs,
            ..Moment::of(&self.record, Status::Creating, Some(signals))
        };
        hooks::run(&self.record.hooks.create_container, &moment)
            .map_err(|error| format!("error during container init: {error}"))
    }
}

/// A monitor that is at work.
#[derive(Debug)]
pub(crate) struct Monitor {
    /// The process.
    pub(crate) process: ProcessId,
    news: BufReader<File>,
}

impl Monitor {
    /// Starts the monitor of a container. It ends with this process until it has said `Created`, or for
    /// good if it has an owner.
    pub(crate) fn start(job: Job<'_>) -> io::Result<Monitor> {
        Monitor::fork(|news| live(job, news))
    }

    /// Starts a process that runs `live`, which says what it ends like. It ends with this process until it
    /// outlives it by its own word.
    pub(super) fn fork(live: impl FnOnce(&mut File) -> Result<i32, String>) -> io::Result<Monitor> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        let starter = unistd::getpid();
        let child = sys::spawn(0, || {
            // The reading end stays open here too; PDEATHSIG, not a broken pipe, tells of our
            // starter's death.
            let mut news = File::from(writer);
            match end_with(starter).and_then(|()| live(&mut news)) {
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

    /// Waits until there is news. A signal that asks this process to end is the monitor's to heed meanwhile,
    /// which ends the hook that it runs.
    pub(crate) fn await_news(&self, signals: &Signals) -> io::Result<()> {
        while self.news.buffer().is_empty() {
            let mut fds = [self.news.get_ref().as_fd(), signals.as_fd()]
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            if fds.first().and_then(PollFd::any).unwrap_or(true) {
                break;
            }
            // A monitor that has ended has said why.
            if let (Some(signal), Some(monitor)) = (signals.ending(), self.process.open()) {
                sys::send_signal(monitor.as_fd(), signal as i32)?;
            }
        }
        Ok(())
    }

    /// Waits for its end: a status as wait(2) has it, or its last word.
    pub(crate) fn wait(mut self) -> Result<i32, String> {
        let status = spawn::reap(self.process.pid);
        if let Ok(News::Failed(message)) = self.next() {
            return Err(message);
        }
        match status {
            Some(WaitStatus::Exited(_, code)) => Ok(code << 8),
            Some(WaitStatus::Signaled(_, signal, _)) => Ok(signal as i32),
            _ => Err("the container's monitor is lost".into()),
        }
    }
}

/// Tells whoever started this process.
pub(super) fn tell(news: &mut File, what: &News) {
    let line = serde_json::to_string(what).unwrap_or_default();
    // Without a reader we are about to be killed.
    let _ = writeln!(news, "{line}");
}

/// Has this process end when `starter` does, even if that has happened already.
fn end_with(starter: Pid) -> Result<(), String> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| format!("pdeathsig: {error}"))?;
    if unistd::getppid() == starter { Ok(()) } else { Err("nobody waits for us".into()) }
}

/// Goes on when the process ends that has started this one.
pub(super) fn outlive_starter() {
    // It cannot fail; and that the starter is still there is what it is told for.
    let _ = prctl::set_pdeathsig(None);
}

/// In the monitor: the container's whole life. Its status, or why it never lived.
fn live(job: Job<'_>, news: &mut File) -> Result<i32, String> {
    let Job { launch, listener, is_new_terminal, namespaces, gate, lock, exit_note, owner } = job;
    let step = |step: &'static str| move |error: io::Error| format!("{step}: {error}");
    sys::close_copy(lock);
    unistd::setsid().map_err(|error| format!("setsid: {error}"))?;
    if let (true, [terminal, ..]) = (is_new_terminal, &launch.stdio) {
        // Keys that signal, and changes of the window's size, come to us to be handed on.
        sys::control_terminal(terminal.as_fd()).map_err(step("control the terminal"))?;
    }
    if let Some(placement) = &launch.cgroup {
        placement.enter().map_err(|error| error.to_string())?;
    }
    namespaces.enter()?;
    let (host, domain) = (launch.boot.hostname.clone(), launch.boot.domainname.clone());
    Names { host, domain }.show();
    let signals = Signals::hold().map_err(|error| format!("hold signals: {error}"))?;
    if let Some(gate) = gate {
        gate.pass(news, &signals)?;
    }
    adjust_oom_score(launch.boot.process.oom_score_adj);
    let is_terminal = launch.boot.process.terminal;
    let args = launch.boot.process.args.clone();
    let ends_early = owner.is_some() && !launch.boot.extras.start_hooks.is_empty();
    let view = View::of(&launch.boot, &launch.gofer);
    let exit_note = Note::open(&exit_note).map_err(step("open the container's directory"))?;
    let sandbox = spawn::start(launch).map_err(|error| error.to_string())?;
    // From here on the streams are the sandbox's alone: their readers wait for the last writer.
    let is_owned = owner.is_some();
    let_go_of_streams()?;
    if !is_owned {
        let_go_of_log()?;
    }
    title::show(&args);
    let id = |pid| ProcessId::of(pid).map_err(step("look at the sandbox"));
    let (sentry, gofer) = (id(sandbox.boot.pid)?, id(sandbox.gofer.pid)?);
    tell(news, &News::Processes { sentry, gofer });
    let mut was_created = false;
    let mut on_event = |event: &Event| {
        if matches!(event, Event::Created | Event::Started) && !was_created {
            was_created = true;
            // The mount points are there by now.
            if let Some(Err(error)) = view.as_ref().map(View::enter) {
                // Our starter ends us: engines would take the host's files for the container's.
                tell(news, &News::Failed(error));
                return;
            }
            if !is_owned {
                outlive_starter();
            }
            tell(news, &News::Created);
        }
    };
    let watch = Watch {
        signals: &signals,
        is_terminal,
        ends_early,
        listener: Some(listener),
        owner,
        on_event: &mut on_event,
    };
    match supervise::supervise(sandbox, watch) {
        Outcome::Exited(status) => {
            if let Err(error) = exit_note.write(&status.to_string()) {
                tracing::debug!("write down how the container ended: {error}");
            }
            Ok(status)
        }
        // Whoever waits for a container that was made sees the death of its sandbox.
        Outcome::Failed(Failure::Other, message) if was_created => {
            tracing::error!("{message}");
            if is_owned {
                tell(news, &News::Failed(message));
            }
            Ok(libc::SIGKILL)
        }
        Outcome::Failed(_, message) => Err(message),
    }
}

/// Sets the score by which the host's out-of-memory killer judges this process, and all that it starts, if
/// one is asked for. To lower it takes a right; inside, the guest is shown what was asked for all the same.
pub(super) fn adjust_oom_score(score: Option<i32>) {
    let Some(score) = score else { return };
    if let Err(error) = fs::write("/proc/self/oom_score_adj", score.to_string()) {
        tracing::warn!("process.oomScoreAdj: {score} is not set on the host: {error}");
    }
}

/// A file to be, that is found from whichever root.
struct Note {
    directory: OwnedFd,
    name: OsString,
}

impl Note {
    fn open(path: &Path) -> io::Result<Note> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let (parent, name) = (path.parent().ok_or_else(invalid)?, path.file_name());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(parent, flags, Mode::empty())?;
        Ok(Note { directory, name: name.ok_or_else(invalid)?.into() })
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        let file = openat(&self.directory, &*self.name, flags | OFlag::O_NOFOLLOW, mode)?;
        File::from(file).write_all(text.as_bytes())
    }
}

/// Makes this process's standard streams the null device.
pub(super) fn let_go_of_streams() -> Result<(), String> {
    let_go(0..3)
}

/// The same for the copy of standard error that this process logs to.
pub(super) fn let_go_of_log() -> Result<(), String> {
    let_go(log::stderr_copy())
}

fn let_go(numbers: impl IntoIterator<Item = RawFd>) -> Result<(), String> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|error| format!("open /dev/null: {error}"))?;
    for number in numbers {
        sys::replace(null.as_fd(), number)
            .map_err(|error| format!("let go of the standard streams: {error}"))?;
    }
    Ok(())
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
