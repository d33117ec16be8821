// SPDX-License-Identifier: Apache-2.0
//! open(2): from a place to an open file.

use std::sync::Arc;

use abi::{DevId, Errno, fcntl::OpenFlags};

use super::{
    Caller, Dentry, FileDescription, FileKind, FileOps, Lookup, MountOptions, NewNode, Place,
    ResolveContext, attributes,
    create::{self, Wanted},
    devices, inode_flags,
    notify::{self, Event},
    permission::{self, Access},
    resolve,
};
use crate::creds::Credentials;

/// What an `O_PATH` open has behind it: a place, and nothing that can be done to it.
#[derive(Debug)]
struct PathOnly;

impl FileOps for PathOnly {
    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}

/// What open(2) is asked for, its flags checked.
#[derive(Debug, Clone, Copy)]
pub struct OpenRequest {
    /// open(2)'s flags.
    pub flags: OpenFlags,
    /// Permissions of what is made, without the umask's.
    pub mode: u32,
    /// openat2(2)'s rules for the walk.
    pub lookup: Lookup,
    /// The caller's umask.
    pub umask: u32,
}

/// open(2): finds or makes the file, checks, truncates, opens. A fifo may still have to wait for its
/// peer: see [`FileOps::open_wait`].
pub fn open(
    cx: &ResolveContext,
    path: &[u8],
    request: &OpenRequest,
    caller: &mut dyn Caller,
) -> Result<Arc<FileDescription>, Errno> {
    let flags = request.flags;
    let mut how = request.lookup;
    let is_exclusive = flags.contains(OpenFlags::CREAT | OpenFlags::EXCL);
    if !flags.contains(OpenFlags::NOFOLLOW) && !is_exclusive {
        how |= Lookup::FOLLOW;
    }
    if flags.contains(OpenFlags::DIRECTORY) {
        how |= Lookup::DIRECTORY;
    }
    if flags.contains(OpenFlags::TMPFILE) {
        return open_unnamed(cx, path, request, how, caller);
    }
    let place = if flags.contains(OpenFlags::CREAT) && !flags.contains(OpenFlags::PATH) {
        match find_or_make(cx, path, request, how)? {
            (place, true) => {
                // What one has made oneself one may open, whatever its permissions say.
                let file = open_checked(&place, flags, &cx.creds, caller)?;
                file.set_created();
                return Ok(file);
            }
            (place, false) => place,
        }
    } else {
        resolve::walk(cx, path, how)?
    };
    if flags.contains(OpenFlags::PATH) {
        return open_checked(&place, flags, &cx.creds, caller);
    }
    check(&place, flags, &cx.creds)?;
    let truncates = flags.contains(OpenFlags::TRUNC) && place.inode().kind() == FileKind::Regular;
    if !truncates {
        return open_checked(&place, flags, &cx.creds, caller);
    }
    // Truncation needs the right to write, and the file must not be a running program.
    place.inode().common().get_write_access()?;
    let opened = open_checked(&place, flags, &cx.creds, caller).and_then(|file| {
        attributes::resize(&place, 0, u64::MAX, &cx.creds)?;
        Ok(file)
    });
    place.inode().common().put_write_access();
    opened
}

