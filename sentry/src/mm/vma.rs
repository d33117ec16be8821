// SPDX-License-Identifier: Apache-2.0
//! One mapping of the plan.

use std::{any::Any, fmt, sync::Arc};

use bitflags::bitflags;
use platform::Protection;

use super::Mappable;

bitflags! {
    /// What a mapping is and may become. Linux's `VM_*`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct VmaFlags: u32 {
        /// Writes are seen by all who map the same.
        const SHARED = 1;
        /// mprotect(2) may add `PROT_READ`.
        const MAY_READ = 2;
        /// mprotect(2) may add `PROT_WRITE`.
        const MAY_WRITE = 4;
        /// mprotect(2) may add `PROT_EXEC`.
        const MAY_EXECUTE = 8;
        /// Grows downwards when touched below its start.
        const GROWS_DOWN = 0x10;
        /// No memory was reserved for it.
        const NO_RESERVE = 0x20;
        /// mlock(2).
        const LOCKED = 0x40;
        /// mlock2(2) with `MLOCK_ONFAULT`.
        const LOCK_ON_FAULT = 0x80;
        /// Not copied by fork(2).
        const DONT_FORK = 0x100;
        /// Zero in a child after fork(2).
        const WIPE_ON_FORK = 0x200;
        /// Not in core files.
        const DONT_DUMP = 0x400;
        /// mseal(2).
        const SEALED = 0x800;
        /// `MADV_HUGEPAGE`.
        const HUGE_PAGES = 0x1000;
        /// `MADV_NOHUGEPAGE`.
        const NO_HUGE_PAGES = 0x2000;
        /// `MADV_SEQUENTIAL`.
        const SEQUENTIAL = 0x4000;
        /// `MADV_RANDOM`.
        const RANDOM = 0x8000;
        /// `MADV_MERGEABLE`.
        const MERGEABLE = 0x10000;
    }
}

impl VmaFlags {
    /// Everything may be allowed later.
    pub const MAY_ALL: VmaFlags =
        VmaFlags::MAY_READ.union(VmaFlags::MAY_WRITE).union(VmaFlags::MAY_EXECUTE);

    /// What mprotect(2) may allow at most.
    pub fn may(self) -> Protection {
        let mut may = Protection::empty();
        may.set(Protection::READ, self.contains(VmaFlags::MAY_READ));
        may.set(Protection::WRITE, self.contains(VmaFlags::MAY_WRITE));
        may.set(Protection::EXECUTE, self.contains(VmaFlags::MAY_EXECUTE));
        may
    }
}

/// What a mapping keeps of the open file that it came from. Implemented above this layer.
pub trait MappedFile: Send + Sync + fmt::Debug + Any {
    /// The last column of `/proc/<pid>/maps`.
    fn path(&self) -> Vec<u8>;

    /// One more mapping refers to it (System V segments count them).
    fn mapped(&self) {}

    /// One less does.
    fn unmapped(&self) {}

    /// For `/proc/<pid>/exe` and `map_files`.
    fn as_any(&self) -> &(dyn Any + Send + Sync);
}

/// A mapping's own reference to its file: tells the file when it comes and goes.
#[derive(Debug)]
pub struct FileRef(Arc<dyn MappedFile>);

impl FileRef {
    /// One more reference by a mapping.
    pub fn new(file: Arc<dyn MappedFile>) -> FileRef {
        file.mapped();
        FileRef(file)
    }

    /// The file.
    pub fn file(&self) -> &Arc<dyn MappedFile> {
        &self.0
    }
}

impl Clone for FileRef {
    fn clone(&self) -> FileRef {
        FileRef::new(Arc::clone(&self.0))
    }
}

impl Drop for FileRef {
    fn drop(&mut self) {
        self.0.unmapped();
    }
}

/// The contents of a mapping that shows a file (or shared anonymous memory).
#[derive(Debug, Clone)]
pub struct FileMapping {
    /// The contents.
    pub mappable: Arc<dyn Mappable>,
    /// Where in the file the mapping starts. Page-aligned.
    pub offset: u64,
    /// The open file.
    pub file: FileRef,
}

/// One mapping: how its pages may be used and what they show.
#[derive(Debug, Clone)]
pub struct Vma {
    /// How its pages may be used now.
    pub protection: Protection,
    /// What it is and may become.
    pub flags: VmaFlags,
    /// The file it shows; `None` for private anonymous memory.
    pub content: Option<FileMapping>,
    /// `PR_SET_VMA_ANON_NAME`.
    pub name: Option<Arc<[u8]>>,
}

impl Vma {
    /// Private anonymous memory.
    pub fn anonymous(protection: Protection, flags: VmaFlags) -> Vma {
        Vma { protection, flags: flags | VmaFlags::MAY_ALL, content: None, name: None }
    }

    /// Whether it counts as data: private and writable, and no stack (Linux's is_data_mapping()).
    pub fn is_data(&self) -> bool {
        self.protection.contains(Protection::WRITE)
            && !self.flags.intersects(VmaFlags::SHARED | VmaFlags::GROWS_DOWN)
    }

    /// Cuts `bytes` off the front: what the rest shows.
    pub(super) fn skip(&mut self, bytes: u64) {
        if let Some(content) = &mut self.content {
            content.offset = content.offset.saturating_add(bytes);
        }
    }

    /// Whether `next`, which begins where this mapping of `len` bytes ends, goes on in it.
    pub(super) fn continues_in(&self, len: u64, next: &Vma) -> bool {
        if self.protection != next.protection || self.flags != next.flags || self.name != next.name
        {
            return false;
        }
        match (&self.content, &next.content) {
            (None, None) => true,
            (Some(here), Some(there)) => {
                Arc::ptr_eq(&here.mappable, &there.mappable)
                    && Arc::ptr_eq(&here.file.0, &there.file.0)
                    && here.offset.checked_add(len) == Some(there.offset)
            }
            _ => false,
        }
    }
}
