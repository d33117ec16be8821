// SPDX-License-Identifier: Apache-2.0
//! Extended attributes. The calling thread has entered [`super::ProcFd`]: these calls know only paths.

use std::{ffi::CStr, os::fd::BorrowedFd};

use abi::Errno;

use super::{fault, open::number};
use crate::{protocol::MAX_XATTR, sys};

/// The value.
pub fn get(fd: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    fault::point()?;
    let mut value = vec![0; MAX_XATTR];
    let len = sys::getxattr(&number(fd), name, &mut value)?;
    value.truncate(len);
    Ok(value)
}

/// Sets it.
pub fn set(fd: BorrowedFd<'_>, name: &CStr, value: &[u8], flags: i32) -> Result<(), Errno> {
    fault::point()?;
    sys::setxattr(&number(fd), name, value, flags)
}

/// All names, each with a NUL behind it.
pub fn list(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    fault::point()?;
    let mut names = vec![0; MAX_XATTR];
    let len = sys::listxattr(&number(fd), &mut names)?;
    names.truncate(len);
    Ok(names)
}

/// Takes it away.
pub fn remove(fd: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    fault::point()?;
    sys::removexattr(&number(fd), name)
}
