// SPDX-License-Identifier: Apache-2.0
//! Standing still: no guest code runs from [`Kernel::pause`] to [`Kernel::resume`].
//!
//! A task that runs guest code is fetched out of it and stands before its next step; one that sleeps
//! in a call sleeps on, and stands when the call is done. Nobody sees a signal of it. A process that is
//! killed ends all the same.
//!
//! DIFFERS: Linux's freezer stops a sleeping task inside its call. Here the call may still take what
//! it waited for.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use abi::Errno;

use super::Kernel;
use crate::{task::Task, wait::Sleeper};

/// How long a stub may take to leave guest code: by then the platform has given up one that does not.
const PATIENCE: Duration = platform::LONGEST_INTERRUPT.saturating_add(Duration::from_secs(1));

impl Kernel {
    /// Whether guest code is to stand still.
    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::SeqCst)
    }

    /// Stops all guest code and waits until none runs; `ETIMEDOUT`, and nothing is stopped, if that takes
    /// too long.
    pub fn pause(&self) -> Result<(), Errno> {
        let deadline = Instant::now() + PATIENCE;
        self.is_paused.store(true, Ordering::SeqCst);
        let sleeper = Sleeper::new();
        loop {
            // Tasks that are born from here on find the order.
            let tasks: Vec<Arc<Task>> = self.tasks().tasks().cloned().collect();
            let running = tasks.iter().filter(|task| task.leave_guest()).count();
            if running == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                self.resume();
                return Err(Errno::ETIMEDOUT);
            }
            // Nobody tells of an arrival, for that would cost each switch; it is a matter of microseconds.
            let _ = sleeper.sleep(Some(Instant::now() + Duration::from_millis(1)));
        }
    }

    /// Lets guest code run again.
    pub fn resume(&self) {
        self.is_paused.store(false, Ordering::SeqCst);
        let tasks: Vec<Arc<Task>> = self.tasks().tasks().cloned().collect();
        for task in tasks {
            task.call();
        }
    }

    /// On a task's own thread: stands still while the sandbox is paused and the task is not to end.
    pub(crate) fn stand_still(&self, task: &Task) {
        loop {
            // Whoever resumes or kills calls after the change, so a change is seen here or called below.
            let seen = task.calls();
            if !self.is_paused() || task.is_to_end() {
                return;
            }
            task.stand(seen);
        }
    }
}
