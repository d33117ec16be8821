// SPDX-License-Identifier: Apache-2.0
//! Guest memory as a plan: where things are, and the one door to what is there.
//!
//! * **What it is.** The pages are the stub's own and the host's MMU serves them. A [`MemoryManager`]
//!   keeps what Linux's `mm_struct` keeps: which [`Vma`] lies where, what it may become, limits, the
//!   program break. To change memory it decides under its lock and lets the *calling* stub thread make
//!   the host call, through the task's own [`platform::Context`]; what the host refuses is not entered.
//! * **The types to know.** [`MemoryManager`]; [`Vma`]; [`Mappable`] (a file's contents) and
//!   [`MappedFile`] (the open file), which upper layers implement. [`user`] is the door to the bytes.
//! * **Invariants.** Plan and host agree wherever the guest can look. No page fault comes here but for
//!   stacks that outgrow what was mapped at first ([`MemoryManager::grow_stack`]).
//! * **Lock level.** `Mappings`, held during host calls on the same space. What is unmapped is dropped
//!   after it: a file's last reference may take file-system locks.
//! * **What it deliberately does not do.** It swaps, copies on write, reclaims and collapses nothing:
//!   the host does. NUMA policy is accepted, not followed.

pub mod advise;
mod brk;
mod fault;
mod fork;
mod layout;
pub mod lock;
mod map;
pub mod mappable;
mod maps_file;
mod program;
mod protect;
pub mod query;
mod remap;
mod shared;
mod unmap;
pub mod user;
mod vma;
mod vma_set;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use abi::{Errno, PAGE_SIZE, UserAddr, UserRange};
use platform::{AddressSpace, Platform, Vdso};

pub use platform::{HostCallError, Protection};

pub use layout::Layout;
pub use map::{FileToMap, MapRequest, MapSource};
pub use mappable::{HostRange, Mappable};
pub use maps_file::MapsEntry;
pub use program::ProgramInfo;
pub use remap::RemapRequest;
pub use shared::SharedMemory;
pub use user::{UserSink, UserSource};
pub use vma::{FileMapping, FileRef, MappedFile, Vma, VmaFlags};
pub use vma_set::Usage;

use crate::sync::{Mutex, levels};
use vma_set::VmaSet;

/// The most mappings of an address space (`vm.max_map_count`).
pub const MAX_MAPPINGS: usize = 65_530;

/// The end of what a Linux process may name on x86-64 (`TASK_SIZE_MAX`). More than the guest may map.
pub const TASK_SIZE: u64 = (1 << 47) - PAGE_SIZE;

/// What the calling task may use. Taken from its resource limits at each call.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`.
    pub data: u64,
    /// `RLIMIT_STACK`.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`.
    pub locked: u64,
    /// `CAP_IPC_LOCK`.
    pub may_lock: bool,
}

impl Limits {
    /// No limits.
    pub const NONE: Limits = Limits {
        address_space: u64::MAX,
        data: u64::MAX,
        stack: u64::MAX,
        locked: u64::MAX,
        may_lock: true,
    };
}

/// What the lock guards.
#[derive(Debug, Clone)]
pub(crate) struct Mappings {
    set: VmaSet,
    /// Where the program break began and where it is (not rounded).
    brk_start: u64,
    brk: u64,
    /// `MCL_FUTURE`: flags that new mappings get.
    lock_future: VmaFlags,
    program: ProgramInfo,
}

/// The plan of one address space. Shared by tasks that share memory (`CLONE_VM`).
pub struct MemoryManager {
    id: u64,
    space: Arc<dyn AddressSpace>,
    layout: Layout,
    vdso: Option<Vdso>,
    mappings: Mutex<Mappings, levels::Mappings>,
}

impl MemoryManager {
    /// The plan of `space`, in which nothing is mapped yet.
    pub fn new(
        platform: &dyn Platform,
        space: Arc<dyn AddressSpace>,
        layout: Layout,
    ) -> Arc<MemoryManager> {
        let mappings = Mappings {
            set: VmaSet::default(),
            brk_start: 0,
            brk: 0,
            lock_future: VmaFlags::empty(),
            program: ProgramInfo::default(),
        };
        Arc::new(MemoryManager::with(space, layout, platform.vdso(), mappings))
    }

    fn with(
        space: Arc<dyn AddressSpace>,
        layout: Layout,
        vdso: Option<Vdso>,
        mappings: Mappings,
    ) -> MemoryManager {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        MemoryManager { id, space, layout, vdso, mappings: Mutex::new(mappings) }
    }

    /// A number that no other plan of this sandbox ever had: the key of private futexes.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The stub process that holds the pages.
    pub fn space(&self) -> &Arc<dyn AddressSpace> {
        &self.space
    }

    /// Where things go.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The host's vDSO as the guest sees it.
    pub fn vdso(&self) -> Option<Vdso> {
        self.vdso
    }

    /// Bytes by kind (`/proc/<pid>/statm`, `VmSize` and its kin).
    pub fn usage(&self) -> Usage {
        self.mappings.lock().set.usage()
    }
}

impl fmt::Debug for MemoryManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryManager {}", self.id)
    }
}

impl Mappings {
    /// may_expand_vm() of Linux's `mm/mmap.c`.
    fn may_expand(&self, limits: &Limits, bytes: u64, is_data: bool) -> Result<(), Errno> {
        let usage = self.set.usage();
        let within = |used: u64, limit: u64| used.saturating_add(bytes) <= limit;
        if !within(usage.total, limits.address_space)
            || (is_data && !within(usage.data, limits.data))
        {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// mlock_future_ok() of Linux's `mm/mmap.c`.
    fn may_lock(&self, limits: &Limits, bytes: u64) -> Result<(), Errno> {
        let locked = self.set.usage().locked.saturating_add(bytes);
        if limits.may_lock || locked <= limits.locked { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    fn has_sealed(&self, range: UserRange) -> bool {
        self.set.overlapping(range).any(|(_, vma)| vma.flags.contains(VmaFlags::SEALED))
    }
}

/// What the guest is told when the host did not carry out a change.
fn refused(error: HostCallError) -> Errno {
    match error {
        HostCallError::Refused(errno) => errno,
        HostCallError::Lost(error) => {
            tracing::debug!(%error, "memory was not changed");
            Errno::ENOMEM
        }
    }
}

/// `bytes` rounded up to whole pages; `None` when that wraps.
pub(crate) fn page_align(bytes: u64) -> Option<u64> {
    UserAddr(bytes).page_ceil().map(UserAddr::raw)
}

/// The pages of mmap(2)'s and mprotect(2)'s three bits.
pub fn protection(prot: abi::mman::Prot) -> Protection {
    use abi::mman::Prot;
    let mut protection = Protection::empty();
    protection.set(Protection::READ, prot.contains(Prot::READ));
    protection.set(Protection::WRITE, prot.contains(Prot::WRITE));
    protection.set(Protection::EXECUTE, prot.contains(Prot::EXEC));
    protection
}
