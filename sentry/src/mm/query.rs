// SPDX-License-Identifier: Apache-2.0
//! mincore(2), msync(2), and what futexes and others ask about an address.

use std::sync::Arc;

use abi::{Errno, PAGE_SIZE, UserAddr, UserOut, UserRange, mman::SyncFlags, num::to_usize};
use platform::{Context, Protection};

use super::{Mappable, MemoryManager, TASK_SIZE, VmaFlags, page_align, refused, user};

/// What an address means to all who share it.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// Private to this address space.
    Private,
    /// A place in contents that others may map too.
    Shared {
        /// The contents.
        mappable: Arc<dyn Mappable>,
        /// The byte in it.
        offset: u64,
    },
}

impl MemoryManager {
    /// What the page at `addr` is, if it may be used as `needs` says; `EFAULT` otherwise.
    pub fn meaning(&self, addr: UserAddr, needs: Protection) -> Result<Meaning, Errno> {
        let mappings = self.mappings.lock();
        let (range, vma) = mappings.set.find(addr).ok_or(Errno::EFAULT)?;
        if !vma.protection.contains(needs) {
            return Err(Errno::EFAULT);
        }
        match &vma.content {
            Some(content) if vma.flags.contains(VmaFlags::SHARED) => {
                let offset = content.offset.saturating_add(addr.raw() - range.start.raw());
                Ok(Meaning::Shared { mappable: Arc::clone(&content.mappable), offset })
            }
            _ => Ok(Meaning::Private),
        }
    }

    /// Whether all from `start` to `end` is mapped.
    pub fn is_mapped(&self, start: UserAddr, end: UserAddr) -> bool {
        self.mappings.lock().set.covers(UserRange { start, end })
    }

    /// Whether nothing between `start` and `end` is mapped.
    pub fn is_free(&self, start: UserAddr, end: UserAddr) -> bool {
        self.mappings.lock().set.is_free(UserRange { start, end })
    }

    /// mincore(2). Checks stand in the order of Linux's `mm/mincore.c`.
    pub fn residency(
        &self,
        cx: &mut dyn Context,
        addr: UserAddr,
        len: u64,
        to: UserOut<u8>,
    ) -> Result<(), Errno> {
        /// Pages looked at in one go.
        const CHUNK: u64 = 4096;
        if !addr.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        let end = addr.raw().checked_add(len).filter(|&end| end <= TASK_SIZE);
        let end = end.and_then(page_align).ok_or(Errno::ENOMEM)?;
        let mut at = addr;
        while at.raw() < end {
            let found = self.range_at(at).ok_or(Errno::ENOMEM)?;
            let stop = found.end.raw().min(end).min(at.raw().saturating_add(CHUNK * PAGE_SIZE));
            let piece = UserRange { start: at, end: UserAddr(stop) };
            let mut pages = vec![0; to_usize(piece.len() / PAGE_SIZE)];
            cx.residency(piece, &mut pages).map_err(refused)?;
            let done = to_usize((at.raw() - addr.raw()) / PAGE_SIZE);
            user::write_slice(cx, to.element(done)?, &pages)?;
            at = piece.end;
        }
        Ok(())
    }

    /// msync(2). Checks stand in the order of Linux's `mm/msync.c`.
    pub fn sync(
        &self,
        cx: &mut dyn Context,
        addr: UserAddr,
        len: u64,
        flags: SyncFlags,
    ) -> Result<(), Errno> {
        if !SyncFlags::all().contains(flags)
            || !addr.is_page_aligned()
            || flags.contains(SyncFlags::ASYNC | SyncFlags::SYNC)
        {
            return Err(Errno::EINVAL);
        }
        let len = page_align(len).ok_or(Errno::ENOMEM)?;
        let range = UserRange::new(addr, len).ok_or(Errno::ENOMEM)?;
        let mut has_hole = false;
        let mut at = range.start;
        while at < range.end {
            let next = {
                let mappings = self.mappings.lock();
                let next = mappings.set.at_or_above(at);
                next.map(|(found, vma)| (found, vma.flags, vma.content.is_some()))
            };
            let Some((found, vma_flags, is_file)) = next.filter(|(r, ..)| r.start < range.end)
            else {
                return Err(Errno::ENOMEM);
            };
            has_hole |= found.start > at;
            if flags.contains(SyncFlags::INVALIDATE) && vma_flags.contains(VmaFlags::LOCKED) {
                return Err(Errno::EBUSY);
            }
            let stop = found.end.min(range.end);
            if is_file && vma_flags.contains(VmaFlags::SHARED) {
                let piece = UserRange { start: found.start.max(at), end: stop };
                cx.sync(piece, flags.bits().cast_signed()).map_err(refused)?;
            }
            at = stop;
        }
        if has_hole { Err(Errno::ENOMEM) } else { Ok(()) }
    }
}
