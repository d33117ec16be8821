// SPDX-License-Identifier: Apache-2.0
//! What sendmsg(2) hands to a socket, and what recvmsg(2) gets.

use std::sync::Arc;

use abi::socket::{MessageFlags, Ucred};

use crate::vfs::FileDescription;

/// Control messages, decoded.
#[derive(Debug, Default)]
pub struct Ancillary {
    /// `SCM_RIGHTS`.
    pub files: Vec<Arc<FileDescription>>,
    /// `SCM_CREDENTIALS`, checked against what the sender may claim.
    pub credentials: Option<Ucred>,
    /// `SCM_PIDFD`: the sender's process number.
    pub pidfd: Option<i32>,
    /// Control messages of other levels: level, type, data.
    pub others: Vec<(i32, i32, Vec<u8>)>,
}

/// What a send is about besides its bytes.
#[derive(Debug, Default)]
pub struct Outgoing<'a> {
    /// The address given, as it was given.
    pub address: Option<&'a [u8]>,
    /// Control messages. Taken by the socket with the first bytes that go.
    pub ancillary: Ancillary,
    /// `MSG_…`; waiting is the caller's affair.
    pub flags: MessageFlags,
}

/// What a receive asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Incoming {
    /// `MSG_PEEK`, `MSG_TRUNC`, `MSG_OOB`, …; waiting is the caller's affair.
    pub flags: MessageFlags,
    /// Whether the caller can take control messages (recvmsg(2)).
    pub wants_ancillary: bool,
}

/// What a receive gave besides the bytes.
#[derive(Debug, Default)]
pub struct Received {
    /// What recvmsg(2) returns: bytes copied, or the message's length with `MSG_TRUNC`.
    pub count: usize,
    /// The sender's address; empty where there is none.
    pub address: Vec<u8>,
    /// Control messages.
    pub ancillary: Ancillary,
    /// `MSG_TRUNC`, `MSG_EOR`, `MSG_OOB`.
    pub flags: MessageFlags,
    /// A stream's bytes end here for this call, even with `MSG_WAITALL`: files came, or the end.
    pub is_final: bool,
}
