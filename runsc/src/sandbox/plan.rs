// SPDX-License-Identifier: Apache-2.0
//! What a sandbox is to be, as it travels from `runsc` to its processes: plain data.

use std::{fmt, path::PathBuf};

use abi::{Errno, seccomp::SockFilter};
use sentry::task::seccomp::Inherited;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::cgroup::Limits;
use crate::{
    config::{FileAccess, Network, PlatformKind, Strace},
    log::Rule,
};

/// Bytes that are mostly text, in JSON: each byte is the character of its number.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl<T: AsRef<[u8]>> From<T> for Bytes {
    fn from(bytes: T) -> Bytes {
        Bytes(bytes.as_ref().to_vec())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.iter().map(|byte| char::from(*byte)).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |character| u8::try_from(u32::from(character));
        let bytes = text.chars().map(byte).collect::<Result<_, _>>();
        bytes.map(Bytes).map_err(|_| de::Error::custom("a character above U+00FF"))
    }
}

/// What the sentry is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BootPlan {
    /// The container.
    pub(crate) id: String,
    /// The node name that uname(2) shows.
    pub(crate) hostname: String,
    /// The domain name that uname(2) shows.
    pub(crate) domainname: String,
    /// One processor's paragraph of `/proc/cpuinfo`, without its first line.
    pub(crate) cpu_description: String,
    /// What it may use.
    pub(crate) limits: Limits,
    /// Whether the last of its descriptors tells how much memory it uses.
    pub(crate) has_memory_usage: bool,
    /// How guest code runs.
    pub(crate) platform: PlatformKind,
    /// Whether system call sites of the guest are rewritten.
    pub(crate) may_patch: bool,
    /// What network the guest sees.
    pub(crate) network: Network,
    /// How the process is confined by namespaces.
    pub(crate) isolation: Isolation,
    /// Whether the sandbox ends with the process that started it.
    pub(crate) is_foreground: bool,
    /// Whether the guest waits for a start message.
    pub(crate) waits_for_start: bool,
    /// Whether it waits for that message when its hooks have run: until then the terminal's keys are runsc's.
    pub(crate) waits_for_terminal: bool,
    /// The first process.
    pub(crate) process: Process,
    /// The root file system.
    pub(crate) root: Root,
    /// Further mounts, in order.
    pub(crate) mounts: Vec<Mount>,
    /// Paths that show nothing.
    pub(crate) masked_paths: Vec<Bytes>,
    /// Paths that cannot be changed.
    pub(crate) readonly_paths: Vec<Bytes>,
    /// What config.json says beyond the rest.
    pub(crate) extras: Extras,
    /// System call tracing.
    pub(crate) strace: Option<Strace>,
    /// Whether unsupported calls are reported at the end.
    pub(crate) report: bool,
    /// Whether set-user-id bits are honoured.
    pub(crate) allow_suid: bool,
    /// The rules of the inherited logs, in the order of their descriptors.
    pub(crate) logs: Vec<Rule>,
    /// How many further descriptors the first process gets; they come after the logs.
    pub(crate) preserved: i32,
}

/// How a process of ours is confined by namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Isolation {
    /// It was started in mount, pid, ipc, uts and net namespaces of its own.
    pub(crate) has_namespaces: bool,
    /// It was started in a user namespace of its own.
    pub(crate) has_user_namespace: bool,
}

/// The first process of the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its arguments; the first names the program.
    pub(crate) args: Vec<Bytes>,
    /// Its environment.
    pub(crate) env: Vec<Bytes>,
    /// Its working directory.
    pub(crate) cwd: Bytes,
    /// Its user.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
    /// Its further groups.
    pub(crate) groups: Vec<u32>,
    /// Its umask.
    pub(crate) umask: u32,
    /// Its capabilities.
    pub(crate) capabilities: Capabilities,
    /// Its limits: number, soft, hard.
    pub(crate) rlimits: Vec<(u32, u64, u64)>,
    /// Whether it can never gain rights.
    pub(crate) no_new_privileges: bool,
    /// Whether standard input, output and error are a terminal that it controls.
    pub(crate) terminal: bool,
    /// `/proc/<pid>/oom_score_adj`, if it is to be another.
    pub(crate) oom_score_adj: Option<i32>,
    /// How it is scheduled.
    pub(crate) scheduling: Scheduling,
    /// Whether signals act on it as on any process, and not as on the init of a container.
    pub(crate) is_ordinary: bool,
}

