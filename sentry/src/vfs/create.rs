// SPDX-License-Identifier: Apache-2.0
//! New names: mkdir(2), mknod(2), symlink(2), link(2), and what `O_CREAT` makes.
//!
//! Checks stand in the order of Linux's `filename_create()`, `may_create()` and `vfs_link()`.

use std::sync::Arc;

use abi::{DevId, Errno, cred::Capabilities};

use super::{
    Dentry, FileKind, Inode, NewNode, Place, inode_flags,
    notify::{self, Event},
    permission::{self, Access},
    resolve::{self, Last, Lookup, ParentOf, ResolveContext},
};
use crate::creds::Credentials;

const SET_GID: u32 = 0o2000;
const NAME_MAX: usize = 255;

/// The permissions that a caller wants for what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// As the call gives them.
    pub mode: u32,
    /// What the caller's umask takes from them; 0 where it does not count.
    pub umask: u32,
}

impl Wanted {
    /// These, whatever the umask.
    pub const fn just(mode: u32) -> Wanted {
        Wanted { mode, umask: 0 }
    }
}

/// Makes `node` at `path`.
pub fn create(
    cx: &ResolveContext,
    path: &[u8],
    node: NewNode<'_>,
    wanted: Wanted,
) -> Result<Place, Errno> {
    let parent = resolve::walk_parent(cx, path, Lookup::empty())?;
    let is_directory = matches!(node, NewNode::Directory);
    let name = new_name(&parent, is_directory)?;
    let is_device = match node {
        NewNode::CharDevice(device) => device != 0,
        NewNode::BlockDevice(_) => true,
        _ => false,
    };
    let directory = &parent.directory;
    may_create(directory, &cx.creds)?;
    if is_device && !cx.creds.has(Capabilities::MKNOD) {
        return Err(Errno::EPERM);
    }
    let dentry = create_at(directory, &name, node, wanted, &cx.creds)?;
    Ok(Place { mount: directory.mount.clone(), dentry })
}

/// The name to be made, if there is nothing of that name yet (`filename_create()`).
fn new_name(parent: &ParentOf, may_be_slashed: bool) -> Result<Vec<u8>, Errno> {
    let Last::Name { name, is_slashed } = &parent.last else { return Err(Errno::EEXIST) };
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    match resolve::lookup(&parent.directory.dentry, name) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) if *is_slashed && !may_be_slashed => return Err(Errno::ENOENT),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    parent.directory.mount.check_writable()?;
    Ok(name.clone())
}

/// Whether `creds` may make names in `directory`.
pub(super) fn may_create(directory: &Place, creds: &Credentials) -> Result<(), Errno> {
    if directory.dentry.is_gone() {
        return Err(Errno::ENOENT);
    }
    permission::check(&**directory.inode(), Access::WRITE | Access::EXECUTE, creds)
}

/// Makes `name` in `directory`; permission has been checked. `EEXIST` if somebody was faster.
pub(super) fn create_at(
    directory: &Place,
    name: &[u8],
    node: NewNode<'_>,
    wanted: Wanted,
    creds: &Credentials,
) -> Result<Arc<Dentry>, Errno> {
    let inode = directory.inode();
    let role = inode.as_directory().ok_or(Errno::ENOTDIR)?;
    let is_directory = matches!(node, NewNode::Directory);
    let _names = inode.common().lock_directory();
    if directory.dentry.is_gone() {
        return Err(Errno::ENOENT);
    }
    match resolve::lookup(&directory.dentry, name) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let (permissions, gid) = inherited(&**inode, is_directory, wanted, creds)?;
    let child = role.create(name, node, permissions, creds.fsuid, gid)?;
    let dentry = directory.dentry.created(name, child);
    notify::name_event(inode, name, &**dentry.inode(), Event::CREATE, 0);
    Ok(dentry)
}

/// Permissions and group of a new file: both follow a set-group-id directory (`inode_init_owner()`). A
/// set-group-id program is not made for a group one is not in, whatever the umask (`mode_strip_sgid()`).
pub(super) fn inherited(
    directory: &dyn Inode,
    is_directory: bool,
    wanted: Wanted,
    creds: &Credentials,
) -> Result<(u32, u32), Errno> {
    let owner = directory.owner()?;
    let mut permissions = wanted.mode & !wanted.umask & 0o7777;
    if owner.permissions & SET_GID == 0 {
        return Ok((permissions, creds.fsgid));
    }
    if is_directory {
        permissions |= SET_GID;
    } else if wanted.mode & (SET_GID | 0o010) == SET_GID | 0o010
        && !creds.in_group(owner.gid)
        && !creds.has(Capabilities::FSETID)
    {
        permissions &= !SET_GID;
    }
    Ok((permissions, owner.gid))
}

/// mknod(2)'s node for a mode and device; `EPERM` for directories, `EINVAL` for what is nothing.
pub fn node_of_mode(mode: u32, device: DevId) -> Result<NewNode<'static>, Errno> {
    match mode & 0o170_000 {
        0 | 0o100_000 => Ok(NewNode::Regular),
        0o020_000 => Ok(NewNode::CharDevice(device.0)),
        0o060_000 => Ok(NewNode::BlockDevice(device.0)),
        0o010_000 => Ok(NewNode::Fifo),
        0o140_000 => Ok(NewNode::Socket),
        0o040_000 => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// Gives the file at `old` another name, `path`.
pub fn link(old: &Place, cx: &ResolveContext, path: &[u8]) -> Result<(), Errno> {
    let parent = resolve::walk_parent(cx, path, Lookup::empty())?;
    let name = new_name(&parent, false)?;
    let directory = &parent.directory;
    if !Arc::ptr_eq(&directory.mount, &old.mount) {
        return Err(Errno::EXDEV);
    }
    may_create(directory, &cx.creds)?;
    let inode = old.inode();
    inode_flags::check_free(&**inode)?;
    if inode.kind() == FileKind::Directory {
        return Err(Errno::EPERM);
    }
    let role = directory.inode().as_directory().ok_or(Errno::ENOTDIR)?;
    let names = directory.inode().common().lock_directory();
    if directory.dentry.is_gone() {
        return Err(Errno::ENOENT);
    }
    match resolve::lookup(&directory.dentry, &name) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    role.link(&name, inode)?;
    directory.dentry.created(&name, inode.clone());
    drop(names);
    notify::inode_event(inode, Event::ATTRIB);
    notify::name_event(directory.inode(), &name, &**inode, Event::CREATE, 0);
    Ok(())
}
