// SPDX-License-Identifier: Apache-2.0
//! Waiting for children: wait4(2) and waitid(2).

use std::sync::{Arc, atomic::Ordering};

use abi::{
    Errno, SigInfo, Signal,
    signal::{CLD_CONTINUED, CLD_STOPPED, CLD_TRAPPED},
    wait::{self, WaitOptions},
};

use super::{
    Current, Task, TaskTable, ThreadGroup, Usage, exit,
    table::{Process, Zombie},
    thread_group::{JobState, Report},
};
use crate::wait::{Cut, Ready, Try};

/// Which children are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Any.
    Any,
    /// This one.
    Process(i32),
    /// Those of this process group.
    Group(i32),
}

/// What a child did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// Which child.
    pub pid: i32,
    /// Its real user id.
    pub uid: u32,
    /// `CLD_*`.
    pub code: i32,
    /// `si_status`: the exit code or the signal.
    pub value: i32,
    /// As wait4(2) tells it.
    pub status: i32,
    /// What it used.
    pub usage: Usage,
}

impl Current {
    /// Waits until a child has done one of the things that `options` name. `Ok(None)`: none has, and
    /// `WNOHANG` says not to wait. `ECHILD`: none ever will.
    pub fn wait_for_child(
        &mut self,
        which: WaitFor,
        options: WaitOptions,
    ) -> Result<Option<Waited>, Cut> {
        let kernel = Arc::clone(self.kernel());
        let (pid, tid) = (self.task().pid(), self.task().tid());
        let queue = self.group().child_queue().clone();
        let group = Arc::clone(self.group());
        let me = Arc::clone(self.task());
        self.wait(&[&queue], Ready::READABLE, None, || {
            let mut after = Aftermath::default();
            let found = {
                let mut tasks = kernel.tasks();
                let asker = Asker { task: &me, pid, tid, which, options };
                asker.scan(&mut tasks, &mut after)?
            };
            if let Some((process, usage)) = after.removed {
                let mut signals = group.lock();
                signals.children = signals.children.plus(usage);
                drop(signals);
                drop(process);
            }
            exit::post(after.mail);
            match found {
                Some(waited) => Ok(Try::Done(Some(waited))),
                None if options.contains(WaitOptions::WNOHANG) => Ok(Try::Done(None)),
                None => Ok(Try::WouldBlock),
            }
        })
    }
}

/// What finding a child leaves to do once `TaskSet` has been given back.
#[derive(Default)]
struct Aftermath {
    removed: Option<(Option<Process>, Usage)>,
    mail: Vec<(Arc<ThreadGroup>, SigInfo)>,
}

/// Who waits, and for whom.
struct Asker<'a> {
    task: &'a Arc<Task>,
    pid: i32,
    tid: i32,
    which: WaitFor,
    options: WaitOptions,
}

