// SPDX-License-Identifier: Apache-2.0
//! Clocks and timers.
//!
//! * **The types to know.** A [`Clock`] tells the time; [`Timers`] is the one thread that waits for the
//!   next deadline of all armed timers; a [`Timer`] is armed with an expiry and a period and calls back.
//! * **Invariants.** Nobody wakes while nothing is armed. Callbacks run on the timer thread without any
//!   lock held; they must not sleep.
//! * **Lock level.** `Timers`.

mod clock;
mod timer;

pub use clock::{Clock, duration_of, instant_after, nanos_of, timespec_of, timespec_of_nanos};
pub use timer::{Setting, Timer, Timers};
