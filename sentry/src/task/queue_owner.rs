// SPDX-License-Identifier: Apache-2.0
//! A process that waits for a message, as POSIX message queues see it.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use abi::{SigInfo, Signal, cred::Capabilities, resource::RLIMIT_MSGQUEUE, signal::SI_MESGQ};

use super::{Sender, Task, ThreadGroup, calling};
use crate::{
    creds::Credentials,
    ipc::mq::{Maker, Owner},
};

/// The process that called mq_notify(2).
pub struct QueueOwner(Weak<ThreadGroup>, i32);

impl QueueOwner {
    /// The task's process.
    pub fn new(task: &Task) -> Arc<QueueOwner> {
        Arc::new(QueueOwner(Arc::downgrade(task.group()), task.pid()))
    }
}

impl Owner for QueueOwner {
    fn pid(&self) -> i32 {
        self.1
    }

    fn is_alive(&self) -> bool {
        self.0.upgrade().is_some_and(|group| !group.has_ended())
    }

    fn is_calling(&self) -> bool {
        let caller = calling::task().map(|task| Arc::as_ptr(task.group()));
        caller.is_some_and(|group| std::ptr::eq(group, self.0.as_ptr()))
    }

    fn tell(&self, signal: i32, value: u64) {
        let (Some(group), Some(signal)) = (self.0.upgrade(), Signal::from_raw(signal)) else {
            return;
        };
        let sender = calling::task();
        let (pid, uid) = sender.map_or((0, 0), |task| (task.pid(), task.creds().ruid));
        let info = SigInfo::queue(signal, SI_MESGQ, pid, uid, value);
        // A full queue loses the signal, as on Linux.
        let _ = group.send(info, Sender::Guest);
    }
}

impl fmt::Debug for QueueOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueOwner").field(&self.1).finish()
    }
}

impl Task {
    /// On whose account, and under which limits, this task makes a message queue.
    pub fn queue_maker(&self, creds: &Credentials) -> Maker {
        Maker {
            uid: creds.ruid,
            limit: self.group().rlimits().soft(RLIMIT_MSGQUEUE),
            is_privileged: creds.has(Capabilities::SYS_RESOURCE),
        }
    }
}
