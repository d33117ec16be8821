// SPDX-License-Identifier: Apache-2.0
//! Bytes from pipe to pipe: splice(2) between pipes, and tee(2).

use std::sync::Arc;

use abi::Errno;

use super::{PipeEnd, buffer::Pass};
use crate::{
    sync::lock_pair,
    wait::{Ready, Try},
};

impl PipeEnd {
    /// splice(2) from this pipe to another: pages move, bytes are not copied.
    pub fn splice_to(&self, to: &PipeEnd, len: usize) -> Result<Try<usize>, Errno> {
        self.pass(to, len, Pass::Splice)
    }

    /// tee(2): the bytes are then in both pipes.
    pub fn tee_to(&self, to: &PipeEnd, len: usize) -> Result<Try<usize>, Errno> {
        self.pass(to, len, Pass::Tee)
    }

    fn pass(&self, to: &PipeEnd, len: usize, how: Pass) -> Result<Try<usize>, Errno> {
        if Arc::ptr_eq(&self.pipe, &to.pipe) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(Try::Done(0));
        }
        let (mut from_state, mut to_state) = lock_pair(&self.pipe.state, &to.pipe.state);
        if to_state.readers == 0 {
            return Err(Errno::EPIPE);
        }
        if from_state.buffer.is_empty() {
            return Ok(if from_state.writers == 0 { Try::Done(0) } else { Try::WouldBlock });
        }
        let was_full = from_state.buffer.is_full();
        let was_empty = to_state.buffer.is_empty();
        let done = from_state.buffer.pass(&mut to_state.buffer, len, how);
        let has_room = was_full && !from_state.buffer.is_full();
        drop((from_state, to_state));
        if done == 0 {
            return Ok(Try::WouldBlock);
        }
        if has_room {
            self.pipe.queue.notify(Ready::WRITABLE);
        }
        to.pipe.announce_data(was_empty);
        Ok(Try::Done(done))
    }
}
