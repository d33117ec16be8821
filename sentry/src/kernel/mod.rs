// SPDX-License-Identifier: Apache-2.0
//! The kernel of one sandbox.
//!
//! Whoever builds a sandbox makes a [`Kernel`] of a [`KernelConfig`], starts its init with
//! [`Kernel::spawn_init`] and waits with the [`ExitWaiter`] it gets. More processes come by
//! [`Kernel::spawn`], signals by [`Kernel::signal`], the end by [`Kernel::kill_all`] or with init.

mod cgroup;
mod config;
mod filesystems;
mod jobs;
mod limits;
pub mod namespace;
mod pause;
mod settings;
pub mod syscall;
mod view;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
};

use arc_swap::ArcSwap;

pub use config::{IdMaps, KernelConfig, MemoryUsage, ProcessSpec, TraceSink};
pub use limits::Limits;
pub use syscall::{OrRestart, Restart, Stop, SysResult, SyscallTable};

use crate::{
    fs::proc::view::KnobValue,
    futex::FutexTable,
    ipc::IpcNamespace,
    sync::{Mutex, MutexGuard, levels},
    task::{HostThreads, TaskTable},
    time::{Clock, Timers},
};

/// The Linux release that uname(2) tells.
pub const RELEASE: &str = "6.12.0";
/// The build that uname(2) tells.
pub const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC runsc";

/// Everything of one sandbox.
pub struct Kernel {
    config: KernelConfig,
    limits: ArcSwap<Limits>,
    /// Guest code stands still until it is resumed.
    is_paused: AtomicBool,
    /// Tasks that were not made because of the limit.
    refused_tasks: AtomicU64,
    /// CPU time of tasks that have ended: user, system.
    buried_ns: [AtomicU64; 2],
    me: Weak<Kernel>,
    tasks: Mutex<TaskTable, levels::TaskSet>,
    threads: Arc<HostThreads>,
    timers: Arc<Timers>,
    uts: Arc<namespace::UtsNamespace>,
    booted: u64,
    futexes: FutexTable,
    ipc: IpcNamespace,
    unimplemented: Mutex<BTreeMap<u64, u64>, levels::Leaf>,
    /// What `/proc/sys` says, by path.
    knobs: Mutex<BTreeMap<String, KnobValue>, levels::Leaf>,
}

impl Kernel {
    /// A kernel without tasks.
    pub fn new(config: KernelConfig) -> Arc<Kernel> {
        let uts =
            namespace::UtsNamespace::new(config.hostname.as_bytes(), config.domainname.as_bytes());
        let limits = ArcSwap::from_pointee(config.limits.clone());
        Arc::new_cyclic(|me| Kernel {
            config,
            limits,
            is_paused: AtomicBool::new(false),
            refused_tasks: AtomicU64::new(0),
            buried_ns: Default::default(),
            me: me.clone(),
            tasks: Mutex::default(),
            threads: HostThreads::new(),
            timers: Timers::new(),
            uts,
            booted: Clock::Monotonic.now(),
            futexes: FutexTable::default(),
            ipc: IpcNamespace::default(),
            unimplemented: Mutex::default(),
            knobs: Mutex::default(),
        })
    }

    /// What it was made of.
    pub fn config(&self) -> &KernelConfig {
        &self.config
    }

    /// Who exists.
    pub fn tasks(&self) -> MutexGuard<'_, TaskTable, levels::TaskSet> {
        self.tasks.lock()
    }

    /// All armed timers: what [`crate::time::Timer::new`] wants.
    pub fn timers(&self) -> &Arc<Timers> {
        &self.timers
    }

    /// Who waits for which word of memory.
    pub fn futexes(&self) -> &FutexTable {
        &self.futexes
    }

    /// System V IPC.
    pub fn ipc(&self) -> &IpcNamespace {
        &self.ipc
    }

    /// The first host and domain name.
    pub fn uts(&self) -> &Arc<namespace::UtsNamespace> {
        &self.uts
    }

    /// Nanoseconds since the sandbox started.
    pub fn uptime(&self) -> u64 {
        Clock::Monotonic.now().saturating_sub(self.booted)
    }

    /// Bytes of memory that are not in use, as far as the sandbox can tell: all but what its processes
    /// have mapped privately.
    pub fn memory_available(&self) -> u64 {
        let total = self.limits().memory_total;
        self.memory_in_use().map_or(total / 4 * 3, |used| total.saturating_sub(used))
    }

    /// Bytes of memory in use, where the host counts them.
    pub(crate) fn memory_in_use(&self) -> Option<u64> {
        self.config.memory_usage.as_ref().and_then(|usage| usage())
    }

    /// The reading of the monotonic clock at the start.
    pub fn booted(&self) -> u64 {
        self.booted
    }

    pub(crate) fn threads(&self) -> &Arc<HostThreads> {
        &self.threads
    }

    pub(crate) fn weak(&self) -> Weak<Kernel> {
        self.me.clone()
    }

    /// Counts a call that nobody answers. Returns whether it is the first with this number.
    pub fn note_unimplemented(&self, number: u64) -> bool {
        // The number is the guest's: the table must not grow without end.
        const MOST: usize = 1024;
        let mut counts = self.unimplemented.lock();
        if counts.len() >= MOST && !counts.contains_key(&number) {
            return false;
        }
        let count = counts.entry(number).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// Calls that nobody answered, by number, with how often they were made.
    pub fn unimplemented(&self) -> BTreeMap<u64, u64> {
        self.unimplemented.lock().clone()
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}