/// Something that a further process may have of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Choice<T> {
    /// What the container's first process was given.
    Container,
    /// That and this.
    Added(T),
    /// This alone.
    Instead(T),
}

/// Who a further process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UserChoice {
    /// By number.
    Ids {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// By a name that the guest's own files explain, or a number.
    Named {
        /// The user.
        user: String,
        /// The group; without one the user's own.
        group: Option<String>,
    },
}

/// A further process of a running guest: what differs from the first one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExecPlan {
    /// Its arguments; the first names the program.
    pub(crate) args: Vec<Bytes>,
    /// Its environment.
    pub(crate) env: Choice<Vec<Bytes>>,
    /// Its working directory.
    pub(crate) cwd: Option<Bytes>,
    /// Its user and group.
    pub(crate) user: Option<UserChoice>,
    /// Its further groups.
    pub(crate) groups: Choice<Vec<u32>>,
    /// Its umask.
    pub(crate) umask: Option<u32>,
    /// Its capabilities.
    pub(crate) capabilities: Choice<Capabilities>,
    /// Its limits: number, soft, hard.
    pub(crate) rlimits: Option<Vec<(u32, u64, u64)>>,
    /// Whether it can never gain rights.
    pub(crate) no_new_privileges: Option<bool>,
    /// Whether standard input, output and error are a terminal that it controls.
    pub(crate) terminal: bool,
    /// `/proc/<pid>/oom_score_adj`.
    pub(crate) oom_score_adj: Option<i32>,
    /// How it is scheduled, but for its input and output.
    pub(crate) scheduling: Option<Scheduling>,
    /// As ioprio_set(2) has it.
    pub(crate) io_priority: Option<i32>,
    /// The processors that it is shown as its own, as far as they are there; none are all.
    pub(crate) cpus: Vec<usize>,
    /// Which of the files that come along each standard stream is.
    pub(crate) streams: [usize; 3],
}

/// What the guest is shown of how a process is scheduled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scheduling {
    /// `SCHED_…`.
    pub(crate) policy: i32,
    /// Its nice value.
    pub(crate) nice: i32,
    /// Its real-time priority.
    pub(crate) priority: i32,
    /// `SCHED_RESET_ON_FORK`.
    pub(crate) resets_on_fork: bool,
    /// As ioprio_set(2) has it.
    pub(crate) io_priority: i32,
}

/// What config.json says that no other part of the plan has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Extras {
    /// The filter that every process of the guest is bound by.
    pub(crate) seccomp: Option<SeccompFilter>,
    /// Nodes to be made.
    pub(crate) devices: Vec<Device>,
    /// Paths below `/proc/sys`, and what is written there.
    pub(crate) sysctls: Vec<(String, Bytes)>,
    /// personality(2).
    pub(crate) personality: u32,
    /// Programs that run before the first process.
    pub(crate) start_hooks: Vec<Hook>,
    /// The state that they find on their standard input.
    pub(crate) start_state: String,
    /// What `/proc/<pid>/uid_map` shows.
    pub(crate) ids: IdMaps,
}

/// An instruction of a classic BPF program: code, jt, jf, k.
pub(crate) type Instruction = (u16, u8, u8, u32);

/// A seccomp filter, compiled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SeccompFilter {
    /// The program.
    pub(crate) code: Vec<Instruction>,
    /// Whether what it does not allow is logged.
    pub(crate) is_logged: bool,
}

impl SeccompFilter {
    /// The program as the sentry runs it.
    pub(crate) fn checked(&self) -> Result<Inherited, Errno> {
        let step =
            |(code, jt, jf, k): &Instruction| SockFilter { code: *code, jt: *jt, jf: *jf, k: *k };
        let code: Vec<SockFilter> = self.code.iter().map(step).collect();
        Inherited::new(&code, self.is_logged)
    }
}

/// What sort of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeviceKind {
    /// `c`.
    Character,
    /// `b`.
    Block,
    /// `p`.
    Fifo,
}

/// A node that is to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Device {
    /// Where, absolute in the guest.
    pub(crate) path: Bytes,
    /// What.
    pub(crate) kind: DeviceKind,
    /// Its major number.
    pub(crate) major: u32,
    /// Its minor number.
    pub(crate) minor: u32,
    /// Its permissions.
    pub(crate) mode: u32,
    /// Its owner.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
}

