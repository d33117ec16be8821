// SPDX-License-Identifier: Apache-2.0
//! munmap(2).

use std::sync::Arc;

use abi::{Errno, UserAddr, UserRange};
use platform::Context;

use super::{
    MAX_MAPPINGS, MappedFile, Mappings, MemoryManager, TASK_SIZE, Vma, page_align, refused,
};

impl MemoryManager {
    /// munmap(2).
    pub fn unmap(&self, cx: &mut dyn Context, addr: UserAddr, len: u64) -> Result<(), Errno> {
        if !addr.is_page_aligned() || addr.raw() > TASK_SIZE || len > TASK_SIZE - addr.raw() {
            return Err(Errno::EINVAL);
        }
        let len = page_align(len).filter(|&len| len != 0).ok_or(Errno::EINVAL)?;
        let range = UserRange::new(addr, len).ok_or(Errno::EINVAL)?;
        let removed = self.take_out(cx, &mut self.mappings.lock(), range)?;
        drop(removed);
        Ok(())
    }

    /// shmdt(2): unmaps what is left of the attachment that began at `addr`. `size_of` gives the size of
    /// a file that can be attached. `EINVAL` if nothing was.
    pub fn detach(
        &self,
        cx: &mut dyn Context,
        addr: UserAddr,
        size_of: &dyn Fn(&Arc<dyn MappedFile>) -> Option<u64>,
    ) -> Result<Arc<dyn MappedFile>, Errno> {
        let mut mappings = self.mappings.lock();
        // Its beginning may be unmapped already: any piece that lies where it should will do.
        let attached = |range: UserRange, vma: &Vma| {
            let content = vma.content.as_ref()?;
            let is_there = range.start.raw().checked_sub(addr.raw()) == Some(content.offset);
            let size = size_of(content.file.file()).filter(|_| is_there)?;
            Some((Arc::clone(content.file.file()), size))
        };
        let beyond = UserRange { start: addr, end: self.layout.user.end };
        let first = mappings.set.overlapping(beyond).find_map(|(range, vma)| attached(range, vma));
        let (file, size) = first.ok_or(Errno::EINVAL)?;
        let all = UserRange::new(addr, page_align(size).ok_or(Errno::EINVAL)?);
        let all = all.ok_or(Errno::EINVAL)?;
        let pieces: Vec<UserRange> = mappings
            .set
            .overlapping(all)
            .filter(|(range, vma)| {
                attached(*range, vma).is_some_and(|(other, _)| Arc::ptr_eq(&other, &file))
            })
            .map(|(range, _)| range)
            .collect();
        let mut removed = Vec::new();
        for piece in pieces {
            removed.extend(self.take_out(cx, &mut mappings, piece)?);
        }
        drop(mappings);
        drop(removed);
        Ok(file)
    }

    /// Unmaps `range` on the host and in the plan. What was there is for the caller to drop when it has
    /// given back its lock.
    pub(super) fn take_out(
        &self,
        cx: &mut dyn Context,
        mappings: &mut Mappings,
        range: UserRange,
    ) -> Result<Vec<(UserRange, Vma)>, Errno> {
        // The host refuses ranges that are not the guest's; nothing of the guest's is there.
        let Some(inside) = range.intersect(self.layout.user) else { return Ok(Vec::new()) };
        if mappings.set.is_free(inside) {
            return Ok(Vec::new());
        }
        if mappings.set.is_hole(inside) && mappings.set.len() >= MAX_MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        if mappings.has_sealed(inside) {
            return Err(Errno::EPERM);
        }
        cx.unmap(inside).map_err(refused)?;
        Ok(mappings.set.remove(inside))
    }
}
