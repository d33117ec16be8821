// SPDX-License-Identifier: Apache-2.0
//! All mappings of an address space, in order of their addresses.
//!
//! Invariants: ranges are page-aligned, not empty and do not overlap; neighbours that continue each
//! other are one; the counters of [`Usage`] agree with the mappings.

use std::collections::BTreeMap;

use abi::{PAGE_SIZE, UserAddr, UserRange};
use platform::Protection;

use super::vma::{Vma, VmaFlags};

/// Linux's `stack_guard_gap`: kept free below what grows downwards.
pub(super) const STACK_GUARD: u64 = 256 * PAGE_SIZE;

/// Bytes by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All (`VmSize`).
    pub total: u64,
    /// Private and writable, without stacks (`VmData`).
    pub data: u64,
    /// What grows downwards (`VmStk`).
    pub stack: u64,
    /// Executable and not writable, of files (`VmExe` and `VmLib`).
    pub executable: u64,
    /// mlock(2)ed (`VmLck`).
    pub locked: u64,
    /// Showing files or shared memory.
    pub file: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    end: u64,
    vma: Vma,
}

/// The set. Addresses inside are plain numbers: they are checked at the door.
#[derive(Debug, Clone, Default)]
pub(super) struct VmaSet {
    entries: BTreeMap<u64, Entry>,
    usage: Usage,
}

fn range(start: u64, end: u64) -> UserRange {
    UserRange { start: UserAddr(start), end: UserAddr(end) }
}

impl VmaSet {
    /// Mappings in the set (`map_count`).
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The counters.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (UserRange, &Vma)> {
        self.entries.iter().map(|(&start, entry)| (range(start, entry.end), &entry.vma))
    }

    /// The mapping that holds `addr`.
    pub(super) fn find(&self, addr: UserAddr) -> Option<(UserRange, &Vma)> {
        let (&start, entry) = self.entries.range(..=addr.raw()).next_back()?;
        (addr.raw() < entry.end).then_some((range(start, entry.end), &entry.vma))
    }

    /// The first mapping that ends above `addr` (Linux's find_vma()).
    pub(super) fn at_or_above(&self, addr: UserAddr) -> Option<(UserRange, &Vma)> {
        self.find(addr).or_else(|| {
            let (&start, entry) = self.entries.range(addr.raw()..).next()?;
            Some((range(start, entry.end), &entry.vma))
        })
    }

    /// The last mapping that ends at or below `addr`.
    pub(super) fn below(&self, addr: UserAddr) -> Option<(UserRange, &Vma)> {
        let (&start, entry) = self.entries.range(..addr.raw()).next_back()?;
        (entry.end <= addr.raw()).then_some((range(start, entry.end), &entry.vma))
    }

    /// The mappings that have something in common with `within`, whole.
    pub(super) fn overlapping(&self, within: UserRange) -> impl Iterator<Item = (UserRange, &Vma)> {
        let first =
            self.find(within.start).map_or(within.start.raw(), |(found, _)| found.start.raw());
        let end = within.end.raw().max(first);
        self.entries
            .range(first..end)
            .map(|(&start, entry)| (range(start, entry.end), &entry.vma))
            .filter(move |(found, _)| found.intersect(within).is_some())
    }

    /// Whether nothing is mapped in `within`.
    pub(super) fn is_free(&self, within: UserRange) -> bool {
        self.overlapping(within).next().is_none()
    }

    /// Whether every page of `within` is mapped.
    pub(super) fn covers(&self, within: UserRange) -> bool {
        let mut at = within.start;
        for (found, _) in self.overlapping(within) {
            if found.start > at {
                return false;
            }
            at = found.end;
        }
        at >= within.end
    }

    /// Bytes of `within` that are mapped.
    pub(super) fn mapped_bytes(&self, within: UserRange) -> u64 {
        self.overlapping(within)
            .filter_map(|(found, _)| found.intersect(within))
            .map(UserRange::len)
            .sum()
    }

    /// Puts `vma` at `at`, which is free, and joins it with its neighbours.
    pub(super) fn insert(&mut self, at: UserRange, mut vma: Vma) {
        debug_assert!(self.is_free(at), "mappings do not overlap");
        let (mut start, mut end) = (at.start.raw(), at.end.raw());
        if start >= end {
            return;
        }
        self.count(&vma, end - start, u64::wrapping_add);
        if let Some((&before, entry)) = self.entries.range(..start).next_back()
            && entry.end == start
            && entry.vma.continues_in(start - before, &vma)
            && let Some(entry) = self.entries.remove(&before)
        {
            start = before;
            vma = entry.vma;
        }
        if let Some(entry) = self.entries.get(&end)
            && vma.continues_in(end - start, &entry.vma)
            && let Some(entry) = self.entries.remove(&end)
        {
            end = entry.end;
        }
        self.entries.insert(start, Entry { end, vma });
    }

