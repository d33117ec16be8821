// SPDX-License-Identifier: Apache-2.0
//! System V shared memory.

use std::sync::Arc;

use abi::{
    Errno, PAGE_SIZE, UserAddr, UserInOut,
    ipc::{
        IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, IpcCommand, SHM_EXEC, SHM_INFO, SHM_LOCK,
        SHM_RDONLY, SHM_REMAP, SHM_RND, SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK, ShmInfo, Shmid64Ds,
        Shminfo64,
    },
    mman::{MapFlags, Prot},
    num::to_u64,
};
use sentry::{
    ipc::{Caller, shm::Segment},
    kernel::SysResult,
    mm::{FileToMap, MapRequest, MapSource, MappedFile},
    task::Current,
};

use crate::mm;

/// shmget(2)
pub fn shmget(cx: &mut Current, key: i32, size: usize, shmflg: i32) -> SysResult<i32> {
    let creds = cx.creds();
    let caller = Caller { creds: &creds, pid: cx.task().pid() };
    Ok(cx.kernel().ipc().shm.get(key, to_u64(size), shmflg, caller)?)
}

/// shmat(2). Checks stand in the order of Linux's `ipc/shm.c: do_shmat`.
pub fn shmat(cx: &mut Current, shmid: i32, shmaddr: UserAddr, shmflg: i32) -> SysResult<UserAddr> {
    let has = |flag| shmflg & flag != 0;
    if shmid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut addr = shmaddr;
    let mut flags = MapFlags::SHARED;
    if !addr.is_null() {
        if !addr.raw().is_multiple_of(PAGE_SIZE) {
            if !has(SHM_RND) {
                return Err(Errno::EINVAL.into());
            }
            addr = addr.page_floor();
            if addr.is_null() && has(SHM_REMAP) {
                return Err(Errno::EINVAL.into());
            }
        }
        flags |= MapFlags::FIXED;
    } else if has(SHM_REMAP) {
        return Err(Errno::EINVAL.into());
    }
    let (mut prot, mut wanted) =
        if has(SHM_RDONLY) { (Prot::READ, 0o444) } else { (Prot::READ | Prot::WRITE, 0o666) };
    if has(SHM_EXEC) {
        prot |= Prot::EXEC;
        wanted |= 0o111;
    }
    let (creds, pid) = (cx.creds(), cx.task().pid());
    let segment = cx.kernel().ipc().shm.find(shmid, wanted, Caller { creds: &creds, pid })?;
    if !addr.is_null() && !has(SHM_REMAP) {
        let end = addr.raw().checked_add(segment.size()).ok_or(Errno::EINVAL)?;
        if !cx.mm().is_free(addr, UserAddr(end)) {
            return Err(Errno::EINVAL.into());
        }
    }
    let file = FileToMap {
        mappable: Ok(Arc::clone(segment.memory()) as _),
        file: Arc::clone(&segment) as _,
        is_readable: true,
        is_writable: !has(SHM_RDONLY),
        is_append_only: false,
        is_noexec: false,
    };
    let source = MapSource::File(file, 0);
    let request = MapRequest { addr, len: segment.size(), prot, flags, source };
    let limits = mm::limits(cx);
    let (memory, context) = cx.mm_and_context();
    let at = memory.map(context, &limits, &request)?;
    segment.touched_by(pid);
    Ok(at)
}

/// The size of a segment among mapped files.
fn segment_size(file: &Arc<dyn MappedFile>) -> Option<u64> {
    file.as_any().downcast_ref::<Segment>().map(Segment::size)
}

/// shmdt(2)
pub fn shmdt(cx: &mut Current, shmaddr: UserAddr) -> SysResult {
    if !shmaddr.is_page_aligned() {
        return Err(Errno::EINVAL.into());
    }
    let pid = cx.task().pid();
    let (memory, context) = cx.mm_and_context();
    let file = memory.detach(context, shmaddr, &segment_size)?;
    if let Some(segment) = file.as_any().downcast_ref::<Segment>() {
        segment.touched_by(pid);
    }
    Ok(())
}

/// shmctl(2)
pub fn shmctl(
    cx: &mut Current,
    shmid: i32,
    cmd: IpcCommand,
    buf: UserInOut<Shmid64Ds>,
) -> SysResult<i32> {
    if cmd.0 < 0 || shmid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (creds, pid, kernel) = (cx.creds(), cx.task().pid(), Arc::clone(cx.kernel()));
    let (table, caller) = (&kernel.ipc().shm, Caller { creds: &creds, pid });
    match cmd.0 {
        IPC_INFO => {
            let (highest, limits) = table.limits();
            cx.write(buf.as_out().cast::<Shminfo64>(), &limits)?;
            Ok(highest)
        }
        SHM_INFO => {
            let (highest, usage) = table.usage();
            cx.write(buf.as_out().cast::<ShmInfo>(), &usage)?;
            Ok(highest)
        }
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            let wanted = if cmd.0 == SHM_STAT_ANY { 0 } else { 0o444 };
            let (id, status) = table.status(shmid, cmd.0 != IPC_STAT, wanted, caller)?;
            cx.write(buf.as_out(), &status)?;
            Ok(if cmd.0 == IPC_STAT { 0 } else { id })
        }
        IPC_SET => {
            let new = cx.read(buf.as_in())?;
            table.set(shmid, &new, caller)?;
            Ok(0)
        }
        IPC_RMID => {
            table.remove(shmid, caller)?;
            Ok(0)
        }
        SHM_LOCK | SHM_UNLOCK => {
            table.lock(shmid, cmd.0 == SHM_LOCK, caller)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
