// SPDX-License-Identifier: Apache-2.0
//! Descriptors of processes: pidfd_open(2), and what clone(2) hands out.

use std::{any::Any, fmt, sync::Arc};

use abi::{Errno, fcntl::OpenFlags};

use super::{Current, Task, ThreadGroup};
use crate::{
    vfs::{FileDescription, FileOps},
    wait::{Ready, WaitQueue},
};

/// A pidfd's side of its open file: readable once the process has ended.
pub struct PidFd {
    group: Arc<ThreadGroup>,
}

impl PidFd {
    /// The process, which may have ended and been reaped.
    pub fn group(&self) -> &Arc<ThreadGroup> {
        &self.group
    }
}

impl FileOps for PidFd {
    fn is_stream(&self) -> bool {
        true
    }

    fn ready(&self) -> Ready {
        if self.group.has_ended() { Ready::READABLE } else { Ready::empty() }
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.group.exit_queue().clone())
    }

    fn fdinfo(&self) -> String {
        let pid = self.group.pid();
        format!("Pid:\t{pid}\nNSpid:\t{pid}\n")
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for PidFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PidFd").field(&self.group.pid()).finish()
    }
}

/// A pidfd of a process. `status` may be `O_NONBLOCK`, which waitid(2) looks at.
pub fn open_process(group: &Arc<ThreadGroup>, status: OpenFlags) -> Arc<FileDescription> {
    let ops = PidFd { group: Arc::clone(group) };
    FileDescription::anonymous(Box::new(ops), "anon_inode:[pidfd]", OpenFlags::RDWR | status)
}

/// A pidfd of the task's process.
pub(crate) fn open(task: &Arc<Task>) -> Result<Arc<FileDescription>, Errno> {
    Ok(open_process(task.group(), OpenFlags::empty()))
}

impl Current {
    /// A pidfd of the process with this number; `ESRCH` if there is none.
    pub fn open_pidfd(&self, pid: i32) -> Result<Arc<FileDescription>, Errno> {
        let tasks = self.kernel().tasks();
        let group = tasks.process(pid).map(|process| Arc::clone(&process.group));
        drop(tasks);
        Ok(open_process(&group.ok_or(Errno::ESRCH)?, OpenFlags::empty()))
    }
}

/// The process that a pidfd is of; `None` for any other file.
pub fn pidfd_target(file: &Arc<FileDescription>) -> Option<i32> {
    file.ops_as::<PidFd>().map(|pidfd| pidfd.group.pid())
}
