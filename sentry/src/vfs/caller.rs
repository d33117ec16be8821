// SPDX-License-Identifier: Apache-2.0
//! What a file may ask of the task that calls it.

use std::sync::Arc;

use abi::{Errno, UserAddr};

use crate::creds::Credentials;

/// The calling task as ioctl(2) handlers see it. Implemented by `task`; a lower layer asks upwards only
/// through this.
pub trait Caller {
    /// Who asks.
    fn credentials(&self) -> Arc<Credentials>;

    /// Reads guest memory; `EFAULT` unless all of it could be read.
    fn read_memory(&mut self, addr: UserAddr, to: &mut [u8]) -> Result<(), Errno>;

    /// Writes guest memory; `EFAULT` unless all of it could be written.
    fn write_memory(&mut self, addr: UserAddr, from: &[u8]) -> Result<(), Errno>;

    /// The caller's process, process group and session, by their numbers in its own pid namespace.
    fn job(&self) -> Job;

    /// Sends `signal` to a whole process group; `ESRCH` if there is none.
    fn signal_group(&mut self, group: i32, signal: i32) -> Result<(), Errno>;

    /// The session of a process group; `ESRCH` if there is none.
    fn session_of_group(&self, group: i32) -> Result<i32, Errno>;

    /// Whether `signal` is blocked or ignored by the calling task (for `SIGTTOU` and `SIGTTIN`).
    fn is_signal_ignored(&self, signal: i32) -> bool;

    /// Whether the caller's process group is orphaned (setpgid(2)).
    fn is_group_orphaned(&self) -> bool;

    /// The controlling terminal of the caller's session, by its identity.
    fn controlling_terminal(&self) -> Option<u64>;

    /// Makes the terminal the controlling one of the caller's session, which the caller leads.
    fn set_controlling_terminal(&mut self, terminal: u64) -> Result<(), Errno>;

    /// The caller alone has no controlling terminal any more.
    fn give_controlling_terminal_up(&mut self);
}

/// Numbers of the calling process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "credentials(7)'s own words")]
pub struct Job {
    pub process: i32,
    pub group: i32,
    pub session: i32,
    pub is_session_leader: bool,
}
