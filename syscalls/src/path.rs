// SPDX-License-Identifier: Apache-2.0
//! Paths as the calls give them: where a walk starts, and what it finds.

use abi::{DirFd, Errno, UserCStr, fcntl::AtFlags};
use sentry::{
    task::Current,
    vfs::{FileKind, Lookup, Place, ResolveContext, resolve},
};

/// Where a walk of `path` from `dirfd` starts. `EBADF` and `ENOTDIR` only for relative paths.
pub(crate) fn context(cx: &Current, dirfd: DirFd, path: &[u8]) -> Result<ResolveContext, Errno> {
    let fs = cx.fs_context();
    let root = fs.root();
    let start = if path.first() == Some(&b'/') { root.clone() } else { start(cx, dirfd, path)? };
    Ok(ResolveContext { root, start, creds: cx.creds() })
}

/// As [`context`] for openat2(2)'s `RESOLVE_BENEATH` and `RESOLVE_IN_ROOT`: absolute paths start at
/// `dirfd` too.
pub(crate) fn scoped_context(
    cx: &Current,
    dirfd: DirFd,
    path: &[u8],
) -> Result<ResolveContext, Errno> {
    let root = cx.fs_context().root();
    Ok(ResolveContext { root, start: start(cx, dirfd, path)?, creds: cx.creds() })
}

fn start(cx: &Current, dirfd: DirFd, path: &[u8]) -> Result<Place, Errno> {
    if dirfd == DirFd::CWD {
        return Ok(cx.fs_context().cwd());
    }
    let file = cx.file_or_path(dirfd.fd())?;
    if !path.is_empty() && file.kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    Ok(file.place().clone())
}

/// Reads a path and walks it.
pub(crate) fn place(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    how: Lookup,
) -> Result<Place, Errno> {
    let path = cx.read_path(path)?;
    place_of(cx, dirfd, &path, how)
}

/// Walks a path that was read.
pub(crate) fn place_of(
    cx: &Current,
    dirfd: DirFd,
    path: &[u8],
    how: Lookup,
) -> Result<Place, Errno> {
    let place = unused_place_of(cx, dirfd, path, how)?;
    place.mount.unmark_expiring();
    Ok(place)
}

/// As [`place_of`], but a mount that expires goes on to do so: for umount2(2).
pub(crate) fn unused_place_of(
    cx: &Current,
    dirfd: DirFd,
    path: &[u8],
    how: Lookup,
) -> Result<Place, Errno> {
    if path.is_empty() && !how.contains(Lookup::EMPTY) {
        return Err(Errno::ENOENT);
    }
    resolve::walk(&context(cx, dirfd, path)?, path, how)
}

/// How `flags` of a call that follows links unless told otherwise want it walked.
pub(crate) fn following(flags: AtFlags) -> Lookup {
    let mut how = Lookup::FOLLOW;
    if flags.contains(AtFlags::SYMLINK_NOFOLLOW) {
        how.remove(Lookup::FOLLOW);
    }
    if flags.contains(AtFlags::EMPTY_PATH) {
        how |= Lookup::EMPTY;
    }
    how
}

/// `EINVAL` for flags that the call does not know.
pub(crate) fn only(flags: AtFlags, known: AtFlags) -> Result<(), Errno> {
    if known.contains(flags) { Ok(()) } else { Err(Errno::EINVAL) }
}
