// SPDX-License-Identifier: Apache-2.0
//! Shared memory segments: a memfd each, mapped like any other file.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use abi::{
    Errno, PAGE_SIZE,
    cred::Capabilities,
    ipc::{SHM_DEST, SHM_HUGETLB, SHM_LOCKED, ShmInfo, Shmid64Ds, Shminfo64},
};

use super::{
    Caller, now,
    registry::{Registry, Wanted},
};
use crate::{
    mm::{MappedFile, SharedMemory},
    sync::{Mutex, levels},
};

/// `SHMMNI`.
const MOST: usize = 4096;
/// `SHMMAX` and, in pages, `SHMALL`.
const LARGEST: u64 = u64::MAX - (1 << 24);
/// What a sandbox's memfds may hold together, in pages: more than any host has.
const ALL: u64 = 1 << 36;

/// What changes of a segment.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    attached: u64,
    attach_time: i64,
    detach_time: i64,
    change_time: i64,
    last_pid: i32,
    /// `IPC_RMID` came: the last to detach takes it with him.
    is_doomed: bool,
}

/// One segment.
#[derive(Debug)]
pub struct Segment {
    id: i32,
    size: u64,
    creator: i32,
    memory: Arc<SharedMemory>,
    counts: Mutex<Counts, levels::Leaf>,
    table: Weak<SegmentTable>,
}

impl Segment {
    /// Its size as it was asked for.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its contents.
    pub fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }

    /// Notes who attached or detached it last.
    pub fn touched_by(&self, pid: i32) {
        self.counts.lock().last_pid = pid;
    }
}

/// Each mapping is an attachment: also those that fork(2) copies.
impl MappedFile for Segment {
    fn path(&self) -> Vec<u8> {
        self.memory.path()
    }

    fn mapped(&self) {
        let mut counts = self.counts.lock();
        counts.attached += 1;
        counts.attach_time = now();
    }

