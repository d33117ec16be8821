// SPDX-License-Identifier: Apache-2.0
//! Named pipes: fifo(7).

use std::{
    fmt,
    sync::{Arc, Weak},
};

use abi::{Errno, fcntl::OpenFlags};

use super::{
    Pipe, PipeEnd,
    end::{Awaited, Side},
};
use crate::{
    sync::{Mutex, levels},
    wait::Ready,
};

/// What the inode of a named pipe holds: the pipe, while anybody has it open.
#[derive(Default)]
pub struct Fifo {
    pipe: Mutex<Weak<Pipe>, levels::InodeState>,
    /// A pipe without a name, whose openers wait for nobody.
    is_anonymous: bool,
}

impl Fifo {
    /// A fifo that nobody has open.
    pub fn new() -> Fifo {
        Fifo::default()
    }

    /// What the inode of a pipe without a name holds, to open it again through `/proc/<pid>/fd`.
    pub(super) fn of(pipe: &Arc<Pipe>) -> Fifo {
        Fifo { pipe: Mutex::new(Arc::downgrade(pipe)), is_anonymous: true }
    }

    /// Opens an end (`fs/pipe.c: fifo_open`). Never waits: the end's `open_wait` says when its peer has
    /// come. `ENXIO` for a writer that does not wait and finds no reader.
    pub fn open(&self, flags: OpenFlags) -> Result<PipeEnd, Errno> {
        let pipe = {
            let mut known = self.pipe.lock();
            known.upgrade().unwrap_or_else(|| {
                let pipe = Pipe::new();
                *known = Arc::downgrade(&pipe);
                pipe
            })
        };
        let access = flags & OpenFlags::ACCMODE;
        let side = if access == OpenFlags::WRONLY {
            Side::Write
        } else if access == OpenFlags::RDWR {
            Side::Both
        } else {
            Side::Read
        };
        let is_nonblocking = flags.contains(OpenFlags::NONBLOCK);
        let (readers, writers, reader_opens, writer_opens) = {
            let state = pipe.state.lock();
            (state.readers, state.writers, state.reader_opens, state.writer_opens)
        };
        if side == Side::Write && is_nonblocking && readers == 0 {
            return Err(Errno::ENXIO);
        }
        let mut end = PipeEnd::attach(&pipe, side, flags);
        match side {
            Side::Read if writers == 0 && is_nonblocking => end.quiet_until = Some(writer_opens),
            _ if self.is_anonymous => {}
            Side::Read if writers == 0 => end.awaited = Awaited::Writer(writer_opens),
            Side::Write if readers == 0 => end.awaited = Awaited::Reader(reader_opens),
            _ => {}
        }
        pipe.queue.notify(Ready::READABLE | Ready::WRITABLE);
        Ok(end)
    }
}

impl fmt::Debug for Fifo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fifo")
    }
}
