// SPDX-License-Identifier: Apache-2.0
//! Locks on files: POSIX record locks, open-file-description locks, flock(2).

use std::sync::Arc;

use abi::Errno;
use rustc_hash::FxHashMap;

use super::FileDescription;
use crate::{
    sync::{Mutex, levels},
    wait::{Ready, Try, WaitQueue},
};

/// Whose POSIX locks they are: one number for each file descriptor table (Linux's `files_struct`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockOwner(pub u64);

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A POSIX lock: its process's file table, and the process's number for `F_GETLK`.
    Process {
        /// The table.
        owner: LockOwner,
        /// The number shown to who asks.
        pid: i32,
    },
    /// An open-file-description lock.
    Description(u64),
}

impl Holder {
    fn is_same(self, other: Holder) -> bool {
        match (self, other) {
            (Holder::Process { owner: a, .. }, Holder::Process { owner: b, .. }) => a == b,
            (Holder::Description(a), Holder::Description(b)) => a == b,
            _ => false,
        }
    }
}

/// Shared or exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// `F_RDLCK`, `LOCK_SH`.
    Read,
    /// `F_WRLCK`, `LOCK_EX`.
    Write,
}

/// A locked range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLock {
    /// First byte.
    pub start: u64,
    /// Last byte (inclusive: `i64::MAX` is "to the end, however far that is").
    pub last: u64,
    /// Shared or exclusive.
    pub kind: LockKind,
    /// Whose.
    pub holder: Holder,
}

impl RecordLock {
    fn overlaps(&self, other: &RecordLock) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    fn conflicts(&self, other: &RecordLock) -> bool {
        !self.holder.is_same(other.holder)
            && self.overlaps(other)
            && (self.kind == LockKind::Write || other.kind == LockKind::Write)
    }
}

/// Locks that one file may have at most: a guest must not fill the sentry with them.
const MOST: usize = 1 << 20;

/// All locks of one file.
#[derive(Debug, Default)]
pub(super) struct FileLocks {
    table: Mutex<Table, levels::FileLocks>,
    changed: WaitQueue,
}

#[derive(Debug, Default)]
struct Table {
    /// By start; those of one holder do not overlap.
    records: Vec<RecordLock>,
    /// flock(2): description id and kind.
    flocks: Vec<(u64, LockKind)>,
}

/// Who waits for whom among POSIX lock owners, for `EDEADLK`.
static WAITS: Mutex<Option<FxHashMap<LockOwner, LockOwner>>, levels::Leaf> = Mutex::new(None);

impl FileLocks {
    /// The first lock that stands in the way of `wanted` (`F_GETLK`).
    fn conflict(&self, wanted: &RecordLock) -> Option<RecordLock> {
        self.table.lock().records.iter().find(|lock| wanted.conflicts(lock)).copied()
    }

    fn set(&self, wanted: &RecordLock) -> Result<Result<(), RecordLock>, Errno> {
        let mut table = self.table.lock();
        if let Some(other) = table.records.iter().find(|lock| wanted.conflicts(lock)) {
            return Ok(Err(*other));
        }
        if table.records.len() + 2 > MOST {
            return Err(Errno::ENOLCK);
        }
        let weakened = table.cut(wanted);
        table.join(*wanted);
        drop(table);
        if weakened {
            self.changed.notify(Ready::all());
        }
        Ok(Ok(()))
    }

    fn unset(&self, range: &RecordLock) -> Result<(), Errno> {
        let mut table = self.table.lock();
        if table.records.len() + 1 > MOST {
            return Err(Errno::ENOLCK);
        }
        let changed = table.cut(range);
        drop(table);
        if changed {
            self.changed.notify(Ready::all());
        }
        Ok(())
    }

    /// All POSIX locks of `owner` go.
    pub(super) fn release_posix(&self, owner: LockOwner) {
        self.release(|table| {
            table.records.retain(
                |lock| !matches!(lock.holder, Holder::Process { owner: holder, .. } if holder == owner),
            );
        });
    }

    /// All locks of an open file description go.
    pub(super) fn release_description(&self, id: u64) {
        self.release(|table| {
            table.records.retain(|lock| lock.holder != Holder::Description(id));
            table.flocks.retain(|(holder, _)| *holder != id);
        });
    }

