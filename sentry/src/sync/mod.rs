// SPDX-License-Identifier: Apache-2.0
//! Locks with levels: the order of taking is declared once and checked at run time.
//!
//! * **What it is.** [`Mutex`] and [`RwLock`] wrap parking_lot's and carry a level from [`levels`]. In
//!   debug builds (so in all tests) a thread-local stack asserts that locks are taken in the order of
//!   that list, and names both locks when they are not. In release builds the check is gone.
//! * **Invariant.** No other module of the sentry uses a bare lock (clippy's `disallowed_types`).

mod held;
pub mod levels;
mod mutex;
mod rwlock;

pub use held::assert_none_held;
pub use levels::Level;
pub use mutex::{Condvar, Mutex, MutexGuard, lock_pair};
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
