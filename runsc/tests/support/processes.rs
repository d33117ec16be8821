// SPDX-License-Identifier: Apache-2.0
//! The host processes of a container, and of what was added to it.

use std::{
    fs,
    io::Read as _,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::Bundle;

/// The processes that a container's state names.
pub(crate) struct Processes {
    /// The one in the pid file.
    pub(crate) monitor: i32,
    /// The sentry.
    pub(crate) sentry: i32,
    /// The gofer.
    pub(crate) gofer: i32,
}

/// Reads them off the container's state.
pub(crate) fn processes(bundle: &Bundle) -> Processes {
    let text = fs::read(bundle.path().join("state/c1/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let pid = |role: &str| i32::try_from(state[role]["pid"].as_i64().unwrap()).unwrap();
    Processes { monitor: pid("monitor"), sentry: pid("sentry"), gofer: pid("gofer") }
}

/// Every process below `pid`, itself included.
pub(crate) fn family(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        // It may end meanwhile.
        for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            all.extend(children.split_whitespace().map(|it| it.parse::<i32>().unwrap()));
        }
        at += 1;
    }
    all
}

/// Whether a process has ended.
pub(crate) fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its parent may not have looked yet.
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// A detached process: its monitor, which becomes this process's child, and the end of its output.
pub(crate) struct Detached {
    /// The monitor.
    pub(crate) pid: Pid,
    output: OwnedFd,
}

impl Detached {
    /// Has a shell in the container run `script`.
    pub(crate) fn start(bundle: &Bundle, script: &str) -> Detached {
        prctl::set_child_subreaper(true).unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let args = ["exec", "--detach", "--pid-file", "epid", "c1", "sh", "-c", script];
        let mut exec = bundle.command(&args);
        let errors = writer.try_clone().unwrap();
        assert!(exec.stdout(writer).stderr(errors).status().unwrap().success());
        drop(exec);
        let text = fs::read_to_string(bundle.path().join("epid")).unwrap();
        Detached { pid: Pid::from_raw(text.parse().unwrap()), output: reader }
    }

    /// What it prints next, so many bytes.
    pub(crate) fn prints(&mut self, count: usize) -> String {
        let mut bytes = vec![0; count];
        fs::File::from(self.output.try_clone().unwrap()).read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// What it printed, to the end.
    pub(crate) fn printed(&mut self) -> String {
        let mut text = String::new();
        fs::File::from(self.output.try_clone().unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> WaitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive => {
                    assert!(Instant::now() < deadline, "its monitor does not end");
                    thread::sleep(Duration::from_millis(5));
                }
                status => return status,
            }
        }
    }
}
