// SPDX-License-Identifier: Apache-2.0
//! File descriptor tables: numbers that mean open files.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use abi::{Errno, Fd};

use crate::{
    sync::{RwLock, levels},
    vfs::{FileDescription, LockOwner},
};

/// The most numbers a table ever has, whatever RLIMIT_NOFILE says (`fs.nr_open`).
pub const MAX_FDS: usize = 1 << 20;

/// What one number means.
#[derive(Debug, Clone)]
pub struct FdEntry {
    /// The open file.
    pub file: Arc<FileDescription>,
    /// `FD_CLOEXEC`.
    pub close_on_exec: bool,
}

#[derive(Default, Clone)]
struct Slots {
    entries: Vec<Option<FdEntry>>,
    /// Every number below is taken.
    lowest_free: usize,
}

impl Slots {
    fn slot(&mut self, index: usize) -> Option<&mut Option<FdEntry>> {
        if index >= MAX_FDS {
            return None;
        }
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        self.entries.get_mut(index)
    }

    fn find_free(&self, from: usize) -> usize {
        let start = from.max(self.lowest_free);
        let rest = self.entries.get(start..).unwrap_or_default();
        rest.iter().position(Option::is_none).map_or(start.max(self.entries.len()), |at| start + at)
    }

    fn take(&mut self, index: usize) -> Option<FdEntry> {
        let taken = self.entries.get_mut(index)?.take()?;
        self.lowest_free = self.lowest_free.min(index);
        Some(taken)
    }
}

/// A table, shared by tasks that were cloned with `CLONE_FILES`.
///
/// What leaves the table is handed back, so that the last reference to a file is dropped by the caller,
/// outside the lock.
pub struct FdTable {
    slots: RwLock<Slots, levels::FdTable>,
    /// Who holds POSIX locks: on Linux, too, they belong to the table.
    owner: LockOwner,
}

impl FdTable {
    /// A table in which no number means anything.
    pub fn new() -> Arc<FdTable> {
        FdTable::with(Slots::default())
    }

    fn with(slots: Slots) -> Arc<FdTable> {
        static OWNERS: AtomicU64 = AtomicU64::new(1);
        let owner = LockOwner(OWNERS.fetch_add(1, Ordering::Relaxed));
        Arc::new(FdTable { slots: RwLock::new(slots), owner })
    }

    /// Whom POSIX locks that are taken through this table belong to.
    pub fn owner(&self) -> LockOwner {
        self.owner
    }

    /// Ends the meaning of `fd`: what close(2) does, and its errors.
    pub fn close(&self, fd: Fd) -> Result<(), Errno> {
        self.remove(fd)?.closed_by(self.owner)
    }

    /// A copy: the same open files under the same numbers.
    pub fn fork(&self) -> Arc<FdTable> {
        FdTable::with(self.slots.read().clone())
    }

    /// Numbers there is room for without growing, as select(2) sees it: at least a word of bits.
    pub fn room(&self) -> usize {
        self.slots.read().entries.len().next_power_of_two().max(64)
    }

    /// What `fd` means.
    pub fn get(&self, fd: Fd) -> Option<FdEntry> {
        let index = usize::try_from(fd.0).ok()?;
        self.slots.read().entries.get(index)?.clone()
    }

    /// The open file behind `fd`.
    pub fn file(&self, fd: Fd) -> Option<Arc<FileDescription>> {
        let index = usize::try_from(fd.0).ok()?;
        let slots = self.slots.read();
        Some(Arc::clone(&slots.entries.get(index)?.as_ref()?.file))
    }

    /// Gives `file` the lowest free number not below `from`; `EMFILE` if that is not below `limit`.
    pub fn install(
        &self,
        file: Arc<FileDescription>,
        close_on_exec: bool,
        from: i32,
        limit: u64,
    ) -> Result<Fd, Errno> {
        let from = usize::try_from(from).map_err(|_| Errno::EINVAL)?;
        let mut slots = self.slots.write();
        let index = slots.find_free(from);
        let fd = Self::below(index, limit)?;
        let slot = slots.slot(index).ok_or(Errno::EMFILE)?;
        *slot = Some(FdEntry { file, close_on_exec });
        if from <= slots.lowest_free {
            slots.lowest_free = index + 1;
        }
        Ok(fd)
    }

