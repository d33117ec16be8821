// SPDX-License-Identifier: Apache-2.0
//! Files in memory without a name.

use std::sync::Arc;

use abi::{
    Errno, Fd, UserCStr,
    fcntl::{OpenFlags, Seals},
    mman::MemfdFlags,
};
use sentry::{fs::tmpfs, kernel::SysResult, task::Current, vfs::FileDescription};

/// The longest name with its NUL: a file name without `memfd:`.
const NAME_ROOM: usize = 250;

/// memfd_create(2). `MFD_HUGETLB` is `ENOENT`: the sandbox has no pool of huge pages.
pub fn memfd_create(cx: &mut Current, name: UserCStr, flags: MemfdFlags) -> SysResult<Fd> {
    let exclusive = MemfdFlags::EXEC | MemfdFlags::NOEXEC_SEAL;
    // Above the flags stands the size of huge pages.
    let sizes = MemfdFlags::from_bits_retain(0x3f << 26);
    let is_huge = flags.contains(MemfdFlags::HUGETLB);
    let known = if is_huge { MemfdFlags::all() | sizes } else { MemfdFlags::all() };
    if !known.contains(flags) || flags.contains(exclusive) {
        return Err(Errno::EINVAL.into());
    }
    let name = match cx.read_string(name, NAME_ROOM) {
        Err(Errno::ENAMETOOLONG) => return Err(Errno::EINVAL.into()),
        name => name?,
    };
    if is_huge {
        return Err(Errno::ENOENT.into());
    }
    let (mode, seals) = if flags.contains(MemfdFlags::NOEXEC_SEAL) {
        (0o666, Seals::EXEC)
    } else if flags.contains(MemfdFlags::ALLOW_SEALING) {
        (0o777, Seals::empty())
    } else {
        (0o777, Seals::SEAL)
    };
    let creds = cx.creds();
    let inode = tmpfs::unlinked_file(mode, creds.fsuid, creds.fsgid, seals)?;
    let status = OpenFlags::RDWR | OpenFlags::LARGEFILE;
    let ops = Arc::clone(&inode).open(status, &creds)?;
    let shown = [b"/memfd:".as_slice(), &name, b" (deleted)"].concat();
    let file = FileDescription::pseudo(ops, inode, &shown, status);
    Ok(cx.install(file, flags.contains(MemfdFlags::CLOEXEC))?)
}
