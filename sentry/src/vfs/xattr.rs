// SPDX-License-Identifier: Apache-2.0
//! Extended attributes: who may read and write which namespace (xattr(7), Linux's `xattr_permission()`).

use abi::{
    Errno,
    cred::Capabilities,
    xattr::{XATTR_LIST_MAX, XATTR_SIZE_MAX},
};

use super::{
    FileKind, Inode, Place, Xattrs, inode_flags,
    notify::{self, Event},
    permission::{self, Access},
};
use crate::creds::Credentials;

/// What is done with an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

fn check_namespace(
    inode: &dyn Inode,
    name: &[u8],
    purpose: Use,
    creds: &Credentials,
) -> Result<(), Errno> {
    if purpose == Use::Write {
        inode_flags::check_free(inode)?;
    }
    if name.starts_with(b"security.") || name.starts_with(b"system.") {
        return Ok(());
    }
    let denied = if purpose == Use::Write { Errno::EPERM } else { Errno::ENODATA };
    if name.starts_with(b"trusted.") {
        return if creds.has(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(denied) };
    }
    if name.starts_with(b"user.") {
        match inode.kind() {
            FileKind::Regular => {}
            FileKind::Directory => {
                let owner = inode.owner()?;
                let is_sticky = owner.permissions & 0o1000 != 0;
                if is_sticky && purpose == Use::Write && !permission::is_owner(&owner, creds) {
                    return Err(Errno::EPERM);
                }
            }
            _ => return Err(denied),
        }
    }
    let wanted = if purpose == Use::Write { Access::WRITE } else { Access::READ };
    permission::check(inode, wanted, creds)
}

/// The role, if the file system knows the attribute's namespace.
fn role<'a>(inode: &'a dyn Inode, name: &[u8]) -> Result<&'a dyn Xattrs, Errno> {
    let known: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    let is_known = known.iter().any(|prefix| name.starts_with(prefix) && name.len() > prefix.len());
    let has_no_name = known.contains(&name);
    match inode.as_xattrs() {
        Some(_) if has_no_name => Err(Errno::EINVAL),
        Some(role) if is_known => Ok(role),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// getxattr(2).
pub fn get(place: &Place, name: &[u8], creds: &Credentials) -> Result<Vec<u8>, Errno> {
    let inode = &**place.inode();
    check_namespace(inode, name, Use::Read, creds)?;
    role(inode, name)?.get(name)
}

/// setxattr(2); `create` and `replace` are its flags.
pub fn set(
    place: &Place,
    name: &[u8],
    value: &[u8],
    (create, replace): (bool, bool),
    creds: &Credentials,
) -> Result<(), Errno> {
    if value.len() > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    place.mount.check_writable()?;
    let inode = &**place.inode();
    check_namespace(inode, name, Use::Write, creds)?;
    check_security(name, creds)?;
    role(inode, name)?.set(name, value, create, replace)?;
    notify::event(&place.dentry, Event::ATTRIB);
    Ok(())
}

/// Writing `security.*` takes a capability (`cap_inode_setxattr()`).
fn check_security(name: &[u8], creds: &Credentials) -> Result<(), Errno> {
    let wanted = match name {
        b"security.capability" => Capabilities::SETFCAP,
        name if name.starts_with(b"security.") => Capabilities::SYS_ADMIN,
        _ => return Ok(()),
    };
    if creds.has(wanted) { Ok(()) } else { Err(Errno::EPERM) }
}

/// listxattr(2): the names, each with its NUL. Without `CAP_SYS_ADMIN`, not those of `trusted.`.
pub fn list(place: &Place, creds: &Credentials) -> Result<Vec<u8>, Errno> {
    let Some(role) = place.inode().as_xattrs() else { return Ok(Vec::new()) };
    let may_all = creds.has(Capabilities::SYS_ADMIN);
    let mut text = Vec::new();
    for name in role.list()? {
        if name.starts_with(b"trusted.") && !may_all {
            continue;
        }
        text.extend_from_slice(&name);
        text.push(0);
    }
    if text.len() > XATTR_LIST_MAX { Err(Errno::E2BIG) } else { Ok(text) }
}

/// removexattr(2).
pub fn remove(place: &Place, name: &[u8], creds: &Credentials) -> Result<(), Errno> {
    place.mount.check_writable()?;
    let inode = &**place.inode();
    check_namespace(inode, name, Use::Write, creds)?;
    check_security(name, creds)?;
    role(inode, name)?.remove(name)?;
    notify::event(&place.dentry, Event::ATTRIB);
    Ok(())
}
