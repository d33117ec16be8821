// SPDX-License-Identifier: Apache-2.0
//! How tasks end: what they leave, who is told, who takes their children.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use abi::{
    SigInfo, Signal,
    signal::{CLD_CONTINUED, CLD_DUMPED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SIG_IGN, SaFlags},
    time::USER_HZ,
};

use super::{
    Current, Task, TaskTable, ThreadGroup, Usage, send::Sender, table::Zombie,
    thread_group::JobState,
};
use crate::{
    kernel::{Kernel, Stop},
    sync::{Condvar, Mutex, levels},
    wait::Ready,
};

/// Learns of the end of a process that came from outside.
#[derive(Debug, Default)]
pub struct ExitWaiter {
    status: Mutex<Option<i32>, levels::Leaf>,
    ended: Condvar,
}

impl ExitWaiter {
    pub(crate) fn new() -> Arc<ExitWaiter> {
        Arc::default()
    }

    /// Waits for the process to end: its wait status.
    pub fn wait(&self) -> i32 {
        let mut status = self.status.lock();
        loop {
            if let Some(status) = *status {
                return status;
            }
            self.ended.wait(&mut status);
        }
    }

    /// Waits for the process to end, until `deadline` at the latest.
    pub fn wait_until(&self, deadline: Instant) -> Option<i32> {
        let mut status = self.status.lock();
        loop {
            if status.is_some() || self.ended.wait_until(&mut status, deadline) {
                return *status;
            }
        }
    }

    /// Its wait status, if it has ended.
    pub fn poll(&self) -> Option<i32> {
        *self.status.lock()
    }

    pub(crate) fn tell(&self, status: i32) {
        self.status.lock().get_or_insert(status);
        self.ended.notify_all();
    }
}

/// A signal that is sent once `TaskSet` has been given back.
type Mail = (Arc<ThreadGroup>, SigInfo);

pub(crate) fn post(mail: Vec<Mail>) {
    for (group, info) in mail {
        // A full queue loses the signal, as on Linux.
        let _ = group.send(info, Sender::Guest);
    }
}

impl Current {
    /// exit_group(2) with a wait status: all threads of the process end.
    pub fn exit_group(&mut self, status: i32) -> Stop {
        let mut group = self.group().lock();
        self.group().end(&mut group, status);
        Stop::Exit(group.exit.unwrap_or(status))
    }
}

/// Ends the calling task. `status` is its own wait status; the process's may be another.
pub(crate) fn leave(mut cx: Current, status: i32) {
    cx.trace_exit(status);
    let facts = cx.task.facts();
    super::user_exit::leave_memory(&mut cx, &facts);
    let Current { task, kernel, context, resources, .. } = cx;
    let group = Arc::clone(task.group());
    *task.interrupter.lock() = None;
    let seen = task.resources.lock().take();
    drop((seen, resources));
    context.exit();
    let vfork = task.vfork.lock().take();
    if let Some(done) = vfork {
        done.tell();
    }
    let stopped = {
        let mut signals = group.lock();
        let usage = task.usage();
        signals.dead_threads = signals.dead_threads.plus(usage);
        signals.threads.retain(|other| !Arc::ptr_eq(other, &task));
        if task.tid() == group.pid() {
            signals.leader_status = Some(status);
        }
        let was_stopping = match signals.job {
            JobState::Stopping { signal, .. } if !signals.threads.is_empty() => Some(signal),
            _ => None,
        };
        was_stopping.filter(|_| signals.complete_stop())
    };
    if let Some(signal) = stopped {
        notify_stopped(&kernel, group.pid(), signal);
    }
    if group.threads().is_empty() {
        kernel.ipc().process_ended(group.pid());
        kernel.leave_terminal(group.pid());
    }
    bury(&kernel, &task, status);
    // A thread that executes a program waits for the others to be gone for good.
    group.lock().unburied -= 1;
    group.changed.notify_all();
    drop(task);
}

