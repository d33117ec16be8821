// SPDX-License-Identifier: Apache-2.0
//! What this host can do for sandboxes: each thing tried, not guessed, where that does no harm.
//!
//! A [`Finding`] is `fail` only if sandboxes cannot do without it; `warn` is what makes them weaker, slower or
//! limited, with the fix.

mod host;
mod kernel;

use std::{
    io::Read as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::libc;

use crate::{state::process, sys};

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// As it should be.
    Ok,
    /// Sandboxes work, but not at their best.
    Warn,
    /// Sandboxes do not work with it.
    Fail,
}

impl Health {
    /// As it is printed.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::Warn => "warn",
            Health::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What.
    pub(crate) subject: String,
    /// How it is.
    pub(crate) health: Health,
    /// What was seen, in a few words.
    pub(crate) found: String,
    /// What to do about it.
    pub(crate) fix: Option<String>,
}

fn ok(subject: &str, found: impl Into<String>) -> Finding {
    Finding { subject: subject.into(), health: Health::Ok, found: found.into(), fix: None }
}

fn warn(subject: &str, found: impl Into<String>, fix: &str) -> Finding {
    let fix = Some(fix.into());
    Finding { subject: subject.into(), health: Health::Warn, found: found.into(), fix }
}

fn fail(subject: &str, found: impl Into<String>, fix: &str) -> Finding {
    Finding { health: Health::Fail, ..warn(subject, found, fix) }
}

/// How long a program may take that does next to nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs this very program in a sandbox on each platform.
pub(crate) fn platforms() -> Vec<Finding> {
    ["systrap", "ptrace"].into_iter().map(platform).collect()
}

fn platform(name: &str) -> Finding {
    let subject = format!("platform {name}");
    let fix = "see the findings below; `runsc --debug do true` tells more";
    let start = Instant::now();
    match try_platform(name) {
        Ok(()) => ok(&subject, format!("runs a program in {} ms", start.elapsed().as_millis())),
        Err(why) => fail(&subject, why, fix),
    }
}

fn try_platform(name: &str) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(&program)
        .args([&format!("--platform={name}"), "--network=none", "do", "--cwd=/", "--"])
        .args([program.as_os_str(), "--version".as_ref()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let has_ended = sys::pidfd_open(pid).is_ok_and(|handle| process::has_ended(&handle, PATIENCE));
    if !has_ended {
        // The monitor takes its sandbox with it.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("the program did not end within {} s", PATIENCE.as_secs()));
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    if let Some(errors) = child.stderr {
        // What is there explains the failure as far as it goes.
        let _ = errors.take(4096).read_to_string(&mut text);
    }
    let last = text.lines().last().map(|line| line.trim_start_matches("runsc: ").to_string());
    Err(last.filter(|line| !line.is_empty()).unwrap_or_else(|| status.to_string()))
}

/// Everything else.
pub(crate) fn host() -> Vec<Finding> {
    let mut all = kernel::findings();
    all.extend(host::findings());
    all
}

/// Whether a process in these new namespaces can be had, and why not.
fn try_namespaces(flags: i32) -> std::io::Result<()> {
    let child = sys::spawn(flags, || 0)?;
    crate::sandbox::spawn::reap(child.pid);
    Ok(())
}

/// The namespaces of a sandbox, with their names.
const NAMESPACES: [(&str, i32); 6] = [
    ("mount", libc::CLONE_NEWNS),
    ("pid", libc::CLONE_NEWPID),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("net", libc::CLONE_NEWNET),
    ("cgroup", libc::CLONE_NEWCGROUP),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_comes_with_its_fix() {
        for finding in host() {
            let is_trouble = finding.health != Health::Ok;
            assert_eq!(finding.fix.is_some(), is_trouble, "{finding:?}");
            assert!(!finding.found.is_empty(), "{finding:?}");
        }
    }
}
