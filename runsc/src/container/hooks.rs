// SPDX-License-Identifier: Apache-2.0
//! Hooks on the host: programs of the host's that are told of moments of a container's life.
//!
//! They run one after the other, each with the container's state on its standard input, no variable and no
//! file of ours, and every signal as it is by default. A hook leads a process group of its own, which is
//! killed when its time is up; it ends with the command that runs it. What it leaves running is its own
//! affair, and is not waited for.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        prctl,
        signal::{SigSet, Signal, killpg},
        wait::WaitStatus,
    },
    unistd::{self, Pid, pipe2},
};

use crate::{
    oci::hooks::{self, HookError},
    sandbox::{attend::Signals, plan::Hook, spawn},
    state::record::{Record, Status},
    sys::{self, Child},
};

/// What the hooks of one moment are given.
pub(super) struct Moment<'a> {
    /// The container's state.
    pub(super) state: String,
    /// Where they run. One that is gone is done without.
    pub(super) directory: &'a Path,
    /// Signals that this process holds back: one that asks it to end ends the hook.
    pub(super) signals: Option<&'a Signals>,
}

impl<'a> Moment<'a> {
    /// The moment at which the container is this, told in its bundle.
    pub(super) fn of(record: &'a Record, status: Status, signals: Option<&'a Signals>) -> Self {
        Moment { state: record.hook_state(status), directory: &record.bundle, signals }
    }
}

/// Runs hooks in order. The first that fails ends it.
pub(super) fn run(list: &[Hook], moment: &Moment<'_>) -> Result<(), HookError> {
    for (index, hook) in list.iter().enumerate() {
        run_one(hook, moment).map_err(|why| HookError { index, why })?;
    }
    Ok(())
}

/// Runs the hooks of a container that has just been started; the lock on it is not held, for they may take
/// as long as they like.
pub(crate) fn poststart(record: &Record, signals: Option<&Signals>) -> Result<(), HookError> {
    run(&record.hooks.poststart, &Moment::of(record, Status::Running, signals))
}

/// Runs every hook for the end of a container. As the specification has it, none that fails keeps the
/// next from its work, nor the container from going.
pub(super) fn poststop(record: &Record, signals: Option<&Signals>) {
    let moment = Moment::of(record, Status::Stopped, signals);
    for (index, hook) in record.hooks.poststop.iter().enumerate() {
        if let Err(why) = run_one(hook, &moment) {
            let error = HookError { index, why };
            tracing::warn!("poststop of container {}: {error}", record.id);
        }
    }
}

fn run_one(hook: &Hook, moment: &Moment<'_>) -> Result<(), String> {
    let failed =
        |error: io::Error| format!("fork/exec {}: {error}", String::from_utf8_lossy(&hook.path.0));
    let mut running = Running::start(hook, moment).map_err(failed)?;
    let time = hook.timeout_s.map(Duration::from_secs);
    let deadline = time.and_then(|time| Instant::now().checked_add(time));
    let end = running.await_end(deadline, moment.signals);
    if end != End::Itself {
        running.kill();
    }
    let status = spawn::reap(running.child.pid);
    match end {
        End::Itself => {}
        End::OutOfTime => return Err(hooks::out_of_time(hook.timeout_s.unwrap_or_default())),
        End::Signalled(signal) => return Err(format!("hook was ended by our {signal}")),
        End::Unseen(errno) => return Err(failed(errno.into())),
    }
    if let Some(errno) = running.no_program() {
        return Err(failed(errno));
    }
    let status = match status {
        Some(WaitStatus::Exited(_, code)) => code << 8,
        Some(WaitStatus::Signaled(_, signal, _)) => signal as i32,
        _ => return Err("how the hook ended is not known".into()),
    };
    let [output, error, _] = &running.streams;
    hooks::judge(status, [&output.text, &error.text])
}

/// How the wait for a hook ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By the hook's end.
    Itself,
    OutOfTime,
    Signalled(Signal),
    Unseen(Errno),
}

/// A hook at work.
struct Running {
    child: Child,
    /// Its standard output and error, and what it says before it is the hook: why it cannot be.
    streams: [Stream; 3],
}

impl Running {
    fn start(hook: &Hook, moment: &Moment<'_>) -> io::Result<Running> {
        let mut state = File::from(memfd_create("state", MFdFlags::MFD_CLOEXEC)?);
        state.write_all(moment.state.as_bytes())?;
        state.rewind()?;
        let (output, its_output) = Stream::open()?;
        let (error, its_error) = Stream::open()?;
        let (word, its_word) = Stream::open()?;
        let starter = unistd::getpid();
        let child = sys::spawn(0, || {
            let files = vec![OwnedFd::from(state), its_output, its_error];
            become_it(hook, moment.directory, starter, files, &its_word)
        })?;
        Ok(Running { child, streams: [output, error, word] })
    }

