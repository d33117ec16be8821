// SPDX-License-Identifier: Apache-2.0
//! eventfd(2): a counter that can be waited for.

use std::{
    any::Any,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use abi::Errno;

use crate::{
    io::{Sink, Source},
    sync::{Mutex, levels},
    vfs::FileOps,
    wait::{Ready, Try, WaitQueue},
};

/// An eventfd's side of its open file.
pub struct EventFd {
    id: u64,
    is_semaphore: bool,
    count: Mutex<u64, levels::Queue>,
    queue: WaitQueue,
}

/// Bytes of the counter, which every read and write moves whole.
const SIZE: usize = 8;

impl EventFd {
    /// A counter that starts at `initial`; as a semaphore each read takes one.
    pub fn new(initial: u32, is_semaphore: bool) -> EventFd {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        EventFd {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            is_semaphore,
            count: Mutex::new(u64::from(initial)),
            queue: WaitQueue::new(),
        }
    }

    /// Adds to the counter from inside the kernel; stops one short of what cannot be.
    pub fn signal(&self, by: u64) {
        let mut count = self.count.lock();
        *count = count.saturating_add(by);
        drop(count);
        self.queue.notify(Ready::IN);
    }
}

impl FileOps for EventFd {
    fn is_stream(&self) -> bool {
        true
    }

    fn ignores_seeks(&self) -> bool {
        true
    }

    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        if sink.remaining() < SIZE {
            return Err(Errno::EINVAL);
        }
        let taken = {
            let mut count = self.count.lock();
            if *count == 0 {
                return Ok(Try::WouldBlock);
            }
            let taken = if self.is_semaphore { 1 } else { *count };
            *count -= taken;
            taken
        };
        self.queue.notify(Ready::OUT);
        // As on Linux, what was taken is gone even if the address is bad.
        if sink.write(&taken.to_ne_bytes())? < SIZE {
            return Err(Errno::EFAULT);
        }
        Ok(Try::Done(SIZE))
    }

    fn write_at(&self, source: &mut dyn Source, _offset: u64) -> Result<Try<usize>, Errno> {
        if source.remaining() != SIZE {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; SIZE];
        let got = source.read(&mut bytes)?;
        if got < SIZE {
            return Err(Errno::EFAULT);
        }
        let by = u64::from_ne_bytes(bytes);
        if by == u64::MAX {
            return Err(Errno::EINVAL);
        }
        let mut count = self.count.lock();
        if u64::MAX - *count <= by {
            source.unread(got);
            return Ok(Try::WouldBlock);
        }
        *count += by;
        drop(count);
        self.queue.notify(Ready::IN);
        Ok(Try::Done(SIZE))
    }

    fn ready(&self) -> Ready {
        let count = *self.count.lock();
        let mut ready = Ready::empty();
        if count > 0 {
            ready |= Ready::IN;
        }
        if count == u64::MAX {
            ready |= Ready::ERR;
        }
        if count < u64::MAX - 1 {
            ready |= Ready::OUT;
        }
        ready
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.queue.clone())
    }

    fn fdinfo(&self) -> String {
        format!(
            "eventfd-count: {:16x}\neventfd-id: {}\neventfd-semaphore: {}\n",
            *self.count.lock(),
            self.id,
            u8::from(self.is_semaphore),
        )
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for EventFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventFd")
    }
}

#[cfg(test)]
mod tests {
    use abi::Errno;

    use super::EventFd;
    use crate::{
        io::{SliceSink, SliceSource},
        vfs::FileOps,
        wait::{Ready, Try},
    };

    fn read(file: &EventFd) -> Result<Try<u64>, Errno> {
        let mut room = [0; 8];
        let got = file.read_at(&mut SliceSink::new(&mut room), 0)?;
        Ok(got.map(|_| u64::from_ne_bytes(room)))
    }

    fn write(file: &EventFd, by: u64) -> Result<Try<usize>, Errno> {
        file.write_at(&mut SliceSource::new(&by.to_ne_bytes()), 0)
    }

    #[test]
    fn it_counts() {
        let file = EventFd::new(0, false);
        assert_eq!((read(&file), file.ready()), (Ok(Try::WouldBlock), Ready::OUT));
        assert_eq!(write(&file, 3), Ok(Try::Done(8)));
        assert_eq!(write(&file, 4), Ok(Try::Done(8)));
        assert_eq!(file.ready(), Ready::IN | Ready::OUT);
        assert_eq!(read(&file), Ok(Try::Done(7)));
        assert_eq!(file.read_at(&mut SliceSink::new(&mut [0; 7]), 0), Err(Errno::EINVAL));
        assert_eq!(file.write_at(&mut SliceSource::new(&[0; 9]), 0), Err(Errno::EINVAL));
    }

    #[test]
    fn a_semaphore_gives_one_at_a_time() {
        let file = EventFd::new(2, true);
        assert_eq!((read(&file), read(&file)), (Ok(Try::Done(1)), Ok(Try::Done(1))));
        assert_eq!(read(&file), Ok(Try::WouldBlock));
    }

    #[test]
    fn it_does_not_run_over() {
        let file = EventFd::new(1, false);
        assert_eq!(write(&file, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(write(&file, u64::MAX - 1), Ok(Try::WouldBlock));
        assert_eq!(write(&file, u64::MAX - 2), Ok(Try::Done(8)));
        assert_eq!(file.ready(), Ready::IN);
        file.signal(5);
        assert_eq!(file.ready(), Ready::IN | Ready::ERR);
    }
}
