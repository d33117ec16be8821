// SPDX-License-Identifier: Apache-2.0
//! What fork(2) does to memory.

use std::sync::Arc;

use abi::Errno;
use platform::Context;

use super::{MemoryManager, VmaFlags, vma_set::VmaSet};

impl MemoryManager {
    /// Copies the address space: the host copies the pages (on write), and the plan is copied without
    /// what `MADV_DONTFORK` excludes. Returns the child's plan and its first, stopped, stub thread.
    pub fn fork(
        &self,
        cx: &mut dyn Context,
    ) -> Result<(Arc<MemoryManager>, Box<dyn Context>), Errno> {
        // Held over both, so that no sibling changes memory in between.
        let mappings = self.mappings.lock();
        let child_cx = cx.fork().map_err(|error| {
            tracing::warn!(%error, "an address space was not copied");
            Errno::EAGAIN
        })?;
        let mut copy = mappings.clone();
        drop(mappings);
        let mut set = VmaSet::default();
        for (range, vma) in copy.set.iter() {
            if !vma.flags.contains(VmaFlags::DONT_FORK) {
                let mut vma = vma.clone();
                vma.flags.remove(VmaFlags::LOCKED | VmaFlags::LOCK_ON_FAULT);
                set.insert(range, vma);
            }
        }
        copy.set = set;
        copy.lock_future = VmaFlags::empty();
        let space = Arc::clone(child_cx.space());
        let child = MemoryManager::with(space, self.layout, self.vdso, copy);
        Ok((Arc::new(child), child_cx))
    }
}