impl Asker<'_> {
    fn scan(&self, tasks: &mut TaskTable, after: &mut Aftermath) -> Result<Option<Waited>, Errno> {
        let own = tasks.process(self.pid);
        let children = own.map(|process| process.children.clone()).unwrap_or_default();
        let mut has_candidate = false;
        for child in children {
            let Some(process) = tasks.process(child) else { continue };
            let tracer = process.leader.tracer().map(|tracer| tracer.pid());
            let is_mine = tracer == Some(self.pid);
            if !self.is_candidate(child, process, is_mine) {
                continue;
            }
            has_candidate = true;
            // A zombie is for its tracer first.
            let is_visible = is_mine || tracer.is_none();
            if let Some(zombie) = process.zombie.filter(|_| tasks.is_visible_zombie(child)) {
                if is_visible && self.options.contains(WaitOptions::WEXITED) {
                    return Ok(Some(self.reap(tasks, child, zombie, after)));
                }
                continue;
            }
            let found = if is_mine { None } else { job_report(child, process, self.options) };
            if found.is_some() {
                return Ok(found);
            }
        }
        for tracee in self.tracees() {
            if !self.is_tracee_meant(tasks, &tracee) {
                continue;
            }
            has_candidate = true;
            if let Some(waited) = self.look_at_tracee(tasks, &tracee, after) {
                return Ok(Some(waited));
            }
        }
        if has_candidate { Ok(None) } else { Err(Errno::ECHILD) }
    }

    fn is_candidate(&self, child: i32, process: &Process, is_mine: bool) -> bool {
        let is_clone = process.exit_signal != Signal::SIGCHLD.raw();
        let has_kind = is_mine
            || self.options.contains(WaitOptions::__WALL)
            || is_clone == self.options.contains(WaitOptions::__WCLONE);
        let has_parent =
            !self.options.contains(WaitOptions::__WNOTHREAD) || process.parent_tid == self.tid;
        self.is_meant(child, process.process_group) && has_kind && has_parent
    }

    fn is_meant(&self, id: i32, process_group: i32) -> bool {
        match self.which {
            WaitFor::Any => true,
            WaitFor::Process(pid) => pid == id,
            WaitFor::Group(group) => process_group == group,
        }
    }

    /// Takes a zombie child, or only tells of it.
    fn reap(
        &self,
        tasks: &mut TaskTable,
        child: i32,
        zombie: Zombie,
        after: &mut Aftermath,
    ) -> Waited {
        let Some(process) = tasks.process(child) else { return Waited::dead(child, 0, zombie) };
        let waited = Waited::dead(child, process.leader.creds().ruid, zombie);
        if !self.options.contains(WaitOptions::WNOWAIT) {
            let usage = zombie.usage.plus(process.group.children_usage());
            let leader = Arc::clone(&process.leader);
            tasks.untie_dead(&leader);
            after.removed = Some((tasks.remove_process(child), usage));
        }
        waited
    }

    /// Whom this thread traces, and, unless it asks for its own, the other threads of its process.
    fn tracees(&self) -> Vec<Arc<Task>> {
        if self.options.contains(WaitOptions::__WNOTHREAD) {
            return self.task.ties.tracees.lock().clone();
        }
        let mut all = Vec::new();
        for thread in self.task.group().threads() {
            all.extend(thread.ties.tracees.lock().iter().cloned());
        }
        all
    }

    fn is_tracee_meant(&self, tasks: &TaskTable, tracee: &Task) -> bool {
        let process_group = tasks.process(tracee.pid()).map_or(0, |process| process.process_group);
        self.is_meant(tracee.tid(), process_group)
    }

    fn look_at_tracee(
        &self,
        tasks: &mut TaskTable,
        tracee: &Arc<Task>,
        after: &mut Aftermath,
    ) -> Option<Waited> {
        let (wants_dead, keeps) = (
            self.options.contains(WaitOptions::WEXITED),
            self.options.contains(WaitOptions::WNOWAIT),
        );
        let uid = tracee.creds().ruid;
        let ghost = tracee.trace().lock().ghost;
        if let Some(status) = ghost {
            if !wants_dead {
                return None;
            }
            let status = tracee.group().lock().exit.unwrap_or(status);
            let zombie = Zombie { status, usage: tracee.usage() };
            if !keeps {
                tasks.untie_dead(tracee);
                tasks.bury_ghost(tracee, &mut after.mail);
            }
            return Some(Waited::dead(tracee.tid(), uid, zombie));
        }
        let pid = tracee.pid();
        let zombie = tasks.process(pid).and_then(|process| process.zombie);
        if let Some(zombie) = zombie.filter(|_| tracee.tid() == pid) {
            // Children of one's own have been looked at.
            let is_child = tasks.process(pid).is_some_and(|process| process.parent == self.pid);
            if !wants_dead || is_child || !tasks.is_visible_zombie(pid) {
                return None;
            }
            if !keeps {
                tasks.untie_dead(tracee);
                tasks.retire(pid, &mut after.mail);
            }
            return Some(Waited::dead(pid, uid, zombie));
        }
        let mut trace = tracee.trace().lock();
        let stop = trace.untold_stop()?;
        let code = stop.code;
        stop.is_told |= !keeps;
        drop(trace);
        Some(Waited {
            pid: tracee.tid(),
            uid,
            code: CLD_TRAPPED,
            value: code,
            status: wait::stopped(code),
            usage: tracee.usage(),
        })
    }
}

impl Waited {
    fn dead(pid: i32, uid: u32, zombie: Zombie) -> Waited {
        let (code, value) = exit::meaning(zombie.status);
        Waited { pid, uid, code, value, status: zombie.status, usage: zombie.usage }
    }
}

fn job_report(child: i32, process: &Process, options: WaitOptions) -> Option<Waited> {
    let mut signals = process.group.lock();
    let (code, value, status) = match signals.report? {
        Report::Stopped(signal)
            if options.contains(WaitOptions::WUNTRACED)
                && matches!(signals.job, JobState::Stopped { .. }) =>
        {
            (CLD_STOPPED, signal, wait::stopped(signal))
        }
        Report::Continued if options.contains(WaitOptions::WCONTINUED) => {
            (CLD_CONTINUED, Signal::SIGCONT.raw(), wait::CONTINUED)
        }
        _ => return None,
    };
    if !options.contains(WaitOptions::WNOWAIT) {
        signals.report = None;
    }
    drop(signals);
    Some(Waited {
        pid: child,
        uid: process.leader.creds().ruid,
        code,
        value,
        status,
        usage: process.group.usage(),
    })
}

impl Current {
    /// Whether a task that shares this one's process is to end or to execute: waits that nothing else
    /// may cut short ask this.
    pub(crate) fn is_doomed(&self) -> bool {
        self.group().lock().exit.is_some() || self.task().must_die.load(Ordering::SeqCst)
    }
}
