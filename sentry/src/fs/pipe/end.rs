// SPDX-License-Identifier: Apache-2.0
//! An open end of a pipe.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use abi::{Errno, UserAddr, fcntl::OpenFlags, ioctl::FIONREAD};

use super::Pipe;
use crate::{
    io::{Sink, Source},
    vfs::{Caller, FileOps},
    wait::{Ready, Try, WaitQueue},
};

/// Which ends an open file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The one to read from.
    Read,
    /// The one to write to.
    Write,
    /// Both: a fifo opened `O_RDWR`.
    Both,
}

impl Side {
    pub(super) fn reads(self) -> bool {
        self != Side::Write
    }

    pub(super) fn writes(self) -> bool {
        self != Side::Read
    }
}

/// What opening still waits for (fifo(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// Nothing.
    Nobody,
    /// A writer: `writer_opens` to differ from this.
    Writer(u64),
    /// A reader, likewise.
    Reader(u64),
}

/// An open end (or, for `O_RDWR` fifos, both ends) of a pipe.
pub struct PipeEnd {
    pub(super) pipe: Arc<Pipe>,
    pub(super) side: Side,
    /// `O_DIRECT`: each write is a packet.
    is_packet: AtomicBool,
    pub(super) awaited: Awaited,
    /// A reader that opened `O_NONBLOCK` before any writer sees no hang-up until one has come.
    pub(super) quiet_until: Option<u64>,
}

impl PipeEnd {
    /// Opens an end, for which nobody waits.
    pub(super) fn attach(pipe: &Arc<Pipe>, side: Side, flags: OpenFlags) -> PipeEnd {
        let mut state = pipe.state.lock();
        if side.reads() {
            state.readers += 1;
            state.reader_opens += 1;
        }
        if side.writes() {
            state.writers += 1;
            state.writer_opens += 1;
        }
        drop(state);
        PipeEnd {
            pipe: Arc::clone(pipe),
            side,
            is_packet: AtomicBool::new(flags.contains(OpenFlags::DIRECT)),
            awaited: Awaited::Nobody,
            quiet_until: None,
        }
    }

    /// The pipe behind it.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    /// Whether it is an end to read from.
    pub fn is_reader(&self) -> bool {
        self.side.reads()
    }

    /// Whether it is an end to write to.
    pub fn is_writer(&self) -> bool {
        self.side.writes()
    }

    /// Whether its writes are packets.
    pub(super) fn is_packet(&self) -> bool {
        self.is_packet.load(Ordering::Relaxed)
    }
}

impl FileOps for PipeEnd {
    fn is_stream(&self) -> bool {
        true
    }

    fn writes_whole(&self) -> bool {
        true
    }

    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        if sink.remaining() == 0 {
            return Ok(Try::Done(0));
        }
        let mut state = self.pipe.state.lock();
        if state.buffer.is_empty() {
            return Ok(if state.writers == 0 { Try::Done(0) } else { Try::WouldBlock });
        }
        let was_full = state.buffer.is_full();
        let done = state.buffer.pull(sink);
        let has_room = was_full && !state.buffer.is_full();
        drop(state);
        if has_room {
            self.pipe.queue.notify(Ready::WRITABLE);
        }
        done.map(Try::Done)
    }

    fn write_at(&self, source: &mut dyn Source, _offset: u64) -> Result<Try<usize>, Errno> {
        if source.remaining() == 0 {
            return Ok(Try::Done(0));
        }
        let mut state = self.pipe.state.lock();
        if state.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let was_empty = state.buffer.is_empty();
        let done = state.buffer.push(source, self.is_packet())?;
        drop(state);
        if done == 0 {
            return Ok(Try::WouldBlock);
        }
        self.pipe.announce_data(was_empty);
        Ok(Try::Done(done))
    }

    fn ready(&self) -> Ready {
        self.pipe.note_polled();
        let state = self.pipe.state.lock();
        let mut ready = Ready::empty();
        if self.side.reads() {
            if !state.buffer.is_empty() {
                ready |= Ready::READABLE;
            }
            let is_quiet = self.quiet_until.is_some_and(|opens| opens == state.writer_opens);
            if state.writers == 0 && !is_quiet {
                ready |= Ready::HUP;
            }
        }
        if self.side.writes() {
            if !state.buffer.is_full() {
                ready |= Ready::WRITABLE;
            }
            if state.readers == 0 {
                ready |= Ready::ERR;
            }
        }
        ready
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.pipe.queue.clone())
    }

    fn open_wait(&self) -> Result<Try<()>, Errno> {
        let state = self.pipe.state.lock();
        let has_come = match self.awaited {
            Awaited::Nobody => true,
            Awaited::Writer(opens) => state.writer_opens != opens,
            Awaited::Reader(opens) => state.reader_opens != opens,
        };
        Ok(if has_come { Try::Done(()) } else { Try::WouldBlock })
    }

    fn ioctl(&self, caller: &mut dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let pending = i32::try_from(self.pipe.pending()).unwrap_or(i32::MAX);
        caller.write_memory(UserAddr(argument), &pending.to_ne_bytes())?;
        Ok(0)
    }

    fn status_changed(&self, flags: OpenFlags) {
        self.is_packet.store(flags.contains(OpenFlags::DIRECT), Ordering::Relaxed);
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        if self.side.reads() {
            state.readers -= 1;
        }
        if self.side.writes() {
            state.writers -= 1;
        }
        // `pipe_release`: whoever is left hears of it when one kind of end is gone.
        let is_half = (state.readers == 0) != (state.writers == 0);
        drop(state);
        if is_half {
            let all = Ready::READABLE | Ready::WRITABLE | Ready::ALWAYS;
            self.pipe.queue.notify(all);
        }
    }
}

impl fmt::Debug for PipeEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeEnd").field("side", &self.side).finish_non_exhaustive()
    }
}
