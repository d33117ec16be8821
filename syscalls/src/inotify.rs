// SPDX-License-Identifier: Apache-2.0
//! Watching files.

use abi::{
    Errno, Fd, UserCStr,
    inotify::{InotifyInitFlags, InotifyMask},
};
use sentry::{
    fs::inotify::Inotify,
    kernel::SysResult,
    task::Current,
    vfs::{
        ResolveContext,
        permission::{self, Access},
        resolve::{self, Lookup},
    },
};

use crate::eventfd::install_anonymous;

/// inotify_init(2)
pub fn inotify_init(cx: &mut Current) -> SysResult<Fd> {
    inotify_init1(cx, InotifyInitFlags::empty())
}

/// inotify_init1(2)
pub fn inotify_init1(cx: &mut Current, flags: InotifyInitFlags) -> SysResult<Fd> {
    if !InotifyInitFlags::all().contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    install_anonymous(cx, Box::new(Inotify::new()), "anon_inode:inotify", flags.bits())
}

/// inotify_add_watch(2)
pub fn inotify_add_watch(
    cx: &mut Current,
    fd: Fd,
    path: UserCStr,
    mask: InotifyMask,
) -> SysResult<i32> {
    if !mask.intersects(InotifyMask::all()) {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.file(fd)?;
    if mask.contains(InotifyMask::MASK_ADD | InotifyMask::MASK_CREATE) {
        return Err(Errno::EINVAL.into());
    }
    let inotify: &Inotify = file.ops_as().ok_or(Errno::EINVAL)?;
    let path = cx.read_path(path)?;
    let mut how = Lookup::FOLLOW;
    how.set(Lookup::FOLLOW, !mask.contains(InotifyMask::DONT_FOLLOW));
    how.set(Lookup::DIRECTORY, mask.contains(InotifyMask::ONLYDIR));
    let (fs, creds) = (cx.fs_context(), cx.creds());
    let walker = ResolveContext { root: fs.root(), start: fs.cwd(), creds };
    let place = resolve::walk(&walker, &path, how)?;
    permission::check(&**place.inode(), Access::READ, &walker.creds)?;
    Ok(inotify.watch(place.inode(), mask)?)
}

/// inotify_rm_watch(2)
pub fn inotify_rm_watch(cx: &mut Current, fd: Fd, wd: i32) -> SysResult {
    let file = cx.file(fd)?;
    let inotify: &Inotify = file.ops_as().ok_or(Errno::EINVAL)?;
    Ok(inotify.unwatch(wd)?)
}
