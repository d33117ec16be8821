// SPDX-License-Identifier: Apache-2.0
//! A traced thread in its two states, as types whose methods consume it.
//!
//! Only the thread that attached may use them; the kernel refuses others.

use std::io;

use crate::{
    Registers,
    sys::ptrace::{self, Resume, Stop},
};

/// A traced thread that stands still.
#[derive(Debug)]
#[must_use]
pub(crate) struct Stopped {
    tid: i32,
}

/// A traced thread that runs.
#[derive(Debug)]
#[must_use]
pub(crate) struct Running {
    tid: i32,
}

/// What a traced thread came to.
#[derive(Debug)]
pub(crate) enum Came {
    /// It stopped, for this reason.
    Stopped(Stopped, Stop),
    /// It is gone, with this wait status.
    Ended(i32),
}

impl Stopped {
    /// Attaches to a thread that nobody traces and stops it.
    pub(crate) fn attach(tid: i32) -> io::Result<Came> {
        ptrace::seize(tid)?;
        Running { tid }.wait()
    }

    pub(crate) fn registers(&self) -> io::Result<Registers> {
        ptrace::registers(self.tid)
    }

    pub(crate) fn set_registers(&self, registers: &Registers) -> io::Result<()> {
        ptrace::set_registers(self.tid, registers)
    }

    pub(crate) fn extended_state(&self) -> io::Result<Vec<u8>> {
        ptrace::extended_state(self.tid)
    }

    pub(crate) fn set_extended_state(&self, state: &mut [u8]) -> io::Result<()> {
        ptrace::set_extended_state(self.tid, state)
    }

    pub(crate) fn clear_signal_mask(&self) -> io::Result<()> {
        ptrace::clear_signal_mask(self.tid)
    }

    pub(crate) fn signal_info(&self) -> io::Result<[u64; 4]> {
        ptrace::signal_info(self.tid)
    }

    pub(crate) fn call_arch(&self) -> io::Result<u32> {
        ptrace::call_arch(self.tid)
    }

    /// Goes on until the next stop.
    pub(crate) fn resume(self, how: Resume) -> io::Result<Running> {
        ptrace::resume(self.tid, how)?;
        Ok(Running { tid: self.tid })
    }

    /// Goes on with nobody watching.
    pub(crate) fn detach(self) -> io::Result<()> {
        ptrace::detach(self.tid)
    }
}

impl Running {
    /// Waits for its next stop.
    pub(crate) fn wait(self) -> io::Result<Came> {
        Ok(match ptrace::wait(self.tid)? {
            Stop::Ended(status) => Came::Ended(status),
            stop => Came::Stopped(Stopped { tid: self.tid }, stop),
        })
    }
}
