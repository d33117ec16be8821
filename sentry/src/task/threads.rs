// SPDX-License-Identifier: Apache-2.0
//! Host threads for tasks, kept for a while so that a fork need not make one.

use std::{
    collections::VecDeque,
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

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job, less the jobs that already wait for them.
    idle: usize,
}

/// Host threads.
#[derive(Default)]
pub(crate) struct HostThreads {
    state: Mutex<State, levels::Leaf>,
    arrived: Condvar,
}

impl HostThreads {
    pub(crate) fn new() -> Arc<HostThreads> {
        Arc::default()
    }

    /// Runs `job` on a thread of its own; `EAGAIN` if the host has none to give.
    pub(crate) fn run(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) -> Result<(), Errno> {
        let job: Job = Box::new(job);
        {
            let mut state = self.state.lock();
            if state.idle > 0 {
                state.idle -= 1;
                state.jobs.push_back(job);
                drop(state);
                self.arrived.notify_one();
                return Ok(());
            }
        }
        let pool = Arc::clone(self);
        std::thread::Builder::new()
            .name("task".into())
            .stack_size(STACK)
            .spawn(move || pool.serve(job))
            .map(|_| ())
            .map_err(|_| Errno::EAGAIN)
    }

    fn serve(self: Arc<Self>, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next.take() {
            job();
            next = self.next();
        }
    }

    fn next(&self) -> Option<Job> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        state.idle += 1;
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if self.arrived.wait_until(&mut state, deadline) && state.jobs.is_empty() {
                // A job that was promised to this thread is on its way only if nobody is idle.
                state.idle = state.idle.saturating_sub(1);
                return None;
            }
        }
    }
}

impl fmt::Debug for HostThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostThreads")
    }
}
