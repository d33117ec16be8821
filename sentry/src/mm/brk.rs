// SPDX-License-Identifier: Apache-2.0
//! brk(2).

use abi::{PAGE_SIZE, UserAddr, UserRange};
use platform::{Backing, Context, MapOptions, Protection};

use super::{
    Limits, MAX_MAPPINGS, MemoryManager, Vma, VmaFlags, map::populate_pages, page_align,
    vma_set::VmaSet,
};

impl MemoryManager {
    /// Sets where the break begins: the loader's last act on the plan.
    pub(crate) fn set_brk_start(&self, at: u64) {
        let mut mappings = self.mappings.lock();
        mappings.brk_start = at;
        mappings.brk = at;
    }

    /// brk(2): the new break, or the old one if it cannot be moved. It never fails.
    pub fn brk(&self, cx: &mut dyn Context, limits: &Limits, to: UserAddr) -> UserAddr {
        let mut mappings = self.mappings.lock();
        let (start, old, new) = (mappings.brk_start, mappings.brk, to.raw());
        let unchanged = UserAddr(old);
        if new < start {
            return unchanged;
        }
        // RLIMIT_DATA counts the program's own data too.
        let data = mappings.program.end_data.saturating_sub(mappings.program.start_data);
        if (new - start).saturating_add(data) > limits.data {
            return unchanged;
        }
        let (Some(old_end), Some(new_end)) = (page_align(old), page_align(new)) else {
            return unchanged;
        };
        if new_end <= old_end {
            let range = UserRange { start: UserAddr(new_end), end: UserAddr(old_end) };
            if !range.is_empty() {
                match self.take_out(cx, &mut mappings, range) {
                    Ok(removed) => {
                        mappings.brk = new;
                        drop(mappings);
                        drop(removed);
                    }
                    Err(_) => return unchanged,
                }
            } else {
                mappings.brk = new;
            }
            return to;
        }
        let range = UserRange { start: UserAddr(old_end), end: UserAddr(new_end) };
        let clear = new_end.checked_add(PAGE_SIZE).is_some_and(|end| {
            mappings
                .set
                .at_or_above(range.start)
                .is_none_or(|(above, vma)| VmaSet::start_with_guard(above, vma) >= end)
        });
        let rw = Protection::READ | Protection::WRITE;
        let mut vma = Vma::anonymous(rw, VmaFlags::empty());
        vma.flags |= mappings.lock_future;
        let is_locked = vma.flags.contains(VmaFlags::LOCKED);
        if !clear
            || !self.layout.user.contains_range(range)
            || mappings.set.len() > MAX_MAPPINGS
            || (is_locked && mappings.may_lock(limits, range.len()).is_err())
            || mappings.may_expand(limits, range.len(), true).is_err()
        {
            return unchanged;
        }
        if let Err(error) = cx.map(range, rw, Backing::Anonymous, MapOptions::empty()) {
            tracing::debug!(%error, "the program break was not moved");
            return unchanged;
        }
        mappings.set.insert(range, vma);
        mappings.brk = new;
        drop(mappings);
        if is_locked {
            populate_pages(cx, range, rw, true);
        }
        to
    }
}
