// SPDX-License-Identifier: Apache-2.0
//! open(2): from a place to an open file.

use std::sync::Arc;

use abi::{DevId, Errno, fcntl::OpenFlags};

use super::{
    Caller, FileDescription, FileKind, FileOps, MountOptions, Place, devices,
    notify::{self, Event},
    permission::{self, Access},
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
    let owner = inode.owner()?;
    permission::check_owner(&owner, inode.kind(), wanted, creds)?;
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