/// Takes a task that never ran out again, as if it had ended.
pub(crate) fn forget(kernel: &Arc<Kernel>, task: &Arc<Task>) {
    let group = task.group();
    let seen = task.resources.lock().take();
    drop(seen);
    {
        let mut signals = group.lock();
        signals.threads.retain(|other| !Arc::ptr_eq(other, task));
        signals.unburied -= 1;
    }
    kernel.bury(task);
    let mut tasks = kernel.tasks();
    tasks.untie_dead(task);
    tasks.remove_task(task.tid());
    let process = if task.tid() == group.pid() { tasks.remove_process(group.pid()) } else { None };
    drop(tasks);
    drop(process);
}

/// Takes a dead task out of the table, and its process with it if it was the last.
fn bury(kernel: &Arc<Kernel>, task: &Arc<Task>, status: i32) {
    let group = task.group();
    let mut mail = Vec::new();
    let mut dropped = None;
    kernel.bury(task);
    let mut tasks = kernel.tasks();
    let is_alive = tasks.process(group.pid()).is_some_and(|process| process.zombie.is_none());
    let is_last = is_alive && group.lock().threads.is_empty();
    tasks.remove_task(task.tid());
    let doomed = task.release_tracees(&mut tasks, &mut mail);
    tasks.leave_ghost(task, status, &mut mail);
    if let Some(survivor) = (!is_last).then(|| group.lock().threads.first().cloned()).flatten() {
        tasks.orphan_thread(task.tid(), &survivor, &mut mail);
    }
    if is_last {
        *group.real_timer.lock() = None;
        group.posix_timers.lock().clear();
        let status = {
            let signals = group.lock();
            signals.exit.or(signals.leader_status).unwrap_or(status)
        };
        tasks.orphan_children(group.pid(), &mut mail);
        dropped = tasks.end_process(group, status, &mut mail);
        if group.pid() == 1 {
            tasks.is_closed = true;
            let others: Vec<_> = tasks.processes().map(|(_, p)| Arc::clone(&p.group)).collect();
            drop(tasks);
            others.iter().for_each(|group| group.kill());
        } else {
            drop(tasks);
        }
        group.exit_queue().notify(Ready::READABLE | Ready::HUP);
    } else {
        drop(tasks);
    }
    drop(dropped);
    doomed.iter().for_each(|group| group.kill());
    post(mail);
}

impl TaskTable {
    /// Children of a thread that ends go to another thread of its process; those that asked are told.
    fn orphan_thread(&mut self, tid: i32, survivor: &Arc<Task>, mail: &mut Vec<Mail>) {
        let children = self.process(survivor.pid()).map(|p| p.children.clone()).unwrap_or_default();
        for child in children {
            let Some(process) = self.process_mut(child) else { continue };
            if process.parent_tid == tid {
                process.parent_tid = survivor.tid();
                mail.extend(process.parent_death(tid));
            }
        }
    }

    /// Children of a process that ends go to the next subreaper or to init.
    fn orphan_children(&mut self, pid: i32, mail: &mut Vec<Mail>) {
        let reaper = self.reaper_of(pid);
        let Some(process) = self.process(pid) else { return };
        let (own_group, own_session) = (process.process_group, process.session);
        let children = process.children.clone();
        for child in children {
            let Some(process) = self.process_mut(child) else { continue };
            mail.extend(process.parent_death(process.parent_tid));
            process.exit_signal = if process.exit_signal == 0 { 0 } else { Signal::SIGCHLD.raw() };
            let (id, session) = (process.process_group, process.session);
            self.set_parent(child, reaper, reaper);
            if id != own_group && session == own_session {
                self.tell_orphaned(id, None, mail);
            }
            if self.process(child).is_some_and(|process| process.zombie.is_some()) {
                self.announce(child, mail);
            }
        }
        self.tell_orphaned(own_group, Some(pid), mail);
    }

    /// A process group that nobody can continue any more and that has stopped members is hung up.
    fn tell_orphaned(&self, id: i32, leaving: Option<i32>, mail: &mut Vec<Mail>) {
        if !self.is_orphaned(id, leaving) {
            return;
        }
        let members = self.process_group(id).into_iter().flatten();
        let groups: Vec<_> = members
            .filter(|pid| Some(**pid) != leaving)
            .filter_map(|pid| self.process(*pid))
            .map(|process| Arc::clone(&process.group))
            .collect();
        let is_stopped =
            |group: &Arc<ThreadGroup>| matches!(group.lock().job, JobState::Stopped { .. });
        if groups.iter().any(is_stopped) {
            for group in groups {
                mail.push((Arc::clone(&group), SigInfo::kernel(Signal::SIGHUP)));
                mail.push((group, SigInfo::kernel(Signal::SIGCONT)));
            }
        }
    }

