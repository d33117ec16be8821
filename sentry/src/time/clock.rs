// SPDX-License-Identifier: Apache-2.0
//! The clocks that clock_gettime(2) reads, but for those of tasks.

use std::time::{Duration, Instant};

use abi::{
    Errno,
    time::{
        CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE,
        CLOCK_MONOTONIC_RAW, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_REALTIME_COARSE,
        CLOCK_TAI, Timespec,
    },
};
use nix::time::{ClockId, clock_gettime};

/// A clock of the whole sandbox. All are the host's: the guest reads the same ones from the vDSO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "clock_gettime(2)'s own words")]
pub enum Clock {
    Realtime,
    Monotonic,
    MonotonicRaw,
    RealtimeCoarse,
    MonotonicCoarse,
    Boottime,
    Tai,
}

impl Clock {
    /// The clock with this number; `None` for clocks of tasks and unknown ones.
    pub const fn from_id(id: i32) -> Option<Clock> {
        Some(match id {
            CLOCK_REALTIME | CLOCK_REALTIME_ALARM => Clock::Realtime,
            CLOCK_MONOTONIC => Clock::Monotonic,
            CLOCK_MONOTONIC_RAW => Clock::MonotonicRaw,
            CLOCK_REALTIME_COARSE => Clock::RealtimeCoarse,
            CLOCK_MONOTONIC_COARSE => Clock::MonotonicCoarse,
            CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => Clock::Boottime,
            CLOCK_TAI => Clock::Tai,
            _ => return None,
        })
    }

    const fn host(self) -> ClockId {
        match self {
            Clock::Realtime => ClockId::CLOCK_REALTIME,
            Clock::Monotonic => ClockId::CLOCK_MONOTONIC,
            Clock::MonotonicRaw => ClockId::CLOCK_MONOTONIC_RAW,
            Clock::RealtimeCoarse => ClockId::CLOCK_REALTIME_COARSE,
            Clock::MonotonicCoarse => ClockId::CLOCK_MONOTONIC_COARSE,
            Clock::Boottime => ClockId::CLOCK_BOOTTIME,
            Clock::Tai => ClockId::CLOCK_TAI,
        }
    }

    /// What it shows, as nanoseconds since its epoch.
    pub fn now(self) -> u64 {
        let time = clock_gettime(self.host()).expect("the host has this clock since Linux 3.10");
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    }

    /// The same as a timespec.
    pub fn now_timespec(self) -> Timespec {
        timespec_of_nanos(self.now())
    }

    /// The instant at which it will show `nanos`; in the past if it already has.
    pub fn instant_at(self, nanos: u64) -> Instant {
        instant_after(nanos.saturating_sub(self.now()))
    }

    /// Whether setting the wall clock moves it.
    pub const fn is_settable(self) -> bool {
        matches!(self, Clock::Realtime | Clock::RealtimeCoarse | Clock::Tai)
    }
}

/// The instant `nanos` from now, or one far away where that does not exist.
pub fn instant_after(nanos: u64) -> Instant {
    const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(Duration::from_nanos(nanos).min(FAR)).unwrap_or(now)
}

/// A valid timespec as nanoseconds, saturating; `EINVAL` for one that Linux calls invalid
/// (`timespec64_valid`).
pub fn nanos_of(time: Timespec) -> Result<u64, Errno> {
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?;
    match u64::try_from(time.tv_nsec) {
        Ok(nanos @ ..=999_999_999) => {
            Ok(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// A valid timespec as a duration; `EINVAL` as [`nanos_of`].
pub fn duration_of(time: Timespec) -> Result<Duration, Errno> {
    nanos_of(time).map(Duration::from_nanos)
}

/// Nanoseconds as a timespec.
pub fn timespec_of_nanos(nanos: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
    }
}

/// A duration as a timespec.
pub fn timespec_of(duration: Duration) -> Timespec {
    timespec_of_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
