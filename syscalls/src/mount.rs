// SPDX-License-Identifier: Apache-2.0
//! Mounting: mount(2) and its kin; what came with Linux 5.2 and later is in the modules below.

mod attributes;
mod query;
mod tree;

pub use attributes::{mount_setattr, open_tree_attr};
pub use query::{listmount, statmount};
pub use tree::{fsconfig, fsmount, fsopen, fspick, move_mount, open_tree};

use abi::{
    DirFd, Errno, UserAddr, UserCStr, UserIn, UserOut,
    limits::PATH_MAX,
    mount::{MS_MGC_MSK, MS_MGC_VAL, MountFlags, UmountFlags},
    num::{to_u64, to_usize},
};
use sentry::{
    kernel::SysResult,
    task::Current,
    vfs::{Lookup, Mount, MountNamespace, MountOptions, Place, Put, Spread, Unmount},
};
use zerocopy::{FromBytes, IntoBytes};

use crate::path;

/// The file systems that `/proc/filesystems` names, for sysfs(2).
const TYPES: [&str; 8] =
    ["sysfs", "tmpfs", "ramfs", "proc", "devtmpfs", "devpts", "mqueue", "overlay"];

/// mount(2)
pub fn mount(
    cx: &mut Current,
    source: UserCStr,
    target: UserCStr,
    fstype: UserCStr,
    flags: MountFlags,
    data: UserAddr,
) -> SysResult {
    let kind = optional_string(cx, fstype)?;
    let source = optional_string(cx, source)?;
    let data = read_data(cx, data)?;
    let target = path::place(cx, DirFd::CWD, target, Lookup::FOLLOW)?;
    MountNamespace::check_admin(&cx.creds())?;
    let flags = without_magic(flags);
    if flags.contains(MountFlags::REMOUNT | MountFlags::BIND) {
        let options = options(flags, target.mount.options());
        return Ok(cx.mounts().change_options(&target, options)?);
    }
    if flags.contains(MountFlags::REMOUNT) {
        return remount(cx, &target, flags, &data);
    }
    if flags.contains(MountFlags::BIND) {
        let from = source_place(cx, source)?;
        let is_recursive = flags.contains(MountFlags::REC);
        return Ok(cx.mounts().bind(&from, &target, is_recursive)?);
    }
    if let Some(spread) = spread(flags)? {
        let is_recursive = flags.contains(MountFlags::REC);
        return Ok(cx.mounts().change_spread(&target, spread, is_recursive)?);
    }
    if flags.contains(MountFlags::MOVE) {
        let from = source_place(cx, source)?;
        return Ok(cx.mounts().move_mount(&from, &target, Put::OnTop)?);
    }
    let kind = kind.ok_or(Errno::EINVAL)?;
    let filesystem = cx.kernel().new_filesystem(&kind, &data, &cx.creds())?;
    if flags.contains(MountFlags::RDONLY) {
        filesystem.reconfigure(true, &data)?;
    }
    let name = source.unwrap_or_else(|| b"none".to_vec());
    let mount = Mount::new(filesystem, &name, options(flags, MountOptions::empty()));
    Ok(cx.mounts().mount(mount, &target)?)
}

fn optional_string(cx: &mut Current, text: UserCStr) -> Result<Option<Vec<u8>>, Errno> {
    text.nullable().map(|text| cx.read_string(text, PATH_MAX)).transpose()
}

/// A page of options at most, up to its NUL; what lies behind an unreadable byte is nothing.
fn read_data(cx: &mut Current, data: UserAddr) -> Result<Vec<u8>, Errno> {
    if data.is_null() {
        return Ok(Vec::new());
    }
    match cx.read_string(UserCStr(data), to_usize(abi::PAGE_SIZE)) {
        Err(Errno::ENAMETOOLONG) => Err(Errno::EINVAL),
        text => text,
    }
}

fn without_magic(flags: MountFlags) -> MountFlags {
    if flags.bits() & MS_MGC_MSK == MS_MGC_VAL {
        MountFlags::from_bits_retain(flags.bits() & !MS_MGC_MSK)
    } else {
        flags
    }
}

fn source_place(cx: &mut Current, source: Option<Vec<u8>>) -> Result<Place, Errno> {
    let source = source.filter(|source| !source.is_empty()).ok_or(Errno::EINVAL)?;
    path::place_of(cx, DirFd::CWD, &source, Lookup::FOLLOW)
}

/// `path_mount()`: the mount's own options. `relatime` is the default.
fn options(flags: MountFlags, old: MountOptions) -> MountOptions {
    let given = u32::try_from(flags.bits() & u64::from(u32::MAX)).unwrap_or(0);
    let mut options = MountOptions::from_bits_truncate(given);
    let is_strict = flags.contains(MountFlags::STRICTATIME);
    let is_remount = flags.contains(MountFlags::REMOUNT);
    let says_atime = flags.intersects(
        MountFlags::NOATIME
            | MountFlags::NODIRATIME
            | MountFlags::RELATIME
            | MountFlags::STRICTATIME,
    );
    let atime = MountOptions::NOATIME | MountOptions::NODIRATIME | MountOptions::RELATIME;
    if is_remount && !says_atime {
        return (options - atime) | (old & atime);
    }
    if is_strict || options.contains(MountOptions::NOATIME) {
        options -= MountOptions::RELATIME;
    } else {
        options |= MountOptions::RELATIME;
    }
    if is_strict {
        options -= MountOptions::NOATIME;
    }
    options
}

