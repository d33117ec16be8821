// SPDX-License-Identifier: Apache-2.0
//! The global flags, read once into types.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use syscalls::trace::Filter;

use crate::{
    cli::{Values, flags::GLOBAL},
    log::{Format, Rule, Sink, Timestamp},
};

/// Who else changes files while the sandbox runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FileAccess {
    /// Nobody.
    Exclusive,
    /// Others now and then: what was learnt is believed for a while.
    Timed,
    /// Others at any time.
    Shared,
}

impl FileAccess {
    /// By the flag's word, which has been checked.
    pub(crate) fn of(word: &str) -> FileAccess {
        match word {
            "exclusive" => FileAccess::Exclusive,
            "timed" => FileAccess::Timed,
            _ => FileAccess::Shared,
        }
    }
}

/// How guest code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PlatformKind {
    /// Seccomp traps.
    Systrap,
    /// `PTRACE_SYSEMU`.
    Ptrace,
}

/// What network the guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Network {
    /// Loopback alone.
    None,
    /// A stack of the sandbox's own.
    Sandbox,
    /// The host's.
    Host,
}

/// Where the writes of an overlay go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// There is none: writes reach the host.
    Off,
    /// Over the root file system.
    Root,
    /// Over the root file system and every bind mount.
    All,
}

/// What `--strace` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Strace {
    /// Only these calls and families, if not empty.
    pub(crate) calls: String,
}

/// A global flag whose value makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// `--overlay2`.
    #[error("invalid value {value:?} for flag -overlay2: {why}")]
    Overlay {
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// `--strace-syscalls`.
    #[error("--strace-syscalls: {0}")]
    Strace(String),
    /// A log file cannot be opened.
    #[error("open log {path}: {source}")]
    Log {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Everything that the global flags say.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where state is kept.
    pub(crate) root: PathBuf,
    /// How guest code runs.
    pub(crate) platform: PlatformKind,
    /// What network the guest sees.
    pub(crate) network: Network,
    /// Which mounts are kept off the host.
    pub(crate) overlay: Overlay,
    /// Who else changes the root file system while the sandbox runs.
    pub(crate) root_access: FileAccess,
    /// The same for other mounts.
    pub(crate) mounts_access: FileAccess,
    /// System call tracing.
    pub(crate) strace: Option<Strace>,
    /// `--debug`.
    pub(crate) is_debug: bool,
    /// Whether the host's cgroups are left alone.
    pub(crate) ignores_cgroups: bool,
    /// Whether systemd makes the cgroups.
    pub(crate) uses_systemd_cgroups: bool,
    /// Whether the guest sees as many processors as its quota is worth.
    pub(crate) has_cpus_by_quota: bool,
    /// `--rootless`.
    pub(crate) is_rootless: bool,
    /// `--allow-suid`.
    pub(crate) allow_suid: bool,
    /// Which unix sockets of the host the guest may use.
    pub(crate) host_uds: String,
    /// Whether the guest may open fifos of the host.
    pub(crate) host_fifo: bool,
    /// Whether system call sites of the guest are rewritten.
    pub(crate) may_patch: bool,
    logs: Logs,
}

#[derive(Debug, Clone)]
struct Logs {
    log: Option<PathBuf>,
    format: Format,
    debug_log: Option<PathBuf>,
    debug_format: Format,
    stderr: bool,
    is_background: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config::new(&Values::defaults(GLOBAL)).expect("the defaults of the flag table are valid")
    }
}

impl Config {
    /// Reads the flags.
    pub(crate) fn new(flags: &Values) -> Result<Config, ConfigError> {
        let is_debug = flags.is_on("debug");
        let logs = Logs {
            log: flags.path("log"),
            format: Format::named(&flags.text("log-format")),
            debug_log: flags.path("debug-log"),
            debug_format: Format::named(&flags.text("debug-log-format")),
            stderr: flags.is_on("alsologtostderr"),
            is_background: false,
        };
        let network = match &*flags.text("network") {
            "none" => Network::None,
            "host" => Network::Host,
            _ => Network::Sandbox,
        };
        let calls = flags.text("strace-syscalls");
        Filter::parse(&calls).map_err(ConfigError::Strace)?;
        let strace = flags.is_on("strace").then_some(Strace { calls });
        Ok(Config {
            root: flags.path("root").unwrap_or_else(default_root),
            platform: match &*flags.text("platform") {
                "ptrace" => PlatformKind::Ptrace,
                _ => PlatformKind::Systrap,
            },
            network,
            overlay: overlay(&flags.text("overlay2"))?,
            root_access: FileAccess::of(&flags.text("file-access")),
            mounts_access: FileAccess::of(&flags.text("file-access-mounts")),
            strace,
            is_debug,
            ignores_cgroups: flags.is_on("ignore-cgroups")
                || flags.text("cgroup-manager") == "disabled",
            uses_systemd_cgroups: flags.is_on("systemd-cgroup")
                || flags.text("cgroup-manager") == "systemd",
            has_cpus_by_quota: flags.is_on("cpu-num-from-quota"),
            is_rootless: flags.is_on("rootless"),
            allow_suid: flags.is_on("allow-suid"),
            host_uds: flags.text("host-uds"),
            host_fifo: flags.text("host-fifo") == "open",
            may_patch: !flags.is_on("systrap-disable-syscall-patching"),
            logs,
        })
    }

