// SPDX-License-Identifier: Apache-2.0
//! System V IPC (sysvipc(7)): shared memory, semaphores, message queues; and POSIX message queues.
//!
//! * **The types to know.** An [`IpcNamespace`] holds the three tables; a [`registry::Registry`] is one:
//!   objects by id and by key, with their permissions.
//! * **Invariants.** An id that was given out is not given out again soon: it carries a sequence number. Who
//!   waits on an object that is removed hears of it (`EIDRM`).
//! * **Lock level.** `IpcTable`, one per table. Guest memory is read before it and written after it.

pub mod mq;
pub mod msg;
pub mod registry;
pub mod sem;
pub mod shm;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{creds::Credentials, time::Clock};

/// ipc_namespaces(7).
#[derive(Debug, Default)]
pub struct IpcNamespace {
    /// Shared memory.
    pub shm: Arc<shm::SegmentTable>,
    /// Semaphores.
    pub sem: sem::SemaphoreTable,
    /// Message queues.
    pub msg: msg::QueueTable,
    /// POSIX's.
    pub mq: mq::Queues,
}

impl IpcNamespace {
    /// The process `pid` has ended: its `SEM_UNDO` adjustments are made.
    pub fn process_ended(&self, pid: i32) {
        self.sem.undo(pid);
    }
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// With which rights.
    pub creds: &'a Credentials,
    /// From which process.
    pub pid: i32,
}

/// Seconds since 1970.
fn now() -> i64 {
    i64::try_from(Clock::Realtime.now() / 1_000_000_000).unwrap_or(i64::MAX)
}
