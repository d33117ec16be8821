// SPDX-License-Identifier: Apache-2.0
//! Stopping a guest that runs, from another thread.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use crate::sys;

/// The signal that stops a running guest. Nobody else sends it to a stub.
pub(crate) const INTERRUPT: i32 = libc::SIGURG;

/// A bell at a stub thread. Rung while the guest runs, it sends a signal; else it is remembered.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// The process.
    pid: AtomicI32,
    /// The thread, perhaps by the stub's word: only ever used together with `pid`.
    tid: AtomicI32,
    running: AtomicBool,
    rung: AtomicBool,
    /// Whoever waits for the thread sleeps for long, since it sleeps itself.
    dozes: AtomicBool,
}

impl Bell {
    /// Names the host's thread.
    pub(crate) fn name(&self, pid: i32, tid: i32) {
        self.tid.store(tid, Ordering::SeqCst);
        self.pid.store(pid, Ordering::SeqCst);
    }

    /// The thread's number; 0 before it has one.
    pub(crate) fn tid(&self) -> i32 {
        self.tid.load(Ordering::SeqCst)
    }

    /// The thread's number, when the host says that it is one of the process's.
    pub(crate) fn checked_tid(&self) -> Option<i32> {
        self.signal(0).is_ok().then(|| self.tid())
    }

    /// Makes the current or the next run end. Whether there is a current one.
    pub(crate) fn ring(&self) -> bool {
        self.rung.store(true, Ordering::SeqCst);
        let runs = self.running.load(Ordering::SeqCst);
        if runs && let Err(error) = self.signal(INTERRUPT) {
            tracing::debug!(%error, "a stub thread cannot be interrupted");
        }
        runs
    }

    /// Says whether whoever waits for the thread is about to sleep for long: `false` when it must not, for
    /// the bell was rung.
    pub(crate) fn doze(&self, dozes: bool) -> bool {
        self.dozes.store(dozes, Ordering::SeqCst);
        dozes && !self.rung.load(Ordering::SeqCst)
    }

    /// Whether [`Bell::doze`] stands.
    pub(crate) fn is_dozing(&self) -> bool {
        self.dozes.load(Ordering::SeqCst)
    }

    /// Sends the signal again, if the bell was rung and nobody came.
    pub(crate) fn ring_again(&self) -> bool {
        let rung = self.rung.load(Ordering::SeqCst);
        if rung {
            self.signal(INTERRUPT).ok();
        }
        rung
    }

    /// Whether it was rung; forgets it.
    pub(crate) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::SeqCst)
    }

    /// Before the guest runs: from here on ringing is a signal. `false` when it was rung already.
    pub(crate) fn start(&self) -> bool {
        self.running.store(true, Ordering::SeqCst);
        let rung = self.rung.load(Ordering::SeqCst);
        if rung {
            self.running.store(false, Ordering::SeqCst);
        }
        !rung
    }

    /// After the guest ran.
    pub(crate) fn stop(&self) {
        self.running.store(false, Ordering::SeqCst);
    }

    /// Whether the host still has the thread.
    pub(crate) fn is_alive(&self) -> bool {
        let gone = self.signal(0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH));
        !gone || self.tid() <= 0
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        let (pid, tid) = (self.pid.load(Ordering::SeqCst), self.tid());
        if pid <= 0 || tid <= 0 {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        sys::tgkill(pid, tid, signal)
    }
}