    /// For processes that outlive this one: they do not log to its standard error, whose reader may wait
    /// for the last writer.
    pub(crate) fn in_background(&self) -> Config {
        let logs = Logs { is_background: true, ..self.logs.clone() };
        Config { logs, ..self.clone() }
    }

    /// Opens the logs for one of the processes of a sandbox (`command` names it) and container.
    pub(crate) fn open_logs(&self, command: &str, id: &str) -> Result<Vec<Sink>, ConfigError> {
        let verbosity = if self.is_debug { 4 } else { 2 };
        let strace = self.strace.is_some();
        let mut sinks = Vec::new();
        if let Some(path) = &self.logs.debug_log {
            let path = expand(path, command, id);
            let verbosity = if self.is_debug { 5 } else { 3 };
            let rule = Rule { format: self.logs.debug_format, verbosity, wants_strace: strace };
            sinks.push(Sink::new(append(&path)?.into(), rule));
        }
        if let Some(path) = &self.logs.log {
            let wants_strace = strace && sinks.is_empty();
            let rule = Rule { format: self.logs.format, verbosity, wants_strace };
            sinks.push(Sink::new(append(path)?.into(), rule));
        }
        let to_stderr = self.logs.stderr || (sinks.is_empty() && (self.is_debug || strace));
        if to_stderr && !self.logs.is_background {
            let source = duplicate(&io::stderr());
            let file =
                source.map_err(|source| ConfigError::Log { path: "stderr".into(), source })?;
            let verbosity = if self.is_debug { 4 } else { 0 };
            let rule = Rule { format: Format::Text, verbosity, wants_strace: strace };
            sinks.push(Sink { file, rule, is_stderr: true });
        }
        Ok(sinks)
    }
}

fn duplicate(stream: &impl std::os::fd::AsFd) -> io::Result<File> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

fn append(path: &Path) -> Result<File, ConfigError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .open(path)
        .map_err(|source| ConfigError::Log { path: path.into(), source })
}

/// Replaces `%ID%`, `%TIMESTAMP%` and `%COMMAND%`; a directory gets a file name as gVisor's.
fn expand(pattern: &Path, command: &str, id: &str) -> PathBuf {
    let mut text = pattern.to_string_lossy().into_owned();
    if text.ends_with('/') {
        // Opening the file reports what is wrong with the directory.
        let _ = fs::create_dir_all(&text);
        text.push_str("runsc.log.%TIMESTAMP%.%COMMAND%.txt");
    }
    text.replace("%ID%", id)
        .replace("%TIMESTAMP%", &Timestamp::now().compact())
        .replace("%COMMAND%", command)
        .into()
}

fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() => Path::new(&dir).join("runsc"),
        _ => "/var/run/runsc".into(),
    }
}

fn overlay(value: &str) -> Result<Overlay, ConfigError> {
    let fail = |why| Err(ConfigError::Overlay { value: value.into(), why });
    if value == "none" {
        return Ok(Overlay::Off);
    }
    let Some((scope, medium)) = value.split_once(':') else {
        return fail("it is none, or {root,all}:{self,memory}");
    };
    let scope = match scope {
        "root" => Overlay::Root,
        "all" => Overlay::All,
        _ => return fail("the mounts are root or all"),
    };
    match medium.split(',').next().unwrap_or(medium) {
        // What is written lies in files without a name in either case.
        "memory" | "self" => Ok(scope),
        other if other.starts_with("dir=") => fail("a directory of the host cannot hold it yet"),
        _ => fail("the medium is self or memory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlay_values() {
        assert_eq!(overlay("none").unwrap(), Overlay::Off);
        assert_eq!(overlay("root:self").unwrap(), Overlay::Root);
        assert_eq!(overlay("all:memory,size=1g").unwrap(), Overlay::All);
        for bad in ["", "root", "some:memory", "root:disk", "root:dir=/x"] {
            assert!(overlay(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn log_names_are_expanded() {
        let path = expand(Path::new("/x/%ID%-%COMMAND%.log"), "boot", "c1");
        assert_eq!(path, Path::new("/x/c1-boot.log"));
    }
}
