// SPDX-License-Identifier: Apache-2.0
//! Host threads for tasks, kept for a while so that a fork need not make one.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use abi::Errno;

use crate::sync::{Condvar, Mutex, levels};

/// How long a thread without a task stays.
const PATIENCE: Duration = Duration::from_secs(5);
/// Handlers keep buffers of up to 64 KiB and path walks nest; pages are only used when touched.
const STACK: usize = 1 << 20;

type Job = Box<dyn FnOnce() + Send>;

/// Where a thread without a task waits for its next one.
#[derive(Default)]
struct Seat {
    job: Mutex<Option<Job>, levels::Leaf>,
    arrived: Condvar,
}

/// A waiting thread: the CPU that it is tied to, and its seat.
type Waiting = (Option<usize>, Arc<Seat>);

/// Host threads.
#[derive(Default)]
pub(crate) struct HostThreads {
    /// Those that wait; who came last stands last.
    idle: Mutex<Vec<Waiting>, levels::Leaf>,
}

impl HostThreads {
    pub(crate) fn new() -> Arc<HostThreads> {
        Arc::default()
    }

    /// Runs `job` on a thread of its own; `EAGAIN` if the host has none to give.
    pub(crate) fn run(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) -> Result<(), Errno> {
        let job: Job = Box::new(job);
        if let Some(seat) = self.take_idle() {
            *seat.job.lock() = Some(job);
            seat.arrived.notify_one();
            return Ok(());
        }
        let pool = Arc::clone(self);
        std::thread::Builder::new()
            .name("task".into())
            .stack_size(STACK)
            .spawn(move || pool.serve(job))
            .map(|_| ())
            .map_err(|_| Errno::EAGAIN)
    }

    /// A waiting thread, if there is one: rather one that wakes up where the caller is, and of those the
    /// one that came last, whose memory is still warm.
    fn take_idle(&self) -> Option<Arc<Seat>> {
        let home = platform::home();
        let mut idle = self.idle.lock();
        let near = idle.iter().rposition(|(at, _)| *at == home);
        let chosen = near.or(idle.len().checked_sub(1))?;
        Some(idle.remove(chosen).1)
    }

    fn serve(self: Arc<Self>, first: Job) {
        let seat = Arc::<Seat>::default();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            job();
            next = self.next(&seat);
        }
    }

    fn next(&self, seat: &Arc<Seat>) -> Option<Job> {
        let deadline = Instant::now() + PATIENCE;
        self.idle.lock().push((platform::home(), Arc::clone(seat)));
        let mut job = seat.job.lock();
        loop {
            if let Some(job) = job.take() {
                return Some(job);
            }
            if seat.arrived.wait_until(&mut job, deadline) && job.is_none() {
                drop(job);
                let mut idle = self.idle.lock();
                let place = idle.iter().position(|(_, other)| Arc::ptr_eq(other, seat));
                // Whoever took it from there has a job for it.
                place.map(|place| idle.remove(place));
                drop(idle);
                if place.is_some() {
                    return None;
                }
                job = seat.job.lock();
                if job.is_none() {
                    seat.arrived.wait(&mut job);
                }
            }
        }
    }
}

impl fmt::Debug for HostThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostThreads")
    }
}
