// SPDX-License-Identifier: Apache-2.0
//! Job control: process groups and sessions as tasks change them.

use std::sync::atomic::Ordering;

use abi::{Errno, SigSet};

use super::{Current, Task, ThreadGroup};

impl Current {
    /// setpgid(2) with both ids resolved. Checks stand in the order of `kernel/sys.c`.
    pub fn set_process_group(&mut self, pid: i32, id: i32) -> Result<(), Errno> {
        let me = self.task.pid();
        let mut tasks = self.kernel.tasks();
        let own_session = tasks.process(me).ok_or(Errno::ESRCH)?.session;
        let process = tasks.process(pid).ok_or(Errno::ESRCH)?;
        if process.parent == me {
            if process.session != own_session {
                return Err(Errno::EPERM);
            }
            if process.group.has_executed.load(Ordering::Relaxed) {
                return Err(Errno::EACCES);
            }
        } else if pid != me {
            return Err(Errno::ESRCH);
        }
        if process.session == pid {
            return Err(Errno::EPERM);
        }
        if id != pid && tasks.session_of_group(id) != Some(own_session) {
            return Err(Errno::EPERM);
        }
        tasks.set_process_group(pid, id);
        Ok(())
    }

    /// setsid(2): the new session's id.
    pub fn start_session(&mut self) -> Result<i32, Errno> {
        let pid = self.task.pid();
        let mut tasks = self.kernel.tasks();
        if tasks.process_group(pid).is_some() || tasks.session(pid).is_some() {
            return Err(Errno::EPERM);
        }
        tasks.start_session(pid);
        Ok(pid)
    }
}

impl Task {
    /// Says which signals rt_sigtimedwait(2) waits for: they wake it although they are blocked.
    pub fn set_awaited(&self, signals: SigSet) {
        self.signals().lock().awaited = signals;
    }
}

impl ThreadGroup {
    /// personality(2).
    pub fn personality(&self) -> u32 {
        self.personality.load(Ordering::Relaxed)
    }

    /// Sets it.
    pub fn set_personality(&self, personality: u32) {
        self.personality.store(personality, Ordering::Relaxed);
    }

    /// `PR_SET_DUMPABLE`, after its check.
    pub fn set_dumpable(&self, dumpable: u32) {
        self.dumpable.store(dumpable, Ordering::Relaxed);
    }

    /// Whether orphans among its descendants become its children (`PR_GET_CHILD_SUBREAPER`).
    pub fn is_subreaper(&self) -> bool {
        self.is_subreaper.load(Ordering::Relaxed)
    }

    /// `PR_GET_THP_DISABLE`, stored only.
    pub fn is_thp_disabled(&self) -> bool {
        self.is_thp_disabled.load(Ordering::Relaxed)
    }

    /// `PR_SET_THP_DISABLE`, stored only.
    pub fn set_thp_disabled(&self, is_disabled: bool) {
        self.is_thp_disabled.store(is_disabled, Ordering::Relaxed);
    }

    /// `PR_SET_CHILD_SUBREAPER`.
    pub fn set_subreaper(&self, is_subreaper: bool) {
        self.is_subreaper.store(is_subreaper, Ordering::Relaxed);
    }
}

impl Current {
    /// unshare(2) with checked flags: what was shared becomes its own.
    pub fn unshare(&mut self, flags: abi::sched::CloneFlags) {
        use abi::sched::CloneFlags as F;
        let old = self.set_resources(|resources| {
            // Roots and working directories lie in one tree or the other.
            if flags.intersects(F::FS | F::NEWNS) {
                resources.fs = resources.fs.fork();
            }
            if flags.contains(F::FILES) {
                resources.fds = resources.fds.fork();
            }
            if flags.contains(F::NEWUTS) {
                resources.uts = resources.uts.fork();
            }
            if flags.contains(F::NEWNS) {
                resources.fork_mounts();
            }
        });
        drop(old);
    }
}