    fn reaper_of(&self, pid: i32) -> i32 {
        let mut at = self.process(pid).map_or(0, |process| process.parent);
        while let Some(process) = self.process(at) {
            let is_alive = process.zombie.is_none();
            if is_alive && process.group.is_subreaper.load(Ordering::Relaxed) {
                return at;
            }
            at = process.parent;
        }
        if pid == 1 { 0 } else { 1 }
    }

    /// The last thread of a process is gone: it becomes a zombie, or vanishes where nobody wants it.
    fn end_process(
        &mut self,
        group: &Arc<ThreadGroup>,
        status: i32,
        mail: &mut Vec<Mail>,
    ) -> Option<super::table::Process> {
        let pid = group.pid();
        let usage = group.usage();
        let process = self.process_mut(pid)?;
        process.zombie = Some(Zombie { status, usage });
        if let Some(waiter) = process.waiter.take() {
            waiter.tell(status);
        }
        if self.is_visible_zombie(pid) { self.announce(pid, mail) } else { None }
    }

    /// A thread that is not the leader is dead: if it is traced, its tracer is told, and its id stays
    /// until wait(2) has told of it.
    fn leave_ghost(&mut self, task: &Arc<Task>, status: i32, mail: &mut Vec<Mail>) {
        let Some(tracer) = task.tracer().filter(|_| task.tid() != task.pid()) else { return };
        task.trace().lock().ghost = Some(status);
        task.group().lock().ghosts += 1;
        self.add_ghost(task.tid());
        let (code, value) = meaning(task.group().lock().exit.unwrap_or(status));
        mail.extend(child_info(task, &tracer, code, value));
        tracer.group().child_queue().notify(Ready::READABLE);
    }

    /// Tells whoever is to know of a zombie; nobody may want it.
    pub(crate) fn retire(&mut self, pid: i32, mail: &mut Vec<Mail>) {
        drop(self.announce(pid, mail));
    }

    /// Tells the parent of a zombie. Returns the zombie if it is gone with that.
    fn announce(&mut self, pid: i32, mail: &mut Vec<Mail>) -> Option<super::table::Process> {
        let process = self.process(pid)?;
        let Some(zombie) = process.zombie else { return None };
        let tracer = process.leader.tracer();
        if let Some(tracer) = tracer.as_ref().filter(|tracer| tracer.pid() != process.parent) {
            // The parent hears of it when the tracer has (`ptrace_reparented`).
            let (code, value) = meaning(zombie.status);
            mail.extend(child_info(&process.leader, tracer, code, value));
            tracer.group().child_queue().notify(Ready::READABLE);
            return None;
        }
        let Some(parent) = self.process(process.parent) else {
            return self.remove_process(pid);
        };
        let mut vanishes = false;
        if let Some(signal) = Signal::from_raw(process.exit_signal) {
            let actions = parent.group.actions();
            let actions = actions.lock();
            let is_ignored = actions.get(Signal::SIGCHLD).sa_handler == SIG_IGN;
            let is_child = signal == Signal::SIGCHLD;
            vanishes = is_child
                && tracer.is_none()
                && (is_ignored || actions.flags(Signal::SIGCHLD).contains(SaFlags::NOCLDWAIT));
            if !(is_child && is_ignored) {
                let (code, value) = meaning(zombie.status);
                let mut info = SigInfo::child(
                    code,
                    pid,
                    process.leader.creds().ruid,
                    value,
                    ticks(zombie.usage.user_ns),
                    ticks(zombie.usage.system_ns),
                );
                info.si_signo = signal.raw();
                mail.push((Arc::clone(&parent.group), info));
            }
        }
        parent.group.child_queue().notify(Ready::READABLE);
        if vanishes { self.remove_process(pid) } else { None }
    }
}

