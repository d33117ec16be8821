// SPDX-License-Identifier: Apache-2.0
//! mprotect(2), mseal(2) and names of anonymous memory.

use std::sync::Arc;

use abi::{Errno, UserAddr, UserRange, mman::Prot};
use platform::{Context, Protection};

use super::{
    Limits, MAX_MAPPINGS, Mappings, MemoryManager, VmaFlags, page_align, protection, refused,
};

/// What mprotect(2) lets pass (arch_validate_prot()).
const VALID: Prot = Prot::READ.union(Prot::WRITE).union(Prot::EXEC).union(Prot::SEM);
const GROWS: Prot = Prot::GROWSDOWN.union(Prot::GROWSUP);

impl MemoryManager {
    /// mprotect(2). Checks stand in the order of Linux's `mm/mprotect.c: do_mprotect_pkey`.
    pub fn protect(
        &self,
        cx: &mut dyn Context,
        limits: &Limits,
        addr: UserAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Errno> {
        let (grows, prot) = (prot & GROWS, prot - GROWS);
        if grows == GROWS || !addr.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let len = page_align(len).ok_or(Errno::ENOMEM)?;
        let mut range = UserRange::new(addr, len).filter(|r| !r.is_empty()).ok_or(Errno::ENOMEM)?;
        if !VALID.contains(prot) {
            return Err(Errno::EINVAL);
        }
        let wanted = protection(prot);
        let mut mappings = self.mappings.lock();
        let (first, vma) = mappings.set.at_or_above(addr).ok_or(Errno::ENOMEM)?;
        if grows.contains(Prot::GROWSDOWN) {
            if first.start >= range.end {
                return Err(Errno::ENOMEM);
            }
            if !vma.flags.contains(VmaFlags::GROWS_DOWN) {
                return Err(Errno::EINVAL);
            }
            range.start = range.start.min(first.start);
        } else {
            if first.start > range.start {
                return Err(Errno::ENOMEM);
            }
            // Nothing grows upwards on this machine.
            if grows.contains(Prot::GROWSUP) {
                return Err(Errno::EINVAL);
            }
        }
        let (good, result) = Self::protectable(&mappings, limits, range, wanted);
        if !good.is_empty() {
            cx.protect(good, wanted).map_err(refused)?;
            mappings.set.update(good, |vma| vma.protection = wanted);
        }
        result
    }

    /// How far from its start on `range` may get the wanted protection, and what stops it there.
    fn protectable(
        mappings: &Mappings,
        limits: &Limits,
        range: UserRange,
        wanted: Protection,
    ) -> (UserRange, Result<(), Errno>) {
        let mut good = UserRange { start: range.start, end: range.start };
        // Pages that become data count against RLIMIT_DATA.
        let mut new_data: u64 = 0;
        let mut pieces = 0;
        for (found, vma) in mappings.set.overlapping(range) {
            if found.start > good.end {
                return (good, Err(Errno::ENOMEM));
            }
            if !vma.flags.may().contains(wanted) {
                return (good, Err(Errno::EACCES));
            }
            if vma.flags.contains(VmaFlags::SEALED) {
                return (good, Err(Errno::EPERM));
            }
            let end = found.end.min(range.end);
            let mut changed = vma.protection != wanted;
            if changed {
                let becomes_data = wanted.contains(Protection::WRITE)
                    && !vma.protection.contains(Protection::WRITE)
                    && !vma.flags.intersects(VmaFlags::SHARED | VmaFlags::GROWS_DOWN);
                if becomes_data {
                    new_data += end.raw().saturating_sub(found.start.max(range.start).raw());
                    if mappings.set.usage().data.saturating_add(new_data) > limits.data {
                        return (good, Err(Errno::ENOMEM));
                    }
                }
                changed = found.start < range.start || found.end > range.end;
            }
            pieces += usize::from(changed);
            if mappings.set.len() + pieces > MAX_MAPPINGS {
                return (good, Err(Errno::ENOMEM));
            }
            good.end = end;
        }
        let whole = if good.end < range.end { Err(Errno::ENOMEM) } else { Ok(()) };
        (good, whole)
    }

    /// mseal(2) with checked flags: from now on the mappings cannot be changed.
    pub fn seal(&self, addr: UserAddr, len: u64) -> Result<(), Errno> {
        if !addr.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        let aligned = page_align(len).ok_or(Errno::EINVAL)?;
        let range = UserRange::new(addr, aligned).ok_or(Errno::EINVAL)?;
        if range.is_empty() {
            return Ok(());
        }
        let mut mappings = self.mappings.lock();
        if !mappings.set.covers(range) {
            return Err(Errno::ENOMEM);
        }
        mappings.set.update(range, |vma| vma.flags |= VmaFlags::SEALED);
        Ok(())
    }

    /// prctl(2) `PR_SET_VMA_ANON_NAME`: what `/proc/<pid>/maps` shows after `anon:`.
    pub fn set_name(&self, addr: UserAddr, len: u64, name: Option<&[u8]>) -> Result<(), Errno> {
        if !addr.is_page_aligned() {
            return Err(Errno::EINVAL);
        }
        let aligned = page_align(len).ok_or(Errno::EINVAL)?;
        let range = UserRange::new(addr, aligned).ok_or(Errno::EINVAL)?;
        if range.is_empty() {
            return Ok(());
        }
        let name: Option<Arc<[u8]>> = name.map(Arc::from);
        let mut mappings = self.mappings.lock();
        if mappings.set.overlapping(range).any(|(_, vma)| vma.content.is_some()) {
            return Err(Errno::EBADF);
        }
        mappings.set.update(range, |vma| vma.name.clone_from(&name));
        if mappings.set.covers(range) { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}
