// SPDX-License-Identifier: Apache-2.0
//! Extended attributes.

use abi::{
    DirFd, Errno, Fd, UserCStr, UserIn, UserOut,
    fcntl::AtFlags,
    macros::Known,
    num::to_u64,
    xattr::{XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX, XattrArgs, XattrFlags},
};
use sentry::{
    kernel::SysResult,
    task::Current,
    vfs::{Lookup, Place, xattr},
};

use crate::path;

/// An attribute's name: `ERANGE` if it is empty or too long.
fn read_name(cx: &mut Current, name: UserCStr) -> Result<Vec<u8>, Errno> {
    let name = match cx.read_string(name, XATTR_NAME_MAX + 1) {
        Err(Errno::ENAMETOOLONG) => return Err(Errno::ERANGE),
        name => name?,
    };
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

/// What set calls are given, read before the file is looked up.
struct NewValue {
    name: Vec<u8>,
    value: Vec<u8>,
    create: bool,
    replace: bool,
}

fn new_value(
    cx: &mut Current,
    name: UserCStr,
    value: UserIn<u8>,
    size: usize,
    flags: XattrFlags,
) -> Result<NewValue, Errno> {
    flags.reject_unknown()?;
    let name = read_name(cx, name)?;
    if size > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let value = cx.read_slice(value, size)?;
    let create = flags.contains(XattrFlags::CREATE);
    Ok(NewValue { name, value, create, replace: flags.contains(XattrFlags::REPLACE) })
}

fn set(cx: &mut Current, place: &Place, new: &NewValue) -> SysResult {
    let how = (new.create, new.replace);
    Ok(xattr::set(place, &new.name, &new.value, how, &cx.creds())?)
}

/// Writes what was got as far as there is room: `ERANGE` if it is too little; no room at all asks for the size.
fn put(cx: &mut Current, bytes: &[u8], to: UserOut<u8>, size: usize) -> SysResult<usize> {
    if size > 0 {
        if bytes.len() > size {
            return Err(Errno::ERANGE.into());
        }
        cx.write_slice(to, bytes)?;
    }
    Ok(bytes.len())
}

fn get(
    cx: &mut Current,
    place: &Place,
    name: &[u8],
    value: UserOut<u8>,
    size: usize,
) -> SysResult<usize> {
    let bytes = xattr::get(place, name, &cx.creds())?;
    put(cx, &bytes, value, size.min(XATTR_SIZE_MAX))
}

fn list(cx: &mut Current, place: &Place, to: UserOut<u8>, size: usize) -> SysResult<usize> {
    let bytes = xattr::list(place, &cx.creds())?;
    put(cx, &bytes, to, size.min(XATTR_LIST_MAX))
}

fn remove(cx: &mut Current, place: &Place, name: &[u8]) -> SysResult {
    Ok(xattr::remove(place, name, &cx.creds())?)
}

fn followed(cx: &mut Current, path: UserCStr) -> Result<Place, Errno> {
    path::place(cx, DirFd::CWD, path, Lookup::FOLLOW)
}

fn itself(cx: &mut Current, path: UserCStr) -> Result<Place, Errno> {
    path::place(cx, DirFd::CWD, path, Lookup::empty())
}

fn opened(cx: &mut Current, fd: Fd) -> Result<Place, Errno> {
    Ok(cx.file(fd)?.place().clone())
}

/// setxattr(2)
pub fn setxattr(
    cx: &mut Current,
    path: UserCStr,
    name: UserCStr,
    value: UserIn<u8>,
    size: usize,
    flags: XattrFlags,
) -> SysResult {
    let new = new_value(cx, name, value, size, flags)?;
    let place = followed(cx, path)?;
    set(cx, &place, &new)
}

/// lsetxattr(2)
pub fn lsetxattr(
    cx: &mut Current,
    path: UserCStr,
    name: UserCStr,
    value: UserIn<u8>,
    size: usize,
    flags: XattrFlags,
) -> SysResult {
    let new = new_value(cx, name, value, size, flags)?;
    let place = itself(cx, path)?;
    set(cx, &place, &new)
}

/// fsetxattr(2)
pub fn fsetxattr(
    cx: &mut Current,
    fd: Fd,
    name: UserCStr,
    value: UserIn<u8>,
    size: usize,
    flags: XattrFlags,
) -> SysResult {
    let new = new_value(cx, name, value, size, flags)?;
    let place = opened(cx, fd)?;
    set(cx, &place, &new)
}

/// getxattr(2)
pub fn getxattr(
    cx: &mut Current,
    path: UserCStr,
    name: UserCStr,
    value: UserOut<u8>,
    size: usize,
) -> SysResult<usize> {
    let name = read_name(cx, name)?;
    let place = followed(cx, path)?;
    get(cx, &place, &name, value, size)
}

/// lgetxattr(2)
pub fn lgetxattr(
    cx: &mut Current,
    path: UserCStr,
    name: UserCStr,
    value: UserOut<u8>,
    size: usize,
) -> SysResult<usize> {
    let name = read_name(cx, name)?;
    let place = itself(cx, path)?;
    get(cx, &place, &name, value, size)
}

/// fgetxattr(2)
pub fn fgetxattr(
    cx: &mut Current,
    fd: Fd,
    name: UserCStr,
    value: UserOut<u8>,
    size: usize,
) -> SysResult<usize> {
    let name = read_name(cx, name)?;
    let place = opened(cx, fd)?;
    get(cx, &place, &name, value, size)
}

/// listxattr(2)
pub fn listxattr(
    cx: &mut Current,
    path: UserCStr,
    to: UserOut<u8>,
    size: usize,
) -> SysResult<usize> {
    let place = followed(cx, path)?;
    list(cx, &place, to, size)
}

/// llistxattr(2)
pub fn llistxattr(
    cx: &mut Current,
    path: UserCStr,
    to: UserOut<u8>,
    size: usize,
) -> SysResult<usize> {
    let place = itself(cx, path)?;
    list(cx, &place, to, size)
}

/// flistxattr(2)
pub fn flistxattr(cx: &mut Current, fd: Fd, to: UserOut<u8>, size: usize) -> SysResult<usize> {
    let place = opened(cx, fd)?;
    list(cx, &place, to, size)
}

/// removexattr(2)
pub fn removexattr(cx: &mut Current, path: UserCStr, name: UserCStr) -> SysResult {
    let name = read_name(cx, name)?;
    let place = followed(cx, path)?;
    remove(cx, &place, &name)
}

/// lremovexattr(2)
pub fn lremovexattr(cx: &mut Current, path: UserCStr, name: UserCStr) -> SysResult {
    let name = read_name(cx, name)?;
    let place = itself(cx, path)?;
    remove(cx, &place, &name)
}

/// fremovexattr(2)
pub fn fremovexattr(cx: &mut Current, fd: Fd, name: UserCStr) -> SysResult {
    let name = read_name(cx, name)?;
    let place = opened(cx, fd)?;
    remove(cx, &place, &name)
}

/// The flags that the *at calls know, and where they lead.
fn at(cx: &mut Current, dirfd: DirFd, path: UserCStr, flags: AtFlags) -> Result<Place, Errno> {
    path::only(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    path::place(cx, dirfd, path, path::following(flags))
}

fn read_args(cx: &mut Current, args: UserIn<XattrArgs>, size: usize) -> Result<XattrArgs, Errno> {
    const KNOWN: usize = size_of::<XattrArgs>();
    if size < KNOWN {
        return Err(Errno::EINVAL);
    }
    if to_u64(size) > abi::PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let rest = UserIn::<u8>::new(args.addr().checked_add(to_u64(KNOWN))?);
    if cx.read_slice(rest, size - KNOWN)?.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    cx.read(args)
}

/// setxattrat(2)
pub fn setxattrat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    at_flags: AtFlags,
    name: UserCStr,
    args: UserIn<XattrArgs>,
    size: usize,
) -> SysResult {
    let args = read_args(cx, args, size)?;
    let value = UserIn::new(abi::UserAddr(args.value));
    let len = usize::try_from(args.size).map_err(|_| Errno::E2BIG)?;
    let flags = XattrFlags::from_bits_retain(args.flags);
    let new = new_value(cx, name, value, len, flags)?;
    let place = at(cx, dirfd, path, at_flags)?;
    set(cx, &place, &new)
}

/// getxattrat(2)
pub fn getxattrat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    at_flags: AtFlags,
    name: UserCStr,
    args: UserIn<XattrArgs>,
    size: usize,
) -> SysResult<usize> {
    let args = read_args(cx, args, size)?;
    if args.flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = read_name(cx, name)?;
    let place = at(cx, dirfd, path, at_flags)?;
    let value = UserOut::new(abi::UserAddr(args.value));
    let len = usize::try_from(args.size).map_err(|_| Errno::E2BIG)?;
    get(cx, &place, &name, value, len)
}

/// listxattrat(2)
pub fn listxattrat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    at_flags: AtFlags,
    to: UserOut<u8>,
    size: usize,
) -> SysResult<usize> {
    let place = at(cx, dirfd, path, at_flags)?;
    list(cx, &place, to, size)
}

/// removexattrat(2)
pub fn removexattrat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    at_flags: AtFlags,
    name: UserCStr,
) -> SysResult {
    let name = read_name(cx, name)?;
    let place = at(cx, dirfd, path, at_flags)?;
    remove(cx, &place, &name)
}
