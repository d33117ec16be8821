// SPDX-License-Identifier: Apache-2.0
//! Mounting in steps: fsopen(2), fsconfig(2), fsmount(2), open_tree(2), move_mount(2).

use std::sync::Arc;

use abi::{
    DirFd, Errno, Fd, UserAddr, UserCStr, UserIn,
    fcntl::OpenFlags,
    limits::PATH_MAX,
    macros::Known,
    mount::{
        FSCONFIG_CMD_CREATE, FSCONFIG_CMD_CREATE_EXCL, FSCONFIG_CMD_RECONFIGURE,
        FSCONFIG_SET_BINARY, FSCONFIG_SET_FD, FSCONFIG_SET_FLAG, FSCONFIG_SET_PATH,
        FSCONFIG_SET_PATH_EMPTY, FSCONFIG_SET_STRING, FsconfigCommand, FsmountFlags, FsopenFlags,
        FspickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags,
    },
    num::to_usize,
};
use sentry::{
    kernel::SysResult,
    task::Current,
    vfs::{
        self, FileDescription, FilesystemContext, Lookup, Mount, MountNamespace, Put, Setting, open,
    },
};

use super::attributes;
use crate::path;

/// The longest key, and the longest string, with their NULs.
const WORD_MAX: usize = 256;
/// The most bytes of a binary value.
const BINARY_MAX: i32 = 1024 * 1024;

/// open_tree(2)
pub fn open_tree(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    flags: OpenTreeFlags,
) -> SysResult<Fd> {
    let file = open(cx, dirfd, path, flags)?;
    Ok(cx.install(file, flags.contains(OpenTreeFlags::OPEN_TREE_CLOEXEC))?)
}

/// `vfs_open_tree()`
pub(super) fn open(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    flags: OpenTreeFlags,
) -> Result<Arc<FileDescription>, Errno> {
    flags.reject_unknown()?;
    let is_clone = flags.contains(OpenTreeFlags::OPEN_TREE_CLONE);
    let is_recursive = flags.contains(OpenTreeFlags::AT_RECURSIVE);
    if is_recursive && !is_clone {
        return Err(Errno::EINVAL);
    }
    if is_clone {
        MountNamespace::check_admin(&cx.creds())?;
    }
    let mut how = Lookup::FOLLOW;
    how.set(Lookup::FOLLOW, !flags.contains(OpenTreeFlags::AT_SYMLINK_NOFOLLOW));
    how.set(Lookup::EMPTY, flags.contains(OpenTreeFlags::AT_EMPTY_PATH));
    let place = path::place(cx, dirfd, path, how)?;
    if is_clone {
        return cx.mounts().clone_tree(&place, is_recursive, &cx.creds());
    }
    let creds = cx.creds();
    open::open_checked(&place, OpenFlags::PATH, &creds, cx)
}

/// move_mount(2)
pub fn move_mount(
    cx: &mut Current,
    from_dirfd: DirFd,
    from_path: UserCStr,
    to_dirfd: DirFd,
    to_path: UserCStr,
    flags: MoveMountFlags,
) -> SysResult {
    MountNamespace::check_admin(&cx.creds())?;
    flags.reject_unknown()?;
    let (beneath, group) = (MoveMountFlags::BENEATH, MoveMountFlags::SET_GROUP);
    if flags.contains(beneath | group) {
        return Err(Errno::EINVAL.into());
    }
    let how = |follow, empty| {
        let mut how = Lookup::empty();
        how.set(Lookup::FOLLOW, flags.contains(follow));
        how.set(Lookup::EMPTY, flags.contains(empty));
        how
    };
    let from_how = how(MoveMountFlags::F_SYMLINKS, MoveMountFlags::F_EMPTY_PATH);
    let to_how = how(MoveMountFlags::T_SYMLINKS, MoveMountFlags::T_EMPTY_PATH);
    let from = path::place(cx, from_dirfd, from_path, from_how)?;
    let to = path::place(cx, to_dirfd, to_path, to_how)?;
    let mounts = cx.mounts();
    if flags.contains(group) {
        return Ok(mounts.join_group(&from, &to)?);
    }
    let put = if flags.contains(beneath) { Put::Beneath } else { Put::OnTop };
    Ok(mounts.move_mount(&from, &to, put)?)
}

/// fsopen(2)
pub fn fsopen(cx: &mut Current, fs_name: UserCStr, flags: FsopenFlags) -> SysResult<Fd> {
    MountNamespace::check_admin(&cx.creds())?;
    flags.reject_unknown()?;
    let kind = read_word(cx, fs_name.0, to_usize(abi::PAGE_SIZE))?;
    if !cx.kernel().has_filesystem(&kind) {
        return Err(Errno::ENODEV.into());
    }
    install(cx, FilesystemContext::new(kind), flags.contains(FsopenFlags::CLOEXEC))
}

