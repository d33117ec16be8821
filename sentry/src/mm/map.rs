// SPDX-License-Identifier: Apache-2.0
//! mmap(2). Checks stand in the order of Linux's `mm/mmap.c: do_mmap`.

use std::sync::Arc;

use abi::{
    Errno, PAGE_SIZE, UserAddr, UserRange,
    mman::{MADV_POPULATE_READ, MADV_POPULATE_WRITE, MapFlags, Prot},
};
use platform::{Backing, Context, MapOptions, Protection};

use super::{
    FileMapping, FileRef, HostRange, Layout, Limits, MAX_MAPPINGS, Mappable, MappedFile, Mappings,
    MemoryManager, SharedMemory, TASK_SIZE, Vma, VmaFlags, page_align, protection, refused,
    vma_set::VmaSet,
};

/// Flags that old kernels knew: others are ignored in `MAP_SHARED` and `MAP_PRIVATE`.
const KNOWN: MapFlags = MapFlags::all().union(MapFlags::SHARED_VALIDATE);
/// The size of a huge page: what the host can back by one must be aligned to it.
const HUGE: u64 = 2 << 20;
/// The end of what `MAP_32BIT` may return.
const LOW_END: u64 = 0x8000_0000;

/// An open file as mmap(2) needs it.
#[derive(Debug, Clone)]
pub struct FileToMap {
    /// The contents, or why there are none (`ENODEV`).
    pub mappable: Result<Arc<dyn Mappable>, Errno>,
    /// The open file.
    pub file: Arc<dyn MappedFile>,
    /// Opened for reading.
    pub is_readable: bool,
    /// Opened for writing.
    pub is_writable: bool,
    /// The inode takes appends only (`IS_APPEND`).
    pub is_append_only: bool,
    /// Its mount or its file system forbids execution.
    pub is_noexec: bool,
}

/// What to map.
#[derive(Debug, Clone)]
pub enum MapSource {
    /// `MAP_ANONYMOUS`.
    Anonymous,
    /// A file, from a page-aligned offset on.
    File(FileToMap, u64),
}

/// mmap(2)'s arguments. The handler has checked the offset's alignment and found the file.
#[derive(Debug, Clone)]
pub struct MapRequest {
    /// A hint, or with `MAP_FIXED` the place.
    pub addr: UserAddr,
    /// Bytes.
    pub len: u64,
    /// Protection; unknown bits are ignored, as Linux does.
    pub prot: Prot,
    /// Flags.
    pub flags: MapFlags,
    /// What to map.
    pub source: MapSource,
}

/// What the host is to show.
enum Show {
    Zeroes,
    File { host: HostRange, shared: bool },
}

impl MemoryManager {
    /// mmap(2): the start of the new mapping.
    pub fn map(
        &self,
        cx: &mut dyn Context,
        limits: &Limits,
        request: &MapRequest,
    ) -> Result<UserAddr, Errno> {
        let (flags, kind) = (request.flags, request.flags & MapFlags::TYPE);
        if request.len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_align(request.len).filter(|&len| len != 0).ok_or(Errno::ENOMEM)?;
        if let MapSource::File(_, offset) = &request.source
            && offset.checked_add(len).is_none()
        {
            return Err(Errno::EOVERFLOW);
        }
        if self.mappings.lock().set.len() > MAX_MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        // Linux looks for the place before it looks at the file; nothing is entered yet.
        let is_anonymous = matches!(request.source, MapSource::Anonymous);
        let wants_huge = is_anonymous && kind == MapFlags::PRIVATE;
        let _free: UserRange =
            self.place(&self.mappings.lock(), request.addr, len, flags, wants_huge)?;
        if flags.contains(MapFlags::LOCKED) && limits.locked == 0 && !limits.may_lock {
            return Err(Errno::EPERM);
        }
        let protection = protection(request.prot);
        let (vma_flags, content, show) = self.content(request, kind, len, protection)?;
        let mut vma = Vma { protection, flags: vma_flags, content, name: None };
        if flags.contains(MapFlags::GROWSDOWN) {
            vma.flags |= VmaFlags::GROWS_DOWN;
        }
        if flags.contains(MapFlags::LOCKED) {
            vma.flags |= VmaFlags::LOCKED;
        }
        let mut options = MapOptions::empty();
        if flags.contains(MapFlags::NORESERVE) {
            vma.flags |= VmaFlags::NO_RESERVE;
            options |= MapOptions::NORESERVE;
        }

        let mut mappings = self.mappings.lock();
        vma.flags |= mappings.lock_future;
        let is_locked = vma.flags.contains(VmaFlags::LOCKED);
        if is_locked {
            mappings.may_lock(limits, len)?;
        }
        let range = self.place(&mappings, request.addr, len, flags, wants_huge)?;
        let replaced = self.enter(cx, &mut mappings, limits, range, vma, &show, options)?;
        drop(mappings);
        drop(replaced);

        let populate = flags.contains(MapFlags::POPULATE) && !flags.contains(MapFlags::NONBLOCK);
        if populate || is_locked {
            populate_pages(cx, range, protection, !matches!(show, Show::File { shared: true, .. }));
        }
        Ok(range.start)
    }

