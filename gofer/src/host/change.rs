// SPDX-License-Identifier: Apache-2.0
//! Changing attributes, and writing to the disk.

use std::os::fd::{AsFd, BorrowedFd};

use abi::Errno;
use nix::{
    fcntl::{AtFlags, OFlag},
    sys::stat::{FchmodatFlags, Mode, fchmodat},
    unistd::{Gid, Uid, fchownat, fsync, syncfs, truncate},
};

use super::{ProcFd, fault, open::number, retry};
use crate::{
    protocol::{SetAttr, TimeUpdate},
    sys,
};

/// Sets permission bits.
pub fn mode(proc: &ProcFd, fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    let name = number(fd);
    retry(|| {
        fchmodat(
            proc.as_fd(),
            name.as_c_str(),
            Mode::from_bits_truncate(mode),
            FchmodatFlags::FollowSymlink,
        )
    })
}

/// Sets owner and group; `None` stays.
pub fn owner(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    retry(|| fchownat(fd, c"", uid, gid, AtFlags::AT_EMPTY_PATH))
}

/// Sets the size. The calling thread has entered [`ProcFd`].
pub fn size(fd: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    let size = i64::try_from(size).map_err(|_| Errno::EFBIG)?;
    let name = number(fd);
    retry(|| truncate(name.as_c_str(), size))
}

fn timespec(update: Option<TimeUpdate>) -> Result<libc::timespec, Errno> {
    Ok(match update {
        None => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
        Some(TimeUpdate::Now) => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW },
        Some(TimeUpdate::To(time)) if time.nanoseconds < 1_000_000_000 => {
            libc::timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) }
        }
        Some(TimeUpdate::To(_)) => return Err(Errno::EINVAL),
    })
}

/// Sets times.
pub fn times(
    fd: BorrowedFd<'_>,
    accessed: Option<TimeUpdate>,
    modified: Option<TimeUpdate>,
) -> Result<(), Errno> {
    let times = [timespec(accessed)?, timespec(modified)?];
    fault::point()?;
    sys::set_times(fd, &times)
}

/// Makes all of `change`. Owner before mode, because a change of owner takes set-id bits away; times
/// last, because everything else moves them.
pub fn all(proc: &ProcFd, fd: BorrowedFd<'_>, change: &SetAttr) -> Result<(), Errno> {
    if change.uid.is_some() || change.gid.is_some() {
        owner(fd, change.uid, change.gid)?;
    }
    if let Some(new) = change.size {
        size(fd, new)?;
    }
    if let Some(new) = change.mode {
        mode(proc, fd, new)?;
    }
    if change.accessed.is_some() || change.modified.is_some() {
        times(fd, change.accessed, change.modified)?;
    }
    Ok(())
}

/// fsync(2), or syncfs(2), of what `fd` refers to.
pub fn sync(proc: &ProcFd, fd: BorrowedFd<'_>, whole: Whole) -> Result<(), Errno> {
    let open = proc.reopen(fd, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    match whole {
        Whole::File => retry(|| fsync(&open)),
        Whole::Filesystem => retry(|| syncfs(&open)),
    }
}

/// How much a sync writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// One file or directory.
    File,
    /// The file system it is on.
    Filesystem,
}
