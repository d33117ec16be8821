// SPDX-License-Identifier: Apache-2.0
//! What a sandbox could leave behind on the host.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How long what belongs to a sandbox may outlive it.
const GRACE: Duration = Duration::from_secs(30);

/// The host as it is now.
#[derive(Debug, PartialEq, Eq)]
pub struct Host {
    processes: BTreeSet<String>,
    mounts: usize,
    fds: usize,
}

impl Host {
    /// Looks. Of processes only those count that run our `runsc` or `guest`: others work on this machine
    /// too.
    pub fn now(guest: &str) -> Result<Host> {
        let runsc = crate::runsc()?.canonicalize().context("our runsc")?;
        let mut processes = BTreeSet::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            // Some are not ours to look into, some are gone by now.
            let Ok(program) = fs::read_link(entry.path().join("exe")) else { continue };
            let program = program.to_string_lossy();
            // A build in the meantime takes a program's name away.
            let program = Path::new(program.trim_end_matches(" (deleted)"));
            if program == runsc || program == Path::new(guest) {
                processes.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("mounts")?.lines().count();
        let fds = fs::read_dir("/proc/self/fd")?.count();
        Ok(Host { processes, mounts, fds })
    }

    /// Waits until the host is as it was when `self` was taken.
    pub fn is_back(&self, guest: &str) -> Result<()> {
        let deadline = Instant::now() + GRACE;
        loop {
            let now = Host::now(guest)?;
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
