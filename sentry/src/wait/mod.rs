// SPDX-License-Identifier: Apache-2.0
//! Waiting: the only module of the sentry that sleeps.
//!
//! * **The types to know.** A [`WaitQueue`] belongs to what may become ready; a [`Sleeper`] belongs to
//!   a thread; a [`Wake`] is anything that wants to hear of readiness (a sleeper, an epoll entry).
//! * **Invariants.** An operation never sleeps itself: it answers [`Try::WouldBlock`]. Whoever waits
//!   registers *before* it tries again, so no wake-up is lost. A wait ends by readiness, by its
//!   deadline, or by [`Sleeper::interrupt`]; there is no wait that cannot be interrupted.
//! * **Lock levels.** `WaitQueue`, `EpollReady`, `Sleeper`. [`Wake::wake`] is called with none of them
//!   held; as its caller may hold anything above `WaitQueue`, it may take these and leaves only.

mod mask;
mod queue;
mod sleeper;

pub use mask::Ready;
pub use queue::{Registration, WaitQueue, Wake};
pub use sleeper::{Cut, Sleeper};

/// What an operation that never sleeps answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try<T> {
    /// It happened.
    Done(T),
    /// It would have had to wait.
    WouldBlock,
}

impl<T> Try<T> {
    /// `EAGAIN` for an operation that must not wait.
    pub fn or_again(self) -> Result<T, abi::Errno> {
        match self {
            Try::Done(value) => Ok(value),
            Try::WouldBlock => Err(abi::Errno::EAGAIN),
        }
    }

    /// Changes the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Try<U> {
        match self {
            Try::Done(value) => Try::Done(f(value)),
            Try::WouldBlock => Try::WouldBlock,
        }
    }
}
