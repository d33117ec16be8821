// SPDX-License-Identifier: Apache-2.0
//! Changes of attributes: chmod(2), chown(2), utimensat(2), truncate(2).
//!
//! Checks stand in the order of Linux's `fs/open.c` and `setattr_prepare()`.

use abi::{Errno, cred::Capabilities};

use super::{
    AttributeChange, FileKind, Place, TimeChange, inode_flags,
    notify::{self, Event},
    permission::{self, Access},
};
use crate::creds::Credentials;

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const GROUP_RUN: u32 = 0o010;

/// chmod(2).
pub fn change_mode(place: &Place, mode: u32, creds: &Credentials) -> Result<(), Errno> {
    place.mount.check_writable()?;
    let inode = place.inode();
    inode_flags::check_free(&**inode)?;
    let owner = inode.owner()?;
    if !permission::is_owner(&owner, creds) {
        return Err(Errno::EPERM);
    }
    let mut permissions = mode & 0o7777;
    if !creds.in_group(owner.gid) && !creds.has(Capabilities::FSETID) {
        permissions &= !SET_GID;
    }
    if inode.kind() == FileKind::Symlink {
        return Err(Errno::EOPNOTSUPP);
    }
    let change = AttributeChange { permissions: Some(permissions), ..AttributeChange::default() };
    apply(place, &change, Event::ATTRIB)
}

/// chown(2). `None` leaves an id.
pub fn change_owner(
    place: &Place,
    uid: Option<u32>,
    gid: Option<u32>,
    creds: &Credentials,
) -> Result<(), Errno> {
    place.mount.check_writable()?;
    let inode = place.inode();
    inode_flags::check_free(&**inode)?;
    let owner = inode.owner()?;
    let may_all = creds.has(Capabilities::CHOWN);
    let is_owner = creds.fsuid == owner.uid;
    if let Some(uid) = uid
        && !may_all
        && !(is_owner && uid == owner.uid)
    {
        return Err(Errno::EPERM);
    }
    if let Some(gid) = gid
        && !may_all
        && !(is_owner && (creds.in_group(gid) || gid == owner.gid))
    {
        return Err(Errno::EPERM);
    }
    let mut change = AttributeChange { uid, gid, ..AttributeChange::default() };
    if inode.kind() != FileKind::Directory {
        // Set-id bits do not survive, whoever does it; nor do file capabilities.
        let mut permissions = owner.permissions & !SET_UID;
        if permissions & GROUP_RUN != 0 || !in_group_or_capable(owner.gid, creds) {
            permissions &= !SET_GID;
        }
        if permissions != owner.permissions {
            change.permissions = Some(permissions);
        }
        inode.strip_privileges(true);
    }
    apply(place, &change, Event::ATTRIB)
}

fn in_group_or_capable(gid: u32, creds: &Credentials) -> bool {
    creds.in_group(gid) || creds.has(Capabilities::FSETID)
}

/// utimensat(2): `None` omits a time; two times to now need less than two chosen ones.
pub fn change_times(
    place: &Place,
    accessed: Option<TimeChange>,
    modified: Option<TimeChange>,
    creds: &Credentials,
) -> Result<(), Errno> {
    if accessed.is_none() && modified.is_none() {
        return Ok(());
    }
    place.mount.check_writable()?;
    let inode = place.inode();
    let owner = inode.owner()?;
    let both_now = accessed == Some(TimeChange::Now) && modified == Some(TimeChange::Now);
    inode_flags::check_mutable(&**inode)?;
    if !both_now {
        inode_flags::check_not_append_only(&**inode)?;
    }
    if !permission::is_owner(&owner, creds) {
        if !both_now {
            return Err(Errno::EPERM);
        }
        permission::check_owner(&owner, inode.kind(), Access::WRITE, creds)?;
    }
    let change = AttributeChange { accessed, modified, ..AttributeChange::default() };
    let event = match (accessed, modified) {
        (Some(_), Some(_)) => Event::ATTRIB,
        (Some(_), None) => Event::ACCESS,
        _ => Event::MODIFY,
    };
    apply(place, &change, event)
}

/// truncate(2) by path.
pub fn truncate(place: &Place, length: u64, limit: u64, creds: &Credentials) -> Result<(), Errno> {
    let inode = place.inode();
    match inode.kind() {
        FileKind::Directory => return Err(Errno::EISDIR),
        FileKind::Regular => {}
        _ => return Err(Errno::EINVAL),
    }
    place.mount.check_writable()?;
    permission::check(&**inode, Access::WRITE, creds)?;
    inode_flags::check_not_append_only(&**inode)?;
    inode.common().get_write_access()?;
    let result = resize(place, length, limit, creds);
    inode.common().put_write_access();
    result
}

/// Sets the size of a regular file that may be written; `EFBIG` beyond `limit` (`RLIMIT_FSIZE`).
pub fn resize(place: &Place, length: u64, limit: u64, creds: &Credentials) -> Result<(), Errno> {
    let inode = place.inode();
    if length > limit && length > inode.attributes()?.size {
        return Err(Errno::EFBIG);
    }
    inode.strip_privileges(creds.has(Capabilities::FSETID));
    let change = AttributeChange { size: Some(length), ..AttributeChange::default() };
    apply(place, &change, Event::MODIFY)
}

fn apply(place: &Place, change: &AttributeChange, event: Event) -> Result<(), Errno> {
    place.inode().set_attributes(change)?;
    notify::event(&place.dentry, event);
    Ok(())
}
