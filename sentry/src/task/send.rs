// SPDX-License-Identifier: Apache-2.0
//! Sending signals: queueing them and waking who is to handle them (Linux's `send_signal_locked`).
//!
//! Never called under `TaskSet`: whoever picks targets there collects them first.

use std::sync::{Arc, atomic::Ordering};

use abi::{
    Errno, SigInfo, SigSet, Signal,
    resource::RLIMIT_SIGPENDING,
    signal::{SI_KERNEL, SI_USER, SIG_DFL, SigAction},
    wait,
};

use super::{
    Task, ThreadGroup,
    thread_group::{GroupSignals, JobState, Report},
};
use crate::{
    signal::{Default, STOPPING, default_of},
    wait::Ready,
};

/// Who sends, as far as init's protection cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A process of the sandbox.
    Guest,
    /// runsc, or the kernel for a reason that cannot be refused.
    Host,
}

impl ThreadGroup {
    /// Sends to the process: some thread that does not block it will handle it.
    pub fn send(&self, info: SigInfo, sender: Sender) -> Result<(), Errno> {
        self.send_to(None, info, sender)
    }

    fn send_to(
        &self,
        target: Option<&Arc<Task>>,
        info: SigInfo,
        sender: Sender,
    ) -> Result<(), Errno> {
        let Some(signal) = info.signal() else { return Err(Errno::EINVAL) };
        let mut group = self.lock();
        if group.exit.is_some() || group.threads.is_empty() {
            return Ok(());
        }
        let was_continued = self.prepare(&mut group, signal);
        let result = self.queue(&mut group, target, signal, info, sender);
        drop(group);
        if let Some(kernel) = self.kernel().filter(|_| was_continued) {
            super::exit::notify_continued(&kernel, self.pid());
        }
        result
    }

    /// A stop order takes back a continuation and the other way round. Returns whether the group was
    /// stopped and runs again.
    fn prepare(&self, group: &mut GroupSignals, signal: Signal) -> bool {
        if STOPPING.contains(signal) {
            group.discard(SigSet::of(&[Signal::SIGCONT]));
            return false;
        }
        if signal == Signal::SIGKILL {
            self.changed.notify_all();
        }
        if signal != Signal::SIGCONT {
            return false;
        }
        group.discard(STOPPING);
        group.conts += 1;
        for task in &group.threads {
            if task.is_traced() && task.trace().lock().note_change() {
                task.kick();
            }
        }
        match std::mem::take(&mut group.job) {
            JobState::Running => false,
            JobState::Stopping { .. } => {
                group.job_epoch += 1;
                self.changed.notify_all();
                false
            }
            JobState::Stopped { .. } => {
                group.job_epoch += 1;
                group.report = Some(Report::Continued);
                self.changed.notify_all();
                true
            }
        }
    }

    fn queue(
        &self,
        group: &mut GroupSignals,
        target: Option<&Arc<Task>>,
        signal: Signal,
        info: SigInfo,
        sender: Sender,
    ) -> Result<(), Errno> {
        let Some(first) = target.or(group.threads.first()).cloned() else { return Ok(()) };
        if self.is_dropped(group, &first, signal, sender) {
            return Ok(());
        }
        let limit = self.rlimits().soft(RLIMIT_SIGPENDING);
        let push = |pending: &mut crate::signal::Pending| {
            let is_exempt = !signal.is_realtime();
            let has_room = is_exempt || abi::num::to_u64(pending.len()) < limit;
            if !has_room && info.si_code != SI_USER && info.si_code != SI_KERNEL {
                return Err(Errno::EAGAIN);
            }
            pending.push(signal, info, has_room);
            Ok(())
        };
        match target {
            Some(task) => push(&mut task.signals().lock().pending)?,
            None => push(&mut group.pending)?,
        }
        self.signal_queue().notify(Ready::READABLE);
        self.wake_for(group, target.is_some(), &first, signal);
        Ok(())
    }

    /// Whether `signal` is thrown away at once (`sig_ignored`): blocked ones are kept, for their handler
    /// may change.
    fn is_dropped(
        &self,
        group: &GroupSignals,
        task: &Task,
        signal: Signal,
        sender: Sender,
    ) -> bool {
        // A tracer may want to know even of what is ignored.
        let is_shown = task.is_traced() && signal != Signal::SIGKILL;
        if is_shown || task.signals().lock().mask.contains(signal) {
            return false;
        }
        let actions = self.actions();
        let actions = actions.lock();
        let is_kept_from_init = group.is_unkillable
            && actions.get(signal).sa_handler == SIG_DFL
            && !(sender == Sender::Host && SigSet::UNBLOCKABLE.contains(signal));
        is_kept_from_init || actions.ignores(signal)
    }

