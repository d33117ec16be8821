// SPDX-License-Identifier: Apache-2.0
//! What the sentry holds of the gofer: nodes and open directories. They release themselves.

use bitflags::bitflags;

use super::Connection;
use crate::protocol::{Attr, NodeId};

/// A file of the host: not open, only held. Dropping it releases it with the next call.
#[derive(Debug)]
pub struct Node {
    pub(super) id: NodeId,
    pub(super) connection: Connection,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.connection.release(self.id);
    }
}

/// A directory that is open for reading its entries.
#[derive(Debug)]
pub struct Directory {
    pub(super) id: NodeId,
    pub(super) connection: Connection,
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.connection.release(self.id);
    }
}

/// A node that a walk found, or that was just made.
#[derive(Debug)]
pub struct Step {
    /// The node.
    pub node: Node,
    /// Its attributes at that moment.
    pub attr: Attr,
}

/// How far a walk came.
#[derive(Debug)]
pub struct Walk {
    /// A step for each name that was there, in order.
    pub steps: Vec<Step>,
    /// Why the walk ended before its last name: `ENOENT` (the next name is missing), `ELOOP` (the last
    /// step is a symbolic link), `ENOTDIR` (the last step is something else that has no children), or
    /// what the host said. `None`: it came to the end.
    pub stop: Option<abi::Errno>,
    /// The text of the last step, if that is a symbolic link.
    pub link: Option<Vec<u8>>,
}

/// Owner and permissions of a new file: final, nothing is added or taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewFile {
    /// `07777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

bitflags! {
    /// renameat2(2)'s flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RenameFlags: u32 {
        /// The new name must be free.
        const NOREPLACE = 1;
        /// The two names change places.
        const EXCHANGE = 2;
        /// A whiteout takes the old name.
        const WHITEOUT = 4;
    }

    /// setxattr(2)'s flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct XattrFlags: u32 {
        /// There must be none of that name.
        const CREATE = 1;
        /// There must be one of that name.
        const REPLACE = 2;
    }
}