    /// Whether [`FdTable::install`] would find a number now: `EMFILE` if not. open(2) asks before it
    /// looks at the path.
    pub fn check_room(&self, limit: u64) -> Result<(), Errno> {
        let index = self.slots.read().find_free(0);
        Self::below(index, limit).map(|_| ())
    }

    /// Makes `fd` mean `file`, whatever it meant before: that is handed back. `EBADF` if the number is
    /// not below `limit` (dup2(2)).
    pub fn install_at(
        &self,
        fd: Fd,
        file: Arc<FileDescription>,
        close_on_exec: bool,
        limit: u64,
    ) -> Result<Option<FdEntry>, Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        Self::below(index, limit).map_err(|_| Errno::EBADF)?;
        let mut slots = self.slots.write();
        let slot = slots.slot(index).ok_or(Errno::EBADF)?;
        Ok(slot.replace(FdEntry { file, close_on_exec }))
    }

    /// Takes the meaning of `fd` away; `EBADF` if it has none.
    pub fn remove(&self, fd: Fd) -> Result<Arc<FileDescription>, Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let taken = self.slots.write().take(index);
        taken.map(|entry| entry.file).ok_or(Errno::EBADF)
    }

    /// Sets or clears `FD_CLOEXEC`.
    pub fn set_close_on_exec(&self, fd: Fd, close_on_exec: bool) -> Result<(), Errno> {
        let index = usize::try_from(fd.0).map_err(|_| Errno::EBADF)?;
        let mut slots = self.slots.write();
        let entry = slots.entries.get_mut(index).and_then(Option::as_mut).ok_or(Errno::EBADF)?;
        entry.close_on_exec = close_on_exec;
        Ok(())
    }

    /// close_range(2): takes all numbers from `first` to `last` away, for the caller to close.
    #[must_use]
    pub fn remove_range(&self, first: u32, last: u32) -> Vec<Arc<FileDescription>> {
        let mut slots = self.slots.write();
        let mut taken = Vec::new();
        for index in Self::clamp(first, last, slots.entries.len()) {
            taken.extend(slots.take(index).map(|entry| entry.file));
        }
        taken
    }

    /// close_range(2) with `CLOSE_RANGE_CLOEXEC`.
    pub fn set_close_on_exec_range(&self, first: u32, last: u32) {
        let mut slots = self.slots.write();
        let range = Self::clamp(first, last, slots.entries.len());
        for entry in slots.entries.get_mut(range).unwrap_or_default().iter_mut().flatten() {
            entry.close_on_exec = true;
        }
    }

    /// Takes away what execve(2) closes.
    #[must_use]
    pub fn remove_close_on_exec(&self) -> Vec<Arc<FileDescription>> {
        let mut slots = self.slots.write();
        let doomed: Vec<usize> = slots
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.as_ref().is_some_and(|entry| entry.close_on_exec))
            .map(|(index, _)| index)
            .collect();
        doomed.into_iter().filter_map(|index| slots.take(index)).map(|entry| entry.file).collect()
    }

    /// Takes everything away.
    #[must_use]
    pub fn remove_all(&self) -> Vec<Arc<FileDescription>> {
        self.remove_range(0, u32::MAX)
    }

    /// All numbers with their meanings, lowest first: for `/proc/<pid>/fd`.
    pub fn entries(&self) -> Vec<(Fd, FdEntry)> {
        let slots = self.slots.read();
        let taken = slots.entries.iter().enumerate();
        taken
            .filter_map(|(index, entry)| Some((Fd(i32::try_from(index).ok()?), entry.clone()?)))
            .collect()
    }

    fn below(index: usize, limit: u64) -> Result<Fd, Errno> {
        if abi::num::to_u64(index) >= limit || index >= MAX_FDS {
            return Err(Errno::EMFILE);
        }
        i32::try_from(index).map(Fd).map_err(|_| Errno::EMFILE)
    }

    fn clamp(first: u32, last: u32, len: usize) -> std::ops::Range<usize> {
        let end = usize::try_from(last).map_or(len, |last| last.saturating_add(1)).min(len);
        usize::try_from(first).unwrap_or(len).min(end)..end
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        for file in self.remove_all() {
            // Nobody is left to be told of a failed flush.
            let _ = file.closed_by(self.owner);
        }
    }
}

impl fmt::Debug for FdTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FdTable")
    }
}
