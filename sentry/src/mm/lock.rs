// SPDX-License-Identifier: Apache-2.0
//! mlock(2) and its kin: accounted here, brought in by the host, pinned by nobody.
//!
//! DIFFERS: pages are not pinned on the host. A stub has no RLIMIT_MEMLOCK of its own to spend, and what a
//! guest could pin, its sandbox's neighbours would lack.

use abi::{Errno, UserAddr, UserRange, mman::LockFlags};
use platform::{Context, Protection};

use super::{Limits, MemoryManager, VmaFlags, map::populate_pages, page_align};

const LOCK_FLAGS: VmaFlags = VmaFlags::LOCKED.union(VmaFlags::LOCK_ON_FAULT);

/// `MCL_*` as flags of mappings.
fn flags_of(flags: LockFlags) -> VmaFlags {
    if flags.contains(LockFlags::ONFAULT) { LOCK_FLAGS } else { VmaFlags::LOCKED }
}

/// The pages that `len` bytes at `addr` touch.
fn touched(addr: UserAddr, len: u64) -> Result<UserRange, Errno> {
    let start = addr.page_floor();
    let bytes = len.checked_add(addr.raw() - start.raw()).and_then(page_align);
    bytes.and_then(|bytes| UserRange::new(start, bytes)).ok_or(Errno::EINVAL)
}

impl MemoryManager {
    /// mlock(2), and mlock2(2) with `on_fault` when the pages need not be brought in.
    pub fn lock(
        &self,
        cx: &mut dyn Context,
        limits: &Limits,
        addr: UserAddr,
        len: u64,
        on_fault: bool,
    ) -> Result<(), Errno> {
        if limits.locked == 0 && !limits.may_lock {
            return Err(Errno::EPERM);
        }
        // The limit is looked at before the range: what wraps around is more than any.
        let is_too_much = !limits.may_lock && len > limits.locked;
        let range =
            touched(addr, len).map_err(|errno| if is_too_much { Errno::ENOMEM } else { errno })?;
        let mut mappings = self.mappings.lock();
        let already: u64 = mappings
            .set
            .overlapping(range)
            .filter(|(_, vma)| vma.flags.contains(VmaFlags::LOCKED))
            .filter_map(|(found, _)| found.intersect(range))
            .map(UserRange::len)
            .sum();
        let new = range.len().saturating_sub(already);
        mappings.may_lock(limits, new).map_err(|_| Errno::ENOMEM)?;
        if range.is_empty() {
            return Ok(());
        }
        let to = if on_fault { LOCK_FLAGS } else { VmaFlags::LOCKED };
        mappings.set.update(range, |vma| {
            vma.flags.remove(LOCK_FLAGS);
            vma.flags.insert(to);
        });
        let (is_whole, pieces) = (mappings.set.covers(range), pieces(&mappings.set, range));
        drop(mappings);
        if !is_whole {
            return Err(Errno::ENOMEM);
        }
        if !on_fault {
            bring_in(cx, &pieces);
        }
        Ok(())
    }

    /// munlock(2).
    pub fn unlock(&self, addr: UserAddr, len: u64) -> Result<(), Errno> {
        let range = touched(addr, len)?;
        if range.is_empty() {
            return Ok(());
        }
        let mut mappings = self.mappings.lock();
        mappings.set.update(range, |vma| vma.flags.remove(LOCK_FLAGS));
        if mappings.set.covers(range) { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// mlockall(2).
    pub fn lock_all(
        &self,
        cx: &mut dyn Context,
        limits: &Limits,
        flags: LockFlags,
    ) -> Result<(), Errno> {
        if flags.is_empty() || !LockFlags::all().contains(flags) || flags == LockFlags::ONFAULT {
            return Err(Errno::EINVAL);
        }
        if limits.locked == 0 && !limits.may_lock {
            return Err(Errno::EPERM);
        }
        let mut mappings = self.mappings.lock();
        let is_current = flags.contains(LockFlags::CURRENT);
        if is_current && !limits.may_lock && mappings.set.usage().total > limits.locked {
            return Err(Errno::ENOMEM);
        }
        mappings.lock_future =
            if flags.contains(LockFlags::FUTURE) { flags_of(flags) } else { VmaFlags::empty() };
        if !is_current {
            return Ok(());
        }
        mappings.set.update(self.layout.user, |vma| {
            vma.flags.remove(LOCK_FLAGS);
            vma.flags.insert(flags_of(flags));
        });
        // A stack is mapped further than it reaches on Linux: its depth is not brought in.
        let mut pieces = pieces(&mappings.set, self.layout.user);
        let stacks = |range: &UserRange| {
            mappings
                .set
                .find(range.start)
                .is_some_and(|(_, vma)| vma.flags.contains(VmaFlags::GROWS_DOWN))
        };
        pieces.retain(|(range, ..)| !stacks(range));
        drop(mappings);
        if !flags.contains(LockFlags::ONFAULT) {
            bring_in(cx, &pieces);
        }
        Ok(())
    }

    /// munlockall(2).
    pub fn unlock_all(&self) {
        let mut mappings = self.mappings.lock();
        mappings.lock_future = VmaFlags::empty();
        mappings.set.update(self.layout.user, |vma| vma.flags.remove(LOCK_FLAGS));
    }
}

type Pieces = Vec<(UserRange, Protection, bool)>;

fn pieces(set: &super::VmaSet, range: UserRange) -> Pieces {
    set.overlapping(range)
        .filter(|(_, vma)| !vma.protection.is_empty())
        .filter_map(|(found, vma)| {
            let is_private = !vma.flags.contains(VmaFlags::SHARED);
            Some((found.intersect(range)?, vma.protection, is_private))
        })
        .collect()
}

fn bring_in(cx: &mut dyn Context, pieces: &Pieces) {
    for &(range, protection, is_private) in pieces {
        populate_pages(cx, range, protection, is_private);
    }
}
