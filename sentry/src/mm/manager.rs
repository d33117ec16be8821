// SPDX-License-Identifier: Apache-2.0
//! The plan of one address space.

use std::sync::Arc;

use platform::AddressSpace;

/// Where things are in one address space.
#[derive(Debug)]
pub struct MemoryManager {
    space: Arc<dyn AddressSpace>,
}

impl MemoryManager {
    /// The plan of an empty `space`.
    pub fn new(space: Arc<dyn AddressSpace>) -> Arc<MemoryManager> {
        Arc::new(MemoryManager { space })
    }

    /// The memory itself.
    pub fn space(&self) -> &Arc<dyn AddressSpace> {
        &self.space
    }
}
