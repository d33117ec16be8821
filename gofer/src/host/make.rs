// SPDX-License-Identifier: Apache-2.0
//! Names that come, go and move.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd},
};

use abi::Errno;
use nix::{
    fcntl::{AtFlags, RenameFlags},
    sys::stat::{Mode, SFlag, mkdirat, mknodat},
    unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat},
};

use super::{ProcFd, open::number, retry};
use crate::{protocol::Name, sys};

/// mkdirat(2).
pub fn directory(parent: BorrowedFd<'_>, name: &Name, mode: u32) -> Result<(), Errno> {
    retry(|| mkdirat(parent, name.as_bytes(), Mode::from_bits_truncate(mode)))
}

/// mknodat(2).
pub fn node(parent: BorrowedFd<'_>, name: &Name, mode: u32, device: u64) -> Result<(), Errno> {
    let kind = SFlag::from_bits_truncate(mode & crate::protocol::attr::TYPE_MASK);
    let mode = Mode::from_bits_truncate(mode & 0o7777);
    retry(|| mknodat(parent, name.as_bytes(), kind, mode, device))
}

/// symlinkat(2).
pub fn symlink(parent: BorrowedFd<'_>, name: &Name, target: &[u8]) -> Result<(), Errno> {
    retry(|| symlinkat(target, parent, name.as_bytes()))
}

/// linkat(2) of the file that `fd` refers to. Through procfs, for `AT_EMPTY_PATH` wants a capability.
pub fn link(
    proc: &ProcFd,
    fd: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    name: &Name,
) -> Result<(), Errno> {
    let from = number(fd);
    retry(|| {
        linkat(proc.as_fd(), from.as_c_str(), parent, name.as_bytes(), AtFlags::AT_SYMLINK_FOLLOW)
    })
}

/// unlinkat(2) of a name that is no directory.
pub fn unlink(parent: BorrowedFd<'_>, name: &Name) -> Result<(), Errno> {
    retry(|| unlinkat(parent, name.as_bytes(), UnlinkatFlags::NoRemoveDir))
}

/// unlinkat(2) of an empty directory.
pub fn remove_directory(parent: BorrowedFd<'_>, name: &Name) -> Result<(), Errno> {
    retry(|| unlinkat(parent, name.as_bytes(), UnlinkatFlags::RemoveDir))
}

/// renameat2(2).
pub fn rename(
    from: BorrowedFd<'_>,
    name: &Name,
    to: BorrowedFd<'_>,
    new_name: &Name,
    flags: RenameFlags,
) -> Result<(), Errno> {
    let text = |name: &Name| CString::new(name.as_bytes()).map_err(|_| Errno::EINVAL);
    let (name, new_name) = (text(name)?, text(new_name)?);
    retry(|| sys::rename(from, &name, to, &new_name, flags.bits()))
}
