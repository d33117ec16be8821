// SPDX-License-Identifier: Apache-2.0
//! Attributes of descriptors and statistics of file systems.

use std::os::fd::BorrowedFd;

use abi::Errno;

use super::fault;
use crate::{
    protocol::{Attr, MAX_LINK, Time},
    sys,
};

/// A device number as `st_dev` has it.
fn device(major: u32, minor: u32) -> u64 {
    libc::makedev(major, minor)
}

fn time(from: libc::statx_timestamp) -> Time {
    Time { seconds: from.tv_sec, nanoseconds: from.tv_nsec, reserved: 0 }
}

/// The attributes of what `fd` refers to (`O_PATH` will do).
pub fn attr(fd: BorrowedFd<'_>) -> Result<Attr, Errno> {
    fault::point()?;
    let stat = sys::statx(fd)?;
    let has = |bit| stat.stx_mask & bit != 0;
    Ok(Attr {
        device: device(stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        mount: if has(libc::STATX_MNT_ID) { stat.stx_mnt_id } else { 0 },
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        special_device: device(stat.stx_rdev_major, stat.stx_rdev_minor),
        attributes: stat.stx_attributes,
        accessed: time(stat.stx_atime),
        modified: time(stat.stx_mtime),
        changed: time(stat.stx_ctime),
        created: if has(libc::STATX_BTIME) { time(stat.stx_btime) } else { Time::default() },
        mode: u32::from(stat.stx_mode),
        links: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        block_size: stat.stx_blksize,
        has_birth: u32::from(has(libc::STATX_BTIME)),
    })
}

/// statfs(2) of the file system that `fd` is on.
pub fn filesystem(fd: BorrowedFd<'_>) -> Result<abi::mount::StatFs, Errno> {
    fault::point()?;
    sys::fstatfs(fd)
}

/// The text of the symbolic link that `fd` refers to.
pub fn link_text(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    fault::point()?;
    let mut text = vec![0; MAX_LINK];
    let len = sys::readlink(fd, &mut text)?;
    text.truncate(len);
    Ok(text)
}
