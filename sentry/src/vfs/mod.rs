// SPDX-License-Identifier: Apache-2.0
//! Files without file systems: what every file system offers, and what is common to all of them.
//!
//! * **The types to know.** An [`Inode`] is a file as its file system knows it. A [`Dentry`] is a name
//!   in the tree, cached. A [`Place`] is a dentry in a [`Mount`]. A [`FileDescription`] is what open(2)
//!   makes: an inode with a position and status flags, and a [`FileOps`] that knows how to read it.
//! * **Invariants.** Nothing here sleeps: operations answer [`crate::wait::Try`]. Nothing here knows a
//!   task: who asks comes as [`crate::creds::Credentials`] or as a [`Caller`]. Permission is checked
//!   here, not in the file systems. While a dentry is held, there is no other for the same name.
//! * **Lock levels.** `MountTree` changes of mounts, `Rename`, then `Directory` (names of one directory;
//!   the file system is asked to change them under it), `FileOffset`, `FileContent`, `Dentry` (what is
//!   cached), `MountLinks`, `InodeState`, `FileLocks`. A lookup asks the file system under no lock and
//!   throws the answer away if names have changed meanwhile.
//! * **What it deliberately does not do.** Leases are refused; POSIX ACLs
//!   have no file system that keeps them.

pub mod anon;
pub mod attributes;
mod caller;
mod clock;
mod common;
pub mod create;
mod dentry;
mod description;
mod detached;
pub mod devices;
pub mod epoll;
mod file;
mod filesystem_context;
mod inode;
pub mod inode_flags;
mod mapped;
mod mount;
mod mount_attributes;
mod mount_namespace;
pub mod notify;
pub mod open;
pub mod permission;
mod place;
pub mod record_lock;
pub mod remove;
pub mod resolve;
pub mod trust;
pub mod xattr;

pub use caller::{Caller, Job};
pub use clock::{anonymous_device, now};
pub use common::InodeCommon;
pub use dentry::{Dentry, DentryCache};
pub use description::{FileDescription, SignalOwner, WriteOptions};
pub use detached::{Put, float};
pub use file::{AT_POSITION, DirSink, Direction, FileOps, SeekFrom};
pub use filesystem_context::{FilesystemContext, Parameters, Setting};
pub use inode::{
    AccessTime, AttributeChange, Attributes, Directory, FileKind, Filesystem, Inode, LinkTarget,
    NewNode, Owner, RenameMode, TimeChange, Timestamp, Walked, Xattrs,
};
pub use mount::{Mount, MountOptions, Propagation};
pub use mount_attributes::MountChange;
pub use mount_namespace::{MountNamespace, Spread, Unmount, is_below};
pub use place::{PathText, Place};
pub use record_lock::LockOwner;
pub use resolve::{Lookup, ResolveContext};
pub use trust::{Learnt, Trust};
