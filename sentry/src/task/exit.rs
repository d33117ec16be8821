// SPDX-License-Identifier: Apache-2.0
//! How tasks end.

use std::sync::Arc;

use crate::sync::{Condvar, Mutex, levels};

/// Learns of the end of a process that came from outside.
#[derive(Debug, Default)]
pub struct ExitWaiter {
    status: Mutex<Option<i32>, levels::Leaf>,
    ended: Condvar,
}

impl ExitWaiter {
    pub(crate) fn new() -> Arc<ExitWaiter> {
        Arc::default()
    }

    /// Waits for the process to end: its wait status.
    pub fn wait(&self) -> i32 {
        let mut status = self.status.lock();
        loop {
            if let Some(status) = *status {
                return status;
            }
            self.ended.wait(&mut status);
        }
    }

    pub(crate) fn tell(&self, status: i32) {
        self.status.lock().get_or_insert(status);
        self.ended.notify_all();
    }
}
