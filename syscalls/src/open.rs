// SPDX-License-Identifier: Apache-2.0
//! Opening and closing.

use abi::{
    DirFd, Errno, Fd, Mode, UserCStr, UserIn,
    fcntl::{CloseRangeFlags, OpenFlags, OpenHow, ResolveFlags},
    macros::Known,
    num::to_usize,
};
use sentry::{
    kernel::{OrRestart, Restart, SysResult},
    task::Current,
    vfs::{
        Lookup,
        open::{self, OpenRequest},
    },
    wait::Ready,
};

use crate::path;

/// open(2)
pub fn open(cx: &mut Current, path: UserCStr, flags: OpenFlags, mode: Mode) -> SysResult<Fd> {
    openat(cx, DirFd::CWD, path, flags, mode)
}

/// creat(2)
pub fn creat(cx: &mut Current, path: UserCStr, mode: Mode) -> SysResult<Fd> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(cx, DirFd::CWD, path, flags, mode)
}

/// openat(2). Unknown flags are ignored, as Linux has to.
pub fn openat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    flags: OpenFlags,
    mode: Mode,
) -> SysResult<Fd> {
    let mut flags = (flags & OpenFlags::all()) | OpenFlags::LARGEFILE;
    if flags.contains(OpenFlags::PATH) {
        flags &= path_flags();
    }
    let mode = if makes(flags) { mode.permissions() } else { 0 };
    open_at(cx, dirfd, path, flags, mode, Lookup::empty())
}

/// What `O_PATH` leaves of the others.
fn path_flags() -> OpenFlags {
    OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC
}

/// `__O_TMPFILE`: the bit that `O_TMPFILE` has besides `O_DIRECTORY`.
fn tmpfile_bit() -> OpenFlags {
    OpenFlags::TMPFILE.difference(OpenFlags::DIRECTORY)
}

fn makes(flags: OpenFlags) -> bool {
    flags.intersects(OpenFlags::CREAT | tmpfile_bit())
}

/// openat2(2)
pub fn openat2(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    how: UserIn<OpenHow>,
    size: usize,
) -> SysResult<Fd> {
    let how = read_how(cx, how, size)?;
    let flags = u32::try_from(how.flags).map_err(|_| Errno::EINVAL)?;
    let flags = OpenFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let resolve = ResolveFlags::from_bits(how.resolve).ok_or(Errno::EINVAL)?;
    if resolve.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
        return Err(Errno::EINVAL.into());
    }
    if makes(flags) {
        if how.mode & !0o7777 != 0 {
            return Err(Errno::EINVAL.into());
        }
    } else if how.mode != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mode = u32::try_from(how.mode).map_err(|_| Errno::EINVAL)?;
    if flags.contains(OpenFlags::PATH) && !path_flags().contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    if resolve.contains(ResolveFlags::CACHED) {
        if makes(flags) || flags.contains(OpenFlags::TRUNC) {
            return Err(Errno::EAGAIN.into());
        }
        // Whether the cache could answer alone is not told apart: the caller tries again without it.
        return Err(Errno::EAGAIN.into());
    }
    let rules = [
        (ResolveFlags::NO_XDEV, Lookup::NO_XDEV),
        (ResolveFlags::NO_MAGICLINKS, Lookup::NO_MAGIC_LINKS),
        (ResolveFlags::NO_SYMLINKS, Lookup::NO_SYMLINKS),
        (ResolveFlags::BENEATH, Lookup::BENEATH),
        (ResolveFlags::IN_ROOT, Lookup::IN_ROOT),
    ];
    let wanted = rules.iter().filter(|(flag, _)| resolve.contains(*flag));
    let lookup = wanted.fold(Lookup::empty(), |sum, (_, rule)| sum | *rule);
    open_at(cx, dirfd, path, flags, mode, lookup)
}

