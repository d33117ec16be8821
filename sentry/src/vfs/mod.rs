// SPDX-License-Identifier: Apache-2.0
//! Files without file systems: what every file system offers, and what is common to all of them.
//!
//! * **The types to know.** An [`Inode`] is a file as its file system knows it. A [`Dentry`] is a name
//!   in the tree, cached. A [`Path`] is a dentry in a mount. A [`FileDescription`] is what open(2)
//!   makes: an inode with a position and status flags, and a [`FileOps`] that knows how to read it.
//! * **Invariants.** Nothing here sleeps: operations answer [`crate::wait::Try`]. Nothing here knows a
//!   task: who asks comes as [`crate::creds::Credentials`] or as a [`Caller`]. Permission is checked
//!   here, not in the file systems.

mod caller;
mod description;
pub mod epoll;
mod file;
mod inode;

pub use caller::{Caller, Job};
pub use description::{FileDescription, Place};
pub use file::{AT_POSITION, DirSink, FileOps, SeekFrom};
pub use inode::{
    AttributeChange, Attributes, Directory, FileKind, Filesystem, Inode, LinkTarget, NewNode,
    RenameMode, TimeChange, Timestamp, Xattrs,
};
