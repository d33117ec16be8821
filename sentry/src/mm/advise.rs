// SPDX-License-Identifier: Apache-2.0
//! madvise(2). What concerns pages is passed to the host; what concerns mappings is noted as well.

use abi::{
    Errno, UserAddr, UserRange,
    mman::{
        Advice, MADV_COLD, MADV_COLLAPSE, MADV_DODUMP, MADV_DOFORK, MADV_DONTDUMP, MADV_DONTFORK,
        MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE, MADV_GUARD_INSTALL, MADV_GUARD_REMOVE,
        MADV_HUGEPAGE, MADV_HWPOISON, MADV_KEEPONFORK, MADV_MERGEABLE, MADV_NOHUGEPAGE,
        MADV_NORMAL, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_RANDOM,
        MADV_REMOVE, MADV_SEQUENTIAL, MADV_SOFT_OFFLINE, MADV_UNMERGEABLE, MADV_WILLNEED,
        MADV_WIPEONFORK,
    },
};
use platform::{Context, Protection};

use super::{MemoryManager, Vma, VmaFlags, page_align, refused};

impl MemoryManager {
    /// madvise(2). Checks stand in the order of Linux's `mm/madvise.c: do_madvise`.
    pub fn advise(
        &self,
        cx: &mut dyn Context,
        addr: UserAddr,
        len: u64,
        advice: Advice,
    ) -> Result<(), Errno> {
        if advice.name().is_none() || !addr.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        let len = page_align(len).ok_or(Errno::EINVAL)?;
        let range = UserRange::new(addr, len).ok_or(Errno::EINVAL)?;
        if range.is_empty() {
            return Ok(());
        }
        match advice.0 {
            // Nobody in a sandbox breaks the host's memory.
            MADV_HWPOISON | MADV_SOFT_OFFLINE => Err(Errno::EPERM),
            MADV_POPULATE_READ | MADV_POPULATE_WRITE => self.populate(cx, range, advice.0),
            number => self.advise_each(cx, range, number),
        }
    }

    /// Page by page errors come from the host; holes are found in the plan. Not under the lock: it may
    /// take as long as the range is big.
    fn populate(&self, cx: &mut dyn Context, range: UserRange, advice: i32) -> Result<(), Errno> {
        let mut at = range.start;
        while at < range.end {
            let found = self.range_at(at).ok_or(Errno::ENOMEM)?;
            let piece = found.intersect(UserRange { start: at, end: range.end });
            let piece = piece.ok_or(Errno::ENOMEM)?;
            cx.advise(piece, advice).map_err(refused)?;
            at = piece.end;
        }
        Ok(())
    }

    fn advise_each(
        &self,
        cx: &mut dyn Context,
        range: UserRange,
        advice: i32,
    ) -> Result<(), Errno> {
        let mut mappings = self.mappings.lock();
        let mut pieces = Vec::new();
        let mut at = range.start;
        let mut has_hole = false;
        for (found, vma) in mappings.set.overlapping(range) {
            has_hole |= found.start > at;
            at = found.end;
            if let Some(piece) = found.intersect(range) {
                pieces.push((piece, check(vma, advice)));
            }
        }
        has_hole |= at < range.end;
        for (piece, verdict) in pieces {
            verdict?;
            if reaches_host(advice) {
                cx.advise(piece, advice).map_err(refused)?;
            }
            if changes_plan(advice) {
                mappings.set.update(piece, |vma| note(vma, advice));
            }
        }
        if has_hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Where the mapping that holds `addr` lies.
    pub(super) fn range_at(&self, addr: UserAddr) -> Option<UserRange> {
        self.mappings.lock().set.find(addr).map(|(range, _)| range)
    }
}

/// What Linux says to such advice for such a mapping, before it does anything.
fn check(vma: &Vma, advice: i32) -> Result<(), Errno> {
    let flags = vma.flags;
    let (is_locked, is_shared) =
        (flags.contains(VmaFlags::LOCKED), flags.contains(VmaFlags::SHARED));
    let writable = vma.protection.contains(Protection::WRITE);
    // can_madv_modify(): what cannot be written must not be thrown away either.
    let discards = matches!(
        advice,
        MADV_DONTNEED
            | MADV_DONTNEED_LOCKED
            | MADV_FREE
            | MADV_REMOVE
            | MADV_DONTFORK
            | MADV_WIPEONFORK
            | MADV_GUARD_INSTALL
    );
    if discards && flags.contains(VmaFlags::SEALED) && vma.content.is_none() && !writable {
        return Err(Errno::EPERM);
    }
    match advice {
        MADV_REMOVE if is_locked || vma.content.is_none() => Err(Errno::EINVAL),
        MADV_REMOVE if !(is_shared && writable) => Err(Errno::EACCES),
        MADV_DONTNEED | MADV_COLD | MADV_PAGEOUT | MADV_GUARD_INSTALL if is_locked => {
            Err(Errno::EINVAL)
        }
        MADV_FREE if is_locked || vma.content.is_some() => Err(Errno::EINVAL),
        MADV_WIPEONFORK if vma.content.is_some() => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// Core files are ours; merging equal pages would let guests watch each other, so it is only noted.
fn reaches_host(advice: i32) -> bool {
    !matches!(advice, MADV_DONTDUMP | MADV_DODUMP | MADV_MERGEABLE | MADV_UNMERGEABLE)
}

fn changes_plan(advice: i32) -> bool {
    !matches!(
        advice,
        MADV_DONTNEED
            | MADV_DONTNEED_LOCKED
            | MADV_FREE
            | MADV_REMOVE
            | MADV_WILLNEED
            | MADV_COLD
            | MADV_PAGEOUT
            | MADV_COLLAPSE
            | MADV_GUARD_INSTALL
            | MADV_GUARD_REMOVE
    )
}

fn note(vma: &mut Vma, advice: i32) {
    use VmaFlags as F;
    let (add, remove) = match advice {
        MADV_NORMAL => (F::empty(), F::SEQUENTIAL | F::RANDOM),
        MADV_RANDOM => (F::RANDOM, F::SEQUENTIAL),
        MADV_SEQUENTIAL => (F::SEQUENTIAL, F::RANDOM),
        MADV_DONTFORK => (F::DONT_FORK, F::empty()),
        MADV_DOFORK => (F::empty(), F::DONT_FORK),
        MADV_WIPEONFORK => (F::WIPE_ON_FORK, F::empty()),
        MADV_KEEPONFORK => (F::empty(), F::WIPE_ON_FORK),
        MADV_DONTDUMP => (F::DONT_DUMP, F::empty()),
        MADV_DODUMP => (F::empty(), F::DONT_DUMP),
        MADV_MERGEABLE => (F::MERGEABLE, F::empty()),
        MADV_UNMERGEABLE => (F::empty(), F::MERGEABLE),
        MADV_HUGEPAGE => (F::HUGE_PAGES, F::NO_HUGE_PAGES),
        MADV_NOHUGEPAGE => (F::NO_HUGE_PAGES, F::HUGE_PAGES),
        _ => (F::empty(), F::empty()),
    };
    vma.flags.insert(add);
    vma.flags.remove(remove);
}
