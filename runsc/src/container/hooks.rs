// SPDX-License-Identifier: Apache-2.0
//! Hooks of a container that run on the host: programs with the container's state on their standard input.
//!
//! Where each runs: `prestart` and `createRuntime` in our namespaces, `createContainer` in the
//! container's network namespace, which its monitor stands in, with the root file system as its working
//! directory; both before the sandbox starts. `poststart` when the guest runs, `poststop` when everything
//! is gone. `startContainer` runs inside, as a process of the guest: `boot/hooks.rs`.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::memfd::{MFdFlags, memfd_create},
};
use oci_spec::runtime::Hook;
use tracing::debug;

use crate::sys;

/// Of what a failing hook wrote, its error shows no more.
const SHOWN: u64 = 4096;

/// A hook that failed, in runc's words, which engines show to people.
#[derive(Debug, thiserror::Error)]
#[error("error running hook #{index}: {source}")]
pub(crate) struct HookError {
    index: usize,
    source: Failure,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("error running hook: {status}, stdout: {stdout}, stderr: {stderr}")]
    Ended { status: String, stdout: String, stderr: String },
    #[error("error running hook: {path}: {source}")]
    Start { path: String, source: io::Error },
    #[error("hook ran past specified timeout of {0:.1}s")]
    Late(f64),
}

/// Where a hook runs.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// The container's state, as the runtime specification has it.
    pub(crate) state: &'a serde_json::Value,
    /// Its working directory.
    pub(crate) cwd: &'a Path,
    /// The process whose network namespace it runs in; `None`: ours.
    pub(crate) network_of: Option<i32>,
}

/// Runs hooks in their order; the first that fails ends it.
pub(crate) fn run(name: &str, hooks: &[Hook], at: &Surroundings<'_>) -> Result<(), HookError> {
    for (index, hook) in hooks.iter().enumerate() {
        debug!("hooks.{name}[{index}]: {}", hook.path().display());
        run_one(hook, at).map_err(|source| HookError { index, source })?;
    }
    Ok(())
}

/// Runs all hooks, whatever becomes of each: those that fail are only named.
pub(crate) fn run_all(name: &str, hooks: &[Hook], at: &Surroundings<'_>) {
    for (index, hook) in hooks.iter().enumerate() {
        debug!("hooks.{name}[{index}]: {}", hook.path().display());
        if let Err(source) = run_one(hook, at) {
            tracing::warn!("{name}: {}", HookError { index, source });
        }
    }
}

fn run_one(hook: &Hook, at: &Surroundings<'_>) -> Result<(), Failure> {
    let began = |source| Failure::Start { path: hook.path().display().to_string(), source };
    // Files, not pipes: nobody has to read or write beside the hook, and what it leaves running keeps
    // nobody waiting.
    let mut input = memory("hook-stdin").map_err(began)?;
    input.write_all(at.state.to_string().as_bytes()).map_err(began)?;
    input.rewind().map_err(began)?;
    let outputs = [memory("hook-stdout").map_err(began)?, memory("hook-stderr").map_err(began)?];
    let mut child = start(hook, at, input, &outputs).map_err(began)?;
    let timeout = hook.timeout().and_then(|it| u64::try_from(it).ok()).map(Duration::from_secs);
    let Some(status) = wait(&mut child, timeout).map_err(began)? else {
        // It may have ended just now.
        let _ = child.kill();
        child.wait().map_err(began)?;
        return Err(Failure::Late(timeout.unwrap_or_default().as_secs_f64()));
    };
    if status.success() {
        return Ok(());
    }
    let [stdout, stderr] = outputs.map(shown);
    Err(Failure::Ended { status: in_words(status), stdout, stderr })
}

fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// Starts the hook from a thread of its own, which may be in another network namespace.
fn start(
    hook: &Hook,
    at: &Surroundings<'_>,
    input: File,
    outputs: &[File; 2],
) -> io::Result<Child> {
    let args = hook.args().as_deref().unwrap_or_default();
    let mut command = Command::new(hook.path());
    if let Some((name, rest)) = args.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear();
    for variable in hook.env().iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if !name.is_empty() {
            command.env(name, value);
        }
    }
    let [stdout, stderr] = outputs;
    command.current_dir(at.cwd).stdin(Stdio::from(input));
    command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let Some(pid) = at.network_of else { return command.spawn() };
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    let spawn = || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        command.spawn()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, spawn)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