    fn unmapped(&self) {
        let is_last = {
            let mut counts = self.counts.lock();
            counts.attached = counts.attached.saturating_sub(1);
            counts.detach_time = now();
            counts.attached == 0 && counts.is_doomed
        };
        if is_last && let Some(table) = self.table.upgrade() {
            table.forget(self.id);
        }
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// All segments of a namespace.
#[derive(Debug, Default)]
pub struct SegmentTable {
    segments: Mutex<Registry<Arc<Segment>>, levels::IpcTable>,
}

impl SegmentTable {
    /// shmget(2).
    pub fn get(
        self: &Arc<Self>,
        key: i32,
        size: u64,
        flags: i32,
        caller: Caller<'_>,
    ) -> Result<i32, Errno> {
        let check = |segment: &Arc<Segment>| {
            if segment.size < size { Err(Errno::EINVAL) } else { Ok(()) }
        };
        let mut segments = self.segments.lock();
        let pages = |size: u64| size.div_ceil(PAGE_SIZE);
        let used: u64 = segments.iter().map(|(_, entry)| pages(entry.object.size)).sum();
        let make = |id: i32| {
            if size == 0 || size > LARGEST {
                return Err(Errno::EINVAL);
            }
            if used.saturating_add(pages(size)) > ALL {
                return Err(Errno::ENOSPC);
            }
            if flags & SHM_HUGETLB != 0 {
                // There is no pool of huge pages.
                return Err(Errno::ENOMEM);
            }
            let name = format!("/SYSV{:08x} (deleted)", key.cast_unsigned());
            let memory = SharedMemory::new(pages(size) * PAGE_SIZE, name.as_bytes())?;
            let counts = Counts { change_time: now(), ..Counts::default() };
            Ok(Arc::new(Segment {
                id,
                size,
                creator: caller.pid,
                memory,
                counts: Mutex::new(counts),
                table: Arc::downgrade(self),
            }))
        };
        segments.get(Wanted { key, flags, most: MOST }, caller.creds, check, make)
    }

    /// The segment with an id, for those who may use it as the permission bits say.
    pub fn find(&self, id: i32, wanted: i32, caller: Caller<'_>) -> Result<Arc<Segment>, Errno> {
        let segments = self.segments.lock();
        let entry = segments.find(id)?;
        entry.permissions.check(wanted, caller.creds)?;
        Ok(Arc::clone(&entry.object))
    }

    /// `IPC_STAT`, and by index `SHM_STAT`: with the id. `SHM_STAT_ANY` asks for no permission.
    pub fn status(
        &self,
        id: i32,
        by_index: bool,
        wanted: i32,
        caller: Caller<'_>,
    ) -> Result<(i32, Shmid64Ds), Errno> {
        let segments = self.segments.lock();
        let (id, entry) = if by_index { segments.at(id)? } else { (id, segments.find(id)?) };
        entry.permissions.check(wanted, caller.creds)?;
        let segment = &entry.object;
        let counts = *segment.counts.lock();
        let status = Shmid64Ds {
            shm_perm: entry.permissions.show(),
            shm_segsz: segment.size,
            shm_atime: counts.attach_time,
            shm_dtime: counts.detach_time,
            shm_ctime: counts.change_time,
            shm_cpid: segment.creator,
            shm_lpid: counts.last_pid,
            shm_nattch: counts.attached,
            ..Shmid64Ds::default()
        };
        Ok((id, status))
    }

    /// `IPC_SET`.
    pub fn set(&self, id: i32, new: &Shmid64Ds, caller: Caller<'_>) -> Result<(), Errno> {
        let mut segments = self.segments.lock();
        let entry = segments.find_mut(id)?;
        entry.permissions.check_owner(caller.creds)?;
        entry.permissions.set(&new.shm_perm)?;
        entry.object.counts.lock().change_time = now();
        Ok(())
    }

    /// `IPC_RMID`: gone at once, or when the last mapping is.
    pub fn remove(&self, id: i32, caller: Caller<'_>) -> Result<(), Errno> {
        let mut segments = self.segments.lock();
        let entry = segments.find_mut(id)?;
        entry.permissions.check_owner(caller.creds)?;
        let is_attached = {
            let mut counts = entry.object.counts.lock();
            counts.is_doomed = true;
            counts.attached > 0
        };
        if is_attached {
            entry.permissions.hide();
            entry.permissions.mark(SHM_DEST, true);
            return Ok(());
        }
        let removed = segments.remove(id);
        drop(segments);
        removed.map(drop)
    }

    /// `SHM_LOCK`, `SHM_UNLOCK`: noted, not acted upon.
    pub fn lock(&self, id: i32, is_locked: bool, caller: Caller<'_>) -> Result<(), Errno> {
        let mut segments = self.segments.lock();
        let entry = segments.find_mut(id)?;
        if !caller.creds.has(Capabilities::IPC_LOCK) {
            entry.permissions.check_owner(caller.creds)?;
        }
        entry.permissions.mark(SHM_LOCKED, is_locked);
        Ok(())
    }

    /// `IPC_INFO`: the highest index and the limits.
    pub fn limits(&self) -> (i32, Shminfo64) {
        let limits = Shminfo64 {
            shmmax: LARGEST,
            shmmin: 1,
            shmmni: abi::num::to_u64(MOST),
            shmseg: abi::num::to_u64(MOST),
            shmall: LARGEST,
            ..Shminfo64::default()
        };
        (self.segments.lock().highest(), limits)
    }

    /// `SHM_INFO`: the highest index and what is used.
    pub fn usage(&self) -> (i32, ShmInfo) {
        let segments = self.segments.lock();
        let total = segments.iter().map(|(_, entry)| entry.object.size.div_ceil(PAGE_SIZE)).sum();
        let info = ShmInfo {
            used_ids: i32::try_from(segments.count()).unwrap_or(i32::MAX),
            shm_tot: total,
            shm_rss: total,
            ..ShmInfo::default()
        };
        (segments.highest(), info)
    }

    fn forget(&self, id: i32) {
        let removed = self.segments.lock().remove(id);
        // Somebody else may have been faster.
        drop(removed);
    }
}
