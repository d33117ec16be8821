// SPDX-License-Identifier: Apache-2.0
//! Memory.

mod cachestat;
mod numa;
mod process;

use std::sync::Arc;

use abi::{
    DevId, Errno, Fd, PAGE_SIZE, UserAddr, UserOut,
    cred::Capabilities,
    limits::UIO_MAXIOV,
    membarrier::{
        MEMBARRIER_CMD_FLAG_CPU, MEMBARRIER_CMD_GLOBAL, MEMBARRIER_CMD_PRIVATE_EXPEDITED,
        MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
        MEMBARRIER_CMD_QUERY, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
        MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, MembarrierCommand,
    },
    mman::{
        Advice, LockFlags, MAP_HUGE_MASK, MAP_HUGE_SHIFT, MapFlags, Mlock2Flags, Prot, RemapFlags,
        SyncFlags,
    },
    num::to_u64,
    resource::{RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK},
};
use sentry::{
    kernel::SysResult,
    mm::{FileToMap, Limits, MapRequest, MapSource, RemapRequest},
    task::Current,
    vfs::{FileDescription, FileKind},
};

pub use cachestat::cachestat;
pub use numa::{
    get_mempolicy, mbind, migrate_pages, move_pages, set_mempolicy, set_mempolicy_home_node,
};
pub use process::{process_madvise, process_mrelease, process_vm_readv, process_vm_writev};

/// What the caller's limits allow.
pub(crate) fn limits(cx: &Current) -> Limits {
    let rlimits = cx.group().rlimits();
    Limits {
        address_space: rlimits.soft(RLIMIT_AS),
        data: rlimits.soft(RLIMIT_DATA),
        stack: rlimits.soft(RLIMIT_STACK),
        locked: rlimits.soft(RLIMIT_MEMLOCK),
        may_lock: cx.creds().has(Capabilities::IPC_LOCK),
    }
}

/// An open file as mmap(2) needs it.
fn file_to_map(file: &Arc<FileDescription>) -> FileToMap {
    FileToMap {
        mappable: file.ops().mappable(),
        file: Arc::clone(file) as _,
        is_readable: file.is_readable(),
        is_writable: file.is_writable(),
        // No file system here keeps the append-only attribute.
        is_append_only: false,
        is_noexec: !file.is_exec_allowed(),
    }
}

/// The sizes of huge pages that x86-64 has, as MAP_HUGE_SHIFT encodes them; 0 is the default.
const HUGE_SIZES: [u32; 3] = [0, 21, 30];

/// mmap(2). Checks stand in Linux's order: ksys_mmap_pgoff(), then do_mmap().
pub fn mmap(
    cx: &mut Current,
    addr: UserAddr,
    len: usize,
    prot: Prot,
    flags: MapFlags,
    fd: Fd,
    offset: u64,
) -> SysResult<UserAddr> {
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let source = if flags.contains(MapFlags::ANONYMOUS) {
        if flags.contains(MapFlags::HUGETLB) {
            // There is no pool of huge pages.
            let size = flags.bits() >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
            let is_size = HUGE_SIZES.contains(&size);
            return Err(if is_size { Errno::ENOMEM } else { Errno::EINVAL }.into());
        }
        MapSource::Anonymous
    } else {
        let file = cx.file(fd)?;
        if flags.contains(MapFlags::HUGETLB) {
            return Err(Errno::EINVAL.into());
        }
        if is_zero_device(&file)? {
            // `mmap_zero()`: its pages are those of an anonymous mapping.
            check_rights(&file, prot, flags)?;
            MapSource::Anonymous
        } else {
            MapSource::File(file_to_map(&file), offset)
        }
    };
    let limits = limits(cx);
    let request = MapRequest { addr, len: to_u64(len), prot, flags, source };
    let (mm, context) = cx.mm_and_context();
    Ok(mm.map(context, &limits, &request)?)
}

/// Whether it is `/dev/zero`.
fn is_zero_device(file: &FileDescription) -> Result<bool, Errno> {
    if file.kind() != FileKind::CharDevice {
        return Ok(false);
    }
    Ok(file.attributes()?.special_device == DevId::new(1, 5).0)
}

/// What do_mmap() asks of an open file's rights.
fn check_rights(file: &FileDescription, prot: Prot, flags: MapFlags) -> Result<(), Errno> {
    let is_shared_write = flags & MapFlags::TYPE != MapFlags::PRIVATE && prot.contains(Prot::WRITE);
    if !file.is_readable() || (is_shared_write && !file.is_writable()) {
        return Err(Errno::EACCES);
    }
    Ok(())
}

/// munmap(2)
pub fn munmap(cx: &mut Current, addr: UserAddr, len: usize) -> SysResult {
    let (mm, context) = cx.mm_and_context();
    Ok(mm.unmap(context, addr, to_u64(len))?)
}

/// mprotect(2)
pub fn mprotect(cx: &mut Current, addr: UserAddr, len: usize, prot: Prot) -> SysResult {
    let limits = limits(cx);
    let (mm, context) = cx.mm_and_context();
    Ok(mm.protect(context, &limits, addr, to_u64(len), prot)?)
}

/// brk(2), as the kernel has it: it returns the break.
pub fn brk(cx: &mut Current, addr: UserAddr) -> SysResult<UserAddr> {
    let limits = limits(cx);
    let (mm, context) = cx.mm_and_context();
    Ok(mm.brk(context, &limits, addr))
}

