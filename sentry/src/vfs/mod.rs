// SPDX-License-Identifier: Apache-2.0
//! Files without file systems: what every file system offers, and what is common to all of them.
//!
//! * **The types to know.** An [`Inode`] is a file as its file system knows it. A [`Dentry`] is a name
//!   in the tree, cached. A [`Place`] is a dentry in a [`Mount`]. A [`FileDescription`] is what open(2)
//!   makes: an inode with a position and status flags, and a [`FileOps`] that knows how to read it.
//! * **Invariants.** Nothing here sleeps: operations answer [`crate::wait::Try`]. Nothing here knows a
//!   task: who asks comes as [`crate::creds::Credentials`] or as a [`Caller`]. Permission is checked
//!   here, not in the file systems.

pub mod anon;
pub mod attributes;
mod caller;
mod clock;
mod common;
pub mod create;
mod dentry;
mod description;
pub mod devices;
pub mod epoll;
mod file;
mod inode;
mod mapped;
mod mount;
mod mount_namespace;
pub mod notify;
pub mod open;
pub mod permission;
mod place;
pub mod record_lock;
pub mod remove;
pub mod resolve;
pub mod xattr;

pub use caller::{Caller, Job};
pub use clock::{anonymous_device, now};
pub use common::InodeCommon;
pub use dentry::{Dentry, DentryCache};
pub use description::{FileDescription, SignalOwner, WriteOptions};
pub use file::{AT_POSITION, DirSink, Direction, FileOps, SeekFrom};
pub use inode::{
    AccessTime, AttributeChange, Attributes, Directory, FileKind, Filesystem, Inode, LinkTarget,
    NewNode, Owner, RenameMode, TimeChange, Timestamp, Walked, Xattrs,
};
pub use mount::{Mount, MountOptions, Propagation};
pub use mount_namespace::{MountNamespace, Spread, Unmount};
pub use place::{PathText, Place};
pub use record_lock::LockOwner;
pub use resolve::{Lookup, ResolveContext};
