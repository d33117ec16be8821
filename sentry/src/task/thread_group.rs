// SPDX-License-Identifier: Apache-2.0
//! A process: what its threads share.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering},
    },
};

use abi::Signal;

use super::{Rlimits, Task};
use crate::{
    kernel::Kernel,
    signal::{Actions, Pending},
    sync::{Condvar, Mutex, MutexGuard, levels},
    time::Timer,
    wait::WaitQueue,
};

/// Handler tables are shared beyond a thread group by `CLONE_SIGHAND`.
pub(crate) type SharedActions = Arc<Mutex<Actions, levels::Leaf>>;

/// Times and counts that getrusage(2) tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nanoseconds in guest code.
    pub user_ns: u64,
    /// Nanoseconds in the kernel.
    pub system_ns: u64,
    /// The largest resident set, in KiB.
    pub max_rss: u64,
    /// Waits.
    pub voluntary_switches: u64,
}

impl Usage {
    /// Both together.
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            user_ns: self.user_ns.saturating_add(other.user_ns),
            system_ns: self.system_ns.saturating_add(other.system_ns),
            max_rss: self.max_rss.max(other.max_rss),
            voluntary_switches: self.voluntary_switches.saturating_add(other.voluntary_switches),
        }
    }
}

/// Where a thread group stands in job control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum JobState {
    /// It runs.
    #[default]
    Running,
    /// Its threads are to stop; this many have.
    Stopping { signal: Signal, arrived: usize },
    /// All have.
    Stopped { signal: Signal },
}

/// What changed in a child that its parent has not been told by wait(2) yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    Stopped(i32),
    Continued,
}

/// What a thread group's lock guards.
#[derive(Debug, Default)]
pub(crate) struct GroupSignals {
    /// Its live threads, the leader first as long as it lives.
    pub(crate) threads: Vec<Arc<Task>>,
    /// How many of its threads the task table knows: those that end are there a little longer.
    pub(crate) unburied: usize,
    /// Pending for any of them.
    pub(crate) pending: Pending,
    /// Set once the group is to end: its wait status.
    pub(crate) exit: Option<i32>,
    /// The thread that executes a program and waits for the others to end.
    pub(crate) executing: Option<i32>,
    pub(crate) job: JobState,
    /// Counts continuations, so that a stopped thread sees each.
    pub(crate) job_epoch: u64,
    /// Counts orders to stop: each thread follows each order once.
    pub(crate) stop_order: u64,
    /// Counts SIGCONTs: one takes back a stop signal that was taken but not obeyed yet.
    pub(crate) conts: u64,
    /// Counts kills from outside: one ends even the stop of a tracee that is about to exit.
    pub(crate) kills: u64,
    /// Threads that are dead, while their tracers do not know yet.
    pub(crate) ghosts: usize,
    /// Signals with the default action do not touch it: init.
    pub(crate) is_unkillable: bool,
    /// What the leader ended with, if it ended by itself.
    pub(crate) leader_status: Option<i32>,
    pub(crate) report: Option<Report>,
    /// Usage of threads that have ended, and of children that have been waited for.
    pub(crate) dead_threads: Usage,
    pub(crate) children: Usage,
}

/// A process.
pub struct ThreadGroup {
    pid: i32,
    kernel: Weak<Kernel>,
    signals: Mutex<GroupSignals, levels::SignalHandlers>,
    /// Told when threads end, stop orders change or the group is to end.
    pub(crate) changed: Condvar,
    actions: Mutex<SharedActions, levels::TaskState>,
    rlimits: Rlimits,
    /// Who waits for children.
    child_queue: WaitQueue,
    /// Who waits for its end by a pidfd.
    exit_queue: WaitQueue,
    /// Who waits for signals by a signalfd.
    signal_queue: WaitQueue,
    /// prctl(2) `PR_SET_CHILD_SUBREAPER`.
    pub(crate) is_subreaper: AtomicBool,
    /// prctl(2) `PR_SET_THP_DISABLE`.
    pub(crate) is_thp_disabled: AtomicBool,
    /// It has executed a program since it was forked (setpgid(2)).
    pub(crate) has_executed: AtomicBool,
    /// prctl(2) `PR_SET_DUMPABLE`.
    pub(crate) dumpable: AtomicU32,
    /// `/proc/<pid>/oom_score_adj`, stored only.
    pub(crate) oom_score_adj: AtomicI32,
    /// personality(2).
    pub(crate) personality: AtomicU32,
    /// alarm(2) and `ITIMER_REAL`.
    pub(crate) real_timer: Mutex<Option<Timer>, levels::TaskState>,
    /// `ITIMER_PROF` and `ITIMER_VIRTUAL`.
    pub(crate) prof_timer: Mutex<super::itimer::CpuTimer, levels::TaskState>,
    /// Looks at `RLIMIT_CPU`.
    pub(crate) cpu_limit: Mutex<super::itimer::CpuTimer, levels::TaskState>,
    pub(crate) virtual_timer: Mutex<super::itimer::CpuTimer, levels::TaskState>,
    /// timer_create(2).
    pub(crate) posix_timers: Mutex<super::posix_timers::PosixTimers, levels::TaskState>,
}

