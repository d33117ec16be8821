// SPDX-License-Identifier: Apache-2.0
//! Waiting for children: wait4(2) and waitid(2).

use std::sync::{Arc, atomic::Ordering};

use abi::{
    Errno, Signal,
    signal::{CLD_CONTINUED, CLD_STOPPED},
    wait::{self, WaitOptions},
};

use super::{
    Current, TaskTable, Usage, exit,
    table::Process,
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
        self.wait(&[&queue], Ready::READABLE, None, || {
            let mut removed = None;
            let found = {
                let mut tasks = kernel.tasks();
                scan(&mut tasks, pid, tid, which, options, &mut removed)?
            };
            if let Some((process, usage)) = removed {
                let mut signals = group.lock();
                signals.children = signals.children.plus(usage);
                drop(signals);
                drop(process);
            }
            match found {
                Some(waited) => Ok(Try::Done(Some(waited))),
                None if options.contains(WaitOptions::WNOHANG) => Ok(Try::Done(None)),
                None => Ok(Try::WouldBlock),
            }
        })
    }
}

fn scan(
    tasks: &mut TaskTable,
    pid: i32,
    tid: i32,
    which: WaitFor,
    options: WaitOptions,
    removed: &mut Option<(Option<Process>, Usage)>,
) -> Result<Option<Waited>, Errno> {
    let children = tasks.process(pid).map(|process| process.children.clone()).unwrap_or_default();
    let mut has_candidate = false;
    for child in children {
        let Some(process) = tasks.process(child) else { continue };
        if !is_candidate(child, process, tid, which, options) {
            continue;
        }
        has_candidate = true;
        if let Some(zombie) = process.zombie {
            if !options.contains(WaitOptions::WEXITED) {
                continue;
            }
            let (code, value) = exit::meaning(zombie.status);
            let waited = Waited {
                pid: child,
                uid: process.leader.creds().ruid,
                code,
                value,
                status: zombie.status,
                usage: zombie.usage,
            };
            if !options.contains(WaitOptions::WNOWAIT) {
                let usage = zombie.usage.plus(process.group.children_usage());
                *removed = Some((tasks.remove_process(child), usage));
            }
            return Ok(Some(waited));
        }
        if let Some(waited) = job_report(child, process, options) {
            return Ok(Some(waited));
        }
    }
    if has_candidate { Ok(None) } else { Err(Errno::ECHILD) }
}

fn is_candidate(
    child: i32,
    process: &Process,
    tid: i32,
    which: WaitFor,
    options: WaitOptions,
) -> bool {
    let is_meant = match which {
        WaitFor::Any => true,
        WaitFor::Process(pid) => pid == child,
        WaitFor::Group(id) => process.process_group == id,
    };
    let is_clone = process.exit_signal != Signal::SIGCHLD.raw();
    let has_kind = options.contains(WaitOptions::__WALL)
        || is_clone == options.contains(WaitOptions::__WCLONE);
    let has_parent = !options.contains(WaitOptions::__WNOTHREAD) || process.parent_tid == tid;
    is_meant && has_kind && has_parent
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
