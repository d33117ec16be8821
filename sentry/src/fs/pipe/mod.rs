// SPDX-License-Identifier: Apache-2.0
//! Pipes and fifos: pipe(7).
//!
//! * **The types to know.** A [`Pipe`] is the ring and who is at its ends; a [`PipeEnd`] is an open
//!   file on it; a [`Fifo`] is what the inode of a named pipe holds.
//! * **Invariants.** A pipe counts its ends; the last end of a kind to go wakes the other side. Sleeping
//!   readers are woken when the pipe stops being empty, writers when it stops being full; readers that
//!   poll are woken by each write, for edge-triggered epoll users rely on it (`pipe->poll_usage`).
//! * **Lock levels.** `Endpoint` guards ring and counts, guest memory is copied under it as under
//!   Linux's `pipe->mutex`; `WaitQueue` is notified after it is given back.

mod buffer;
mod end;
mod fifo;
mod inode;
mod transfer;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use abi::Errno;

use crate::{
    sync::{Mutex, levels},
    wait::{Ready, WaitQueue},
};
use buffer::{Buffer, PAGE};

pub use end::PipeEnd;
pub use fifo::Fifo;
pub use inode::{open_pair, register};

/// Slots of a new pipe (64 KiB).
const DEFAULT_SLOTS: usize = 16;
/// What `F_SETPIPE_SZ` allows without `CAP_SYS_RESOURCE` (`/proc/sys/fs/pipe-max-size`).
pub const MAX_SIZE: usize = 1 << 20;
/// What it allows anybody: the ring is the sandbox's memory.
const HARD_MAX_SIZE: usize = 1 << 28;

struct State {
    buffer: Buffer,
    readers: usize,
    writers: usize,
    /// How often an end was opened, so that a fifo's opener can see that a peer came (and left).
    reader_opens: u64,
    writer_opens: u64,
}

/// A pipe: its bytes and its ends.
pub struct Pipe {
    state: Mutex<State, levels::Endpoint>,
    queue: WaitQueue,
    /// Somebody polls: wake on each write.
    is_polled: AtomicBool,
}

impl Pipe {
    fn new() -> Arc<Pipe> {
        Arc::new(Pipe {
            state: Mutex::new(State {
                buffer: Buffer::new(DEFAULT_SLOTS),
                readers: 0,
                writers: 0,
                reader_opens: 0,
                writer_opens: 0,
            }),
            queue: WaitQueue::new(),
            is_polled: AtomicBool::new(false),
        })
    }

    /// Bytes it can hold (`F_GETPIPE_SZ`).
    pub fn size(&self) -> usize {
        self.state.lock().buffer.capacity() * PAGE
    }

    /// `F_SETPIPE_SZ`: rounds up to a power of two pages and returns what it then holds.
    pub fn set_size(&self, size: usize, is_privileged: bool) -> Result<usize, Errno> {
        let size = size.max(PAGE);
        if size > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let size = size.next_power_of_two();
        let (had_room, slots) = (self.size(), size / PAGE);
        if size > had_room && size > MAX_SIZE && !is_privileged {
            return Err(Errno::EPERM);
        }
        if size > HARD_MAX_SIZE {
            return Err(Errno::ENOMEM);
        }
        self.state.lock().buffer.set_capacity(slots)?;
        if size > had_room {
            self.queue.notify(Ready::WRITABLE);
        }
        Ok(size)
    }

    /// Bytes to read (`FIONREAD`).
    pub fn pending(&self) -> usize {
        self.state.lock().buffer.len()
    }

    fn note_polled(&self) {
        if !self.is_polled.load(Ordering::Relaxed) {
            self.is_polled.store(true, Ordering::Relaxed);
        }
    }

    fn announce_data(&self, was_empty: bool) {
        if was_empty || self.is_polled.load(Ordering::Relaxed) {
            self.queue.notify(Ready::READABLE);
        }
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipe")
    }
}

/// pipe(2): the reading and the writing end of a new pipe. `is_packet` is `O_DIRECT`.
pub fn pair(flags: abi::fcntl::OpenFlags) -> (PipeEnd, PipeEnd) {
    let pipe = Pipe::new();
    let reader = PipeEnd::attach(&pipe, end::Side::Read, flags);
    let writer = PipeEnd::attach(&pipe, end::Side::Write, flags);
    (reader, writer)
}
