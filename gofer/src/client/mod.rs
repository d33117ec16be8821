// SPDX-License-Identifier: Apache-2.0
//! The sentry's side: typed calls to the gofer, without any right to files.
//!
//! * [`Connection`]: to one gofer; cheap to clone, used by any thread, as many calls at once as wanted;
//! * [`Node`]: a file of the host, held as long as the value lives; the calls are its methods;
//! * [`Directory`]: a directory that is being read.
//!
//! Invariants:
//! * What the gofer says is an allegation: every reply is bounds-checked and decoded whole.
//! * Every wait has a deadline. A gofer that misses it, or breaks the protocol, is lost: `EIO`, logged
//!   once, and every later call fails at once.
//! * Dropping a [`Node`] sends nothing: the next call's header takes the release along.
//!
//! It needs few host calls: see [`host_calls`].

mod call;
mod channel;
mod connection;
mod node;

pub use connection::Connection;
pub use node::{Directory, NewFile, Node, RenameFlags, Step, Walk, XattrFlags};

/// A host call that the sentry's own filter must allow for this client, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostCall {
    /// Its number.
    pub number: i64,
    /// Why it is needed, and with which arguments.
    pub reason: &'static str,
}

/// Everything that this client asks of the host.
pub fn host_calls() -> &'static [HostCall] {
    const CALLS: &[HostCall] = &[
        HostCall { number: libc::SYS_sendmsg, reason: "requests; MSG_NOSIGNAL|MSG_DONTWAIT" },
        HostCall { number: libc::SYS_recvmsg, reason: "replies; MSG_CMSG_CLOEXEC|MSG_DONTWAIT" },
        HostCall { number: libc::SYS_ppoll, reason: "waiting for a reply, with a deadline" },
        HostCall { number: libc::SYS_close, reason: "donated descriptors, channels" },
        HostCall { number: libc::SYS_futex, reason: "locks between the sentry's threads" },
    ];
    CALLS
}
