// SPDX-License-Identifier: Apache-2.0
//! Killing a command at any of its host calls.
//!
//! A helper of this binary ([`become_traced`]) asks to be traced and executes the command, so that its
//! first call that counts is the command's own.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::{
        ptrace,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

const FLAG: &str = "--traced";
const DEADLINE: Duration = Duration::from_secs(90);
/// How long somebody must be silent to be waiting.
const IDLE: Duration = Duration::from_millis(500);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The command itself.
    Command,
    /// The first process that it starts and that stays the same program.
    FirstChild,
}

/// How far a traced command came.
#[derive(Debug)]
pub enum Progress {
    /// It was killed as it entered the call of this number.
    Killed {
        /// The system call's number.
        syscall: u64,
    },
    /// It ended before, after so many calls.
    Ended {
        /// How many calls it made.
        calls: usize,
        /// How it ended.
        status: WaitStatus,
    },
}

/// If this process was started to be traced: becomes the command. Call this first in `main`.
pub fn become_traced() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|first| first != FLAG) {
        return;
    }
    let error = match (ptrace::traceme(), args.next()) {
        (Ok(()), Some(program)) => Command::new(program).args(args).exec().to_string(),
        (traced, program) => format!("{traced:?} {program:?}"),
    };
    eprintln!("become traced: {error}");
    std::process::exit(127);
}

/// Runs a command until its victim enters its `nth` host call (from 1), and kills it there.
pub fn kill_at(
    program: &std::path::Path,
    args: &[OsString],
    victim: Victim,
    nth: usize,
) -> Result<Progress> {
    let child = Command::new(std::env::current_exe()?)
        .arg(FLAG)
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let command = Pid::from_raw(i32::try_from(child.id())?);
    let deadline = Instant::now() + DEADLINE;
    let first = wait(command, deadline)?;
    ensure!(matches!(first, WaitStatus::Stopped(_, Signal::SIGTRAP)), "not traced: {first:?}");
    let mut options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_TRACEEXEC;
    if victim == Victim::FirstChild {
        options |= ptrace::Options::PTRACE_O_TRACEFORK
            | ptrace::Options::PTRACE_O_TRACEVFORK
            | ptrace::Options::PTRACE_O_TRACECLONE;
    }
    ptrace::setoptions(command, options).context("set the trace up")?;
    let traced = match victim {
        Victim::Command => command,
        Victim::FirstChild => match first_child(command, deadline)? {
            Ok(child) => child,
            Err(status) => return Ok(Progress::Ended { calls: 0, status }),
        },
    };
    let mut ended = None;
    let progress = step_to(traced, nth, deadline, || {
        if victim == Victim::FirstChild && ended.is_none() {
            ended = try_wait(command).ok().flatten().filter(|status| is_end(*status));
        }
        ended.is_some()
    })?;
    if victim == Victim::FirstChild && ended.is_none() {
        // The command itself goes on, or fails for the loss of its child.
        wait_end(command, deadline)?;
    }
    Ok(progress)
}

/// Lets the command run to its first child, which is then stopped; the command is let go.
fn first_child(command: Pid, deadline: Instant) -> Result<Result<Pid, WaitStatus>> {
    loop {
        let _ = ptrace::cont(command, None);
        match wait(command, deadline)? {
            WaitStatus::PtraceEvent(..) => {
                let child = Pid::from_raw(i32::try_from(ptrace::getevent(command)?)?);
                let stopped = wait(child, deadline)?;
                ensure!(matches!(stopped, WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..)));
                // Its own children are its own affair.
                ptrace::setoptions(child, ptrace::Options::PTRACE_O_TRACESYSGOOD)?;
                ptrace::detach(command, None)?;
                return Ok(Ok(child));
            }
            WaitStatus::Stopped(..) => {}
            status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => return Ok(Err(status)),
            other => bail!("unexpected {other:?}"),
        }
    }
}

/// Steps from call to call. What only waits once `is_over` has gone as far as it will: it is killed there.
fn step_to(
    pid: Pid,
    nth: usize,
    deadline: Instant,
    mut is_over: impl FnMut() -> bool,
) -> Result<Progress> {
    let (mut calls, mut is_inside, mut signal) = (0, false, None);
    loop {
        match ptrace::syscall(pid, signal.take()) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => bail!("go on: {error}"),
        }
        let status = match wait_while(pid, deadline, &mut is_over)? {
            Some(status) => status,
            None => {
                kill(pid, Signal::SIGKILL).context("kill")?;
                return Ok(Progress::Ended { calls, status: wait_end(pid, deadline)? });
            }
        };
        match status {
            WaitStatus::PtraceSyscall(_) => {
                is_inside = !is_inside;
                if !is_inside {
                    continue;
                }
                calls += 1;
                if calls == nth {
                    let syscall = syscall_number(pid);
                    kill(pid, Signal::SIGKILL).context("kill")?;
                    wait_end(pid, deadline)?;
                    return Ok(Progress::Killed { syscall });
                }
            }
            WaitStatus::PtraceEvent(..) => {}
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, other) => signal = Some(other),
            status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {
                return Ok(Progress::Ended { calls, status });
            }
            other => bail!("unexpected {other:?}"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn syscall_number(pid: Pid) -> u64 {
    ptrace::getregs(pid).map_or(u64::MAX, |registers| registers.orig_rax)
}

#[cfg(target_arch = "aarch64")]
fn syscall_number(pid: Pid) -> u64 {
    ptrace::getregs(pid).map_or(u64::MAX, |registers| registers.regs[8])
}

fn wait_end(pid: Pid, deadline: Instant) -> Result<WaitStatus> {
    loop {
        match wait(pid, deadline)? {
            status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => return Ok(status),
            _ => {
                // Stopped once more on its way out, or killed meanwhile.
                let _ = ptrace::cont(pid, None);
            }
        }
    }
}

fn is_end(status: WaitStatus) -> bool {
    matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..))
}

fn wait(pid: Pid, deadline: Instant) -> Result<WaitStatus> {
    wait_while(pid, deadline, &mut || false)?.context("nothing to wait for")
}

/// Waits for the next news of a process; nothing if there is none for a while after `is_over`.
fn wait_while(
    pid: Pid,
    deadline: Instant,
    is_over: &mut dyn FnMut() -> bool,
) -> Result<Option<WaitStatus>> {
    let mut over = None;
    loop {
        if let Some(status) = try_wait(pid)? {
            return Ok(Some(status));
        }
        if is_over() && over.get_or_insert_with(Instant::now).elapsed() > IDLE {
            return Ok(None);
        }
        if Instant::now() > deadline {
            // Whoever is stuck must not outlive the test.
            let _ = kill(pid, Signal::SIGKILL);
            bail!("{pid} is stuck");
        }
        std::thread::yield_now();
    }
}

fn try_wait(pid: Pid) -> Result<Option<WaitStatus>> {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Ok(None),
        result => result.map(Some).with_context(|| format!("wait for {pid}")),
    }
}
