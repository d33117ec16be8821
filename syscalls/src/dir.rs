// SPDX-License-Identifier: Apache-2.0
//! Names in directories.

use abi::{
    DirFd, Errno, Fd, Mode, UserCStr, UserOut,
    cred::Capabilities,
    fcntl::{AtFlags, RenameFlags},
    limits::PATH_MAX,
    macros::Known,
    num::{to_u64, to_usize},
};
use sentry::{
    kernel::SysResult,
    task::Current,
    vfs::{
        DirSink, FileKind, LinkTarget, Lookup, NewNode, Place, RenameMode,
        create::{self, Wanted},
        permission::{self, Access},
        remove,
    },
};

use crate::{path, stat::old_device};

/// mkdir(2)
pub fn mkdir(cx: &mut Current, path: UserCStr, mode: Mode) -> SysResult {
    mkdirat(cx, DirFd::CWD, path, mode)
}

/// mkdirat(2)
pub fn mkdirat(cx: &mut Current, dirfd: DirFd, path: UserCStr, mode: Mode) -> SysResult {
    let mode = mode.0 & 0o1777;
    make(cx, dirfd, path, NewNode::Directory, mode)
}

/// mknod(2)
pub fn mknod(cx: &mut Current, path: UserCStr, mode: Mode, dev: u32) -> SysResult {
    mknodat(cx, DirFd::CWD, path, mode, dev)
}

/// mknodat(2)
pub fn mknodat(cx: &mut Current, dirfd: DirFd, path: UserCStr, mode: Mode, dev: u32) -> SysResult {
    let node = create::node_of_mode(mode.0, old_device(dev))?;
    make(cx, dirfd, path, node, mode.permissions())
}

fn make(cx: &mut Current, dirfd: DirFd, path: UserCStr, node: NewNode<'_>, mode: u32) -> SysResult {
    let path = cx.read_path(path)?;
    let context = path::context(cx, dirfd, &path)?;
    let wanted = Wanted { mode, umask: cx.fs_context().umask() };
    create::create(&context, &path, node, wanted)?;
    Ok(())
}

/// symlink(2)
pub fn symlink(cx: &mut Current, target: UserCStr, linkpath: UserCStr) -> SysResult {
    symlinkat(cx, target, DirFd::CWD, linkpath)
}

/// symlinkat(2)
pub fn symlinkat(
    cx: &mut Current,
    target: UserCStr,
    newdirfd: DirFd,
    linkpath: UserCStr,
) -> SysResult {
    let target = cx.read_path(target)?;
    if target.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let path = cx.read_path(linkpath)?;
    let context = path::context(cx, newdirfd, &path)?;
    create::create(&context, &path, NewNode::Symlink(&target), Wanted::just(0o777))?;
    Ok(())
}

/// link(2)
pub fn link(cx: &mut Current, oldpath: UserCStr, newpath: UserCStr) -> SysResult {
    linkat(cx, DirFd::CWD, oldpath, DirFd::CWD, newpath, AtFlags::empty())
}

/// linkat(2)
pub fn linkat(
    cx: &mut Current,
    olddirfd: DirFd,
    oldpath: UserCStr,
    newdirfd: DirFd,
    newpath: UserCStr,
    flags: AtFlags,
) -> SysResult {
    path::only(flags, AtFlags::SYMLINK_FOLLOW | AtFlags::EMPTY_PATH)?;
    let mut how = Lookup::empty();
    if flags.contains(AtFlags::SYMLINK_FOLLOW) {
        how |= Lookup::FOLLOW;
    }
    let old = cx.read_path(oldpath)?;
    if old.is_empty() && flags.contains(AtFlags::EMPTY_PATH) {
        // Whoever opened the file may link it; others need the right to read everything.
        let opener = cx.file_or_path(olddirfd.fd())?.creds().clone();
        if !cx.creds().has(Capabilities::DAC_READ_SEARCH) && *opener != *cx.creds() {
            return Err(Errno::ENOENT.into());
        }
        how |= Lookup::EMPTY;
    }
    let place = path::place_of(cx, olddirfd, &old, how)?;
    let new = cx.read_path(newpath)?;
    let context = path::context(cx, newdirfd, &new)?;
    Ok(create::link(&place, &context, &new)?)
}

