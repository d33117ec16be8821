// SPDX-License-Identifier: Apache-2.0
//! Loads: nothing hangs, nothing is lost, and afterwards the host is as it was before.

#![allow(clippy::indexing_slicing, reason = "a test may die of a surprise")]

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::host::{self, Host};

const GUEST: &str = env!("CARGO_BIN_EXE_guest");
const TIMEOUT: Duration = Duration::from_secs(600);
/// How many more descriptors or stubs a sentry may still have at the end of a steady load than it ever had
/// in the first half: what just comes or goes when somebody looks.
const SLACK: usize = 8;

/// Name, what it prints, and whether it asks the same of the sentry from its beginning to its end.
const LOADS: [(&str, &str, bool); 4] = [
    ("child_fork_exec_wait", "failed 0\n", true),
    ("child_threads_on_a_mutex", "sum 64000\n", false),
    ("child_bytes_through_a_pipe", "bytes 100000000 wrong 0 writer 0\n", true),
    ("child_many_processes", "alive 500 ended 500\n", false),
];

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: each counts what is on the host before and after.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    for platform in ["systrap", "ptrace"] {
        for (load, wanted, is_steady) in LOADS {
            trials.push(Trial::test(format!("{platform}::{load}"), move || {
                check(platform, load, wanted, is_steady)
                    .map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit()
}

fn check(platform: &str, load: &str, wanted: &str, is_steady: bool) -> Result<()> {
    let before = Host::now(GUEST)?;
    let mut command = Command::new(tests::runsc()?);
    command.arg(format!("--platform={platform}")).args(["do", "--quiet", "--"]);
    command.arg(GUEST).arg(format!("stress/load/{load}"));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + TIMEOUT;
    let mut samples = Vec::new();
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            bail!("still running after {TIMEOUT:?}");
        }
        samples.extend(sample(child.id()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() || stdout != wanted {
        bail!("{}: {stdout:?} instead of {wanted:?}; {stderr}", output.status);
    }
    if is_steady {
        stays(&samples)?;
    }
    before.is_back(GUEST)
}

/// Descriptors and stubs of a sandbox's sentry now.
fn sample(runsc: u32) -> Option<[usize; 2]> {
    let sentry = host::sentry(runsc)?;
    let fds = fs::read_dir(format!("/proc/{sentry}/fd")).ok()?.count();
    Some([fds, host::children(sentry).len()])
}

/// Whether the sentry has no more of anything in the end than it had in the first half. What piles up while
/// the host lets one of its threads stand still is gone again by the next look or the one after; what is
/// lost never is.
fn stays(samples: &[[usize; 2]]) -> Result<()> {
    if samples.len() < 4 {
        bail!("the load was over before anybody could look");
    }
    let (first, last) = (&samples[..samples.len() / 2], &samples[samples.len() * 3 / 4..]);
    for (what, name) in ["descriptors", "stubs"].into_iter().enumerate() {
        let most = first.iter().map(|sample| sample[what]).max().unwrap_or(0);
        let least = last.iter().map(|sample| sample[what]).min().unwrap_or(0);
        if least > most + SLACK {
            bail!(
                "the sentry grows: at most {most} {name} in the first half, never less than {least} in the last quarter"
            );
        }
    }
    Ok(())
}