    /// Reads what it writes until it ends, its time is up, or this process is asked to end.
    fn await_end(&mut self, deadline: Option<Instant>, signals: Option<&Signals>) -> End {
        loop {
            let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                // Not rounded down to nothing: it would spin.
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            });
            let mut fds = vec![PollFd::new(self.child.pidfd.as_fd(), PollFlags::POLLIN)];
            fds.extend(signals.map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)));
            let open = self.streams.iter().filter_map(|it| it.file.as_ref());
            fds.extend(open.map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return End::Unseen(errno),
            }
            let has_ended = fds.first().and_then(PollFd::any).unwrap_or(true);
            for stream in &mut self.streams {
                stream.take();
            }
            if has_ended {
                self.streams.iter_mut().for_each(Stream::take_rest);
                return End::Itself;
            }
            if let Some(signal) = signals.and_then(Signals::ending) {
                return End::Signalled(signal);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return End::OutOfTime;
            }
        }
    }

    /// Kills it, and what it has started in its group. It is not reaped yet, so its number is its own.
    fn kill(&self) {
        // The group may not be there yet, and all of it may have ended by now, which is what we want.
        let _ = killpg(Pid::from_raw(self.child.pid), Signal::SIGKILL);
        let _ = sys::send_signal(self.child.pidfd.as_fd(), libc::SIGKILL);
    }

    /// Why it never was the program that it was to be.
    fn no_program(&self) -> Option<io::Error> {
        let [.., word] = &self.streams;
        let bytes = <[u8; 4]>::try_from(&*word.text).ok()?;
        Some(io::Error::from_raw_os_error(i32::from_ne_bytes(bytes)))
    }
}

/// The reading end of a pipe, and the beginning of what came out of it.
struct Stream {
    file: Option<File>,
    text: Vec<u8>,
}

impl Stream {
    /// A new one, and the other end.
    fn open() -> io::Result<(Stream, OwnedFd)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Stream { file: Some(reader.into()), text: Vec::new() }, writer))
    }

    /// Takes some of what is there; whether there may be more. What is not shown is dropped.
    fn take(&mut self) -> bool {
        let Some(file) = &mut self.file else { return false };
        let mut bytes = [0; 16 * 1024];
        let count = match file.read(&mut bytes) {
            Ok(count) if count > 0 => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            _ => {
                self.file = None;
                return false;
            }
        };
        let room = hooks::SHOWN.saturating_sub(self.text.len()).min(count);
        self.text.extend(bytes.iter().take(room));
        true
    }

    /// Takes what is left by a writer that has ended; others may still write.
    fn take_rest(&mut self) {
        while self.text.len() < hooks::SHOWN && self.take() {}
    }
}

/// In the child: becomes the hook. Returns when that fails.
fn become_it(
    hook: &Hook,
    directory: &Path,
    starter: Pid,
    files: Vec<OwnedFd>,
    word: &OwnedFd,
) -> i32 {
    let ready = || -> io::Result<OwnedFd> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if unistd::getppid() != starter {
            return Err(io::ErrorKind::Interrupted.into());
        }
        unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        // Rust ignores it, and what is ignored stays so in a new program.
        sys::reset_signal(Signal::SIGPIPE)?;
        SigSet::empty().thread_set_mask()?;
        match unistd::chdir(directory) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        sys::place_fds(files, 0, word.as_fd())
    };
    let failed = |word: &OwnedFd, error: io::Error| {
        let number = error.raw_os_error().unwrap_or(libc::EIO);
        // Whom it is for may have ended.
        let _ = unistd::write(word, &number.to_ne_bytes());
        127
    };
    let text = |bytes: &[u8]| CString::new(bytes);
    let texts = |list: &[crate::sandbox::plan::Bytes]| {
        list.iter().map(|it| text(&it.0)).collect::<Result<Vec<_>, _>>()
    };
    match ready() {
        Ok(word) => {
            let (Ok(path), Ok(args), Ok(env)) =
                (text(&hook.path.0), texts(&hook.args), texts(&hook.env))
            else {
                return failed(&word, Errno::EINVAL.into());
            };
            let Err(errno) = unistd::execve(&path, &args, &env);
            failed(&word, errno.into())
        }
        Err(error) => failed(word, error),
    }
}
