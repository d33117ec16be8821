// SPDX-License-Identifier: Apache-2.0
//! What proc shows of the kernel: read-only views, and the few knobs.
//!
//! proc stands below the tasks in the order of layers, so it says here what it wants to know and the
//! kernel implements it. Views are taken anew at each look.

use std::sync::Arc;

use abi::{Errno, signal::SigSet};

use crate::{
    creds::Credentials,
    sync::{Mutex, levels},
    vfs::{FileDescription, MountNamespace, Place},
};

/// The text of a setting, with its newline.
pub type KnobValue = Arc<Mutex<Vec<u8>, levels::Leaf>>;

/// The sandbox as a whole.
pub trait SystemView: Send + Sync {
    /// All processes, in the order of their numbers.
    fn processes(&self) -> Vec<i32>;

    /// The task (or the leader of the process) with this number.
    fn task(&self, number: i32) -> Option<Arc<dyn TaskView>>;

    /// Numbers of the calling process and task; `None` outside of any task.
    fn caller(&self) -> Option<(i32, i32)>;

    /// Figures that change.
    fn figures(&self) -> Figures;

    /// One processor's paragraph of `/proc/cpuinfo`, without its first line.
    fn cpu_description(&self) -> String;

    /// The names of file systems, those without a device first.
    fn filesystems(&self) -> Vec<(&'static str, bool)>;

    /// The controllers of cgroups.
    fn controllers(&self) -> &'static [&'static str];

    /// uname(2): release, version.
    fn release(&self) -> (String, String);

    /// uname(2)'s names: host and domain.
    fn names(&self) -> (Vec<u8>, Vec<u8>);

    /// sethostname(2), by who may.
    fn set_host_name(&self, name: &[u8], by: &Credentials) -> Result<(), Errno>;

    /// setdomainname(2), by who may.
    fn set_domain_name(&self, name: &[u8], by: &Credentials) -> Result<(), Errno>;

    /// Random bytes from the host.
    fn random(&self, to: &mut [u8]);

    /// `/proc/net/unix` and its kin: a table by its name, without a trailing newline's guess.
    fn network_table(&self, name: &str) -> Option<String>;

    /// The value of the knob at this path below `/proc/sys`, which is `initial` until it is turned.
    fn knob(&self, path: &str, initial: &str) -> KnobValue;

    /// The kernel's command line.
    fn command_line(&self) -> String;
}

/// Figures of the whole sandbox.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Processors.
    pub cpus: usize,
    /// Nanoseconds since the sandbox began.
    pub uptime_ns: u64,
    /// Seconds since 1970 when it began.
    pub boot_time: i64,
    /// CPU time of all tasks, in nanoseconds: user, system.
    pub cpu_time_ns: (u64, u64),
    /// Bytes of memory it may use.
    pub memory_total: u64,
    /// Bytes it uses.
    pub memory_used: u64,
    /// Bytes in tmpfs and shared memory.
    pub memory_shared: u64,
    /// Tasks made so far.
    pub forks: u64,
    /// Tasks that run now.
    pub running: usize,
    /// All tasks.
    pub tasks: usize,
    /// The newest process number.
    pub last_pid: i32,
}

/// What numbers a task goes by.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "proc(5)'s words")]
pub struct TaskNumbers {
    pub task: i32,
    pub process: i32,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    pub tracer: i32,
    /// Device number of the controlling terminal, 0 for none.
    pub terminal: u32,
    /// Foreground group of that terminal, -1 for none.
    pub terminal_group: i32,
}

/// Signals of a task.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "proc(5)'s words")]
pub struct SignalSets {
    pub pending: SigSet,
    pub shared_pending: SigSet,
    pub blocked: SigSet,
    pub ignored: SigSet,
    pub caught: SigSet,
    pub queued: u64,
    pub queue_limit: u64,
}

/// Times of a task or of its process, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "proc(5)'s words")]
pub struct TaskTimes {
    pub user: u64,
    pub system: u64,
    pub children_user: u64,
    pub children_system: u64,
    /// Since the sandbox began.
    pub start: u64,
}

/// Odds and ends of a task.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "proc(5)'s words")]
pub struct TaskDetails {
    /// `R`, `S`, `D`, `T`, `t`, `Z` or `X`.
    pub state: char,
    pub nice: i32,
    pub policy: u32,
    pub realtime_priority: u32,
    pub processor: u32,
    pub exit_signal: i32,
    pub exit_status: i32,
    pub umask: u32,
    pub no_new_privs: bool,
    /// 0, 1 (strict) or 2 (filter), and how many filters.
    pub seccomp: (u32, u32),
    pub oom_score_adj: i32,
    pub personality: u32,
    pub fd_table_size: u32,
    pub is_dumpable: bool,
    pub timer_slack_ns: u64,
    /// The processors it may run on, as a mask.
    pub affinity: u64,
}