    /// Maps `vma` (anonymous, or a private file mapping) at exactly `range`: for the loader.
    pub(crate) fn map_fixed(
        &self,
        cx: &mut dyn Context,
        limits: &Limits,
        range: UserRange,
        vma: Vma,
    ) -> Result<(), Errno> {
        if !self.layout.user.contains_range(range) {
            return Err(Errno::ENOMEM);
        }
        let show = match &vma.content {
            None => Show::Zeroes,
            Some(content) => Show::File {
                host: content.mappable.host_range(content.offset, range.len())?,
                shared: vma.flags.contains(VmaFlags::SHARED),
            },
        };
        let mut options = MapOptions::empty();
        options.set(MapOptions::NORESERVE, vma.flags.contains(VmaFlags::NO_RESERVE));
        let mut mappings = self.mappings.lock();
        let replaced = self.enter(cx, &mut mappings, limits, range, vma, &show, options)?;
        drop(mappings);
        drop(replaced);
        Ok(())
    }

    /// mmap_region(): replaces what is in `range`, on the host and then in the plan. What was replaced
    /// is for the caller to drop when it has given back its lock.
    #[allow(clippy::too_many_arguments, reason = "the parts of one decision, made by the callers")]
    fn enter(
        &self,
        cx: &mut dyn Context,
        mappings: &mut Mappings,
        limits: &Limits,
        range: UserRange,
        vma: Vma,
        show: &Show,
        options: MapOptions,
    ) -> Result<Vec<(UserRange, Vma)>, Errno> {
        // What is replaced does not count against the limits.
        let replaced = mappings.set.mapped_bytes(range);
        mappings.may_expand(limits, range.len().saturating_sub(replaced), vma.is_data())?;
        if replaced > 0 && mappings.has_sealed(range) {
            return Err(Errno::EPERM);
        }
        let backing = match show {
            Show::Zeroes => Backing::Anonymous,
            Show::File { host, shared: true } => {
                Backing::Shared { file: std::os::fd::AsFd::as_fd(&*host.file), offset: host.offset }
            }
            Show::File { host, shared: false } => Backing::Private {
                file: std::os::fd::AsFd::as_fd(&*host.file),
                offset: host.offset,
            },
        };
        cx.map(range, vma.protection, backing, options).map_err(refused)?;
        let removed = mappings.set.remove(range);
        mappings.set.insert(range, vma);
        Ok(removed)
    }

    /// The checks on file and sharing, in do_mmap's order, and what follows from them.
    fn content(
        &self,
        request: &MapRequest,
        kind: MapFlags,
        len: u64,
        protection: Protection,
    ) -> Result<(VmaFlags, Option<FileMapping>, Show), Errno> {
        let grows = request.flags.contains(MapFlags::GROWSDOWN);
        let mut flags = VmaFlags::MAY_ALL;
        let (file, offset) = match &request.source {
            MapSource::Anonymous => {
                return match kind {
                    MapFlags::PRIVATE => Ok((flags, None, Show::Zeroes)),
                    MapFlags::SHARED if !grows => shared_memory(flags, len),
                    _ => Err(Errno::EINVAL),
                };
            }
            MapSource::File(file, offset) => (file, *offset),
        };
        if i64::try_from(offset.saturating_add(len)).is_err() {
            return Err(Errno::EOVERFLOW);
        }
        let is_shared = match kind {
            MapFlags::SHARED => true,
            MapFlags::SHARED_VALIDATE => {
                if !KNOWN.contains(request.flags) || request.flags.contains(MapFlags::SYNC) {
                    return Err(Errno::EOPNOTSUPP);
                }
                true
            }
            MapFlags::PRIVATE => false,
            _ => return Err(Errno::EINVAL),
        };
        if is_shared {
            let writes = protection.contains(Protection::WRITE);
            if (writes && !file.is_writable) || (file.is_append_only && file.is_writable) {
                return Err(Errno::EACCES);
            }
            flags |= VmaFlags::SHARED;
            flags.set(VmaFlags::MAY_WRITE, file.is_writable);
        }
        if !file.is_readable {
            return Err(Errno::EACCES);
        }
        if file.is_noexec {
            if protection.contains(Protection::EXECUTE) {
                return Err(Errno::EPERM);
            }
            flags.remove(VmaFlags::MAY_EXECUTE);
        }
        let mappable = file.mappable.clone()?;
        if grows {
            return Err(Errno::EINVAL);
        }
        if is_shared && file.is_writable && mappable.claim_write().is_err() {
            if protection.contains(Protection::WRITE) {
                return Err(Errno::EPERM);
            }
            flags.remove(VmaFlags::MAY_WRITE);
        }
        if mappable.is_zeroes() {
            let private = (flags, None, Show::Zeroes);
            return if is_shared { shared_memory(flags, len) } else { Ok(private) };
        }
        let host = mappable.host_range(offset, len)?;
        let file = FileRef::new(Arc::clone(&file.file));
        let content = FileMapping { mappable, offset, file };
        // Pages that nobody here may write look the same from a private mapping, and a stub that
        // makes it writable then changes its own copy only.
        let shared = is_shared && flags.contains(VmaFlags::MAY_WRITE);
        Ok((flags, Some(content), Show::File { host, shared }))
    }

