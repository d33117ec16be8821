// SPDX-License-Identifier: Apache-2.0
//! Who exists, and who belongs to whom: processes, their parents, process groups and sessions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use abi::Errno;

use super::{ExitWaiter, Task, ThreadGroup, Usage};

/// Ids are below this (`pid_max` of a 64-bit machine).
const ID_LIMIT: i32 = 4_194_304;
/// After the first round, ids start here (`RESERVED_PIDS`).
const ID_RESERVED: i32 = 300;

/// What is left of a process that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Zombie {
    /// Its wait status.
    pub status: i32,
    /// What it used, children that it waited for included.
    pub usage: Usage,
}

/// A process and its ties.
#[derive(Debug)]
pub struct Process {
    /// Its threads and what they share.
    pub group: Arc<ThreadGroup>,
    /// The leader, even once it has exited.
    pub leader: Arc<Task>,
    /// Whose child it is; 0 for those that came from outside.
    pub parent: i32,
    /// The thread of the parent that made it.
    pub parent_tid: i32,
    /// Its children.
    pub children: BTreeSet<i32>,
    /// Its process group.
    pub process_group: i32,
    /// Its session.
    pub session: i32,
    /// The signal that its parent gets when it ends; 0 for none.
    pub exit_signal: i32,
    /// Set once all its threads have ended.
    pub zombie: Option<Zombie>,
    /// Told about its end, where it came from outside.
    pub(crate) waiter: Option<Arc<ExitWaiter>>,
}

/// A session.
#[derive(Debug, Default)]
pub struct Session {
    /// Its processes.
    pub members: BTreeSet<i32>,
    /// Its controlling terminal, by identity.
    pub terminal: Option<u64>,
    /// Members that gave the terminal up for themselves (`TIOCNOTTY`), and children they had since.
    pub without_terminal: BTreeSet<i32>,
    /// The process group that was in the foreground of a terminal which is gone (`tty_old_pgrp`).
    pub hung_up_group: i32,
}

/// Everybody.
#[derive(Debug, Default)]
pub struct TaskTable {
    processes: BTreeMap<i32, Process>,
    tasks: BTreeMap<i32, Arc<Task>>,
    process_groups: BTreeMap<i32, BTreeSet<i32>>,
    sessions: BTreeMap<i32, Session>,
    /// Ids of threads that are dead, while their tracers do not know yet.
    ghosts: BTreeSet<i32>,
    last_id: i32,
    /// Init has ended or the sandbox is to end: nobody is born any more.
    pub(crate) is_closed: bool,
}

