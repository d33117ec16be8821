// SPDX-License-Identifier: Apache-2.0
//! Loads: nothing hangs, nothing is lost, and afterwards the host is as it was before.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};

const GUEST: &str = env!("CARGO_BIN_EXE_guest");
const TIMEOUT: Duration = Duration::from_secs(600);
/// How long what belongs to a sandbox may outlive it.
const GRACE: Duration = Duration::from_secs(2);

/// Name, what it prints, and on ptrace how often the repeated step is made (it is slow there).
const LOADS: [(&str, &str, &str); 4] = [
    ("child_fork_exec_wait", "failed 0\n", "1000"),
    ("child_threads_on_a_mutex", "sum 64000\n", "0"),
    ("child_bytes_through_a_pipe", "bytes 100000000 wrong 0 writer 0\n", "0"),
    ("child_many_processes", "alive 500 ended 500\n", "0"),
];

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: each counts what is on the host before and after.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    for platform in ["systrap", "ptrace"] {
        for (load, wanted, on_ptrace) in LOADS {
            trials.push(Trial::test(format!("{platform}::{load}"), move || {
                check(platform, load, wanted, on_ptrace)
                    .map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit()
}

fn check(platform: &str, load: &str, wanted: &str, on_ptrace: &str) -> Result<()> {
    let before = Host::now()?;
    let mut command = Command::new(tests::runsc()?);
    command.arg(format!("--platform={platform}")).args(["do", "--quiet", "--"]);
    command.arg(GUEST).arg(format!("stress/load/{load}"));
    if platform == "ptrace" && on_ptrace != "0" {
        command.env("STRESS_COUNT", on_ptrace);
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + TIMEOUT;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            bail!("still running after {TIMEOUT:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() || stdout != wanted {
        bail!("{}: {stdout:?} instead of {wanted:?}; {stderr}", output.status);
    }
    before.is_back()
}

/// What a sandbox could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    processes: BTreeSet<String>,
    mounts: usize,
    fds: usize,
}

impl Host {
    fn now() -> Result<Host> {
        let mut processes = BTreeSet::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
            let command = fs::read_to_string(format!("/proc/{name}/cmdline")).unwrap_or_default();
            // Others work on this machine too: only what is ours counts.
            if is_process && (command.contains("runsc") || command.contains("guest")) {
                processes.insert(name);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("mounts")?.lines().count();
        let fds = fs::read_dir("/proc/self/fd")?.count();
        Ok(Host { processes, mounts, fds })
    }

    fn is_back(&self) -> Result<()> {
        let deadline = Instant::now() + GRACE;
        loop {
            let now = Host::now()?;
            let left: Vec<_> = now.processes.difference(&self.processes).collect();
            if left.is_empty() && now.mounts == self.mounts && now.fds == self.fds {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("left behind: {left:?}; before {self:?}, now {now:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
