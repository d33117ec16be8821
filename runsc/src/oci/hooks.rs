// SPDX-License-Identifier: Apache-2.0
//! `hooks` of config.json, checked, and the words for one that fails. Those inside are run by
//! `boot/hooks.rs`, those on the host by `container/hooks.rs`.

use std::os::unix::ffi::OsStrExt;

use nix::libc;
use oci_spec::runtime::{self as oci, Spec};
use serde::{Deserialize, Serialize};

use super::bundle::BundleError;
use crate::sandbox::plan::{Bytes, Hook};

/// The longest time that a hook may be given, in seconds: a day.
const PATIENCE: i64 = 24 * 60 * 60;

/// Names and lists, in the order in which they are run.
fn lists(hooks: &oci::Hooks) -> [(&'static str, &[oci::Hook]); 6] {
    [
        ("prestart", hooks.prestart().as_deref().unwrap_or_default()),
        ("createRuntime", hooks.create_runtime().as_deref().unwrap_or_default()),
        ("createContainer", hooks.create_container().as_deref().unwrap_or_default()),
        ("startContainer", hooks.start_container().as_deref().unwrap_or_default()),
        ("poststart", hooks.poststart().as_deref().unwrap_or_default()),
        ("poststop", hooks.poststop().as_deref().unwrap_or_default()),
    ]
}

/// Refuses hooks that cannot be run as they are meant.
pub(crate) fn check(spec: &Spec) -> Result<(), BundleError> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    for (name, list) in lists(hooks) {
        for (index, hook) in list.iter().enumerate() {
            let at = |field: &str| format!("hooks.{name}[{index}].{field}");
            let refuse = |field: &str, why: &str| Err(BundleError::field(at(field), why));
            if !hook.path().is_absolute() {
                return refuse("path", "is not absolute");
            }
            let texts =
                |list: &Option<Vec<String>>| list.iter().flatten().any(|text| text.contains('\0'));
            if hook.path().as_os_str().as_bytes().contains(&0) {
                return refuse("path", "has a NUL byte");
            }
            if texts(hook.args()) || texts(hook.env()) {
                return refuse("args", "a NUL byte in args or env");
            }
            if hook.timeout().is_some_and(|seconds| !(1..=PATIENCE).contains(&seconds)) {
                return refuse("timeout", "is not between a second and a day");
            }
        }
    }
    Ok(())
}

/// The hooks that run inside the sandbox.
pub(crate) fn start_container(spec: &Spec) -> Vec<Hook> {
    let list = spec.hooks().as_ref().and_then(|hooks| hooks.start_container().as_deref());
    list.unwrap_or_default().iter().map(convert).collect()
}

/// The hooks that run on the host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct HostHooks {
    /// Run once the container's network namespace and cgroup are there.
    pub(crate) prestart: Vec<Hook>,
    /// Run after those.
    pub(crate) create_runtime: Vec<Hook>,
    /// Run after those, in the container's network and mount namespaces.
    pub(crate) create_container: Vec<Hook>,
    /// Run once the first process runs.
    pub(crate) poststart: Vec<Hook>,
    /// Run once nothing of the container is left.
    pub(crate) poststop: Vec<Hook>,
}

impl HostHooks {
    /// What config.json says.
    pub(crate) fn of(spec: &Spec) -> HostHooks {
        let Some(hooks) = spec.hooks() else { return HostHooks::default() };
        let list = |list: &Option<Vec<oci::Hook>>| list.iter().flatten().map(convert).collect();
        HostHooks {
            prestart: list(hooks.prestart()),
            create_runtime: list(hooks.create_runtime()),
            create_container: list(hooks.create_container()),
            poststart: list(hooks.poststart()),
            poststop: list(hooks.poststop()),
        }
    }

    /// Whether any of them has a say in how the container is made.
    pub(crate) fn has_any_at_create(&self) -> bool {
        let lists = [&self.prestart, &self.create_runtime, &self.create_container];
        lists.iter().any(|list| !list.is_empty())
    }
}

fn convert(hook: &oci::Hook) -> Hook {
    let bytes = |list: &Option<Vec<String>>| {
        list.iter().flatten().map(|text| Bytes::from(text.as_bytes())).collect::<Vec<_>>()
    };
    let path = Bytes::from(hook.path().as_os_str().as_bytes());
    let mut args = bytes(hook.args());
    if args.is_empty() {
        args.push(path.clone());
    }
    let timeout_s = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok());
    Hook { path, args, env: bytes(hook.env()), timeout_s }
}

/// A hook that failed, in runc's words.
#[derive(Debug, thiserror::Error)]
#[error("error running hook #{index}: {why}")]
pub(crate) struct HookError {
    /// Which of its list.
    pub(crate) index: usize,
    /// Why.
    pub(crate) why: String,
}

/// How much of what a hook writes is shown of one that fails.
pub(crate) const SHOWN: usize = 4096;

/// Judges the end of a hook by its status as wait(2) has it; `wrote` is what it wrote to its standard
/// output and error.
pub(crate) fn judge(status: i32, wrote: [&[u8]; 2]) -> Result<(), String> {
    let how = if libc::WIFSIGNALED(status) {
        format!("signal: {}", signal_name(libc::WTERMSIG(status)))
    } else {
        match libc::WEXITSTATUS(status) {
            0 => return Ok(()),
            code => format!("exit status {code}"),
        }
    };
    let [output, error] = wrote.map(shown);
    Err(format!("error running hook: {how}, stdout: {output}, stderr: {error}"))
}

/// What is said of a hook that took too long.
pub(crate) fn out_of_time(seconds: u64) -> String {
    format!("hook ran past specified timeout of {seconds}.0s")
}

/// A stranger's words: without control characters but newlines.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes)).into_owned();
    text.chars().filter(|letter| !letter.is_control() || *letter == '\n').collect()
}

/// A signal as runc names it.
fn signal_name(number: i32) -> String {
    let name = match number {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGUSR1 => "user defined signal 1",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGUSR2 => "user defined signal 2",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        _ => return format!("signal {number}"),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_judged_in_runcs_words() {
        assert_eq!(judge(0, [b"x", b"y"]), Ok(()));
        let of = |status| judge(status, [b"out\n", b"\x1b[31merr"]).unwrap_err();
        let tail = "stdout: out\n, stderr: [31merr";
        assert_eq!(of(13 << 8), format!("error running hook: exit status 13, {tail}"));
        assert_eq!(of(9), format!("error running hook: signal: killed, {tail}"));
        assert_eq!(of(40), format!("error running hook: signal: signal 40, {tail}"));
        let long = [b'x'; SHOWN + 1];
        assert!(judge(256, [&long, b""]).unwrap_err().len() < SHOWN + 100);
    }
}