/// fspick(2)
pub fn fspick(cx: &mut Current, dirfd: DirFd, path: UserCStr, flags: FspickFlags) -> SysResult<Fd> {
    MountNamespace::check_admin(&cx.creds())?;
    flags.reject_unknown()?;
    let mut how = Lookup::empty();
    how.set(Lookup::FOLLOW, !flags.contains(FspickFlags::SYMLINK_NOFOLLOW));
    how.set(Lookup::EMPTY, flags.contains(FspickFlags::EMPTY_PATH));
    let place = path::place(cx, dirfd, path, how)?;
    if !place.is_mount_root() {
        return Err(Errno::EINVAL.into());
    }
    let context = FilesystemContext::picked(place.mount);
    install(cx, context, flags.contains(FspickFlags::CLOEXEC))
}

fn install(cx: &mut Current, context: FilesystemContext, close_on_exec: bool) -> SysResult<Fd> {
    let file = FileDescription::anonymous(Box::new(context), "[fscontext]", OpenFlags::RDWR);
    Ok(cx.install(file, close_on_exec)?)
}

/// fsconfig(2)
pub fn fsconfig(
    cx: &mut Current,
    fd: Fd,
    cmd: FsconfigCommand,
    key: UserCStr,
    value: UserAddr,
    aux: i32,
) -> SysResult {
    if fd.0 < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (has_key, has_value) = (key.nullable().is_some(), !value.is_null());
    let is_sound = match cmd.0 {
        FSCONFIG_SET_FLAG => has_key && !has_value && aux == 0,
        FSCONFIG_SET_STRING => has_key && has_value && aux == 0,
        FSCONFIG_SET_BINARY => has_key && has_value && (1..=BINARY_MAX).contains(&aux),
        FSCONFIG_SET_PATH | FSCONFIG_SET_PATH_EMPTY => {
            has_key && has_value && (aux == DirFd::CWD.0 || aux >= 0)
        }
        FSCONFIG_SET_FD => has_key && !has_value && aux >= 0,
        FSCONFIG_CMD_CREATE | FSCONFIG_CMD_CREATE_EXCL | FSCONFIG_CMD_RECONFIGURE => {
            !has_key && !has_value && aux == 0
        }
        _ => return Err(Errno::EOPNOTSUPP.into()),
    };
    if !is_sound {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.file(fd)?;
    let context: &FilesystemContext = file.ops_as().ok_or(Errno::EINVAL)?;
    if !has_key {
        return command(cx, context, cmd);
    }
    let key = read_word(cx, key.0, WORD_MAX)?;
    let setting = match cmd.0 {
        FSCONFIG_SET_FLAG => Setting::Flag,
        FSCONFIG_SET_STRING => Setting::Text(read_word(cx, value, WORD_MAX)?),
        FSCONFIG_SET_BINARY => {
            let len = usize::try_from(aux).map_err(|_| Errno::EINVAL)?;
            cx.read_slice(UserIn::<u8>::new(value), len)?;
            Setting::Other
        }
        FSCONFIG_SET_FD => {
            cx.file_or_path(Fd(aux))?;
            Setting::Other
        }
        _ => {
            let path = cx.read_string(UserCStr(value), PATH_MAX)?;
            if path.is_empty() && cmd.0 == FSCONFIG_SET_PATH {
                return Err(Errno::ENOENT.into());
            }
            Setting::Other
        }
    };
    let kernel = Arc::clone(cx.kernel());
    let check = |option: &[u8]| kernel.check_filesystem_option(context.kind(), option);
    Ok(context.set(&key, setting, check)?)
}

/// fsconfig(2)'s commands that set nothing.
fn command(cx: &mut Current, context: &FilesystemContext, cmd: FsconfigCommand) -> SysResult {
    let (kernel, creds) = (Arc::clone(cx.kernel()), cx.creds());
    if cmd.0 != FSCONFIG_CMD_RECONFIGURE {
        MountNamespace::check_admin(&creds)?;
        return Ok(context.create(|kind, parameters| {
            let filesystem = kernel.new_filesystem(kind, &parameters.text, &creds)?;
            if parameters.is_read_only == Some(true) {
                filesystem.reconfigure(true, &parameters.text)?;
            }
            Ok(filesystem)
        })?);
    }
    MountNamespace::check_admin(&creds)?;
    Ok(context.reconfigure()?)
}

/// fsmount(2)
pub fn fsmount(
    cx: &mut Current,
    fs_fd: Fd,
    flags: FsmountFlags,
    attr_flags: MountAttrFlags,
) -> SysResult<Fd> {
    MountNamespace::check_admin(&cx.creds())?;
    flags.reject_unknown()?;
    let options = attributes::options_of(attr_flags)?;
    let file = cx.file(fs_fd)?;
    let context: &FilesystemContext = file.ops_as().ok_or(Errno::EINVAL)?;
    let mount = context.mount(|filesystem, source| Mount::new(filesystem, source, options))?;
    let tree = vfs::float(mount, &cx.creds());
    Ok(cx.install(tree, flags.contains(FsmountFlags::CLOEXEC))?)
}

/// `strndup_user()`: `EINVAL` for what is too long.
fn read_word(cx: &mut Current, text: UserAddr, max: usize) -> Result<Vec<u8>, Errno> {
    match cx.read_string(UserCStr(text), max) {
        Err(Errno::ENAMETOOLONG) => Err(Errno::EINVAL),
        word => word,
    }
}
