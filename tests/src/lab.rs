// SPDX-License-Identifier: Apache-2.0
//! A lab: pid, mount, network, ipc and uts namespaces in which a container engine runs, and which take
//! everything with them that it started.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::script::{self, Outcome};

/// How long an engine may take to come up, or a script to run.
const LIMIT: Duration = Duration::from_secs(300);
/// The same for a script that does all it can (`LEFTOVERS=full`).
const FULL_LIMIT: Duration = Duration::from_secs(1800);

/// Namespaces with an engine in them.
#[derive(Debug)]
pub struct Lab {
    /// The engine's files. The path is short, for there will be sockets in it.
    dir: TempDir,
    holder: Child,
    /// The first process of the namespaces, as seen from outside.
    init: u32,
    /// What each script begins with.
    prelude: String,
}

impl Lab {
    /// Starts the engine: `setup` runs in the new namespaces, in the lab's directory with `runtime` as `$RUNTIME`,
    /// and leaves its daemons behind. `prelude` stands before each script.
    pub fn open(runtime: &Path, setup: &str, prelude: &str) -> Result<Lab> {
        let dir = tempfile::Builder::new().prefix("lab").tempdir_in("/tmp")?;
        // A shell is process 1, for it reaps what loses its parent.
        let init = format!(
            "ip link set lo up; mount --make-rshared /; cd '{dir}'; exec 3>&1 >'{dir}/log' 2>&1
             if ({setup}\n); then echo ready >&3; exec 3>&-; while :; do sleep 3600 & wait $!; done; fi",
            dir = dir.path().display()
        );
        let mut holder = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"])
            .args(["--mount-proc", "bash", "-c", &init])
            .env("RUNTIME", runtime)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("unshare")?;
        let mut word = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut word)?;
        }
        if word.trim() != "ready" {
            holder.wait()?;
            let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            bail!("the engine does not start: {tail:#?}");
        }
        let init = child_of(holder.id())?;
        let prelude = prelude.to_owned();
        Ok(Lab { dir, holder, init, prelude })
    }

    /// Runs a script inside.
    pub fn run(&self, runtime: &Path, script: &str) -> Result<Outcome> {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string()])
            .args(["--mount", "--pid", "--net", "--ipc", "--uts", "--"])
            .args(["bash", "-c", &format!("{}\n{script}", self.prelude)])
            .env("RUNTIME", runtime)
            .env("LAB", self.dir.path());
        let is_full = std::env::var_os("LEFTOVERS").is_some_and(|it| it == "full");
        script::finish(&mut command, None, if is_full { FULL_LIMIT } else { LIMIT })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // With the first process the namespaces end, and with them every other process and mount.
        let ended = self.holder.kill().and_then(|()| self.holder.wait().map(drop));
        if let Err(error) = ended {
            eprintln!("lab: {error}");
        }
        let name = self.dir.path().file_name().unwrap_or_default();
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let roots = hierarchies.map(|it| it.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
        for left in roots.map(|root| root.join(name)).filter(|it| it.is_dir()) {
            if let Err(error) = remove_group(&left) {
                eprintln!("lab: {}: {error}", left.display());
            }
        }
    }
}

/// Removes a cgroup with those below it, whose processes may still be ending.
fn remove_group(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten().filter(|it| it.path().is_dir()) {
        remove_group(&entry.path())?;
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match fs::remove_dir(group) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn child_of(pid: u32) -> Result<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    text.split_whitespace().next().and_then(|pid| pid.parse().ok()).context("no first process")
}
