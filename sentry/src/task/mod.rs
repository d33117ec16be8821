// SPDX-License-Identifier: Apache-2.0
//! Tasks: how they are born, run, stop, wait for each other and die.
//!
//! * **The types to know.** A [`Task`] is what others may hold of a thread; [`Current`] is the same
//!   thread seen from itself. A [`ThreadGroup`] is what tasks of one process share. The
//!   [`TaskTable`](table::TaskTable) knows who exists and whose child is whose.
//! * **Invariants.** A task runs on one host thread of its own. Only that thread changes its registers
//!   and its memory's plan. Everybody else sends: [`Task::interrupt`] makes it look.
//! * **Lock levels.** `TaskSet` over `SignalHandlers` over `TaskState`.

mod async_io;
mod caller;
pub mod calling;
mod clone;
mod cpu_alarm;
pub mod current;
mod deliver;
mod exec;
mod exec_creds;
mod exit;
mod fd_table;
mod fs_context;
mod itimer;
mod job;
mod pidfd;
mod posix_timers;
pub mod ptrace;
mod queue_owner;
mod rlimits;
mod run;
pub mod seccomp;
mod send;
mod spawn;
pub mod table;
mod thread_group;
mod threads;
mod user_exit;
mod wait;

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
};

use abi::{SigSet, limits::TASK_COMM_LEN};
use arc_swap::ArcSwap;
use platform::Interrupter;

pub use clone::CloneRequest;
pub use cpu_alarm::CpuClock;
pub use current::Current;
pub use exec::ExecRequest;
pub use exit::ExitWaiter;
pub use fd_table::{FdEntry, FdTable, MAX_FDS};
pub use fs_context::FsContext;
pub use pidfd::{PidFd, open_process, pidfd_target};
pub use posix_timers::{Notify, TimerClock};
pub use queue_owner::QueueOwner;
pub use rlimits::Rlimits;
pub use send::Sender;
pub use spawn::Prepared;
pub use table::TaskTable;
pub use thread_group::{ThreadGroup, Usage};
pub(crate) use threads::HostThreads;
pub use wait::{WaitFor, Waited};

use crate::{
    creds::Credentials,
    kernel::{Kernel, namespace::UtsNamespace},
    mm::MemoryManager,
    signal::Pending,
    sync::{Mutex, levels},
    vfs::MountNamespace,
    wait::Sleeper,
};

/// What a task shares with others or not, as clone(2) was told. Gone when it has exited.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Its memory.
    pub mm: Arc<MemoryManager>,
    /// Its open files.
    pub fds: Arc<FdTable>,
    /// Its root, working directory and umask.
    pub fs: Arc<FsContext>,
    /// Its host and domain name.
    pub uts: Arc<UtsNamespace>,
    /// Its mounts.
    pub mounts: Arc<MountNamespace>,
    /// What stands for its I/O context (`CLONE_IO`) and for its semaphore adjustments (`CLONE_SYSVSEM`), which
    /// kcmp(2) compares.
    pub tokens: [Arc<()>; 2],
}

impl Resources {
    /// `CLONE_NEWNS`: a copy of the mounts, with root and working directory in it. Its `fs` is its own.
    fn fork_mounts(&mut self) {
        let (mounts, translate) = self.mounts.copy();
        self.fs.set_root(translate(&self.fs.root()));
        self.fs.set_cwd(translate(&self.fs.cwd()));
        self.mounts = mounts;
    }
}

/// What stands for something that a task has not got (yet).
pub(crate) fn no_token() -> Arc<()> {
    static NONE: LazyLock<Arc<()>> = LazyLock::new(Arc::default);
    Arc::clone(&NONE)
}

/// A task's own signals.
#[derive(Debug, Default)]
pub struct TaskSignals {
    /// What it blocks.
    pub mask: SigSet,
    /// The mask to go back to when the call that replaced it ends (rt_sigsuspend(2), ppoll(2)).
    pub saved_mask: Option<SigSet>,
    /// What is pending for it alone.
    pub pending: Pending,
    /// What it waits for in rt_sigtimedwait(2): counts as wanted though blocked.
    pub awaited: SigSet,
}