    fn release(&self, change: impl FnOnce(&mut Table)) {
        let mut table = self.table.lock();
        let before = table.records.len() + table.flocks.len();
        if before == 0 {
            return;
        }
        change(&mut table);
        let after = table.records.len() + table.flocks.len();
        drop(table);
        if after != before {
            self.changed.notify(Ready::all());
        }
    }
}

impl Table {
    /// Takes `range` out of what its holder has; whether anything was there.
    fn cut(&mut self, range: &RecordLock) -> bool {
        let mut out = Vec::with_capacity(self.records.len() + 1);
        let mut changed = false;
        for lock in self.records.drain(..) {
            if !lock.holder.is_same(range.holder) || !lock.overlaps(range) {
                out.push(lock);
                continue;
            }
            changed = true;
            if lock.start < range.start {
                out.push(RecordLock { last: range.start - 1, ..lock });
            }
            if lock.last > range.last {
                out.push(RecordLock { start: range.last + 1, ..lock });
            }
        }
        self.records = out;
        self.records.sort_by_key(|lock| lock.start);
        changed
    }

    /// Adds `lock`, joined with neighbours of the same holder and kind.
    fn join(&mut self, mut lock: RecordLock) {
        self.records.retain(|other| {
            let joins = other.holder.is_same(lock.holder)
                && other.kind == lock.kind
                && other.start <= lock.last.saturating_add(1)
                && lock.start <= other.last.saturating_add(1);
            if joins {
                lock.start = lock.start.min(other.start);
                lock.last = lock.last.max(other.last);
            }
            !joins
        });
        let at = self.records.partition_point(|other| other.start < lock.start);
        self.records.insert(at, lock);
    }
}

/// Who hears of every change of the locks of `file`.
pub fn wait_queue(file: &FileDescription) -> WaitQueue {
    file.inode().common().locks().changed.clone()
}

/// What stands in the way of `wanted`.
pub fn test(file: &FileDescription, wanted: &RecordLock) -> Option<RecordLock> {
    file.inode().common().existing_locks()?.conflict(wanted)
}

/// Sets a lock, or says that it would have to wait. `EDEADLK` if waiting would never end, which is
/// asked only when `may_wait`.
pub fn set(file: &FileDescription, wanted: &RecordLock, may_wait: bool) -> Result<Try<()>, Errno> {
    let blocker = match file.inode().common().locks().set(wanted)? {
        Ok(()) => {
            stop_waiting(wanted.holder);
            return Ok(Try::Done(()));
        }
        Err(blocker) => blocker,
    };
    if may_wait
        && let (Holder::Process { owner, .. }, Holder::Process { owner: other, .. }) =
            (wanted.holder, blocker.holder)
    {
        note_wait(owner, other)?;
    }
    Ok(Try::WouldBlock)
}

/// Gives a range back.
pub fn unset(file: &FileDescription, range: &RecordLock) -> Result<(), Errno> {
    match file.inode().common().existing_locks() {
        Some(locks) => locks.unset(range),
        None => Ok(()),
    }
}

/// A wait for a lock has ended, with or without it.
pub fn stop_waiting(holder: Holder) {
    if let Holder::Process { owner, .. } = holder
        && let Some(waits) = WAITS.lock().as_mut()
    {
        waits.remove(&owner);
    }
}

/// `owner` waits for `other`; `EDEADLK` if that one waits, over others, for `owner`.
fn note_wait(owner: LockOwner, other: LockOwner) -> Result<(), Errno> {
    let mut waits = WAITS.lock();
    let waits = waits.get_or_insert_default();
    let mut at = other;
    // As long as Linux follows such chains (`MAX_DEADLK_ITERATIONS`).
    for _ in 0..10 {
        if at == owner {
            return Err(Errno::EDEADLK);
        }
        match waits.get(&at) {
            Some(next) => at = *next,
            None => break,
        }
    }
    waits.insert(owner, other);
    Ok(())
}

