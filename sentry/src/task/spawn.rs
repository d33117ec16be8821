// SPDX-License-Identifier: Apache-2.0
//! Processes that come from outside: init, and what `runsc exec` adds.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use abi::{Errno, SigInfo, SigSet, Signal};

use super::{
    CloneRequest, Current, ExitWaiter, FdTable, FsContext, Resources, Rlimits, Task, ThreadGroup,
    clone::Birth,
    exec::{self, Program},
    run,
    send::Sender,
    table::Process,
};
use crate::{
    kernel::{Kernel, ProcessSpec},
    signal::Actions,
    sync::Mutex,
};

/// A process from outside that is ready to run.
#[derive(Debug)]
pub struct Prepared {
    kernel: Arc<Kernel>,
    pid: i32,
    current: Current,
    waiter: Arc<ExitWaiter>,
}

impl Prepared {
    /// Its id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Learns of its end, which may come before its start: by a signal.
    pub fn waiter(&self) -> &Arc<ExitWaiter> {
        &self.waiter
    }

    /// Lets it run; its id and its end.
    pub fn start(self) -> Result<(i32, Arc<ExitWaiter>), Errno> {
        let Prepared { kernel, pid, current, waiter } = self;
        let task = Arc::clone(current.task());
        if let Err(errno) = kernel.threads().run(move || run::run(current)) {
            super::exit::forget(&kernel, &task);
            return Err(errno);
        }
        Ok((pid, waiter))
    }
}

impl Kernel {
    /// Starts init. The first process must be this one: it gets id 1.
    pub fn spawn_init(self: &Arc<Self>, spec: ProcessSpec) -> Result<Arc<ExitWaiter>, Errno> {
        self.spawn(spec).map(|(_, waiter)| waiter)
    }

    /// Starts a process from outside; its id and its end.
    pub fn spawn(self: &Arc<Self>, spec: ProcessSpec) -> Result<(i32, Arc<ExitWaiter>), Errno> {
        self.prepare(spec)?.start()
    }

    /// Makes a process from outside with its program loaded, which does not run yet: what can be wrong
    /// with the program is found here.
    pub fn prepare(self: &Arc<Self>, spec: ProcessSpec) -> Result<Prepared, Errno> {
        let fds = FdTable::new();
        for (fd, file) in spec.files {
            fds.install_at(fd, file, false, u64::MAX)?;
        }
        let fs = FsContext::new(spec.root, spec.cwd, spec.umask);
        let creds = Arc::new(spec.creds);
        let rlimits = Rlimits::init(abi::num::to_u64(self.config().max_tasks));
        for (resource, limit) in spec.rlimits {
            rlimits.set(resource, limit)?;
        }
        let program = Program {
            path: spec.executable,
            arguments: spec.arguments,
            environment: spec.environment,
        };
        let loaded = exec::load_outside(self, &program, &fs, &creds, &rlimits)?;
        let resources = Resources {
            mm: loaded.mm,
            fds,
            fs,
            uts: Arc::clone(self.uts()),
            mounts: spec.mounts,
            tokens: [super::no_token(), super::no_token()],
        };
        let request = CloneRequest::default();
        let birth = Birth {
            request: &request,
            facts: spec.facts,
            creds,
            resources,
            vfork: None,
            is_traced: false,
        };
        let waiter = ExitWaiter::new();
        let task = self.enter(birth, rlimits, spec.terminal, &waiter, spec.is_protected)?;
        task.set_name(&loaded.name);
        task.group().oom_score_adj.store(spec.oom_score_adj, Ordering::Relaxed);
        task.group().personality.store(spec.personality, Ordering::Relaxed);
        if let Some(filters) = &spec.seccomp {
            task.bind(filters);
        }
        task.group().has_executed.store(true, Ordering::Relaxed);
        let pid = task.pid();
        let resources = task.resources().ok_or(Errno::ESRCH)?;
        let current = Current::new(
            Arc::clone(&task),
            Arc::clone(self),
            loaded.registers,
            loaded.context,
            resources,
        );
        Ok(Prepared { kernel: Arc::clone(self), pid, current, waiter })
    }

    fn enter(
        self: &Arc<Self>,
        birth: Birth<'_>,
        rlimits: Rlimits,
        terminal: Option<u64>,
        waiter: &Arc<ExitWaiter>,
        is_protected: bool,
    ) -> Result<Arc<Task>, Errno> {
        let mut tasks = self.tasks();
        if tasks.is_closed {
            return Err(Errno::EAGAIN);
        }
        let pid = tasks.new_id()?;
        let actions = Arc::new(Mutex::new(Actions::new()));
        let group = ThreadGroup::new(pid, self.weak(), actions, rlimits);
        let task = Task::new(pid, Arc::clone(&group), birth, SigSet::EMPTY);
        {
            let mut signals = group.lock();
            signals.threads.push(Arc::clone(&task));
            signals.unburied = 1;
            signals.is_unkillable = pid == 1 && is_protected;
        }
        tasks.add_task(pid, Arc::clone(&task));
        tasks.add_process(
            pid,
            Process {
                group,
                leader: Arc::clone(&task),
                parent: 0,
                parent_tid: 0,
                children: BTreeSet::new(),
                process_group: pid,
                session: pid,
                exit_signal: 0,
                zombie: None,
                waiter: Some(Arc::clone(waiter)),
            },
        );
        if let Some(session) = tasks.session_mut(pid) {
            session.terminal = terminal;
        }
        Ok(task)
    }

    /// Sends a signal from outside to the process `pid`; to all of them if `pid` is -1.
    pub fn signal(&self, pid: i32, signal: i32) -> Result<(), Errno> {
        let signal = Signal::from_raw(signal).ok_or(Errno::EINVAL)?;
        let groups: Vec<_> = {
            let tasks = self.tasks();
            let is_meant = |id: i32| pid == -1 || id == pid;
            let chosen = tasks.processes().filter(|(id, _)| is_meant(*id));
            chosen.map(|(_, process)| Arc::clone(&process.group)).collect()
        };
        if groups.is_empty() {
            return Err(Errno::ESRCH);
        }
        for group in groups {
            if signal == Signal::SIGKILL {
                group.kill();
            } else {
                group.send(SigInfo::kernel(signal), Sender::Host)?;
            }
        }
        Ok(())
    }

    /// Sends a signal from outside to the foreground process group of the terminal `terminal`'s
    /// session, or to another process group.
    pub fn signal_process_group(&self, id: i32, signal: i32) -> Result<(), Errno> {
        let signal = Signal::from_raw(signal).ok_or(Errno::EINVAL)?;
        let groups: Vec<_> = {
            let tasks = self.tasks();
            let members = tasks.process_group(id).ok_or(Errno::ESRCH)?.iter();
            members.filter_map(|pid| tasks.process(*pid)).map(|p| Arc::clone(&p.group)).collect()
        };
        for group in groups {
            group.send(SigInfo::kernel(signal), Sender::Host)?;
        }
        Ok(())
    }

    /// Ends every process, at once.
    pub fn kill_all(&self) {
        let groups: Vec<_> = {
            let mut tasks = self.tasks();
            tasks.is_closed = true;
            tasks.processes().map(|(_, process)| Arc::clone(&process.group)).collect()
        };
        for group in groups {
            group.kill();
        }
    }
}
