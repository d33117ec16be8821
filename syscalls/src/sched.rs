// SPDX-License-Identifier: Apache-2.0
//! Scheduling.

use sentry::{kernel::SysResult, task::Current};

/// sched_yield(2). The host's scheduler decides; it may find nothing better to run.
pub fn sched_yield(_cx: &mut Current) -> SysResult {
    std::thread::yield_now();
    Ok(())
}