impl super::table::Process {
    /// What threads of this process asked to be told when the thread `parent_tid` ends.
    fn parent_death(&self, parent_tid: i32) -> Vec<Mail> {
        if self.parent_tid != parent_tid || self.zombie.is_some() {
            return Vec::new();
        }
        let wants = |task: &Arc<Task>| Signal::from_raw(task.facts().parent_death_signal);
        let infos = self.group.threads().into_iter().filter_map(|task| {
            let signal = wants(&task)?;
            let info = SigInfo::user(signal, abi::signal::SI_USER, self.parent, 0);
            Some((Arc::clone(&self.group), info))
        });
        infos.collect()
    }
}

/// `si_code` and `si_status` of a wait status.
pub(crate) const fn meaning(status: i32) -> (i32, i32) {
    if status & 0x7f == 0 {
        (CLD_EXITED, (status >> 8) & 0xff)
    } else if status & 0x80 != 0 {
        (CLD_DUMPED, status & 0x7f)
    } else {
        (CLD_KILLED, status & 0x7f)
    }
}

fn ticks(nanos: u64) -> i64 {
    i64::try_from(nanos / (1_000_000_000 / USER_HZ)).unwrap_or(i64::MAX)
}

/// SIGCHLD for a tracer, unless it ignores those.
fn child_info(task: &Task, tracer: &Task, code: i32, value: i32) -> Option<Mail> {
    let actions = tracer.group().actions();
    if actions.lock().get(Signal::SIGCHLD).sa_handler == SIG_IGN {
        return None;
    }
    let Usage { user_ns, system_ns, .. } = task.usage();
    let uid = task.creds().ruid;
    let info = SigInfo::child(code, task.tid(), uid, value, ticks(user_ns), ticks(system_ns));
    Some((Arc::clone(tracer.group()), info))
}

/// A tracee has stopped: its tracer is told.
pub(crate) fn tell_tracer(task: &Task, tracer: &Task, code: i32, value: i32) {
    let actions = tracer.group().actions();
    let wants = !actions.lock().flags(Signal::SIGCHLD).contains(SaFlags::NOCLDSTOP);
    let mail = child_info(task, tracer, code, value).filter(|_| wants);
    tracer.group().child_queue().notify(Ready::READABLE);
    post(mail.into_iter().collect());
}

/// A process has stopped as a whole, and a tracer has been told: so is its parent, if that is another
/// process.
pub(crate) fn notify_stopped_beside(kernel: &Arc<Kernel>, pid: i32, signal: Signal, tracer: i32) {
    let parent = kernel.tasks().process(pid).map(|process| process.parent);
    if parent != Some(tracer) {
        notify_stopped(kernel, pid, signal);
    }
}

/// A process has stopped: its parent is told.
pub(crate) fn notify_stopped(kernel: &Arc<Kernel>, pid: i32, signal: Signal) {
    notify_job(kernel, pid, CLD_STOPPED, signal.raw());
}

/// A process was continued: its parent is told.
pub(crate) fn notify_continued(kernel: &Arc<Kernel>, pid: i32) {
    notify_job(kernel, pid, CLD_CONTINUED, Signal::SIGCONT.raw());
}

fn notify_job(kernel: &Arc<Kernel>, pid: i32, code: i32, value: i32) {
    let mut mail = Vec::new();
    {
        let tasks = kernel.tasks();
        let Some(process) = tasks.process(pid) else { return };
        let Some(parent) = tasks.process(process.parent) else { return };
        let usage = process.group.usage();
        let actions = parent.group.actions();
        let actions = actions.lock();
        let wants = actions.get(Signal::SIGCHLD).sa_handler != SIG_IGN
            && !actions.flags(Signal::SIGCHLD).contains(SaFlags::NOCLDSTOP);
        if wants {
            let Usage { user_ns, system_ns, .. } = usage;
            let uid = process.leader.creds().ruid;
            let info = SigInfo::child(code, pid, uid, value, ticks(user_ns), ticks(system_ns));
            mail.push((Arc::clone(&parent.group), info));
        }
        drop(actions);
        parent.group.child_queue().notify(Ready::READABLE);
    }
    post(mail);
}