/// The file at `path`, and whether it was made just now.
fn find_or_make(
    cx: &ResolveContext,
    path: &[u8],
    request: &OpenRequest,
    how: Lookup,
) -> Result<(Place, bool), Errno> {
    loop {
        let target = resolve::walk_target(cx, path, how)?;
        if let Some(place) = target.found {
            if request.flags.contains(OpenFlags::EXCL) {
                return Err(Errno::EEXIST);
            }
            if place.inode().kind() == FileKind::Directory {
                return Err(Errno::EISDIR);
            }
            return Ok((place, false));
        }
        let directory = target.directory;
        directory.mount.check_writable()?;
        create::may_create(&directory, &cx.creds)?;
        let wanted = Wanted { mode: request.mode, umask: request.umask };
        match create::create_at(&directory, &target.name, NewNode::Regular, wanted, &cx.creds) {
            Ok(dentry) => return Ok((Place { mount: directory.mount, dentry }, true)),
            // Somebody else made it in between.
            Err(Errno::EEXIST) if !request.flags.contains(OpenFlags::EXCL) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `O_TMPFILE`.
fn open_unnamed(
    cx: &ResolveContext,
    path: &[u8],
    request: &OpenRequest,
    how: Lookup,
    caller: &mut dyn Caller,
) -> Result<Arc<FileDescription>, Errno> {
    let directory = resolve::walk(cx, path, how)?;
    directory.mount.check_writable()?;
    let inode = directory.inode();
    permission::check(&**inode, Access::WRITE | Access::EXECUTE, &cx.creds)?;
    let role = inode.as_directory().ok_or(Errno::ENOTDIR)?;
    let wanted = Wanted { mode: request.mode, umask: request.umask };
    let (permissions, gid) = create::inherited(&**inode, false, wanted, &cx.creds)?;
    let unnamed = role.create_unnamed(permissions, cx.creds.fsuid, gid)?;
    let name = format!("#{}", unnamed.attributes()?.inode);
    let dentry = Dentry::unnamed(&directory.dentry, unnamed, name.as_bytes());
    let place = Place { mount: directory.mount, dentry };
    open_checked(&place, request.flags, &cx.creds, caller)
}

/// What `flags` want of the file itself (`ACC_MODE`).
pub fn wanted(flags: OpenFlags) -> Access {
    let mut access = match flags.bits() & 3 {
        0 => Access::READ,
        1 => Access::WRITE,
        _ => Access::READ | Access::WRITE,
    };
    if flags.contains(OpenFlags::TRUNC) {
        access |= Access::WRITE;
    }
    access
}

/// `may_open()`: whether `creds` may open what lies at `place` with `flags`.
pub fn check(place: &Place, flags: OpenFlags, creds: &Credentials) -> Result<(), Errno> {
    let inode = place.inode();
    let wanted = wanted(flags);
    let is_writing = wanted.contains(Access::WRITE);
    match inode.kind() {
        FileKind::Symlink => return Err(Errno::ELOOP),
        FileKind::Directory if is_writing => return Err(Errno::EISDIR),
        FileKind::CharDevice | FileKind::BlockDevice => {
            if place.mount.options().contains(MountOptions::NODEV) {
                return Err(Errno::EACCES);
            }
        }
        FileKind::Regular if is_writing => place.mount.check_writable()?,
        _ => {}
    }
    if is_writing {
        inode_flags::check_mutable(&**inode)?;
    }
    let owner = inode.owner()?;
    permission::check_owner(&owner, inode.kind(), wanted, creds)?;
    let only_appends = flags.contains(OpenFlags::APPEND) && !flags.contains(OpenFlags::TRUNC);
    if is_writing && !only_appends {
        inode_flags::check_not_append_only(&**inode)?;
    }
    if flags.contains(OpenFlags::NOATIME) && !permission::is_owner(&owner, creds) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Opens what lies at `place`; permission has been checked, truncation comes afterwards.
pub fn open_checked(
    place: &Place,
    flags: OpenFlags,
    creds: &Arc<Credentials>,
    caller: &mut dyn Caller,
) -> Result<Arc<FileDescription>, Errno> {
    let inode = place.inode();
    if flags.contains(OpenFlags::PATH) {
        let kept = flags & (OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW);
        return Ok(FileDescription::new(place.clone(), Box::new(PathOnly), kept, creds.clone()));
    }
    let holds_write = inode.kind() == FileKind::Regular && matches!(flags.bits() & 3, 1 | 2);
    if holds_write {
        inode.common().get_write_access()?;
    }
    let ops = match open_ops(place, flags, creds, caller) {
        Ok(ops) => ops,
        Err(errno) => {
            if holds_write {
                inode.common().put_write_access();
            }
            return Err(errno);
        }
    };
    let file = FileDescription::build(place.clone(), ops, flags, creds.clone(), holds_write);
    file.ops().opened(caller, flags);
    notify::event(&place.dentry, Event::OPEN);
    Ok(file)
}

fn open_ops(
    place: &Place,
    flags: OpenFlags,
    creds: &Credentials,
    caller: &mut dyn Caller,
) -> Result<Box<dyn FileOps>, Errno> {
    let inode = place.inode();
    let is_special = matches!(
        inode.kind(),
        FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice
    );
    if !is_special || inode.opens_itself() {
        return inode.clone().open(flags, creds);
    }
    let device = DevId(inode.attributes()?.special_device);
    devices::driver(inode.kind(), device)?.open(place, device, flags, caller)
}