    /// get_unmapped_area() and what do_mmap checks of its result.
    fn place(
        &self,
        mappings: &Mappings,
        addr: UserAddr,
        len: u64,
        flags: MapFlags,
        wants_huge: bool,
    ) -> Result<UserRange, Errno> {
        if len > TASK_SIZE {
            return Err(Errno::ENOMEM);
        }
        if flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) {
            if addr.raw() > TASK_SIZE - len {
                return Err(Errno::ENOMEM);
            }
            if !addr.is_page_aligned() {
                return Err(Errno::EINVAL);
            }
            // DIFFERS: `vm.mmap_min_addr` holds for CAP_SYS_RAWIO too: the host enforces it on stubs.
            if addr < self.layout.user.start {
                return Err(Errno::EPERM);
            }
            let range = UserRange::new(addr, len).ok_or(Errno::ENOMEM)?;
            // DIFFERS: the top of the address space is the stub's.
            if range.end > self.layout.user.end {
                return Err(Errno::ENOMEM);
            }
            if flags.contains(MapFlags::FIXED_NOREPLACE) && !mappings.set.is_free(range) {
                return Err(Errno::EEXIST);
            }
            return Ok(range);
        }
        let is_low = flags.contains(MapFlags::LOW_2GB);
        let start = self
            .at_hint(mappings, addr, len, is_low)
            .or_else(|| self.find_gap(mappings, len, is_low, wants_huge))
            .ok_or(Errno::ENOMEM)?;
        UserRange::new(UserAddr(start), len).ok_or(Errno::ENOMEM)
    }

    /// The hint itself, where it is free.
    fn at_hint(&self, mappings: &Mappings, addr: UserAddr, len: u64, is_low: bool) -> Option<u64> {
        if addr.is_null() {
            return None;
        }
        // round_hint_to_min(), then PAGE_ALIGN as arch_get_unmapped_area does it.
        let start = UserAddr(addr.raw() & !(PAGE_SIZE - 1)).max(self.layout.user.start);
        let range = UserRange::new(start, len)?;
        let end = if is_low { UserAddr(LOW_END) } else { self.layout.user.end };
        if range.end > end || !mappings.set.is_free(range) {
            return None;
        }
        let clear = mappings
            .set
            .at_or_above(range.end)
            .is_none_or(|(above, vma)| VmaSet::start_with_guard(above, vma) >= range.end.raw());
        clear.then_some(start.raw())
    }

    /// A free place of `len` bytes, a multiple of `align`: for the loader.
    pub(crate) fn find_room(&self, len: u64, align: u64) -> Result<u64, Errno> {
        let len = page_align(len).ok_or(Errno::ENOMEM)?;
        let below = UserRange { start: self.layout.user.start, end: self.layout.map_base };
        self.mappings.lock().set.highest_gap(below, len, align).ok_or(Errno::ENOMEM)
    }

    pub(super) fn find_gap(
        &self,
        mappings: &Mappings,
        len: u64,
        is_low: bool,
        wants_huge: bool,
    ) -> Option<u64> {
        let Layout { user, map_base, low_base, .. } = self.layout;
        let set = &mappings.set;
        if is_low {
            return set.lowest_gap(UserRange { start: low_base, end: UserAddr(LOW_END) }, len);
        }
        let below = UserRange { start: user.start, end: map_base };
        if wants_huge
            && len.is_multiple_of(HUGE)
            && let Some(found) = set.highest_gap(below, len, HUGE)
        {
            return Some(found);
        }
        set.highest_gap(below, len, PAGE_SIZE).or_else(|| {
            let third = UserAddr(TASK_SIZE / 3 & !(PAGE_SIZE - 1));
            set.lowest_gap(UserRange { start: third, end: user.end }, len)
        })
    }
}

/// `len` bytes of memory for all who will share the mapping.
fn shared_memory(
    flags: VmaFlags,
    len: u64,
) -> Result<(VmaFlags, Option<FileMapping>, Show), Errno> {
    let memory = SharedMemory::anonymous(len)?;
    let host = memory.host_range(0, len)?;
    let file = FileRef::new(Arc::clone(&memory) as Arc<dyn MappedFile>);
    let content = FileMapping { mappable: memory, offset: 0, file };
    Ok((flags | VmaFlags::SHARED, Some(content), Show::File { host, shared: true }))
}

/// Brings pages in. mmap(2) does not fail when this does.
pub(super) fn populate_pages(
    cx: &mut dyn Context,
    range: UserRange,
    protection: Protection,
    is_private: bool,
) {
    let advice = if protection.contains(Protection::WRITE) && is_private {
        MADV_POPULATE_WRITE
    } else {
        MADV_POPULATE_READ
    };
    if let Err(error) = cx.advise(range, advice) {
        tracing::trace!(%error, "pages were not brought in early");
    }
}
