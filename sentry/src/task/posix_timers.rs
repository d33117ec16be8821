// SPDX-License-Identifier: Apache-2.0
//! The timers of timer_create(2).

use std::collections::BTreeMap;

use crate::time::Timer;

/// A process's timers by id.
#[derive(Debug, Default)]
pub(crate) struct PosixTimers {
    timers: BTreeMap<i32, Timer>,
}

impl PosixTimers {
    pub(crate) fn clear(&mut self) {
        self.timers.clear();
    }
}