/// unlink(2)
pub fn unlink(cx: &mut Current, path: UserCStr) -> SysResult {
    unlinkat(cx, DirFd::CWD, path, AtFlags::empty())
}

/// rmdir(2)
pub fn rmdir(cx: &mut Current, path: UserCStr) -> SysResult {
    unlinkat(cx, DirFd::CWD, path, AtFlags::REMOVEDIR)
}

/// unlinkat(2)
pub fn unlinkat(cx: &mut Current, dirfd: DirFd, path: UserCStr, flags: AtFlags) -> SysResult {
    path::only(flags, AtFlags::REMOVEDIR)?;
    let path = cx.read_path(path)?;
    let context = path::context(cx, dirfd, &path)?;
    if flags.contains(AtFlags::REMOVEDIR) {
        remove::remove_directory(&context, &path)?;
    } else {
        remove::unlink(&context, &path)?;
    }
    Ok(())
}

/// rename(2)
pub fn rename(cx: &mut Current, oldpath: UserCStr, newpath: UserCStr) -> SysResult {
    renameat2(cx, DirFd::CWD, oldpath, DirFd::CWD, newpath, RenameFlags::empty())
}

/// renameat(2)
pub fn renameat(
    cx: &mut Current,
    olddirfd: DirFd,
    oldpath: UserCStr,
    newdirfd: DirFd,
    newpath: UserCStr,
) -> SysResult {
    renameat2(cx, olddirfd, oldpath, newdirfd, newpath, RenameFlags::empty())
}

/// renameat2(2)
pub fn renameat2(
    cx: &mut Current,
    olddirfd: DirFd,
    oldpath: UserCStr,
    newdirfd: DirFd,
    newpath: UserCStr,
    flags: RenameFlags,
) -> SysResult {
    flags.reject_unknown()?;
    let mode = match flags {
        flags if flags.is_empty() => RenameMode::Replace,
        RenameFlags::NOREPLACE => RenameMode::NoReplace,
        RenameFlags::EXCHANGE => RenameMode::Exchange,
        RenameFlags::WHITEOUT if !cx.creds().has(Capabilities::MKNOD) => {
            return Err(Errno::EPERM.into());
        }
        RenameFlags::WHITEOUT => RenameMode::Whiteout,
        _ => return Err(Errno::EINVAL.into()),
    };
    let old = cx.read_path(oldpath)?;
    let new = cx.read_path(newpath)?;
    let from = path::context(cx, olddirfd, &old)?;
    let to = path::context(cx, newdirfd, &new)?;
    Ok(remove::rename((&from, &old), (&to, &new), mode)?)
}

/// readlink(2)
pub fn readlink(
    cx: &mut Current,
    path: UserCStr,
    buf: UserOut<u8>,
    bufsiz: i32,
) -> SysResult<usize> {
    readlinkat(cx, DirFd::CWD, path, buf, bufsiz)
}

/// readlinkat(2). The empty path means a link that was opened with `O_PATH | O_NOFOLLOW`.
pub fn readlinkat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    buf: UserOut<u8>,
    bufsiz: i32,
) -> SysResult<usize> {
    let size = usize::try_from(bufsiz).ok().filter(|size| *size > 0).ok_or(Errno::EINVAL)?;
    let text = cx.read_path(path)?;
    let place = path::place_of(cx, dirfd, &text, Lookup::EMPTY)?;
    let inode = place.inode();
    if inode.kind() != FileKind::Symlink {
        let errno = if text.is_empty() { Errno::ENOENT } else { Errno::EINVAL };
        return Err(errno.into());
    }
    let mut target = match inode.read_link(&cx.creds())? {
        LinkTarget::Text(text) => text,
        LinkTarget::Magic(place) => place.display_from(&cx.fs_context().root()),
    };
    inode.touch(place.mount.access_time(FileKind::Symlink));
    target.truncate(size);
    cx.write_slice(buf, &target)?;
    Ok(target.len())
}

/// The most that one getdents call gathers before it writes it out.
const MOST_ENTRIES: usize = 256 * 1024;

/// How an entry is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `struct linux_dirent`: the type is the record's last byte.
    Old,
    /// `struct linux_dirent64`.
    New,
}

/// Packs entries as the guest wants them.
struct Packer {
    layout: Layout,
    bytes: Vec<u8>,
    room: usize,
    is_full: bool,
}