/// `MS_REMOUNT` without `MS_BIND`: the file system and the mount.
fn remount(cx: &mut Current, target: &Place, flags: MountFlags, data: &[u8]) -> SysResult {
    if !target.is_mount_root() {
        return Err(Errno::EINVAL.into());
    }
    let is_read_only = flags.contains(MountFlags::RDONLY);
    check_unwritten(target, is_read_only)?;
    target.mount.filesystem().reconfigure(is_read_only, data)?;
    let options = options(flags, target.mount.options());
    Ok(cx.mounts().change_options(target, options)?)
}

/// `sb_prepare_remount_readonly()`: `EBUSY` while somebody has a file open for writing.
fn check_unwritten(at: &Place, is_read_only: bool) -> Result<(), Errno> {
    let becomes = is_read_only && !at.mount.filesystem().is_read_only();
    if becomes && at.mount.is_filesystem_written() { Err(Errno::EBUSY) } else { Ok(()) }
}

/// `copy_struct_from_user()`: a structure of older or newer callers, as long as what is unknown is zero.
fn read_extensible<T: FromBytes + IntoBytes + Default>(
    cx: &mut Current,
    from: UserAddr,
    size: usize,
    least: usize,
) -> Result<T, Errno> {
    if size > to_usize(abi::PAGE_SIZE) {
        return Err(Errno::E2BIG);
    }
    if size < least {
        return Err(Errno::EINVAL);
    }
    let bytes = cx.read_slice(UserIn::<u8>::new(from), size)?;
    let (known, rest) = bytes.split_at(size.min(size_of::<T>()));
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let mut value = T::default();
    for (to, from) in value.as_mut_bytes().iter_mut().zip(known) {
        *to = *from;
    }
    Ok(value)
}

/// `flags_to_propagation_type()`: one of the four, with `MS_REC` and `MS_SILENT` at most.
fn spread(flags: MountFlags) -> Result<Option<Spread>, Errno> {
    let kinds = [
        (MountFlags::SHARED, Spread::Shared),
        (MountFlags::PRIVATE, Spread::Private),
        (MountFlags::SLAVE, Spread::Slave),
        (MountFlags::UNBINDABLE, Spread::Unbindable),
    ];
    let mut wanted = kinds.iter().filter(|(flag, _)| flags.contains(*flag));
    let Some((flag, spread)) = wanted.next() else { return Ok(None) };
    let allowed = *flag | MountFlags::REC | MountFlags::SILENT;
    if wanted.next().is_some() || !allowed.contains(flags) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(*spread))
}

/// umount2(2)
pub fn umount2(cx: &mut Current, target: UserCStr, flags: UmountFlags) -> SysResult {
    if !UmountFlags::all().contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let (force, detach) = (UmountFlags::MNT_FORCE, UmountFlags::MNT_DETACH);
    if flags.contains(UmountFlags::MNT_EXPIRE) && flags.intersects(force | detach) {
        return Err(Errno::EINVAL.into());
    }
    let mut how = Lookup::FOLLOW;
    if flags.contains(UmountFlags::UMOUNT_NOFOLLOW) {
        how.remove(Lookup::FOLLOW);
    }
    let path = cx.read_path(target)?;
    // `LOOKUP_MOUNTPOINT`: the topmost mount, also of a path that ends where its walk began.
    let place = path::unused_place_of(cx, DirFd::CWD, &path, how)?.descend();
    MountNamespace::check_admin(&cx.creds())?;
    let how = if flags.contains(detach) {
        Unmount::Detach
    } else if flags.contains(UmountFlags::MNT_EXPIRE) {
        Unmount::Expire
    } else {
        Unmount::Idle
    };
    Ok(cx.mounts().unmount(place, how)?)
}

/// pivot_root(2)
pub fn pivot_root(cx: &mut Current, new_root: UserCStr, put_old: UserCStr) -> SysResult {
    MountNamespace::check_admin(&cx.creds())?;
    let how = Lookup::FOLLOW | Lookup::DIRECTORY;
    let new = path::place(cx, DirFd::CWD, new_root, how)?;
    let old = path::place(cx, DirFd::CWD, put_old, how)?;
    let root = cx.fs_context().root();
    cx.mounts().pivot_root(&new, &old, &root)?;
    cx.move_roots(&root, &new);
    Ok(())
}

/// sysfs(2)
pub fn sysfs(cx: &mut Current, option: i32, arg1: u64, arg2: u64) -> SysResult<u64> {
    match option {
        1 => {
            let name = cx.read_string(UserCStr(UserAddr(arg1)), PATH_MAX)?;
            let index = TYPES.iter().position(|kind| kind.as_bytes() == name);
            Ok(to_u64(index.ok_or(Errno::EINVAL)?))
        }
        2 => {
            let index = usize::try_from(arg1).map_err(|_| Errno::EINVAL)?;
            let name = TYPES.get(index).ok_or(Errno::EINVAL)?;
            let mut bytes = name.as_bytes().to_vec();
            bytes.push(0);
            cx.write_slice(UserOut::new(UserAddr(arg2)), &bytes)?;
            Ok(0)
        }
        3 => Ok(to_u64(TYPES.len())),
        _ => Err(Errno::EINVAL.into()),
    }
}
