// SPDX-License-Identifier: Apache-2.0
//! The gate before clone(2): a stub makes a thread or a process only when the sentry told it to.
//!
//! A guest may jump to the stub's clone as to any other call, and so make host processes that nobody
//! counts. So the stub's filter does not allow clone but asks: the call waits in the host's kernel
//! until a sentry thread has looked at who makes it (by the kernel's word) and either lets it happen
//! or not. clone's flags are in registers and were checked by the filter, so there is nothing that
//! could change after the look. Nobody serves the gate while no clone is wanted: whoever comes then
//! waits, as long as it lives.
//!
//! The zygote passes by a number that only it and the filter know, for it makes stubs in its own
//! time.

use std::{
    collections::HashSet,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{shared::TURN_SENTRY, thread::Thread};
use crate::{Error, sys};

/// How long a stub may take to come to its clone.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often to look whether it failed before.
const LOOK: Duration = Duration::from_millis(5);

/// The sentry's side of the gate.
#[derive(Debug)]
pub(crate) struct Gate {
    listener: OwnedFd,
    /// What the zygote says.
    pub(crate) password: u64,
    /// Stub threads that are told to clone and have not yet.
    expected: Mutex<HashSet<i32>>,
    /// One thread at a time serves, for all.
    serving: Mutex<()>,
}

impl Gate {
    pub(crate) fn new(listener: OwnedFd, password: u64) -> Gate {
        Gate { listener, password, expected: Mutex::default(), serving: Mutex::default() }
    }

    /// To be called before `thread` is told to clone: as soon as it comes, whoever serves lets it pass.
    pub(crate) fn expect(&self, thread: &Thread) -> Pass<'_> {
        let tid = thread.bell.tid();
        self.expected.lock().insert(tid);
        Pass { gate: self, tid }
    }

    /// Waits for whoever comes next, for a while.
    fn serve(&self) -> std::io::Result<()> {
        if !sys::is_readable(self.listener.as_fd(), LOOK)? {
            return Ok(());
        }
        // It may have died meanwhile.
        let Some(caller) = sys::notify::receive(self.listener.as_fd())? else { return Ok(()) };
        let is_expected = self.expected.lock().remove(&caller.tid);
        if !is_expected {
            tracing::warn!(tid = caller.tid, "a stub wanted to clone by itself");
        }
        sys::notify::answer(self.listener.as_fd(), &caller, is_expected)
    }
}

/// What a stub thread passes by, once. Dropped, it is taken back.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    tid: i32,
}

impl Pass<'_> {
    /// Lets `thread`, which was just told to clone, do so.
    pub(crate) fn admit(self, thread: &Thread) -> Result<(), Error> {
        let start = Instant::now();
        let _serving = self.gate.serving.lock();
        loop {
            let came = !self.gate.expected.lock().contains(&self.tid);
            // It failed before it came here, or it is gone.
            let ended = thread.channel.turn().load(Ordering::Acquire) >= TURN_SENTRY;
            if came || ended {
                return Ok(());
            }
            if start.elapsed() > DEADLINE {
                return Err(Error::StubDied { reason: "it does not do as it is told" });
            }
            if let Err(source) = self.gate.serve() {
                return Err(Error::Host { call: "serve the gate", source });
            }
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.expected.lock().remove(&self.tid);
    }
}
