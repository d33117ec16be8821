// SPDX-License-Identifier: Apache-2.0
//! An open queue.

use std::{any::Any, fmt, sync::Arc};

use abi::Errno;

use super::Queue;
use crate::{
    io::Sink,
    vfs::FileOps,
    wait::{Ready, Try, WaitQueue},
};

/// A message queue's side of its open file.
pub struct QueueFile(Arc<Queue>);

impl QueueFile {
    /// An open one.
    pub fn new(queue: Arc<Queue>) -> QueueFile {
        QueueFile(queue)
    }

    /// The queue.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.0
    }
}

impl FileOps for QueueFile {
    fn read_at(&self, sink: &mut dyn Sink, offset: u64) -> Result<Try<usize>, Errno> {
        let text = self.0.text();
        let rest = usize::try_from(offset).ok().and_then(|at| text.as_bytes().get(at..));
        match rest {
            Some(rest) => Ok(Try::Done(sink.write(rest)?)),
            None => Ok(Try::Done(0)),
        }
    }

    fn ready(&self) -> Ready {
        self.0.ready()
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.0.changed().clone())
    }

    fn flush(&self) -> Result<(), Errno> {
        self.0.forget_caller();
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for QueueFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueFile")
    }
}
