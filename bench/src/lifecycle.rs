// SPDX-License-Identifier: Apache-2.0
//! What an engine does with a runtime: whole lives of containers, exec into one, many at once.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::{
        signal::kill,
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};

use crate::target::{Bundle, Lab, Target};

/// How long a container may take to end.
const LIMIT: Duration = Duration::from_secs(20);
/// Execs of which the median counts.
const EXECS: usize = 7;

impl Target {
    /// create, start, wait for the process in the pid file to end, delete: nanoseconds.
    pub(crate) fn lifecycle(&self, lab: &Lab<'_>) -> Result<f64> {
        let bundle = self.bundle(lab, &["/bench/bench-guest", "true"])?;
        let start = Instant::now();
        let pid = self.create(lab, &bundle)?;
        self.succeed(lab, &["start", &bundle.id])?;
        await_end(pid)?;
        // A runtime may need a moment to see the end itself.
        while let Err(error) = self.succeed(lab, &["delete", &bundle.id]) {
            if start.elapsed() > LIMIT {
                return Err(error);
            }
        }
        let time = start.elapsed();
        reap_orphans(None);
        Ok(nanos(time))
    }

    /// exec of a program that ends at once, in a container that sleeps: nanoseconds.
    pub(crate) fn exec(&self, lab: &Lab<'_>) -> Result<f64> {
        let bundle = self.bundle(lab, &["/bench/bench-guest", "sleep"])?;
        self.create(lab, &bundle)?;
        self.succeed(lab, &["start", &bundle.id])?;
        let mut times = Vec::new();
        for _ in 0..EXECS {
            let start = Instant::now();
            let done = self.succeed(lab, &["exec", &bundle.id, "/bench/bench-guest", "true"]);
            times.push(start.elapsed());
            if let Err(error) = done {
                // What failed first is what is told.
                let _ = self.succeed(lab, &["delete", "--force", &bundle.id]);
                return Err(error);
            }
        }
        self.succeed(lab, &["delete", "--force", &bundle.id])?;
        reap_orphans(None);
        times.sort();
        Ok(times.get(EXECS / 2).map_or(0.0, |time| nanos(*time)))
    }

    /// `count` containers that end at once, all started at once, until the last has ended.
    pub(crate) fn parallel(&self, lab: &Lab<'_>, count: usize) -> Result<f64> {
        let bundles = (0..count)
            .map(|_| self.bundle(lab, &["/bench/bench-guest", "true"]))
            .collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        let run = |bundle: &Bundle| -> Result<Child> {
            let mut command = self.driver(lab)?;
            command.args(["run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
            Ok(quiet(&mut command).spawn()?)
        };
        let children = bundles.iter().map(run).collect::<Result<Vec<_>>>()?;
        let mut failed = 0;
        for mut child in children {
            failed += usize::from(!child.wait()?.success());
        }
        let time = start.elapsed();
        reap_orphans(None);
        if failed > 0 {
            bail!("{failed} of {count} failed");
        }
        Ok(nanos(time))
    }

    fn create(&self, lab: &Lab<'_>, bundle: &Bundle) -> Result<Pid> {
        let pid_file = bundle.dir.join("pid");
        let mut command = self.driver(lab)?;
        command.args(["create", "--bundle"]).arg(&bundle.dir);
        command.arg("--pid-file").arg(&pid_file).arg(&bundle.id);
        let status = quiet(&mut command).status()?;
        if !status.success() {
            bail!("create: {status}");
        }
        let pid = fs::read_to_string(&pid_file).context("no pid file")?;
        Ok(Pid::from_raw(pid.trim().parse().context("the pid file")?))
    }

    fn succeed(&self, lab: &Lab<'_>, arguments: &[&str]) -> Result<()> {
        let mut child = quiet(self.driver(lab)?.args(arguments)).spawn()?;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            reap_orphans(i32::try_from(child.id()).ok().map(Pid::from_raw));
            if start.elapsed() > LIMIT {
                child.kill()?;
                child.wait()?;
                bail!("{} does not end", arguments.join(" "));
            }
            thread::sleep(Duration::from_micros(100));
        };
        match (status.success(), arguments.first()) {
            (true, _) => Ok(()),
            (false, what) => bail!("{}: {status}", what.unwrap_or(&"nothing")),
        }
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

fn await_end(pid: Pid) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        let ended = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => false,
            Ok(_) => true,
            Err(Errno::ECHILD) => kill(pid, None).is_err(),
            Err(error) => return Err(error.into()),
        };
        if ended {
            return Ok(());
        }
        thread::sleep(Duration::from_micros(100));
    }
    bail!("the container does not end")
}

/// Reaps what the runtimes left to this process: some wait for it to be gone. Leaves `own` alone, which
/// somebody here waits for.
fn reap_orphans(own: Option<Pid>) {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, look)
        && let Some(pid) = status.pid().filter(|pid| Some(*pid) != own)
    {
        if waitpid(pid, None).is_err() {
            return;
        }
    }
}
