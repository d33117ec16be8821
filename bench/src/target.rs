// SPDX-License-Identifier: Apache-2.0
//! Where a guest program runs: on the host, or in an OCI runtime driven by `run --bundle`.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::usage::{self, Idle};

/// What all targets share in one run of the bench.
#[derive(Debug)]
pub(crate) struct Lab<'a> {
    /// Scratch space.
    pub(crate) work: &'a Path,
    /// The static guest binary, seen inside as `/bench/bench-guest`.
    pub(crate) guest: &'a Path,
    /// The root file system; without one, an empty directory with the guest in it.
    pub(crate) rootfs: Option<&'a Path>,
}

/// A place to run guests.
#[derive(Debug)]
pub(crate) struct Target {
    /// The column's name.
    pub(crate) name: String,
    /// The runtime with its global flags; `None` is the host.
    runtime: Option<(PathBuf, Vec<String>)>,
}

static CONTAINERS: AtomicU32 = AtomicU32::new(0);

impl Target {
    /// The host: the guest in a chroot.
    pub(crate) fn host() -> Target {
        Target { name: "host".to_owned(), runtime: None }
    }

    /// Our own binary on one platform.
    pub(crate) fn ours(runsc: &Path, platform: &str) -> Target {
        let flags = [&format!("--platform={platform}"), "--network=none", "--overlay2=root:memory"];
        let flags = flags.iter().map(ToString::to_string).collect();
        Target { name: platform.to_owned(), runtime: Some((runsc.to_owned(), flags)) }
    }

    /// `NAME=RUNTIME [FLAG]...`
    pub(crate) fn other(text: &str) -> Result<Target> {
        let (name, command) = text.split_once('=').context("--other wants NAME=RUNTIME")?;
        let mut words = command.split_whitespace().map(str::to_owned);
        let runtime = words.next().context("--other wants NAME=RUNTIME")?;
        let runtime = Some((PathBuf::from(runtime), words.collect()));
        Ok(Target { name: name.to_owned(), runtime })
    }

    /// Whether this is the host.
    pub(crate) fn is_host(&self) -> bool {
        self.runtime.is_none()
    }

    /// What `arguments` print, run to their end.
    pub(crate) fn output(&self, lab: &Lab<'_>, arguments: &[&str]) -> Result<String> {
        let (mut command, _bundle) = self.command(lab, arguments)?;
        let output = command.stdin(Stdio::null()).output().context("cannot be started")?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("{}: {}", output.status, stderr.trim().lines().last().unwrap_or_default());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What a sandbox costs while its program sleeps.
    pub(crate) fn idle(&self, lab: &Lab<'_>) -> Result<Idle> {
        let before = usage::processes()?;
        let (mut command, bundle) = self.command(lab, &["/bench/bench-guest", "sleep"])?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut ready = [0u8; 6];
        if let Some(stdout) = child.stdout.as_mut() {
            std::io::Read::read_exact(stdout, &mut ready).context("the guest never slept")?;
        }
        let idle = usage::of_new_since(&before);
        child.kill()?;
        child.wait()?;
        if let Some(bundle) = bundle {
            // The runtime may have cleaned up by itself already.
            let _ = self
                .driver(lab)?
                .args(["delete", "--force", &bundle.id])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
        idle
    }

    fn command(&self, lab: &Lab<'_>, arguments: &[&str]) -> Result<(Command, Option<Bundle>)> {
        if self.is_host() {
            let root = root(lab)?;
            let mut words = arguments.iter();
            let program = words.next().context("no program")?;
            // The guest is seen at the same place as in a container.
            let program = match program.strip_prefix("/bench/") {
                Some(_) => lab.guest.to_owned(),
                None => PathBuf::from(program),
            };
            let mut command = Command::new(&program);
            command.args(words).env_clear().env("PATH", PATH).env("LANG", "C");
            if program != lab.guest {
                let root = root.clone();
                // SAFETY: chroot and chdir are async-signal-safe, and nothing is allocated.
                #[allow(unsafe_code, reason = "pre_exec is the only way into a chroot")]
                unsafe {
                    command.pre_exec(move || {
                        std::os::unix::fs::chroot(&root)?;
                        std::env::set_current_dir("/")
                    });
                }
                let _ = fs::remove_dir_all(root_tmp(lab)?);
            }
            return Ok((command, None));
        }
        let bundle = self.bundle(lab, arguments)?;
        let mut command = self.driver(lab)?;
        command.args(["run", "--bundle"]).arg(&bundle.dir).arg(&bundle.id);
        Ok((command, Some(bundle)))
    }

    /// A new bundle that runs `arguments`.
    pub(crate) fn bundle(&self, lab: &Lab<'_>, arguments: &[&str]) -> Result<Bundle> {
        let number = CONTAINERS.fetch_add(1, Ordering::Relaxed);
        let id = format!("bench-{}-{number}", std::process::id());
        let dir = lab.work.join(&id);
        fs::create_dir(&dir)?;
        let config = config(lab, &root(lab)?, arguments);
        fs::write(dir.join("config.json"), serde_json::to_vec(&config)?)?;
        Ok(Bundle { dir, id })
    }

    /// The runtime with its global flags.
    pub(crate) fn driver(&self, lab: &Lab<'_>) -> Result<Command> {
        let (runtime, flags) = self.runtime.as_ref().context("the host is no runtime")?;
        let mut command = Command::new(runtime);
        let state = lab.work.join(format!("state-{}", self.name));
        command.arg("--root").arg(state).args(flags);
        Ok(command)
    }
}

/// A bundle on disk, removed with this.
pub(crate) struct Bundle {
    pub(crate) dir: PathBuf,
    pub(crate) id: String,
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // Scratch: what is left goes with the whole directory.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn root(lab: &Lab<'_>) -> Result<PathBuf> {
    match lab.rootfs {
        Some(rootfs) => Ok(fs::canonicalize(rootfs)?),
        None => {
            let root = lab.work.join("root");
            for dir in ["bench", "etc", "proc", "tmp", "dev"] {
                fs::create_dir_all(root.join(dir))?;
            }
            fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
            Ok(root)
        }
    }
}

/// What the rows that build leave in the chroot.
fn root_tmp(lab: &Lab<'_>) -> Result<PathBuf> {
    Ok(root(lab)?.join("tmp/b"))
}

fn config(lab: &Lab<'_>, root: &Path, arguments: &[&str]) -> serde_json::Value {
    let guest_dir = lab.guest.parent().unwrap_or(Path::new("/"));
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": root},
        "process": {
            "cwd": "/", "user": {"uid": 0, "gid": 0}, "args": arguments,
            "env": [format!("PATH={PATH}"), "LANG=C"],
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
            {"destination": "/bench", "type": "bind", "source": guest_dir, "options": ["bind", "ro"]},
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]},
    })
}
