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

    /// Hands what is in the pipe to `take`, at most `most` bytes, and drops what it took. A reader that comes
    /// while `take` has not answered may see the same bytes: Linux would have it wait.
    pub fn offer(
        &self,
        most: usize,
        take: &mut dyn FnMut(&[u8]) -> Result<Try<usize>, Errno>,
    ) -> Result<Try<usize>, Errno> {
        let bytes = {
            let state = self.pipe.state.lock();
            if state.buffer.is_empty() {
                return Ok(if state.writers == 0 { Try::Done(0) } else { Try::WouldBlock });
            }
            state.buffer.peek(most)
        };
        let Try::Done(taken) = take(&bytes)? else { return Ok(Try::WouldBlock) };
        let has_room = {
            let mut state = self.pipe.state.lock();
            let was_full = state.buffer.is_full();
            state.buffer.skip(taken);
            was_full && !state.buffer.is_full()
        };
        if has_room {
            self.pipe.queue.notify(Ready::WRITABLE);
        }
        Ok(Try::Done(taken))
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