/// Small facts of a task that others may ask for or change.
#[derive(Debug, Clone, Copy)]
pub struct TaskFacts {
    /// prctl(2) `PR_SET_NAME`.
    pub name: [u8; TASK_COMM_LEN],
    /// Nice value, -20 to 19.
    pub nice: i32,
    /// Scheduling policy, stored only.
    pub policy: i32,
    /// Real-time priority, stored only.
    pub priority: i32,
    /// `SCHED_DEADLINE`'s runtime, deadline and period, stored only.
    pub deadline: [u64; 3],
    /// `SCHED_RESET_ON_FORK`.
    pub resets_on_fork: bool,
    /// ioprio_set(2), stored only.
    pub io_priority: i32,
    /// prctl(2) `PR_SET_PDEATHSIG`.
    pub parent_death_signal: i32,
    /// prctl(2) `PR_SET_TIMERSLACK`, stored only.
    pub timer_slack: u64,
    /// What it goes back to: what it was born with.
    pub default_timer_slack: u64,
    /// set_robust_list(2).
    pub robust_list: u64,
    /// set_tid_address(2).
    pub clear_child_tid: u64,
    /// The CPUs that sched_setaffinity(2) allows, stored only.
    pub affinity: Option<[u64; 16]>,
}

impl Default for TaskFacts {
    fn default() -> Self {
        TaskFacts {
            name: [0; TASK_COMM_LEN],
            nice: 0,
            policy: 0,
            priority: 0,
            deadline: [0; 3],
            resets_on_fork: false,
            io_priority: 0,
            parent_death_signal: 0,
            timer_slack: 50_000,
            default_timer_slack: 50_000,
            robust_list: 0,
            clear_child_tid: 0,
            affinity: None,
        }
    }
}

/// What a task does now, as `/proc/<pid>/stat` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "proc_pid_stat(5)'s own words")]
pub enum RunState {
    Running,
    Sleeping,
    Stopped,
    Traced,
    Zombie,
}

/// A thread of the guest, as others see it.
pub struct Task {
    tid: AtomicI32,
    group: Arc<ThreadGroup>,
    creds: ArcSwap<Credentials>,
    seccomp: seccomp::State,
    resources: Mutex<Option<Resources>, levels::TaskState>,
    signals: Mutex<TaskSignals, levels::TaskState>,
    facts: Mutex<TaskFacts, levels::Leaf>,
    sleeper: Arc<Sleeper>,
    interrupter: Mutex<Option<Interrupter>, levels::Leaf>,
    /// There is something to look at before the guest runs again (Linux's `TIF_SIGPENDING`).
    attention: AtomicBool,
    /// Guest code runs, or is about to.
    in_guest: AtomicBool,
    /// It is to die alone: another thread of its group executes a program.
    must_die: AtomicBool,
    /// It waits for something in the kernel.
    is_stopped: AtomicBool,
    /// When it was born, on the monotonic clock.
    started: u64,
    /// Time in guest code, and in the kernel for it, in nanoseconds.
    user_ns: AtomicU64,
    system_ns: AtomicU64,
    /// Since when it is in guest code, on the monotonic clock; 0 while it is not.
    guest_since: AtomicU64,
    /// Calls, context switches by waiting.
    voluntary_switches: AtomicU64,
    vfork: Mutex<Option<Arc<clone::VforkDone>>, levels::Leaf>,
    /// Somebody traces it: so that others need not look further.
    is_traced: AtomicBool,
    pub(crate) ties: ptrace::Ties,
    /// As clone(2) was told: for the process that it leads.
    exit_signal: i32,
}

impl Task {
    /// Its id.
    pub fn tid(&self) -> i32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Its process.
    pub fn group(&self) -> &Arc<ThreadGroup> {
        &self.group
    }

    /// Its process's id.
    pub fn pid(&self) -> i32 {
        self.group.pid()
    }

    /// The kernel it lives in.
    pub fn kernel(&self) -> Option<Arc<Kernel>> {
        self.group.kernel()
    }

    /// Who it is.
    pub fn creds(&self) -> Arc<Credentials> {
        self.creds.load_full()
    }

    /// What it shares; `None` once it has exited.
    pub fn resources(&self) -> Option<Resources> {
        self.resources.lock().clone()
    }

    /// Its memory; `None` once it has exited.
    pub fn mm(&self) -> Option<Arc<MemoryManager>> {
        self.resources.lock().as_ref().map(|resources| Arc::clone(&resources.mm))
    }

    /// Its open files; `None` once it has exited.
    pub fn fd_table(&self) -> Option<Arc<FdTable>> {
        self.resources.lock().as_ref().map(|resources| Arc::clone(&resources.fds))
    }

    /// Its root and working directory; `None` once it has exited.
    pub fn fs_context(&self) -> Option<Arc<FsContext>> {
        self.resources.lock().as_ref().map(|resources| Arc::clone(&resources.fs))
    }