/// `copy_struct_from_user()`: older and newer callers, as long as what is unknown is zero.
fn read_how(cx: &mut Current, how: UserIn<OpenHow>, size: usize) -> Result<OpenHow, Errno> {
    const KNOWN: usize = size_of::<OpenHow>();
    if size < to_usize(u64::from(abi::fcntl::OPEN_HOW_SIZE_VER0)) {
        return Err(Errno::EINVAL);
    }
    if size > to_usize(abi::PAGE_SIZE) {
        return Err(Errno::E2BIG);
    }
    let rest = UserIn::<u8>::new(how.addr().checked_add(abi::num::to_u64(KNOWN))?);
    if cx.read_slice(rest, size - KNOWN)?.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    cx.read(how)
}

/// `do_sys_openat2()` behind `build_open_flags()`.
fn open_at(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    flags: OpenFlags,
    mode: u32,
    lookup: Lookup,
) -> SysResult<Fd> {
    if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
        return Err(Errno::EINVAL.into());
    }
    if flags.intersects(tmpfile_bit()) {
        let is_writing = flags.bits() & 3 != 0;
        if !flags.contains(OpenFlags::DIRECTORY) || !is_writing {
            return Err(Errno::EINVAL.into());
        }
    }
    let path = cx.read_path(path)?;
    if path.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    cx.fd_table().check_room(cx.fd_limit())?;
    let context = if lookup.intersects(Lookup::BENEATH | Lookup::IN_ROOT) {
        path::scoped_context(cx, dirfd, &path)?
    } else {
        path::context(cx, dirfd, &path)?
    };
    let request = OpenRequest { flags, mode, lookup, umask: cx.fs_context().umask() };
    let file = open::open(&context, &path, &request, cx)?;
    if !flags.intersects(OpenFlags::NONBLOCK | OpenFlags::PATH)
        && let Some(queue) = file.ops().wait_queue()
    {
        cx.wait(&[&queue], Ready::all(), None, || file.ops().open_wait())
            .or_restart(Restart::IfSaRestart)?;
    }
    Ok(cx.install(file, flags.contains(OpenFlags::CLOEXEC))?)
}

/// close(2)
pub fn close(cx: &mut Current, fd: Fd) -> SysResult {
    Ok(cx.fd_table().close(fd)?)
}

/// close_range(2)
pub fn close_range(cx: &mut Current, first: u32, last: u32, flags: CloseRangeFlags) -> SysResult {
    flags.reject_unknown()?;
    if first > last {
        return Err(Errno::EINVAL.into());
    }
    if flags.contains(CloseRangeFlags::UNSHARE) {
        cx.unshare_files();
    }
    let table = cx.fd_table();
    if flags.contains(CloseRangeFlags::CLOEXEC) {
        table.set_close_on_exec_range(first, last);
        return Ok(());
    }
    for file in table.remove_range(first, last) {
        // As on Linux, a failed flush is nobody's to hear of here.
        let _ = file.closed_by(table.owner());
    }
    Ok(())
}

/// dup(2)
pub fn dup(cx: &mut Current, oldfd: Fd) -> SysResult<Fd> {
    let file = cx.file_or_path(oldfd)?;
    Ok(cx.install(file, false)?)
}

/// dup2(2)
pub fn dup2(cx: &mut Current, oldfd: Fd, newfd: Fd) -> SysResult<Fd> {
    if oldfd == newfd {
        cx.file_or_path(oldfd)?;
        return Ok(newfd);
    }
    dup_to(cx, oldfd, newfd, false)
}

/// dup3(2)
pub fn dup3(cx: &mut Current, oldfd: Fd, newfd: Fd, flags: OpenFlags) -> SysResult<Fd> {
    if !OpenFlags::CLOEXEC.contains(flags) || oldfd == newfd {
        return Err(Errno::EINVAL.into());
    }
    dup_to(cx, oldfd, newfd, flags.contains(OpenFlags::CLOEXEC))
}

fn dup_to(cx: &mut Current, oldfd: Fd, newfd: Fd, close_on_exec: bool) -> SysResult<Fd> {
    let table = cx.fd_table();
    let file = cx.file_or_path(oldfd);
    let limit = cx.fd_limit();
    let replaced = table.install_at(newfd, file?, close_on_exec, limit)?;
    if let Some(replaced) = replaced {
        // dup2(2): errors of closing the old file are lost.
        let _ = replaced.file.closed_by(table.owner());
    }
    Ok(newfd)
}