    /// Takes out what lies in `within`, cutting mappings at its edges. The caller drops the result after
    /// it has given back its lock: a last reference to a file may go with it.
    pub(super) fn remove(&mut self, within: UserRange) -> Vec<(UserRange, Vma)> {
        self.split(within.start.raw());
        self.split(within.end.raw());
        let starts: Vec<u64> =
            self.entries.range(within.start.raw()..within.end.raw()).map(|(&at, _)| at).collect();
        let mut removed = Vec::with_capacity(starts.len());
        for start in starts {
            if let Some(entry) = self.entries.remove(&start) {
                self.count(&entry.vma, entry.end - start, u64::wrapping_sub);
                removed.push((range(start, entry.end), entry.vma));
            }
        }
        removed
    }

    /// Changes every mapping in `within`, cutting them at its edges.
    pub(super) fn update(&mut self, within: UserRange, mut change: impl FnMut(&mut Vma)) {
        for (at, mut vma) in self.remove(within) {
            change(&mut vma);
            self.insert(at, vma);
        }
        // Where nothing was removed, the edges may still have been cut.
        self.join(within.start.raw());
        self.join(within.end.raw());
    }

    /// How many mappings more there are after [`VmaSet::remove`] of `within`: 1 for a hole inside one.
    pub(super) fn is_hole(&self, within: UserRange) -> bool {
        self.find(within.start)
            .is_some_and(|(found, _)| found.start < within.start && found.end > within.end)
    }

    fn split(&mut self, at: u64) {
        let Some((&start, entry)) = self.entries.range_mut(..at).next_back() else { return };
        if entry.end <= at {
            return;
        }
        let mut vma = entry.vma.clone();
        vma.skip(at - start);
        let end = std::mem::replace(&mut entry.end, at);
        self.entries.insert(at, Entry { end, vma });
    }

    fn join(&mut self, at: u64) {
        let Some((&start, before)) = self.entries.range(..at).next_back() else { return };
        let Some(after) = self.entries.get(&at) else { return };
        if before.end == at && before.vma.continues_in(at - start, &after.vma) {
            let end = after.end;
            let joined = self.entries.remove(&at);
            if let Some(before) = self.entries.get_mut(&start) {
                before.end = end;
            }
            drop(joined);
        }
    }

    fn count(&mut self, vma: &Vma, bytes: u64, change: fn(u64, u64) -> u64) {
        let usage = &mut self.usage;
        let is_code = vma.protection.contains(Protection::EXECUTE)
            && !vma.protection.contains(Protection::WRITE);
        let counters = [
            (true, &mut usage.total),
            (vma.is_data(), &mut usage.data),
            (vma.flags.contains(VmaFlags::GROWS_DOWN), &mut usage.stack),
            (is_code && vma.content.is_some(), &mut usage.executable),
            (vma.flags.contains(VmaFlags::LOCKED), &mut usage.locked),
            (vma.content.is_some(), &mut usage.file),
        ];
        for (counts, counter) in counters {
            if counts {
                *counter = change(*counter, bytes);
            }
        }
    }

    /// The lowest address that a mapping of `found` keeps others from (Linux's vm_start_gap()).
    pub(super) fn start_with_guard(found: UserRange, vma: &Vma) -> u64 {
        if vma.flags.contains(VmaFlags::GROWS_DOWN) {
            found.start.raw().saturating_sub(STACK_GUARD)
        } else {
            found.start.raw()
        }
    }

    /// The highest free range of `len` bytes inside `within` whose start is a multiple of `align`.
    pub(super) fn highest_gap(&self, within: UserRange, len: u64, align: u64) -> Option<u64> {
        let fits = |low: u64, high: u64| -> Option<u64> {
            let start = high.checked_sub(len)? / align * align;
            (start >= low).then_some(start)
        };
        let mut high = within.end.raw();
        let mut entries = self.entries.range(..within.end.raw());
        if let Some((above, vma)) = self.at_or_above(within.end) {
            high = high.min(Self::start_with_guard(above, vma));
        }
        while let Some((&start, entry)) = entries.next_back() {
            let low = entry.end.max(within.start.raw());
            if let Some(found) = fits(low, high) {
                return Some(found);
            }
            high = high.min(Self::start_with_guard(range(start, entry.end), &entry.vma));
            if high <= within.start.raw() {
                return None;
            }
        }
        fits(within.start.raw(), high)
    }

    /// The lowest free range of `len` bytes inside `within`.
    pub(super) fn lowest_gap(&self, within: UserRange, len: u64) -> Option<u64> {
        let fits = |low: u64, high: u64| high.checked_sub(len).is_some_and(|last| last >= low);
        let mut low = within.start.raw();
        for (found, vma) in self.entries_from(within.start) {
            let high = Self::start_with_guard(found, vma).min(within.end.raw());
            if fits(low, high) {
                return Some(low);
            }
            low = low.max(found.end.raw());
            if low >= within.end.raw() {
                return None;
            }
        }
        fits(low, within.end.raw()).then_some(low)
    }

    fn entries_from(&self, addr: UserAddr) -> impl Iterator<Item = (UserRange, &Vma)> {
        let first = self.find(addr).map_or(addr.raw(), |(found, _)| found.start.raw());
        self.entries.range(first..).map(|(&start, entry)| (range(start, entry.end), &entry.vma))
    }
}

#[cfg(test)]
#[path = "vma_set_tests.rs"]
mod tests;
