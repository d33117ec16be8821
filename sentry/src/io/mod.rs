// SPDX-License-Identifier: Apache-2.0
//! Where bytes come from and go to, without knowing whose memory it is.
//!
//! File systems and sockets see a [`Source`] (the caller writes) or a [`Sink`] (the caller reads).
//! Behind them lies guest memory (`mm/user.rs`) or a slice. They own what they need, so they do not
//! borrow the task; and nothing is checked early: a bad address is `EFAULT` only when it is touched,
//! as on Linux (read(2) of NULL at end of file returns 0).

mod limited;
mod slice;

pub use limited::{LimitedSink, LimitedSource};
pub use slice::{SliceSink, SliceSource};

use abi::Errno;

/// Bytes that a write-like operation consumes.
pub trait Source: Send {
    /// Bytes left.
    fn remaining(&self) -> usize;

    /// Moves up to `to.len()` bytes out. Fewer come only at the end or before a fault; zero bytes with
    /// bytes remaining is `EFAULT`.
    fn read(&mut self, to: &mut [u8]) -> Result<usize, Errno>;

    /// Goes back by `bytes` that were read last: they were not consumed after all.
    fn unread(&mut self, bytes: usize);
}

/// Room that a read-like operation fills.
pub trait Sink: Send {
    /// Bytes of room left.
    fn remaining(&self) -> usize;

    /// Moves up to `from.len()` bytes in. Fewer fit only at the end or before a fault; zero bytes with
    /// room remaining is `EFAULT`.
    fn write(&mut self, from: &[u8]) -> Result<usize, Errno>;
}

/// How much an operation did before it had to stop: partial success beats the error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes moved.
    pub done: usize,
    /// What stopped it, if not the end.
    pub then: Option<Errno>,
}

impl Transfer {
    /// What the caller is told: the bytes if there are any, else the error.
    pub fn settle(self) -> Result<usize, Errno> {
        match self.then {
            Some(errno) if self.done == 0 => Err(errno),
            _ => Ok(self.done),
        }
    }
}

/// The most that is buffered at once between a file and guest memory.
pub const CHUNK: usize = 64 * 1024;

/// Moves bytes from `source` through a bounded buffer into `put`, which says how many it took.
pub fn drain(
    source: &mut dyn Source,
    mut put: impl FnMut(&[u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut transfer = Transfer::default();
    let mut buffer = vec![0; source.remaining().min(CHUNK)];
    while source.remaining() > 0 {
        let got = match source.read(&mut buffer) {
            Ok(got) => got,
            Err(errno) => {
                transfer.then = Some(errno);
                break;
            }
        };
        let bytes = buffer.get(..got).unwrap_or_default();
        match put(bytes) {
            Ok(took) => {
                transfer.done += took;
                if took < got {
                    source.unread(got - took);
                    break;
                }
            }
            Err(errno) => {
                source.unread(got);
                transfer.then = Some(errno);
                break;
            }
        }
    }
    transfer.settle()
}

/// Fills `sink` through a bounded buffer from `get`, which says how many bytes it gave (0 at the end).
pub fn fill(
    sink: &mut dyn Sink,
    mut get: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut transfer = Transfer::default();
    let mut buffer = vec![0; sink.remaining().min(CHUNK)];
    while sink.remaining() > 0 {
        let want = sink.remaining().min(buffer.len());
        let Some(room) = buffer.get_mut(..want) else { break };
        let got = match get(room) {
            Ok(0) => break,
            Ok(got) => got.min(want),
            Err(errno) => {
                transfer.then = Some(errno);
                break;
            }
        };
        match sink.write(room.get(..got).unwrap_or_default()) {
            Ok(put) => {
                transfer.done += put;
                if put < got {
                    transfer.then = Some(Errno::EFAULT);
                    break;
                }
            }
            Err(errno) => {
                transfer.then = Some(errno);
                break;
            }
        }
        if got < want {
            break;
        }
    }
    transfer.settle()
}
