// SPDX-License-Identifier: Apache-2.0
//! chattr(1)'s flags: file_getattr(2), file_setattr(2), and the older requests of ioctl(2).

use abi::{
    DirFd, Errno, UserAddr, UserCStr, UserIn, UserOut,
    fcntl::AtFlags,
    fileattr::{FileAttr, Fsxattr, InodeFlags, XFlags},
    ioctl::{FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, IoctlRequest},
    num::{to_u64, to_usize},
};
use sentry::{
    kernel::SysResult,
    task::Current,
    vfs::{FileDescription, FileKind, Place, inode_flags},
};
use zerocopy::IntoBytes;

use crate::path;

/// Extended flags that a file of any file system may be asked for.
const COMMON: XFlags = XFlags::SYNC
    .union(XFlags::IMMUTABLE)
    .union(XFlags::APPEND)
    .union(XFlags::NODUMP)
    .union(XFlags::NOATIME)
    .union(XFlags::DAX)
    .union(XFlags::PROJINHERIT);

/// file_getattr(2)
pub fn file_getattr(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    attr: UserOut<FileAttr>,
    size: usize,
    flags: AtFlags,
) -> SysResult {
    check(size, flags)?;
    let place = path::place(cx, dirfd, path, path::following(flags))?;
    let found = XFlags::of_inode_flags(inode_flags::get(&place)?);
    let told = FileAttr { fa_xflags: u64::from(found.bits()), ..FileAttr::default() };
    // `copy_struct_to_user()`: what newer callers expect behind it is zero.
    let mut bytes = told.as_bytes().to_vec();
    bytes.resize(size, 0);
    Ok(cx.write_slice(UserOut::new(attr.addr()), &bytes)?)
}

/// file_setattr(2)
pub fn file_setattr(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    attr: UserIn<FileAttr>,
    size: usize,
    flags: AtFlags,
) -> SysResult {
    check(size, flags)?;
    let rest = attr.addr().checked_add(to_u64(size_of::<FileAttr>()))?;
    let rest = cx.read_slice(UserIn::<u8>::new(rest), size - size_of::<FileAttr>())?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG.into());
    }
    let wanted = cx.read(attr)?;
    let xflags = u32::try_from(wanted.fa_xflags).map_err(|_| Errno::EINVAL)?;
    let xflags = XFlags::from_bits(xflags).ok_or(Errno::EINVAL)?;
    let place = path::place(cx, dirfd, path, path::following(flags))?;
    let sizes = [wanted.fa_extsize, wanted.fa_projid, wanted.fa_cowextsize];
    set_extended(cx, &place, xflags, sizes)
}

fn check(size: usize, flags: AtFlags) -> Result<(), Errno> {
    path::only(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    if size > to_usize(abi::PAGE_SIZE) {
        return Err(Errno::E2BIG);
    }
    if size < size_of::<FileAttr>() { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Sets extended flags: those that no file system here keeps are refused, as are sizes and projects.
fn set_extended(cx: &Current, place: &Place, xflags: XFlags, sizes: [u32; 3]) -> SysResult {
    let old = inode_flags::get(place)?;
    let settable = xflags - (XFlags::PREALLOC | XFlags::HASATTR);
    let known = XFlags::of_inode_flags(InodeFlags::all());
    let kept = old - known.to_inode_flags();
    let is_plain = sizes == [0; 3] && COMMON.contains(settable) && known.contains(settable);
    if !is_plain {
        return Err(Errno::EOPNOTSUPP.into());
    }
    Ok(inode_flags::set(place, kept | settable.to_inode_flags(), &cx.creds())?)
}

/// `FS_IOC_GETFLAGS` and its kin; `None` for what these files do not know.
pub(crate) fn request(
    cx: &mut Current,
    file: &FileDescription,
    op: IoctlRequest,
    arg: UserAddr,
) -> Option<SysResult<u64>> {
    let is_flags = [FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR];
    let is_plain = matches!(file.kind(), FileKind::Regular | FileKind::Directory);
    if !is_flags.contains(&op.0) || !is_plain || file.inode().inode_flags().is_none() {
        return None;
    }
    Some(carry_out(cx, file.place(), op, arg).map(|()| 0))
}

fn carry_out(cx: &mut Current, place: &Place, op: IoctlRequest, arg: UserAddr) -> SysResult {
    match op.0 {
        FS_IOC_GETFLAGS => {
            let flags = inode_flags::get(place)?;
            Ok(cx.write(UserOut::<u32>::new(arg), &flags.bits())?)
        }
        FS_IOC_SETFLAGS => {
            let flags: u32 = cx.read(UserIn::new(arg))?;
            place.mount.check_writable()?;
            let flags = InodeFlags::from_bits(flags).ok_or(Errno::EOPNOTSUPP)?;
            Ok(inode_flags::set(place, flags, &cx.creds())?)
        }
        FS_IOC_FSGETXATTR => {
            let flags = XFlags::of_inode_flags(inode_flags::get(place)?);
            let told = Fsxattr { fsx_xflags: flags.bits(), ..Fsxattr::default() };
            Ok(cx.write(UserOut::new(arg), &told)?)
        }
        _ => {
            let wanted: Fsxattr = cx.read(UserIn::new(arg))?;
            place.mount.check_writable()?;
            let flags = XFlags::from_bits(wanted.fsx_xflags).ok_or(Errno::EOPNOTSUPP)?;
            let sizes = [wanted.fsx_extsize, wanted.fsx_projid, wanted.fsx_cowextsize];
            set_extended(cx, place, flags, sizes)
        }
    }
}
