// SPDX-License-Identifier: Apache-2.0
//! munmap(2).

use abi::{Errno, UserAddr, UserRange};
use platform::Context;

use super::{MAX_MAPPINGS, Mappings, MemoryManager, TASK_SIZE, Vma, page_align, refused};

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
