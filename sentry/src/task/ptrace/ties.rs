// SPDX-License-Identifier: Apache-2.0
//! How a tracer and its tracees are tied, and what becomes of them when one of them ends.
//!
//! All of it happens under `TaskSet`.

use std::sync::{Arc, atomic::Ordering};

use abi::{SigInfo, Signal, ptrace::PtraceOptions, sched::CloneFlags};

use super::{Calls, Trace};
use crate::task::{Task, TaskTable, ThreadGroup, thread_group::JobState};

/// The event that a clone(2) is, and the option that asks for it.
pub(crate) fn event_of_clone(flags: CloneFlags, exit_signal: i32) -> i32 {
    use abi::ptrace::{PTRACE_EVENT_CLONE, PTRACE_EVENT_FORK, PTRACE_EVENT_VFORK};
    if flags.contains(CloneFlags::VFORK) {
        PTRACE_EVENT_VFORK
    } else if exit_signal == Signal::SIGCHLD.raw() {
        PTRACE_EVENT_FORK
    } else {
        PTRACE_EVENT_CLONE
    }
}

impl Task {
    /// `tracer` traces it from now on.
    pub(crate) fn tie_to(
        self: &Arc<Self>,
        tracer: &Arc<Task>,
        seized: bool,
        options: PtraceOptions,
    ) {
        {
            let mut trace = self.trace().lock();
            let (followed, counted) = (trace.followed, trace.counted);
            let tracer = Some(Arc::downgrade(tracer));
            *trace =
                Trace { tracer, is_seized: seized, options, followed, counted, ..Trace::default() };
        }
        self.is_traced.store(true, Ordering::Relaxed);
        tracer.ties.tracees.lock().push(Arc::clone(self));
    }

    /// A child of a tracee, which is traced as its parent is (`ptrace_init_task`). It has not run yet.
    pub(crate) fn inherit_trace(self: &Arc<Self>, parent: &Task) {
        let (tracer, is_seized, options) = {
            let trace = parent.trace().lock();
            let Some(tracer) = trace.tracer() else { return };
            (tracer, trace.is_seized, trace.options)
        };
        self.tie_to(&tracer, is_seized, options);
        if is_seized {
            self.trace().lock().order_trap();
        } else {
            let info = SigInfo::user(Signal::SIGSTOP, abi::signal::SI_USER, 0, 0);
            self.signals().lock().pending.push(Signal::SIGSTOP, info, false);
        }
        self.look_first();
    }

    /// Cuts the tie, but for the tracer's list. The task goes on; [`Task::kick`] tells it so.
    pub(crate) fn untie(&self) {
        let group = self.group().lock();
        let mut trace = self.trace().lock();
        trace.tracer = None;
        (trace.is_seized, trace.options) = (false, PtraceOptions::empty());
        (trace.calls, trace.steps) = (Calls::Untold, false);
        (trace.trap_stop, trace.trap_notify) = (false, false);
        if group.job != JobState::Running {
            // Its group has stopped: without a tracer so does this task.
            trace.followed = 0;
        }
        drop(trace);
        self.is_traced.store(false, Ordering::Relaxed);
    }

    /// Its tracees when it ends: free, or dead if it has asked for that. Who is to be killed.
    pub(crate) fn release_tracees(
        self: &Arc<Self>,
        tasks: &mut TaskTable,
        mail: &mut Vec<(Arc<ThreadGroup>, SigInfo)>,
    ) -> Vec<Arc<ThreadGroup>> {
        let tracees = std::mem::take(&mut *self.ties.tracees.lock());
        let mut doomed = Vec::new();
        for tracee in tracees {
            if tracee.trace().lock().options.contains(PtraceOptions::EXITKILL) {
                doomed.push(Arc::clone(tracee.group()));
            }
            tracee.untie();
            if tasks.bury_ghost(&tracee, mail) {
                continue;
            }
            let pid = tracee.pid();
            let is_zombie = tracee.tid() == pid && tasks.is_visible_zombie(pid);
            if is_zombie {
                let parent = tasks.process(pid).map_or(0, |process| process.parent);
                if parent != self.pid() || tasks.ignores_children(parent) {
                    tasks.retire(pid, mail);
                }
            }
            tracee.kick();
        }
        doomed
    }
}

impl TaskTable {
    /// A traced thread that is dead and whose tracer knows, or is gone. `false`: it is no such thing.
    pub(crate) fn bury_ghost(
        &mut self,
        task: &Arc<Task>,
        mail: &mut Vec<(Arc<ThreadGroup>, SigInfo)>,
    ) -> bool {
        if task.trace().lock().ghost.take().is_none() {
            return false;
        }
        self.forget_ghost(task.tid());
        let is_last = {
            let mut group = task.group().lock();
            group.ghosts = group.ghosts.saturating_sub(1);
            group.ghosts == 0
        };
        let pid = task.pid();
        if is_last && self.is_visible_zombie(pid) {
            self.retire(pid, mail);
        }
        true
    }

    /// Another thread takes the place of a leader that is dead: nobody hears of that death any more.
    pub(crate) fn lose_leader(&mut self, pid: i32) {
        if let Some(leader) = self.process(pid).map(|process| Arc::clone(&process.leader)) {
            self.untie_dead(&leader);
        }
    }

    /// The tracer has been told of a death by wait(2).
    pub(crate) fn untie_dead(&mut self, task: &Arc<Task>) {
        if let Some(tracer) = task.tracer() {
            tracer.ties.tracees.lock().retain(|other| !Arc::ptr_eq(other, task));
            task.untie();
        }
    }

    /// Whether the process is a zombie that wait(2) may tell of.
    pub(crate) fn is_visible_zombie(&self, pid: i32) -> bool {
        self.process(pid)
            .is_some_and(|process| process.zombie.is_some() && process.group.lock().ghosts == 0)
    }

    fn ignores_children(&self, pid: i32) -> bool {
        self.process(pid).is_some_and(|process| {
            let actions = process.group.actions();
            let actions = actions.lock();
            actions.get(Signal::SIGCHLD).sa_handler == abi::signal::SIG_IGN
                || actions.flags(Signal::SIGCHLD).contains(abi::signal::SaFlags::NOCLDWAIT)
        })
    }
}