    /// Its small facts.
    pub fn facts(&self) -> TaskFacts {
        *self.facts.lock()
    }

    /// Changes its small facts.
    pub fn update_facts<R>(&self, change: impl FnOnce(&mut TaskFacts) -> R) -> R {
        change(&mut self.facts.lock())
    }

    /// Its name without the padding.
    pub fn name(&self) -> Vec<u8> {
        let name = self.facts.lock().name;
        name.iter().copied().take_while(|byte| *byte != 0).collect()
    }

    /// Sets its name; what does not fit is cut off.
    pub fn set_name(&self, name: &[u8]) {
        let mut padded = [0; TASK_COMM_LEN];
        let fits = name.iter().take(TASK_COMM_LEN - 1).take_while(|byte| **byte != 0);
        for (to, from) in padded.iter_mut().zip(fits) {
            *to = *from;
        }
        self.facts.lock().name = padded;
    }

    /// Signals it blocks, and those pending for it alone.
    pub fn signal_sets(&self) -> (SigSet, SigSet) {
        let signals = self.signals.lock();
        (signals.mask, signals.pending.set())
    }

    /// Its signals, for those who send, deliver and ask.
    pub(crate) fn signals(&self) -> &Mutex<TaskSignals, levels::TaskState> {
        &self.signals
    }

    /// When it was born, in nanoseconds on the monotonic clock.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Nanoseconds spent in guest code, and in the kernel for it, without what it slept.
    ///
    /// DIFFERS: guest code counts by the clock on the wall, so also while the host runs something else on
    /// its CPU. Asking the host for each thread's own clock would cost a host call a switch. How long it
    /// waited in futexes meanwhile is its stub's word.
    pub fn cpu_time(&self) -> (u64, u64) {
        let running = match self.guest_since.load(Ordering::Relaxed) {
            0 => 0,
            since => {
                let running = crate::time::Clock::Monotonic.now().saturating_sub(since);
                let interrupter = self.interrupter.lock().clone();
                let waited = interrupter.map_or(0, |interrupter| interrupter.waited(running));
                running.saturating_sub(waited)
            }
        };
        let user = self.user_ns.load(Ordering::Relaxed).saturating_add(running);
        (user, self.system_ns.load(Ordering::Relaxed))
    }

    /// Times it waited for something.
    ///
    /// DIFFERS: waits that its stub answers (private futexes) are not counted.
    pub fn voluntary_switches(&self) -> u64 {
        self.voluntary_switches.load(Ordering::Relaxed)
    }

    /// What it does now.
    pub fn run_state(&self) -> RunState {
        if self.resources.lock().is_none() {
            RunState::Zombie
        } else if self.is_in_trace_stop() {
            RunState::Traced
        } else if self.is_stopped.load(Ordering::Relaxed) {
            RunState::Stopped
        } else if self.sleeper.is_asleep() || self.waits_in_stub() {
            RunState::Sleeping
        } else {
            RunState::Running
        }
    }

    /// Whether its stub waits in a futex for it.
    fn waits_in_stub(&self) -> bool {
        let interrupter = self.interrupter.lock().clone();
        interrupter.is_some_and(|interrupter| interrupter.is_waiting())
    }

    /// Whether it has nothing left to do but to end.
    pub(crate) fn is_to_end(&self) -> bool {
        self.must_die.load(Ordering::SeqCst) || self.group.lock().exit.is_some()
    }

    /// Fetches it out of guest code, if it is there: whether it was.
    pub(crate) fn leave_guest(&self) -> bool {
        let is_there = self.in_guest.load(Ordering::SeqCst);
        if is_there {
            let interrupter = self.interrupter.lock().clone();
            if let Some(interrupter) = interrupter {
                interrupter.interrupt();
            }
        }
        is_there
    }

    /// How often it was called so far.
    pub(crate) fn calls(&self) -> u64 {
        self.sleeper.calls()
    }

    /// Ends [`Task::stand`].
    pub(crate) fn call(&self) {
        self.sleeper.call();
    }

    /// On its own thread: stands still until it is called, or something happened to it, since `seen`.
    pub(crate) fn stand(&self, seen: u64) {
        self.sleeper.stand(seen);
    }

    /// Makes it look for signals, stops and its end: wakes it from any wait and from guest code.
    pub fn interrupt(&self) {
        self.attention.store(true, Ordering::SeqCst);
        self.sleeper.interrupt();
        self.leave_guest();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.tid())
    }
}