/// Waits for the end, at most so long.
fn wait(child: &mut Child, timeout: Option<Duration>) -> io::Result<Option<ExitStatus>> {
    let Some(timeout) = timeout else { return child.wait().map(Some) };
    let pidfd = sys::pidfd_open(i32::try_from(child.id()).unwrap_or(-1))?;
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(left.min(Duration::from_secs(60)));
        match poll(&mut fds, patience.unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// As Go has it.
fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(libc::SIGKILL)) => "signal: killed".into(),
        (_, Some(signal)) => format!("signal: {signal}"),
        _ => status.to_string(),
    }
}

fn shown(mut output: File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is not shown.
    let _ = output.rewind().and_then(|()| output.take(SHOWN).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook(value: serde_json::Value) -> Hook {
        serde_json::from_value(value).unwrap()
    }

    fn in_directory(cwd: &Path, hooks: &[Hook]) -> Result<(), String> {
        let state = json!({ "id": "c1", "status": "created" });
        let at = Surroundings { state: &state, cwd, network_of: None };
        run("poststart", hooks, &at).map_err(|error| error.to_string())
    }

    #[test]
    fn a_hook_sees_its_state_its_variables_and_its_directory_alone() {
        let place = tempfile::tempdir().unwrap();
        let script = "cat > state; echo \"$0 $1\" > args; pwd > cwd; env > env";
        let hook = hook(json!({ "path": "/bin/sh",
            "args": ["sh", "-c", script, "zero", "one"],
            "env": ["A=b c", "PATH=/usr/bin:/bin"] }));
        in_directory(place.path(), &[hook]).unwrap();
        let read = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap();
        assert_eq!(read("state"), r#"{"id":"c1","status":"created"}"#);
        assert_eq!(read("args"), "zero one\n");
        assert_eq!(Path::new(read("cwd").trim()), place.path());
        let env = read("env");
        let own = |line: &&str| !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|it| line.starts_with(it));
        let lines: Vec<&str> = env.lines().filter(own).collect();
        assert_eq!(lines, ["A=b c", "PATH=/usr/bin:/bin"]);
    }

    #[test]
    fn failures_are_in_runcs_words() {
        let place = tempfile::tempdir().unwrap();
        let shell = |script: &str| {
            hook(json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1 }))
        };
        let of = |hooks: &[Hook]| in_directory(place.path(), hooks).unwrap_err();
        assert_eq!(
            of(&[shell("exit 0"), shell("echo out; echo err >&2; exit 13")]),
            "error running hook #1: error running hook: exit status 13, stdout: out\n, stderr: err\n"
        );
        assert!(of(&[shell("kill -9 $$")]).contains("error running hook: signal: killed"));
        assert_eq!(
            of(&[shell("sleep 20")]),
            "error running hook #0: hook ran past specified timeout of 1.0s"
        );
        let missing = of(&[hook(json!({ "path": "/no/such" }))]);
        assert!(missing.starts_with("error running hook #0: error running hook: /no/such: "));
        // What a hook leaves behind with its output open keeps nobody waiting.
        in_directory(place.path(), &[shell("sleep 5 & exit 0")]).unwrap();
    }

    #[test]
    fn later_hooks_do_not_run_after_a_failure_unless_all_are_to() {
        let place = tempfile::tempdir().unwrap();
        let touch = hook(json!({ "path": "/usr/bin/touch", "args": ["touch", "done"] }));
        let fails = hook(json!({ "path": "/bin/false" }));
        let both = [fails, touch];
        in_directory(place.path(), &both).unwrap_err();
        assert!(!place.path().join("done").exists());
        let state = json!({});
        run_all("poststop", &both, &Surroundings { state: &state, cwd: place.path(), network_of: None });
        assert!(place.path().join("done").exists());
    }
}
