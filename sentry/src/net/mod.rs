// SPDX-License-Identifier: Apache-2.0
//! Sockets: what all families have in common, and the families.
//!
//! * **The types to know.** [`Socket`] is what a family implements; [`SocketFile`] is a socket as an open
//!   file; [`Options`] are the options of `SOL_SOCKET`; a [`Namespace`] is what names mean.
//! * **Invariants.** Connected sockets of one sandbox are queues: nothing becomes a packet. Files in
//!   flight (`SCM_RIGHTS`) are counted and bounded, and are let go without recursion.
//! * **Lock levels.** `Endpoint` (a connection's state, a reader's turn), `Queue` (messages in flight);
//!   guest memory is copied under `Endpoint` at most.
//! * **What it does not do yet.** Families other than `AF_UNIX`: `EAFNOSUPPORT`.

mod message;
pub mod options;
mod socket;
pub mod unix;

use std::sync::{Arc, LazyLock};

pub use message::{Ancillary, Incoming, Outgoing, Received};
pub use options::{Options, Values};
pub use socket::{Connecting, Socket, SocketCaller, SocketFile};

/// What socket names mean: one table for all who share a network namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    /// The names of unix sockets.
    pub unix: unix::Names,
}

impl Namespace {
    /// The namespace the sandbox starts with.
    pub fn initial() -> &'static Arc<Namespace> {
        static INITIAL: LazyLock<Arc<Namespace>> = LazyLock::new(Arc::default);
        &INITIAL
    }
}