/// Which namespace of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "namespaces(7)'s words")]
pub enum NamespaceKind {
    Cgroup,
    Ipc,
    Mount,
    Network,
    Pid,
    Time,
    User,
    Uts,
}

/// One task, seen from outside.
pub trait TaskView: Send + Sync {
    /// Whether it has not been reaped.
    fn is_alive(&self) -> bool;

    /// Its numbers in its own pid namespace.
    fn numbers(&self) -> TaskNumbers;

    /// `comm`.
    fn name(&self) -> Vec<u8>;

    /// Writes `comm`; only within the same process (`EINVAL`).
    fn set_name(&self, name: &[u8]) -> Result<(), Errno>;

    /// Who it is.
    fn credentials(&self) -> Arc<Credentials>;

    /// Signals.
    fn signals(&self) -> SignalSets;

    /// Times of this task alone.
    fn times(&self) -> TaskTimes;

    /// Times of its whole process.
    fn process_times(&self) -> TaskTimes;

    /// The rest.
    fn details(&self) -> TaskDetails;

    /// Sets `oom_score_adj`.
    fn set_oom_score_adj(&self, value: i32, by: &Credentials) -> Result<(), Errno>;

    /// Numbers of all tasks of its process.
    fn threads(&self) -> Vec<i32>;

    /// Numbers of the processes that this task made.
    fn children(&self) -> Vec<i32>;

    /// Its memory; `None` once it has exited.
    fn memory(&self) -> Option<Arc<dyn MemoryView>>;

    /// The program it runs.
    fn executable(&self) -> Option<Place>;

    /// Working directory and root; `None` once it has exited.
    fn directories(&self) -> Option<(Place, Place)>;

    /// Its open files: number, file, close-on-exec.
    fn files(&self) -> Vec<(i32, Arc<FileDescription>, bool)>;

    /// `(soft, hard)` of each of the sixteen limits, in the order of their numbers.
    fn limits(&self) -> [(u64, u64); 16];

    /// What is mounted for it.
    fn mounts(&self) -> Option<Arc<MountNamespace>>;

    /// The number of a namespace it is in.
    fn namespace(&self, kind: NamespaceKind) -> u64;

    /// `ptrace_may_access(PTRACE_MODE_READ_FSCREDS)`.
    fn may_be_read_by(&self, asker: &Credentials) -> bool;

    /// `/proc/<pid>/{uid_map,gid_map}`: the lines of a namespace's mapping.
    fn id_map(&self, groups: bool) -> String;

    /// Writes a mapping.
    fn set_id_map(&self, groups: bool, text: &[u8], by: &Credentials) -> Result<(), Errno>;

    /// `/proc/<pid>/setgroups`.
    fn may_set_groups(&self) -> bool;

    /// Denies (or allows) setgroups(2) before the mapping is written.
    fn set_may_set_groups(&self, allow: bool, by: &Credentials) -> Result<(), Errno>;
}

/// A line of `/proc/<pid>/maps`.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "proc(5)'s words")]
pub struct MapLine {
    pub start: u64,
    pub end: u64,
    pub is_readable: bool,
    pub is_writable: bool,
    pub is_executable: bool,
    pub is_shared: bool,
    pub offset: u64,
    pub device: u64,
    pub inode: u64,
    pub name: Vec<u8>,
    /// `VmFlags` of smaps, two letters each with a trailing space.
    pub flags: String,
    pub is_anonymous: bool,
}

/// Sizes of an address space, in bytes.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "proc(5)'s words")]
pub struct MemorySizes {
    pub size: u64,
    pub peak: u64,
    pub resident: u64,
    pub resident_shared: u64,
    pub data: u64,
    pub stack: u64,
    pub text: u64,
    pub libraries: u64,
    pub locked: u64,
}

/// Where things are in an address space.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "proc(5)'s words")]
pub struct MemoryPlaces {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub start_stack: u64,
    pub arguments: (u64, u64),
    pub environment: (u64, u64),
}

/// An address space, seen from outside.
pub trait MemoryView: Send + Sync {
    /// All mappings in the order of their addresses.
    fn maps(&self) -> Vec<MapLine>;

    /// Sizes.
    fn sizes(&self) -> MemorySizes;

    /// Places.
    fn places(&self) -> MemoryPlaces;

    /// The auxiliary vector, as execve(2) left it.
    fn auxv(&self) -> Vec<u8>;

    /// Reads as far as it goes.
    fn read(&self, address: u64, to: &mut [u8]) -> usize;

    /// Writes as a debugger may, as far as it goes.
    fn write(&self, address: u64, from: &[u8]) -> usize;
}