/// mremap(2)
pub fn mremap(
    cx: &mut Current,
    old_addr: UserAddr,
    old_len: usize,
    new_len: usize,
    flags: RemapFlags,
    new_addr: UserAddr,
) -> SysResult<UserAddr> {
    let limits = limits(cx);
    let (old_len, new_len) = (to_u64(old_len), to_u64(new_len));
    let request = RemapRequest { addr: old_addr, old_len, new_len, flags, new_addr };
    let (mm, context) = cx.mm_and_context();
    Ok(mm.remap(context, &limits, &request)?)
}

/// msync(2)
pub fn msync(cx: &mut Current, addr: UserAddr, len: usize, flags: SyncFlags) -> SysResult {
    let (mm, context) = cx.mm_and_context();
    Ok(mm.sync(context, addr, to_u64(len), flags)?)
}

/// mincore(2)
pub fn mincore(cx: &mut Current, addr: UserAddr, len: usize, vec: UserOut<u8>) -> SysResult {
    let (mm, context) = cx.mm_and_context();
    Ok(mm.residency(context, addr, to_u64(len), vec)?)
}

/// madvise(2)
pub fn madvise(cx: &mut Current, addr: UserAddr, len: usize, advice: Advice) -> SysResult {
    let (mm, context) = cx.mm_and_context();
    Ok(mm.advise(context, addr, to_u64(len), advice)?)
}

/// mlock(2)
pub fn mlock(cx: &mut Current, addr: UserAddr, len: usize) -> SysResult {
    mlock2(cx, addr, len, Mlock2Flags::empty())
}

/// mlock2(2)
pub fn mlock2(cx: &mut Current, addr: UserAddr, len: usize, flags: Mlock2Flags) -> SysResult {
    if !Mlock2Flags::all().contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let limits = limits(cx);
    let (mm, context) = cx.mm_and_context();
    let on_fault = flags.contains(Mlock2Flags::ONFAULT);
    Ok(mm.lock(context, &limits, addr, to_u64(len), on_fault)?)
}

/// munlock(2)
pub fn munlock(cx: &mut Current, addr: UserAddr, len: usize) -> SysResult {
    Ok(cx.mm().unlock(addr, to_u64(len))?)
}

/// mlockall(2)
pub fn mlockall(cx: &mut Current, flags: LockFlags) -> SysResult {
    let limits = limits(cx);
    let (mm, context) = cx.mm_and_context();
    Ok(mm.lock_all(context, &limits, flags)?)
}

/// munlockall(2)
pub fn munlockall(cx: &mut Current) -> SysResult {
    cx.mm().unlock_all();
    Ok(())
}

/// mseal(2)
pub fn mseal(cx: &mut Current, addr: UserAddr, len: usize, flags: u64) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(cx.mm().seal(addr, to_u64(len))?)
}

/// pkey_mprotect(2), on a machine that has no keys but the default: it is mprotect(2) with `-1`.
pub fn pkey_mprotect(
    cx: &mut Current,
    addr: UserAddr,
    len: usize,
    prot: Prot,
    pkey: i32,
) -> SysResult {
    match pkey {
        -1 => mprotect(cx, addr, len, prot),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// pkey_alloc(2), on a machine without protection keys.
pub fn pkey_alloc(_cx: &mut Current, flags: u32, access_rights: u32) -> SysResult<i32> {
    /// `PKEY_ACCESS_MASK`.
    const RIGHTS: u32 = 3;
    if flags != 0 || access_rights & !RIGHTS != 0 {
        return Err(Errno::EINVAL.into());
    }
    Err(Errno::ENOSPC.into())
}

/// pkey_free(2): no key was ever given out.
pub fn pkey_free(_cx: &mut Current, _pkey: i32) -> SysResult {
    Err(Errno::EINVAL.into())
}

/// Commands that reach the threads of one address space alone: the host carries them out in the stub.
const BARRIERS: i32 = MEMBARRIER_CMD_PRIVATE_EXPEDITED
    | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
    | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE
    | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE;

/// membarrier(2)
pub fn membarrier(
    cx: &mut Current,
    cmd: MembarrierCommand,
    flags: u32,
    _cpu_id: i32,
) -> SysResult<i32> {
    if flags != 0 {
        // The one flag is for one command, which needs restartable sequences.
        let known =
            flags == MEMBARRIER_CMD_FLAG_CPU && cmd.0 == MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ;
        return Err(if known { Errno::EPERM } else { Errno::EINVAL }.into());
    }
    let host = |cx: &mut Current, command| {
        cx.context().membarrier(command, 0).map_err(|error| match error {
            sentry::mm::HostCallError::Refused(errno) => errno,
            sentry::mm::HostCallError::Lost(_) => Errno::EINVAL,
        })
    };
    match cmd.0 {
        MEMBARRIER_CMD_QUERY => Ok(host(cx, cmd.0)? & (BARRIERS | MEMBARRIER_CMD_GLOBAL)),
        MEMBARRIER_CMD_GLOBAL => Ok(host(cx, cmd.0)?),
        command if command.count_ones() == 1 && command & BARRIERS != 0 => Ok(host(cx, command)?),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// remap_file_pages(2), which Linux itself only emulates by mmap(2).
pub fn remap_file_pages(
    cx: &mut Current,
    addr: UserAddr,
    len: usize,
    prot: Prot,
    pgoff: u64,
    _flags: MapFlags,
) -> SysResult {
    if !prot.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    let len = to_u64(len) & !(PAGE_SIZE - 1);
    let limits = limits(cx);
    let (mm, context) = cx.mm_and_context();
    Ok(mm.remap_pages(context, &limits, addr.page_floor(), len, pgoff)?)
}

/// The most pieces that the vector calls of this family take.
pub(crate) const MOST_PIECES: usize = UIO_MAXIOV;
