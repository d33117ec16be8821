// SPDX-License-Identifier: Apache-2.0
//! What a sandbox is made of: handed in once, by whoever builds the kernel.

use std::{fmt, sync::Arc};

use abi::{Fd, resource::Rlimit64};
use platform::Platform;

use super::{Limits, SyscallTable};
use crate::{
    creds::Credentials,
    task::{TaskFacts, seccomp::Inherited},
    vfs::{FileDescription, MountNamespace, Place},
};

/// Where strace lines go.
pub type TraceSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Tells how many bytes of memory are in use; nothing if that cannot be told.
pub type MemoryUsage = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// What `/proc/<pid>/uid_map` and `gid_map` show: ranges by their first id inside, their first outside and
/// their length. Without ranges, all ids are the same on both sides.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "says it")]
pub struct IdMaps {
    pub users: Vec<(u32, u32, u32)>,
    pub groups: Vec<(u32, u32, u32)>,
}

/// What a sandbox is made of.
pub struct KernelConfig {
    /// How guest code runs.
    pub platform: Arc<dyn Platform>,
    /// The system calls.
    pub syscalls: SyscallTable,
    /// The host name.
    pub hostname: String,
    /// The domain name.
    pub domainname: String,
    /// What it may use at first.
    pub limits: Limits,
    /// What it uses, where the host counts that; `None`: what the plans of memory say stands for it.
    pub memory_usage: Option<MemoryUsage>,
    /// One processor's paragraph of `/proc/cpuinfo`, without its first line.
    pub cpu_description: String,
    /// The most tasks at a time.
    pub max_tasks: usize,
    /// Whose ids outside the guest's are.
    pub id_maps: IdMaps,
    /// Where a line for each call goes; `None`: nobody traces.
    pub trace: Option<TraceSink>,
}

impl fmt::Debug for KernelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KernelConfig({})", self.platform.name())
    }
}

/// A process that starts from outside: init, or what `runsc exec` adds.
#[derive(Debug)]
pub struct ProcessSpec {
    /// The file to execute, seen from `root` and `cwd`. With no slash in it, `PATH` of `environment` is
    /// searched as execvp(3) does.
    pub executable: Vec<u8>,
    /// Its arguments, `argv[0]` included.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment, `NAME=value` each.
    pub environment: Vec<Vec<u8>>,
    /// Its mounts.
    pub mounts: Arc<MountNamespace>,
    /// Where `/` is.
    pub root: Place,
    /// Where relative paths start.
    pub cwd: Place,
    /// Its umask.
    pub umask: u32,
    /// Who it is.
    pub creds: Credentials,
    /// Limits that differ from the defaults: `RLIMIT_*` with both values.
    pub rlimits: Vec<(u32, Rlimit64)>,
    /// Its open files.
    pub files: Vec<(Fd, Arc<FileDescription>)>,
    /// Whether, as process 1, it is spared by signals that it has no handler for (`SIGNAL_UNKILLABLE`).
    pub is_protected: bool,
    /// Filters that it is born with.
    pub seccomp: Option<Inherited>,
    /// Its small facts: nice value, scheduling, affinity.
    pub facts: TaskFacts,
    /// `/proc/<pid>/oom_score_adj`.
    pub oom_score_adj: i32,
    /// personality(2).
    pub personality: u32,
    /// The identity of its controlling terminal (one of `files`), if it has one.
    pub terminal: Option<u64>,
}