impl ThreadGroup {
    pub(crate) fn new(
        pid: i32,
        kernel: Weak<Kernel>,
        actions: SharedActions,
        rlimits: Rlimits,
    ) -> Arc<ThreadGroup> {
        Arc::new(ThreadGroup {
            pid,
            kernel,
            signals: Mutex::default(),
            changed: Condvar::new(),
            actions: Mutex::new(actions),
            rlimits,
            child_queue: WaitQueue::new(),
            exit_queue: WaitQueue::new(),
            signal_queue: WaitQueue::new(),
            is_subreaper: AtomicBool::new(false),
            is_thp_disabled: AtomicBool::new(false),
            has_executed: AtomicBool::new(false),
            dumpable: AtomicU32::new(1),
            oom_score_adj: AtomicI32::new(0),
            personality: AtomicU32::new(0),
            real_timer: Mutex::new(None),
            prof_timer: Mutex::default(),
            cpu_limit: Mutex::default(),
            virtual_timer: Mutex::default(),
            posix_timers: Mutex::default(),
        })
    }

    /// The process's id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The kernel it lives in.
    pub fn kernel(&self) -> Option<Arc<Kernel>> {
        self.kernel.upgrade()
    }

    /// Its resource limits.
    pub fn rlimits(&self) -> &Rlimits {
        &self.rlimits
    }

    /// Told when a child changes state.
    pub fn child_queue(&self) -> &WaitQueue {
        &self.child_queue
    }

    /// Told when the process has become a zombie: what a pidfd polls.
    pub fn exit_queue(&self) -> &WaitQueue {
        &self.exit_queue
    }

    /// Told when a signal becomes pending for it or one of its threads: what a signalfd polls.
    pub fn signal_queue(&self) -> &WaitQueue {
        &self.signal_queue
    }

    /// Its live threads.
    pub fn threads(&self) -> Vec<Arc<Task>> {
        self.signals.lock().threads.clone()
    }

    /// Whether all its threads have ended: it is a zombie or gone.
    pub fn has_ended(&self) -> bool {
        self.signals.lock().threads.is_empty()
    }

    /// `PR_GET_DUMPABLE`.
    pub fn dumpable(&self) -> u32 {
        self.dumpable.load(Ordering::Relaxed)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, GroupSignals, levels::SignalHandlers> {
        self.signals.lock()
    }

    /// Its handler table.
    pub(crate) fn actions(&self) -> SharedActions {
        Arc::clone(&self.actions.lock())
    }

    /// Gives it a table of its own (execve(2)).
    pub(crate) fn unshare_actions(&self) -> SharedActions {
        let own: SharedActions = {
            let shared = self.actions.lock();
            if Arc::strong_count(&shared) == 1 {
                return Arc::clone(&shared);
            }
            let copy = shared.lock().clone();
            Arc::new(Mutex::new(copy))
        };
        *self.actions.lock() = Arc::clone(&own);
        own
    }

    /// Which handler table it has, for kcmp(2).
    pub fn handlers_id(&self) -> usize {
        Arc::as_ptr(&self.actions()).addr()
    }

    /// What its handlers do, as a copy.
    pub fn actions_snapshot(&self) -> Actions {
        self.actions().lock().clone()
    }

    /// Its usage so far, dead threads included.
    pub fn usage(&self) -> Usage {
        let signals = self.signals.lock();
        signals.threads.iter().fold(signals.dead_threads, |sum, task| sum.plus(task.usage()))
    }

    /// Usage of children that have been waited for.
    pub fn children_usage(&self) -> Usage {
        self.signals.lock().children
    }
}

impl Task {
    /// Its own usage so far.
    pub fn usage(&self) -> Usage {
        let (user_ns, system_ns) = self.cpu_time();
        Usage { user_ns, system_ns, max_rss: 0, voluntary_switches: self.voluntary_switches() }
    }
}

impl fmt::Debug for ThreadGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadGroup({})", self.pid)
    }
}
