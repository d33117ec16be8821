// SPDX-License-Identifier: Apache-2.0
//! What a sandbox could leave behind on the host.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long what belongs to a sandbox may outlive it.
const GRACE: Duration = Duration::from_secs(2);

/// The host as it is now.
#[derive(Debug, PartialEq, Eq)]
pub struct Host {
    processes: BTreeSet<String>,
    mounts: usize,
    fds: usize,
}

impl Host {
    /// Looks. A process counts when its command line has one of the `words`: others work on this machine
    /// too.
    pub fn now(words: &[&str]) -> Result<Host> {
        let mut processes = BTreeSet::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
            let command = fs::read_to_string(format!("/proc/{name}/cmdline")).unwrap_or_default();
            if is_process && words.iter().any(|word| command.contains(word)) {
                processes.insert(name);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("mounts")?.lines().count();
        let fds = fs::read_dir("/proc/self/fd")?.count();
        Ok(Host { processes, mounts, fds })
    }

    /// Waits until the host is as it was when `self` was taken.
    pub fn is_back(&self, words: &[&str]) -> Result<()> {
        let deadline = Instant::now() + GRACE;
        loop {
            let now = Host::now(words)?;
            let left: Vec<_> = now.processes.difference(&self.processes).collect();
            if left.is_empty() && now.mounts == self.mounts && now.fds == self.fds {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("left behind: {left:?}; before {self:?}, now {now:?}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let texts = tasks
        .flatten()
        .map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    texts
        .flat_map(|text| text.split_whitespace().flat_map(str::parse).collect::<Vec<_>>())
        .collect()
}

/// The sentry of the sandbox that the `runsc` of this number runs.
pub fn sentry(runsc: u32) -> Option<u32> {
    children(runsc).into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"boot")
    })
}
