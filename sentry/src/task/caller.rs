// SPDX-License-Identifier: Apache-2.0
//! What files may ask of the calling task.

use std::sync::Arc;

use abi::{Errno, SigInfo, Signal, UserAddr};

use super::{Current, send::Sender};
use crate::{
    creds::Credentials,
    vfs::{Caller, Job},
};

impl Current {
    /// Sends `info` to each process of a process group; `ESRCH` if there is none.
    pub(crate) fn send_to_group(&self, id: i32, info: SigInfo) -> Result<(), Errno> {
        let groups: Vec<_> = {
            let tasks = self.kernel.tasks();
            let members = tasks.process_group(id).ok_or(Errno::ESRCH)?.iter();
            members.filter_map(|pid| tasks.process(*pid)).map(|p| Arc::clone(&p.group)).collect()
        };
        for group in groups {
            // Each gets what it can take.
            let _ = group.send(info, Sender::Guest);
        }
        Ok(())
    }
}

impl Caller for Current {
    fn credentials(&self) -> Arc<Credentials> {
        self.creds()
    }

    fn read_memory(&mut self, addr: UserAddr, to: &mut [u8]) -> Result<(), Errno> {
        self.read_bytes(addr, to)
    }

    fn write_memory(&mut self, addr: UserAddr, from: &[u8]) -> Result<(), Errno> {
        self.write_bytes(addr, from)
    }

    fn job(&self) -> Job {
        let pid = self.task.pid();
        let tasks = self.kernel.tasks();
        let process = tasks.process(pid);
        let session = process.map_or(0, |process| process.session);
        Job {
            process: pid,
            group: process.map_or(0, |process| process.process_group),
            session,
            is_session_leader: session == pid,
        }
    }

    fn signal_group(&mut self, group: i32, signal: i32) -> Result<(), Errno> {
        let signal = Signal::from_raw(signal).ok_or(Errno::EINVAL)?;
        self.send_to_group(group, SigInfo::kernel(signal))
    }

    fn session_of_group(&self, group: i32) -> Result<i32, Errno> {
        self.kernel.tasks().session_of_group(group).ok_or(Errno::ESRCH)
    }

    fn is_signal_ignored(&self, signal: i32) -> bool {
        let Some(signal) = Signal::from_raw(signal) else { return true };
        self.signal_mask().contains(signal) || self.group().actions_snapshot().ignores(signal)
    }

    fn is_group_orphaned(&self) -> bool {
        let tasks = self.kernel.tasks();
        let process = tasks.process(self.task.pid());
        process.is_none_or(|process| tasks.is_orphaned(process.process_group, None))
    }

    fn controlling_terminal(&self) -> Option<u64> {
        self.kernel.tasks().terminal_of(self.task.pid())
    }

    fn set_controlling_terminal(&mut self, terminal: u64) -> Result<(), Errno> {
        let mut tasks = self.kernel.tasks();
        let session = tasks.process(self.task.pid()).ok_or(Errno::ESRCH)?.session;
        let session = tasks.session_mut(session).ok_or(Errno::ESRCH)?;
        session.terminal = Some(terminal);
        // As on Linux only the leader, who takes it, has it; others keep having none.
        let leader = self.task.pid();
        session.without_terminal =
            session.members.iter().copied().filter(|pid| *pid != leader).collect();
        Ok(())
    }

    fn give_controlling_terminal_up(&mut self) {
        let pid = self.task.pid();
        let mut tasks = self.kernel.tasks();
        let Some(session) = tasks.process(pid).map(|process| process.session) else { return };
        if let Some(session) = tasks.session_mut(session) {
            session.without_terminal.insert(pid);
        }
    }
}
