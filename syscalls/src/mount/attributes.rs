// SPDX-License-Identifier: Apache-2.0
//! mount_setattr(2) and open_tree_attr(2).

use abi::{
    DirFd, Errno, Fd, UserCStr, UserIn,
    fcntl::AtFlags,
    macros::Known,
    mount::{MOUNT_ATTR_SIZE_VER0, MountAttr, MountAttrFlags, MountFlags, OpenTreeFlags},
};
use sentry::{
    kernel::SysResult,
    task::Current,
    vfs::{MountChange, MountNamespace, MountOptions, Spread},
};

use super::{read_extensible, tree};
use crate::path;

/// mount_setattr(2)
pub fn mount_setattr(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    flags: AtFlags,
    attr: UserIn<MountAttr>,
    size: usize,
) -> SysResult {
    let known = AtFlags::EMPTY_PATH
        | AtFlags::RECURSIVE
        | AtFlags::SYMLINK_NOFOLLOW
        | AtFlags::NO_AUTOMOUNT;
    path::only(flags, known)?;
    let Some(change) = read_change(cx, attr, size)? else { return Ok(()) };
    let place = path::place(cx, dirfd, path, path::following(flags))?;
    let is_recursive = flags.contains(AtFlags::RECURSIVE);
    Ok(cx.mounts().change_attributes(&place, &change, is_recursive)?)
}

/// open_tree_attr(2)
pub fn open_tree_attr(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    flags: OpenTreeFlags,
    attr: UserIn<MountAttr>,
    size: usize,
) -> SysResult<Fd> {
    if attr.nullable().is_none() && size != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = tree::open(cx, dirfd, path, flags)?;
    if attr.nullable().is_some()
        && let Some(change) = read_change(cx, attr, size)?
    {
        let is_recursive = flags.contains(OpenTreeFlags::AT_RECURSIVE);
        cx.mounts().change_attributes(file.place(), &change, is_recursive)?;
    }
    Ok(cx.install(file, flags.contains(OpenTreeFlags::OPEN_TREE_CLOEXEC))?)
}

/// `wants_mount_setattr()`: what is to change; `None` if that is nothing.
fn read_change(
    cx: &mut Current,
    attr: UserIn<MountAttr>,
    size: usize,
) -> Result<Option<MountChange>, Errno> {
    if size > abi::num::to_usize(abi::PAGE_SIZE) {
        return Err(Errno::E2BIG);
    }
    if size < MOUNT_ATTR_SIZE_VER0 {
        return Err(Errno::EINVAL);
    }
    MountNamespace::check_admin(&cx.creds())?;
    let attr: MountAttr = read_extensible(cx, attr.addr(), size, MOUNT_ATTR_SIZE_VER0)?;
    if attr.attr_set == 0 && attr.attr_clr == 0 && attr.propagation == 0 {
        return Ok(None);
    }
    let spread = spread(attr.propagation)?;
    let change = changed_options(cx, &attr)?;
    Ok(Some(MountChange { spread, ..change }))
}

fn spread(propagation: u64) -> Result<Option<Spread>, Errno> {
    match MountFlags::from_bits_retain(propagation) {
        none if none.is_empty() => Ok(None),
        MountFlags::SHARED => Ok(Some(Spread::Shared)),
        MountFlags::PRIVATE => Ok(Some(Spread::Private)),
        MountFlags::SLAVE => Ok(Some(Spread::Slave)),
        MountFlags::UNBINDABLE => Ok(Some(Spread::Unbindable)),
        _ => Err(Errno::EINVAL),
    }
}

/// `build_mount_kattr()`: the access time is one value, changed as a whole.
fn changed_options(cx: &Current, attr: &MountAttr) -> Result<MountChange, Errno> {
    let set = MountAttrFlags::from_bits_retain(attr.attr_set);
    let clear = MountAttrFlags::from_bits_retain(attr.attr_clr);
    let field = MountAttrFlags::from_bits_retain(MountAttrFlags::ATIME_FIELD);
    (set - field).reject_unknown()?;
    (clear - field).reject_unknown()?;
    let mut change = MountChange { clear: plain(clear), set: plain(set), spread: None };
    match clear.bits() & MountAttrFlags::ATIME_FIELD {
        0 if set.bits() & MountAttrFlags::ATIME_FIELD != 0 => return Err(Errno::EINVAL),
        0 => {}
        MountAttrFlags::ATIME_FIELD => {
            change.clear |= MountOptions::NOATIME | MountOptions::RELATIME;
            change.set |= access_time(set)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    if (set | clear).contains(MountAttrFlags::IDMAP) {
        check_id_map(cx, set, clear, attr.userns_fd)?;
    }
    Ok(change)
}

/// The options that mean the same here and there.
fn plain(flags: MountAttrFlags) -> MountOptions {
    let pairs = [
        (MountAttrFlags::RDONLY, MountOptions::RDONLY),
        (MountAttrFlags::NOSUID, MountOptions::NOSUID),
        (MountAttrFlags::NODEV, MountOptions::NODEV),
        (MountAttrFlags::NOEXEC, MountOptions::NOEXEC),
        (MountAttrFlags::NODIRATIME, MountOptions::NODIRATIME),
        (MountAttrFlags::NOSYMFOLLOW, MountOptions::NOSYMFOLLOW),
    ];
    let given = pairs.iter().filter(|(flag, _)| flags.contains(*flag));
    given.fold(MountOptions::empty(), |sum, (_, option)| sum | *option)
}

fn access_time(flags: MountAttrFlags) -> Result<MountOptions, Errno> {
    match MountAttrFlags::from_bits_retain(flags.bits() & MountAttrFlags::ATIME_FIELD) {
        none if none.is_empty() => Ok(MountOptions::RELATIME),
        MountAttrFlags::NOATIME => Ok(MountOptions::NOATIME),
        MountAttrFlags::STRICTATIME => Ok(MountOptions::empty()),
        _ => Err(Errno::EINVAL),
    }
}

/// `build_mount_idmapped()`: there is one user namespace, and its own map is no map.
fn check_id_map(
    cx: &Current,
    set: MountAttrFlags,
    clear: MountAttrFlags,
    userns_fd: u64,
) -> Result<(), Errno> {
    if clear.contains(MountAttrFlags::IDMAP) || !set.contains(MountAttrFlags::IDMAP) {
        return Err(Errno::EINVAL);
    }
    let fd = i32::try_from(userns_fd).map_err(|_| Errno::EINVAL)?;
    cx.file(Fd(fd))?;
    Err(Errno::EINVAL)
}

/// fsmount(2)'s flags as options.
pub(super) fn options_of(flags: MountAttrFlags) -> Result<MountOptions, Errno> {
    let field = MountAttrFlags::from_bits_retain(MountAttrFlags::ATIME_FIELD);
    if (flags - field).reject_unknown()?.contains(MountAttrFlags::IDMAP) {
        return Err(Errno::EINVAL);
    }
    Ok(plain(flags) | access_time(flags)?)
}