    /// Picks a thread and wakes it; a signal that ends the process ends it at once (`complete_signal`).
    fn wake_for(
        &self,
        group: &mut GroupSignals,
        is_private: bool,
        first: &Arc<Task>,
        signal: Signal,
    ) {
        let wants = |task: &Task| {
            if signal != Signal::SIGKILL && task.is_in_trace_stop() {
                return false;
            }
            let signals = task.signals().lock();
            let mask = signals.mask.difference(signals.awaited);
            let is_stopped = task.is_stopped.load(Ordering::SeqCst);
            signal == Signal::SIGKILL || (!mask.contains(signal) && !is_stopped)
        };
        let chosen = if wants(first) {
            Arc::clone(first)
        } else if is_private {
            return;
        } else {
            match group.threads.iter().find(|task| wants(task)) {
                Some(task) => Arc::clone(task),
                None => return,
            }
        };
        let is_caught = self.actions().lock().get(signal).sa_handler != SIG_DFL;
        let ends = matches!(default_of(signal), Default::Terminate | Default::Core)
            && (signal == Signal::SIGKILL || !(is_caught || chosen.is_traced()))
            && !chosen.signals().lock().mask.contains(signal);
        if ends {
            self.end(group, wait::killed(signal.raw(), false));
        } else {
            chosen.interrupt();
        }
    }

    /// Makes all threads end; `status` is what the parent will see unless another came first.
    pub(crate) fn end(&self, group: &mut GroupSignals, status: i32) {
        group.exit.get_or_insert(status);
        for task in &group.threads {
            task.interrupt();
        }
        self.changed.notify_all();
    }

    /// Ends the process from outside, whatever it is.
    pub fn kill(&self) {
        let mut group = self.lock();
        group.kills += 1;
        self.end(&mut group, wait::killed(Signal::SIGKILL.raw(), false));
    }

    /// rt_sigaction(2), after its checks: the old action. Ignoring forgets what is pending.
    pub fn set_action(&self, signal: Signal, action: SigAction) -> SigAction {
        let mut group = self.lock();
        let actions = self.actions();
        let mut actions = actions.lock();
        let old = actions.set(signal, action);
        let is_ignored = actions.ignores(signal);
        drop(actions);
        if is_ignored {
            group.discard(SigSet::of(&[signal]));
        }
        old
    }

    /// What is done about `signal`.
    pub fn action(&self, signal: Signal) -> SigAction {
        self.actions().lock().get(signal)
    }
}

impl GroupSignals {
    /// Forgets `signals`, wherever they are pending.
    pub(crate) fn discard(&mut self, signals: SigSet) {
        self.pending.discard(signals);
        for task in &self.threads {
            task.signals().lock().pending.discard(signals);
        }
    }
}

impl Task {
    /// Sends to this very thread.
    pub fn send(self: &Arc<Self>, info: SigInfo, sender: Sender) -> Result<(), Errno> {
        self.group().send_to(Some(self), info, sender)
    }

    /// What is pending for it: of its own and of its process.
    pub fn pending_set(&self) -> SigSet {
        let group = self.group().lock();
        let own = self.signals().lock().pending.set();
        own.union(group.pending.set())
    }

    /// Takes a pending signal of `wanted`, blocked or not: signalfd(2), rt_sigtimedwait(2).
    pub fn take_pending(&self, wanted: SigSet) -> Option<SigInfo> {
        let mask = wanted.complement();
        let mut group = self.group().lock();
        let own = self.signals().lock().pending.take(mask);
        let mut info = own.or_else(|| group.pending.take(mask))?;
        drop(group);
        self.group().posix_timers.lock().delivered(&mut info);
        Some(info)
    }
}

impl crate::fs::signalfd::Reader for Task {
    fn pending(&self) -> SigSet {
        self.pending_set()
    }

    fn take(&self, wanted: SigSet) -> Option<SigInfo> {
        self.take_pending(wanted)
    }

    fn queue(&self) -> crate::wait::WaitQueue {
        self.group().signal_queue().clone()
    }
}