impl TaskTable {
    /// The process with this id, zombies included.
    pub fn process(&self, pid: i32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    pub(crate) fn process_mut(&mut self, pid: i32) -> Option<&mut Process> {
        self.processes.get_mut(&pid)
    }

    /// All processes, zombies included, by id.
    pub fn processes(&self) -> impl Iterator<Item = (i32, &Process)> {
        self.processes.iter().map(|(pid, process)| (*pid, process))
    }

    /// The live task with this id, or the leader of a process whose other threads live on.
    pub fn task(&self, tid: i32) -> Option<Arc<Task>> {
        self.tasks.get(&tid).cloned()
    }

    /// All live tasks, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// How many live tasks there are.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// How many count against a limit (`pids_can_fork`): live tasks, and processes not waited for yet.
    pub fn charged(&self) -> usize {
        let is_zombie = |process: &&Process| process.zombie.is_some();
        self.tasks.len() + self.processes.values().filter(is_zombie).count()
    }

    /// The processes of a process group.
    pub fn process_group(&self, id: i32) -> Option<&BTreeSet<i32>> {
        self.process_groups.get(&id)
    }

    /// A session.
    pub fn session(&self, id: i32) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(crate) fn session_mut(&mut self, id: i32) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    /// The session of a process group.
    pub fn session_of_group(&self, id: i32) -> Option<i32> {
        let first = self.process_groups.get(&id)?.first()?;
        self.processes.get(first).map(|process| process.session)
    }

    /// The last id given out, for `/proc/loadavg`.
    pub fn last_id(&self) -> i32 {
        self.last_id
    }

    /// An id that names nothing yet.
    pub(crate) fn new_id(&mut self) -> Result<i32, Errno> {
        for _ in 0..ID_LIMIT {
            self.last_id += 1;
            if self.last_id >= ID_LIMIT {
                self.last_id = ID_RESERVED;
            }
            let id = self.last_id;
            if !self.is_taken(id) {
                return Ok(id);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Whether an id names something.
    pub(crate) fn is_taken(&self, id: i32) -> bool {
        self.tasks.contains_key(&id)
            || self.processes.contains_key(&id)
            || self.process_groups.contains_key(&id)
            || self.sessions.contains_key(&id)
            || self.ghosts.contains(&id)
    }

    pub(crate) fn add_ghost(&mut self, tid: i32) {
        self.ghosts.insert(tid);
    }

    pub(crate) fn forget_ghost(&mut self, tid: i32) {
        self.ghosts.remove(&tid);
    }

    pub(crate) fn add_task(&mut self, tid: i32, task: Arc<Task>) {
        self.tasks.insert(tid, task);
    }

    pub(crate) fn remove_task(&mut self, tid: i32) -> Option<Arc<Task>> {
        self.tasks.remove(&tid)
    }

    /// Enters a process that has its ties filled in.
    pub(crate) fn add_process(&mut self, pid: i32, process: Process) {
        if let Some(parent) = self.processes.get_mut(&process.parent) {
            parent.children.insert(pid);
        }
        self.process_groups.entry(process.process_group).or_default().insert(pid);
        let session = self.sessions.entry(process.session).or_default();
        session.members.insert(pid);
        if session.without_terminal.contains(&process.parent) {
            session.without_terminal.insert(pid);
        }
        self.processes.insert(pid, process);
    }

    /// The thread that was `old` leads its process from now on: children know it by the new id.
    pub(crate) fn take_lead(&mut self, pid: i32, old: i32, task: &Arc<Task>) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.leader = Arc::clone(task);
        for child in process.children.clone() {
            if let Some(child) = self.processes.get_mut(&child)
                && child.parent_tid == old
            {
                child.parent_tid = pid;
            }
        }
    }

    /// Forgets a process for good.
    pub(crate) fn remove_process(&mut self, pid: i32) -> Option<Process> {
        let process = self.processes.remove(&pid)?;
        if let Some(parent) = self.processes.get_mut(&process.parent) {
            parent.children.remove(&pid);
        }
        self.leave_group(pid, process.process_group);
        self.leave_session(pid, process.session);
        Some(process)
    }

    fn leave_group(&mut self, pid: i32, id: i32) {
        if let Some(members) = self.process_groups.get_mut(&id) {
            members.remove(&pid);
            if members.is_empty() {
                self.process_groups.remove(&id);
            }
        }
    }

    fn leave_session(&mut self, pid: i32, id: i32) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.members.remove(&pid);
            session.without_terminal.remove(&pid);
            if session.members.is_empty() {
                self.sessions.remove(&id);
            }
        }
    }

    /// Moves a process to a process group, which is made if need be.
    pub(crate) fn set_process_group(&mut self, pid: i32, id: i32) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let old = std::mem::replace(&mut process.process_group, id);
        if old != id {
            self.leave_group(pid, old);
            self.process_groups.entry(id).or_default().insert(pid);
        }
    }

    /// Makes a process the leader of a new session and of a new process group in it.
    pub(crate) fn start_session(&mut self, pid: i32) {
        self.set_process_group(pid, pid);
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let old = std::mem::replace(&mut process.session, pid);
        if old != pid {
            self.leave_session(pid, old);
            self.sessions.entry(pid).or_default().members.insert(pid);
        }
    }

    /// Makes `child` the child of `parent`.
    pub(crate) fn set_parent(&mut self, child: i32, parent: i32, parent_tid: i32) {
        let Some(process) = self.processes.get_mut(&child) else { return };
        let old = std::mem::replace(&mut process.parent, parent);
        process.parent_tid = parent_tid;
        if let Some(old) = self.processes.get_mut(&old) {
            old.children.remove(&child);
        }
        if let Some(new) = self.processes.get_mut(&parent) {
            new.children.insert(child);
        }
    }

    /// The identity of a process's controlling terminal.
    pub fn terminal_of(&self, pid: i32) -> Option<u64> {
        let session = self.session(self.process(pid)?.session)?;
        session.terminal.filter(|_| !session.without_terminal.contains(&pid))
    }

    /// Whether a process group is orphaned (setpgid(2)): no member, but for `leaving`, has a live parent
    /// in another process group of the same session.
    pub fn is_orphaned(&self, id: i32, leaving: Option<i32>) -> bool {
        let Some(members) = self.process_groups.get(&id) else { return true };
        !members.iter().filter(|pid| Some(**pid) != leaving).any(|pid| {
            let Some(process) = self.processes.get(pid) else { return false };
            let parent = self.processes.get(&process.parent);
            process.zombie.is_none()
                && parent.is_some_and(|parent| {
                    parent.process_group != id && parent.session == process.session
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TaskTable;

    #[test]
    fn ids_count_up_from_one() {
        let mut table = TaskTable::default();
        assert_eq!(table.new_id(), Ok(1));
        assert_eq!(table.new_id(), Ok(2));
        table.last_id = super::ID_LIMIT - 1;
        assert_eq!(table.new_id(), Ok(super::ID_RESERVED));
    }
}
