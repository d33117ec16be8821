// SPDX-License-Identifier: Apache-2.0
//! Host processes that outlive the command that started them.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use serde::{Deserialize, Serialize};

use crate::sys;

/// One process: its number may be another's by now, its start time tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in the kernel's ticks since boot.
    pub(crate) start: u64,
}

impl ProcessId {
    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> io::Result<ProcessId> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold anything; the start time is the 20th field behind it.
        let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let start = fields.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok());
        let start = start.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(ProcessId { pid, start })
    }

    /// A handle on it, if it has not ended. A zombie has.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let handle = sys::pidfd_open(self.pid).ok()?;
        let is_same = ProcessId::of(self.pid).is_ok_and(|now| now == self);
        (is_same && !has_ended(&handle, Duration::ZERO)).then_some(handle)
    }

    /// Whether it runs.
    pub(crate) fn is_alive(self) -> bool {
        self.open().is_some()
    }

    /// Kills it and waits for its end: whether that came in time.
    pub(crate) fn kill(self, deadline: Instant) -> bool {
        let Some(handle) = self.open() else { return true };
        // It may have ended by now, which is what we want.
        let _ = sys::send_signal(handle.as_fd(), libc::SIGKILL);
        has_ended(&handle, deadline.saturating_duration_since(Instant::now()))
    }
}

/// Whether the process behind a pidfd ends within this time.
pub(crate) fn has_ended(handle: &OwnedFd, within: Duration) -> bool {
    let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let id = ProcessId::of(pid).unwrap();
        assert!(id.is_alive());
        assert!(!ProcessId { start: id.start + 1, ..id }.is_alive());
        assert!(id.kill(Instant::now() + Duration::from_secs(10)));
        assert!(!id.is_alive(), "a zombie is not alive");
        child.wait().unwrap();
    }
}