/// flock(2): `None` unlocks. A change of kind gives the old lock back first, as on Linux.
pub fn flock(file: &Arc<FileDescription>, kind: Option<LockKind>) -> Result<Try<()>, Errno> {
    let locks = file.inode().common().locks();
    let mut table = locks.table.lock();
    let own = table.flocks.iter().position(|(holder, _)| *holder == file.id());
    if let (Some(at), Some(wanted)) = (own, kind)
        && table.flocks.get(at).is_some_and(|(_, held)| *held == wanted)
    {
        return Ok(Try::Done(()));
    }
    if let Some(at) = own {
        table.flocks.swap_remove(at);
    }
    let result = match kind {
        None => Try::Done(()),
        Some(wanted) => {
            let is_free = table
                .flocks
                .iter()
                .all(|(_, held)| *held == LockKind::Read && wanted == LockKind::Read);
            if is_free {
                table.flocks.push((file.id(), wanted));
                Try::Done(())
            } else {
                Try::WouldBlock
            }
        }
    };
    drop(table);
    if own.is_some() {
        locks.changed.notify(Ready::all());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{FileLocks, Holder, LockKind, LockOwner, RecordLock, note_wait, stop_waiting};
    use abi::Errno;

    const BYTES: usize = 24;

    fn holder(owner: u64) -> Holder {
        Holder::Process { owner: LockOwner(owner), pid: 1 }
    }

    fn lock(owner: u64, start: u64, last: u64, kind: LockKind) -> RecordLock {
        RecordLock { start, last, kind, holder: holder(owner) }
    }

    #[test]
    fn neighbours_join_and_ranges_split() {
        let locks = FileLocks::default();
        let set = |lock: &RecordLock| locks.set(lock).expect("room").is_ok();
        assert!(set(&lock(1, 0, 9, LockKind::Write)));
        assert!(set(&lock(1, 10, 19, LockKind::Write)));
        assert_eq!(locks.table.lock().records.len(), 1);
        assert!(!set(&lock(2, 5, 5, LockKind::Read)));
        locks.unset(&lock(1, 5, 5, LockKind::Write)).expect("room");
        assert_eq!(locks.table.lock().records.len(), 2);
        assert!(set(&lock(2, 5, 5, LockKind::Read)));
        assert_eq!(locks.conflict(&lock(1, 0, 19, LockKind::Write)).map(|l| l.start), Some(5));
        locks.release_posix(LockOwner(1));
        assert_eq!(locks.table.lock().records.len(), 1);
    }

    #[test]
    fn a_circle_of_waits_is_seen() {
        assert_eq!(note_wait(LockOwner(901), LockOwner(902)), Ok(()));
        assert_eq!(note_wait(LockOwner(902), LockOwner(903)), Ok(()));
        assert_eq!(note_wait(LockOwner(903), LockOwner(901)), Err(Errno::EDEADLK));
        stop_waiting(holder(902));
        assert_eq!(note_wait(LockOwner(903), LockOwner(901)), Ok(()));
        stop_waiting(holder(901));
        stop_waiting(holder(903));
    }

    proptest! {
        #[test]
        fn ranges_are_as_bytes_are(
            steps in prop::collection::vec(
                (0..3u64, 0..BYTES, 0..BYTES, prop::option::of(any::<bool>())),
                1..40,
            ),
        ) {
            let locks = FileLocks::default();
            let mut model: Vec<[Option<LockKind>; 3]> = vec![[None; 3]; BYTES];
            for (owner, a, b, what) in steps {
                let (first, last) = (a.min(b), a.max(b));
                let own = usize::try_from(owner).expect("small");
                let kind = if what == Some(true) { LockKind::Write } else { LockKind::Read };
                let wanted = lock(owner, first as u64, last as u64, kind);
                if what.is_none() {
                    locks.unset(&wanted).expect("room");
                    model[first..=last].iter_mut().for_each(|byte| byte[own] = None);
                } else {
                    let is_free = model[first..=last].iter().all(|byte| {
                        byte.iter().enumerate().all(|(other, held)| match held {
                            Some(held) if other != own => {
                                *held == LockKind::Read && kind == LockKind::Read
                            }
                            _ => true,
                        })
                    });
                    prop_assert_eq!(locks.set(&wanted).expect("room").is_ok(), is_free);
                    if is_free {
                        model[first..=last].iter_mut().for_each(|byte| byte[own] = Some(kind));
                    }
                }
                for (at, byte) in model.iter().enumerate() {
                    for (other, held) in byte.iter().enumerate() {
                        let found = locks.table.lock().records.iter().find_map(|lock| {
                            let is_here = lock.holder == holder(other as u64)
                                && (lock.start..=lock.last).contains(&(at as u64));
                            is_here.then_some(lock.kind)
                        });
                        prop_assert_eq!(found, *held);
                    }
                }
            }
        }
    }
}
