// SPDX-License-Identifier: Apache-2.0
//! The time that files are stamped with, and numbers for devices that are none.

use std::sync::atomic::{AtomicU64, Ordering};

use abi::DevId;
use nix::time::{ClockId, clock_gettime};

use super::Timestamp;

/// Now, as coarse as Linux stamps files (`current_time()`).
pub fn now() -> Timestamp {
    match clock_gettime(ClockId::CLOCK_REALTIME_COARSE) {
        Ok(time) => Timestamp {
            seconds: time.tv_sec(),
            nanoseconds: u32::try_from(time.tv_nsec()).unwrap_or(0),
        },
        // The host's vDSO answers; it has no way to fail for this clock.
        Err(_) => Timestamp::default(),
    }
}

/// A device number for a file system without a device (major 0), unlike all handed out before.
pub fn anonymous_device() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(20);
    let minor = NEXT.fetch_add(1, Ordering::Relaxed);
    DevId::new(0, u32::try_from(minor).unwrap_or(u32::MAX)).0
}
