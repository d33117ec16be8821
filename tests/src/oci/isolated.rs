// SPDX-License-Identifier: Apache-2.0
//! A case in a process of its own: what it orphans comes to it, its mounts are private, it has a deadline.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getppid},
};

use super::host;

const FLAG: &str = "--isolated";

/// Runs this test binary again as `--isolated NAME`; its standard error is the reason of a failure.
pub fn run(name: &str, within: Duration) -> Result<String> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([FLAG, name])
        .env("ISOLATED_SECONDS", within.as_secs().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut pipes = (child.stdout.take(), child.stderr.take());
    let stdout = std::thread::spawn(move || read(pipes.0.take()));
    let stderr = read(pipes.1.take());
    let status = child.wait()?;
    let stdout = stdout.join().map_err(|_| anyhow!("the reader died"))?;
    ensure!(status.success(), "{status}\n{stdout}{stderr}");
    Ok(stdout + &stderr)
}

fn read<R: std::io::Read>(from: Option<R>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What came before an error still counts.
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name that this process was started for, if it is one of [`run`]'s.
pub fn name() -> Option<String> {
    let mut args = std::env::args().skip(1);
    (args.next()? == FLAG).then(|| args.next())?
}

/// In such a process: runs the case, ends what it left, and says what went wrong. The exit code.
pub fn main(case: impl FnOnce() -> Result<()>) -> i32 {
    let result = enter().and_then(|()| case());
    let left = host::descendants();
    end_descendants();
    match (result, left.is_empty()) {
        (Ok(()), true) => 0,
        (Ok(()), false) => {
            eprintln!("processes were left behind: {left:?}");
            1
        }
        (Err(error), _) => {
            eprintln!("{error:#}");
            1
        }
    }
}

fn enter() -> Result<()> {
    prctl::set_child_subreaper(true).context("become a subreaper")?;
    unshare(CloneFlags::CLONE_NEWNS).context("mounts of our own")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("make mounts private")?;
    let seconds = std::env::var("ISOLATED_SECONDS").ok().and_then(|text| text.parse().ok());
    let deadline = Duration::from_secs(seconds.unwrap_or(60));
    let (started, starter) = (Instant::now(), getppid());
    // A deadly signal at the starter's end would leave what we started to somebody else.
    std::thread::spawn(move || {
        while started.elapsed() < deadline && getppid() == starter {
            std::thread::sleep(Duration::from_millis(100));
        }
        eprintln!("still at work after {deadline:?}; processes: {:?}", host::descendants());
        end_descendants();
        std::process::exit(1);
    });
    Ok(())
}

/// Takes a cgroup2 mount beside v1 hierarchies out of sight: some runtimes refuse the mixture.
pub fn hide_unified() -> Result<()> {
    let unified = "/sys/fs/cgroup/unified";
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some(unified)) {
        umount2(unified, MntFlags::MNT_DETACH).context("unmount cgroup2")?;
        // What is below the mount is the machine's: directories made there would stay.
        mount(Some("none"), unified, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .context("cover the place of cgroup2")?;
    }
    Ok(())
}

fn end_descendants() {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let all = host::descendants();
        for pid in all.keys() {
            // It may have ended by itself.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        Reaper::default().reap();
        if all.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How the children of this process ended, also those that it was handed.
#[derive(Debug, Default)]
pub struct Reaper {
    ended: BTreeMap<i32, WaitStatus>,
}

impl Reaper {
    /// Takes note of all that have ended.
    pub fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            match (status, status.pid()) {
                (WaitStatus::Exited(..) | WaitStatus::Signaled(..), Some(pid)) => {
                    self.ended.insert(pid.as_raw(), status);
                }
                (WaitStatus::StillAlive, _) => return,
                _ => {}
            }
        }
    }

    /// Forgets those that nobody has asked for: their numbers will be others'.
    pub fn forget(&mut self) {
        self.ended.clear();
    }

    /// How this child ended, if it has. Told once.
    pub fn take(&mut self, pid: i32) -> Option<WaitStatus> {
        self.reap();
        self.ended.remove(&pid)
    }

    /// Waits until this child has ended.
    pub fn wait(&mut self, pid: i32, within: Duration) -> Result<WaitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.take(pid) {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("process {pid} has not ended after {within:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The exit code as a shell shows it.
pub fn code(status: WaitStatus) -> i32 {
    match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => -1,
    }
}