impl DirSink for Packer {
    fn entry(&mut self, name: &[u8], inode: u64, kind: FileKind, next: u64) -> bool {
        let head = if self.layout == Layout::New { 19 } else { 18 };
        // The NUL, and for the old layout the type behind it.
        let tail = if self.layout == Layout::New { 1 } else { 2 };
        let len = (head + name.len() + tail).next_multiple_of(8);
        if self.bytes.len() + len > self.room {
            self.is_full = true;
            return false;
        }
        let end = self.bytes.len() + len;
        self.bytes.extend_from_slice(&inode.to_le_bytes());
        self.bytes.extend_from_slice(&next.to_le_bytes());
        self.bytes.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes());
        if self.layout == Layout::New {
            self.bytes.push(kind.entry_type());
        }
        self.bytes.extend_from_slice(name);
        self.bytes.resize(end, 0);
        if self.layout == Layout::Old
            && let Some(last) = self.bytes.last_mut()
        {
            *last = kind.entry_type();
        }
        true
    }
}

/// getdents(2)
pub fn getdents(cx: &mut Current, fd: Fd, dirp: UserOut<u8>, count: u32) -> SysResult<usize> {
    read_entries(cx, fd, dirp, count, Layout::Old)
}

/// getdents64(2)
pub fn getdents64(cx: &mut Current, fd: Fd, dirp: UserOut<u8>, count: u32) -> SysResult<usize> {
    read_entries(cx, fd, dirp, count, Layout::New)
}

fn read_entries(
    cx: &mut Current,
    fd: Fd,
    dirp: UserOut<u8>,
    count: u32,
    layout: Layout,
) -> SysResult<usize> {
    let file = cx.file(fd)?;
    let room = to_usize(u64::from(count)).min(MOST_ENTRIES);
    let mut packer = Packer { layout, bytes: Vec::new(), room, is_full: false };
    let before = if file.kind() == FileKind::Directory { file.position() } else { 0 };
    file.read_entries(&mut packer)?;
    if packer.bytes.is_empty() && packer.is_full {
        return Err(Errno::EINVAL.into());
    }
    if let Err(errno) = cx.write_slice(dirp, &packer.bytes) {
        file.set_position(before);
        return Err(errno.into());
    }
    Ok(packer.bytes.len())
}

/// getcwd(2): the length with its NUL.
pub fn getcwd(cx: &mut Current, buf: UserOut<u8>, size: usize) -> SysResult<usize> {
    let fs = cx.fs_context();
    let cwd = fs.cwd();
    if cwd.dentry.is_gone() {
        return Err(Errno::ENOENT.into());
    }
    let text = cwd.path_from(&fs.root());
    let mut bytes = Vec::new();
    if !text.is_reachable {
        bytes.extend_from_slice(b"(unreachable)");
    }
    bytes.extend_from_slice(&text.bytes);
    bytes.push(0);
    if bytes.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    if to_u64(bytes.len()) > to_u64(size) {
        return Err(Errno::ERANGE.into());
    }
    cx.write_slice(buf, &bytes)?;
    Ok(bytes.len())
}

fn check_enter(cx: &Current, place: &Place) -> Result<(), Errno> {
    if place.inode().kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    permission::check(&**place.inode(), Access::EXECUTE, &cx.creds())
}

/// chdir(2)
pub fn chdir(cx: &mut Current, path: UserCStr) -> SysResult {
    let place = path::place(cx, DirFd::CWD, path, Lookup::FOLLOW | Lookup::DIRECTORY)?;
    check_enter(cx, &place)?;
    cx.fs_context().set_cwd(place);
    Ok(())
}

/// fchdir(2)
pub fn fchdir(cx: &mut Current, fd: Fd) -> SysResult {
    let file = cx.file_or_path(fd)?;
    check_enter(cx, file.place())?;
    cx.fs_context().set_cwd(file.place().clone());
    Ok(())
}

/// chroot(2)
pub fn chroot(cx: &mut Current, path: UserCStr) -> SysResult {
    let place = path::place(cx, DirFd::CWD, path, Lookup::FOLLOW | Lookup::DIRECTORY)?;
    check_enter(cx, &place)?;
    if !cx.creds().has(Capabilities::SYS_CHROOT) {
        return Err(Errno::EPERM.into());
    }
    cx.fs_context().set_root(place);
    Ok(())
}
