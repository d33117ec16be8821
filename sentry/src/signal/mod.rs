// SPDX-License-Identifier: Apache-2.0
//! Signals without tasks: what is pending, what is done about it, what a handler's frame looks like.
//!
//! Sending and delivering stand in `task`: they need to know who exists.

mod action;
pub mod frame;
mod pending;

pub use action::{Actions, Default, default_of};
pub use pending::{Pending, SYNCHRONOUS};

use abi::{SigSet, Signal};

/// Signals that stop a thread group by default.
pub const STOPPING: SigSet =
    SigSet::of(&[Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU]);
