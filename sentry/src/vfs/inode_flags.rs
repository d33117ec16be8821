// SPDX-License-Identifier: Apache-2.0
//! chattr(1)'s flags: who may change them, and what they keep others from.
//!
//! An immutable file changes in no way but by the loss of the flag; an append-only one only grows.

use abi::{Errno, cred::Capabilities, fileattr::InodeFlags};

use super::{
    Inode, Place,
    notify::{self, Event},
    permission,
};
use crate::creds::Credentials;

fn has(inode: &dyn Inode, flags: InodeFlags) -> bool {
    inode.inode_flags().is_some_and(|own| own.intersects(flags))
}

/// `EPERM` for what must not change at all (`IS_IMMUTABLE()`).
pub fn check_mutable(inode: &dyn Inode) -> Result<(), Errno> {
    if has(inode, InodeFlags::IMMUTABLE_FL) { Err(Errno::EPERM) } else { Ok(()) }
}

/// `EPERM` for what may only grow (`IS_APPEND()`).
pub fn check_not_append_only(inode: &dyn Inode) -> Result<(), Errno> {
    if has(inode, InodeFlags::APPEND_FL) { Err(Errno::EPERM) } else { Ok(()) }
}

/// Both of them.
pub fn check_free(inode: &dyn Inode) -> Result<(), Errno> {
    check_mutable(inode)?;
    check_not_append_only(inode)
}

/// The flags; `EOPNOTSUPP` where the file system has none.
pub fn get(place: &Place) -> Result<InodeFlags, Errno> {
    place.inode().inode_flags().ok_or(Errno::EOPNOTSUPP)
}

/// `vfs_fileattr_set()`: other flags.
pub fn set(place: &Place, new: InodeFlags, creds: &Credentials) -> Result<(), Errno> {
    place.mount.check_writable()?;
    let inode = place.inode();
    let old = get(place)?;
    if !permission::is_owner(&inode.owner()?, creds) {
        return Err(Errno::EPERM);
    }
    let guarded = InodeFlags::IMMUTABLE_FL | InodeFlags::APPEND_FL;
    let changes_guarded = (old ^ new).intersects(guarded);
    if changes_guarded && !creds.has(Capabilities::LINUX_IMMUTABLE) {
        return Err(Errno::EPERM);
    }
    inode.set_inode_flags(new)?;
    notify::event(&place.dentry, Event::ATTRIB);
    Ok(())
}