/// A program that is run at a certain moment of a container's life.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hook {
    /// The program.
    pub(crate) path: Bytes,
    /// Its arguments; the first is its name.
    pub(crate) args: Vec<Bytes>,
    /// Its environment.
    pub(crate) env: Vec<Bytes>,
    /// How long it may take.
    pub(crate) timeout_s: Option<u64>,
}

/// Ids that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdRange {
    /// The first as the guest knows it.
    pub(crate) guest: u32,
    /// The first as the host knows it.
    pub(crate) host: u32,
    /// How many.
    pub(crate) count: u32,
}

/// Whose ids on the host the guest's are; without ranges, they are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdMaps {
    /// Of users.
    pub(crate) uids: Vec<IdRange>,
    /// Of groups.
    pub(crate) gids: Vec<IdRange>,
}

/// Five sets of capabilities, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capabilities {
    /// What can be gained at all.
    pub(crate) bounding: u64,
    /// What acts.
    pub(crate) effective: u64,
    /// What may act.
    pub(crate) permitted: u64,
    /// What a program with file capabilities keeps.
    pub(crate) inheritable: u64,
    /// What any program keeps.
    pub(crate) ambient: u64,
}

/// The root file system: the gofer's first root.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Root {
    /// Whether it cannot be changed.
    pub(crate) is_readonly: bool,
    /// Whether writes stay in an overlay in memory.
    pub(crate) has_overlay: bool,
    /// Who else changes it while the sandbox runs.
    pub(crate) access: FileAccess,
}

/// One mount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Mount {
    /// Where, absolute in the guest.
    pub(crate) destination: Bytes,
    /// What.
    pub(crate) kind: MountKind,
    /// What `/proc/mounts` calls it.
    pub(crate) source: Bytes,
    /// `MS_…` flags of mount(2).
    pub(crate) flags: u64,
    /// Options of the file system, as mount(2) takes them.
    pub(crate) data: String,
    /// It begins with what it covers.
    pub(crate) copies_up: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum MountKind {
    /// One of the gofer's roots.
    Gofer {
        /// Which.
        root: u32,
        /// Whether writes stay in an overlay in memory.
        has_overlay: bool,
        /// Who else changes it while the sandbox runs.
        access: FileAccess,
    },
    /// A file system of the sentry's own, by its name in mount(2).
    Own(String),
}

/// What the gofer is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GoferPlan {
    /// What it serves, in the order that [`MountKind::Gofer`] counts in.
    pub(crate) roots: Vec<GoferRoot>,
    /// How the process is confined by namespaces.
    pub(crate) isolation: Isolation,
    /// Which unix sockets of the host may be used: none, open, create, all.
    pub(crate) host_uds: String,
    /// Whether fifos of the host may be opened.
    pub(crate) host_fifo: bool,
    /// The rules of the inherited logs, in the order of their descriptors.
    pub(crate) logs: Vec<Rule>,
}

/// One directory or file of the host that the guest sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoferRoot {
    /// Where it is on the host.
    pub(crate) path: PathBuf,
    /// Whether it is served for reading alone.
    pub(crate) is_readonly: bool,
    /// Directories below it that are served empty: the host's own kernel file systems.
    pub(crate) hidden: Vec<PathBuf>,
    /// Places in it that the guest's mounts need, and whether each is a directory.
    pub(crate) mount_points: Vec<(PathBuf, bool)>,
    /// Whether it ends where another mount of the host begins.
    pub(crate) is_single: bool,
    /// Whose ids the guest's are.
    pub(crate) ids: IdMaps,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_kind_survive() {
        let bytes = Bytes((0..=255).collect());
        let text = serde_json::to_string(&bytes).unwrap();
        assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap(), bytes);
        assert!(serde_json::from_str::<Bytes>("\"\u{100}\"").is_err());
    }
}

/// One processor of the host as `/proc/cpuinfo` tells it; empty where it cannot be read.
pub(crate) fn cpu_description() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let first = text.split("\n\n").next().unwrap_or_default();
    first.lines().filter(|line| !line.starts_with("processor")).collect::<Vec<_>>().join("\n")
}
