// SPDX-License-Identifier: Apache-2.0
//! The two ends of a pseudo-terminal as open files.

use std::{any::Any, fmt, sync::Arc};

use abi::{Errno, fcntl::OpenFlags};

use super::{control, terminal::Terminal};
use crate::{
    io::{Sink, Source},
    vfs::{Caller, Direction, FileOps, open, permission::Access},
    wait::{Cut, Ready, Try, WaitQueue},
};

/// The master: what a terminal emulator or sshd holds.
pub struct Master {
    pub(super) terminal: Arc<Terminal>,
    /// Takes the number out of `/dev/pts` when the master closes.
    pub(super) on_close: Box<dyn Fn(u32) + Send + Sync>,
}

/// The slave: what the programs hold.
pub struct Slave {
    pub(super) terminal: Arc<Terminal>,
}

impl Master {
    /// The pair it belongs to.
    pub fn terminal(&self) -> &Arc<Terminal> {
        &self.terminal
    }
}

impl Slave {
    /// Opens the slave's end.
    pub fn open(terminal: &Arc<Terminal>, may_override: bool) -> Result<Slave, Errno> {
        terminal.open_slave(may_override)?;
        Ok(Slave { terminal: Arc::clone(terminal) })
    }

    /// The pair it belongs to.
    pub fn terminal(&self) -> &Arc<Terminal> {
        &self.terminal
    }
}

impl FileOps for Master {
    fn is_stream(&self) -> bool {
        true
    }

    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        self.terminal.read_master(sink)
    }

    fn write_at(&self, source: &mut dyn Source, _offset: u64) -> Result<Try<usize>, Errno> {
        self.terminal.write_master(source)
    }

    fn ready(&self) -> Ready {
        self.terminal.master_ready()
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.terminal.master_queue())
    }

    fn ioctl(&self, caller: &mut dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        control::master(&self.terminal, caller, command, argument)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.terminal.close_master();
        (self.on_close)(self.terminal.index);
    }
}

impl FileOps for Slave {
    fn is_stream(&self) -> bool {
        true
    }

    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        self.terminal.read_slave(sink)
    }

    fn write_at(&self, source: &mut dyn Source, _offset: u64) -> Result<Try<usize>, Errno> {
        self.terminal.write_slave(source)
    }

    fn ready(&self) -> Ready {
        self.terminal.slave_ready()
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.terminal.slave_queue())
    }

    fn admit(&self, caller: &mut dyn Caller, direction: Direction) -> Result<(), Cut> {
        control::admit(&self.terminal, caller, direction)
    }

    fn opened(&self, caller: &mut dyn Caller, flags: OpenFlags) {
        // Who may only write to a terminal must not get its rights over a session.
        let reads = open::wanted(flags).contains(Access::READ);
        if reads && !flags.contains(OpenFlags::NOCTTY) {
            control::adopt(&self.terminal, caller);
        }
    }

    fn ioctl(&self, caller: &mut dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        control::slave(&self.terminal, caller, command, argument)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl Drop for Slave {
    fn drop(&mut self) {
        self.terminal.close_slave();
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Master({})", self.terminal.index)
    }
}

impl fmt::Debug for Slave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slave({})", self.terminal.index)
    }
}
