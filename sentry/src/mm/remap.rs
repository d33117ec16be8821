// SPDX-License-Identifier: Apache-2.0
//! mremap(2). Checks stand in the order of Linux's `mm/mremap.c`.

use std::os::fd::AsFd;

use abi::{Errno, PAGE_SIZE, UserAddr, UserRange, mman::RemapFlags};
use platform::{Backing, Context, MapOptions};

use super::{
    Limits, MAX_MAPPINGS, Mappings, MemoryManager, TASK_SIZE, Vma, VmaFlags, map::populate_pages,
    page_align, refused,
};

/// mremap(2)'s arguments.
#[derive(Debug, Clone, Copy)]
pub struct RemapRequest {
    /// What is there.
    pub addr: UserAddr,
    /// Its length; 0 duplicates a shared mapping.
    pub old_len: u64,
    /// The wanted length.
    pub new_len: u64,
    /// How.
    pub flags: RemapFlags,
    /// Where to, with `MREMAP_FIXED`; a hint with `MREMAP_DONTUNMAP`.
    pub new_addr: UserAddr,
}

type Removed = Vec<(UserRange, Vma)>;

impl MemoryManager {
    /// mremap(2): where the mapping is now.
    pub fn remap(
        &self,
        cx: &mut dyn Context,
        limits: &Limits,
        request: &RemapRequest,
    ) -> Result<UserAddr, Errno> {
        let RemapRequest { addr, flags, new_addr, .. } = *request;
        let (is_fixed, keeps) =
            (flags.contains(RemapFlags::FIXED), flags.contains(RemapFlags::DONTUNMAP));
        let may_move = flags.contains(RemapFlags::MAYMOVE);
        if !RemapFlags::all().contains(flags)
            || (is_fixed && !may_move)
            || (keeps && (!may_move || request.old_len != request.new_len))
            || !addr.is_page_aligned()
        {
            return Err(Errno::EINVAL);
        }
        let old_len = page_align(request.old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_align(request.new_len).filter(|&len| len != 0).ok_or(Errno::EINVAL)?;
        if new_len > TASK_SIZE {
            return Err(if is_fixed { Errno::EINVAL } else { Errno::ENOMEM });
        }
        let mut removed = Removed::new();
        let mut mappings = self.mappings.lock();
        let result = if is_fixed || keeps {
            self.remap_to(cx, &mut mappings, limits, request, (old_len, new_len), &mut removed)
        } else {
            let lens = (old_len, new_len);
            self.resize(cx, &mut mappings, limits, addr, lens, may_move, &mut removed)
        };
        let mut grown = None;
        if let Ok(at) = result
            && new_len > old_len
            && let Some((_, vma)) = mappings.set.find(at)
            && vma.flags.contains(VmaFlags::LOCKED)
        {
            let tail = UserRange {
                start: UserAddr(at.raw().saturating_add(old_len)),
                end: UserAddr(at.raw().saturating_add(new_len)),
            };
            grown = Some((tail, vma.protection, !vma.flags.contains(VmaFlags::SHARED)));
        }
        drop(mappings);
        drop(removed);
        if let Some((tail, protection, is_private)) = grown {
            populate_pages(cx, tail, protection, is_private);
        }
        result
            .inspect(|at| tracing::trace!(from = %addr, to = %at, hint = %new_addr, "memory moved"))
    }

    /// remap_file_pages(2): shows the file of a shared mapping from page `page` on at `addr`.
    ///
    /// DIFFERS: the range must lie in one mapping.
    pub fn remap_pages(
        &self,
        cx: &mut dyn Context,
        limits: &Limits,
        addr: UserAddr,
        len: u64,
        page: u64,
    ) -> Result<(), Errno> {
        let range = UserRange::new(addr, len).filter(|r| !r.is_empty()).ok_or(Errno::EINVAL)?;
        let offset = page.checked_mul(PAGE_SIZE).ok_or(Errno::EINVAL)?;
        offset.checked_add(len).ok_or(Errno::EINVAL)?;
        let found = self.mappings.lock().set.find(addr).map(|(range, vma)| (range, vma.clone()));
        let (found, mut vma) = found.ok_or(Errno::EINVAL)?;
        let content = vma.content.as_mut().ok_or(Errno::EINVAL)?;
        if !vma.flags.contains(VmaFlags::SHARED) || !found.contains_range(range) {
            return Err(Errno::EINVAL);
        }
        content.offset = offset;
        self.map_fixed(cx, limits, range, vma)
    }

    /// mremap_to(): to a given place, or anywhere with the old one left mapped.
    fn remap_to(
        &self,
        cx: &mut dyn Context,
        mappings: &mut Mappings,
        limits: &Limits,
        request: &RemapRequest,
        (old_len, new_len): (u64, u64),
        removed: &mut Removed,
    ) -> Result<UserAddr, Errno> {
        let RemapRequest { addr, flags, new_addr, .. } = *request;
        let keeps = flags.contains(RemapFlags::DONTUNMAP);
        if mappings.set.find(addr).is_none() {
            return Err(Errno::EFAULT);
        }
        let mut target = None;
        if flags.contains(RemapFlags::FIXED) {
            if !new_addr.is_page_aligned() || new_addr.raw() > TASK_SIZE - new_len {
                return Err(Errno::EINVAL);
            }
            let to = UserRange::new(new_addr, new_len).ok_or(Errno::EINVAL)?;
            let from = UserRange::new(addr, old_len).ok_or(Errno::EINVAL)?;
            if to.intersect(from).is_some() || (from.is_empty() && to.contains(addr)) {
                return Err(Errno::EINVAL);
            }
            if to.start < self.layout.user.start {
                return Err(Errno::EPERM);
            }
            // DIFFERS: the top of the address space is the stub's.
            if to.end > self.layout.user.end {
                return Err(Errno::ENOMEM);
            }
            target = Some(to);
        }
        if mappings.set.len() + 2 >= MAX_MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        if let Some(to) = target {
            removed.extend(self.take_out(cx, mappings, to)?);
        }
        let mut old_len = old_len;
        if old_len > new_len {
            let tail = UserRange {
                start: UserAddr(addr.raw().saturating_add(new_len)),
                end: UserAddr(addr.raw().saturating_add(old_len)),
            };
            removed.extend(self.take_out(cx, mappings, tail)?);
            old_len = new_len;
        }
        let vma = self.resizable(mappings, limits, addr, old_len, new_len)?;
        if keeps {
            mappings.may_expand(limits, new_len, vma.is_data())?;
        }
        let to = match target {
            Some(to) => to,
            None => self.gap(mappings, new_len)?,
        };
        self.move_mapping(cx, mappings, (addr, old_len), to, vma, keeps, removed)
    }

    #[allow(clippy::too_many_arguments, reason = "the call's arguments and the lock's contents")]
    fn resize(
        &self,
        cx: &mut dyn Context,
        mappings: &mut Mappings,
        limits: &Limits,
        addr: UserAddr,
        (old_len, new_len): (u64, u64),
        may_move: bool,
        removed: &mut Removed,
    ) -> Result<UserAddr, Errno> {
        let Some((found, _)) = mappings.set.find(addr) else { return Err(Errno::EFAULT) };
        if old_len >= new_len {
            if old_len > new_len {
                let start = addr.checked_add(new_len).map_err(|_| Errno::EINVAL)?;
                let end = addr.checked_add(old_len).map_err(|_| Errno::EINVAL)?;
                removed.extend(self.take_out(cx, mappings, UserRange { start, end })?);
            }
            return Ok(addr);
        }
        let vma = self.resizable(mappings, limits, addr, old_len, new_len)?;
        let from = UserRange::new(addr, old_len).ok_or(Errno::EFAULT)?;
        let to = UserRange::new(addr, new_len);
        if let Some(to) = to
            && !from.is_empty()
            && from.end == found.end
            && to.end <= self.layout.user.end
            && mappings.set.is_free(UserRange { start: from.end, end: to.end })
        {
            cx.remap(from, to, false).map_err(refused)?;
            let mut rest = vma;
            rest.skip(old_len);
            mappings.set.insert(UserRange { start: from.end, end: to.end }, rest);
            return Ok(addr);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let to = self.gap(mappings, new_len)?;
        self.move_mapping(cx, mappings, (addr, old_len), to, vma, false, removed)
    }

    fn gap(&self, mappings: &Mappings, len: u64) -> Result<UserRange, Errno> {
        let start = self.find_gap(mappings, len, false, false).ok_or(Errno::ENOMEM)?;
        UserRange::new(UserAddr(start), len).ok_or(Errno::ENOMEM)
    }

    /// vma_to_resize(): the mapping as it is from `addr` on, if it may get `new_len` bytes.
    fn resizable(
        &self,
        mappings: &Mappings,
        limits: &Limits,
        addr: UserAddr,
        old_len: u64,
        new_len: u64,
    ) -> Result<Vma, Errno> {
        let (found, vma) = mappings.set.find(addr).ok_or(Errno::EFAULT)?;
        if vma.flags.contains(VmaFlags::SEALED) {
            return Err(Errno::EPERM);
        }
        // A private mapping cannot be had twice; long ago that gave an unrelated new one.
        if old_len == 0 && !vma.flags.contains(VmaFlags::SHARED) {
            return Err(Errno::EINVAL);
        }
        if old_len > found.end.raw() - addr.raw() {
            return Err(Errno::EFAULT);
        }
        let mut vma = vma.clone();
        vma.skip(addr.raw() - found.start.raw());
        if let Some(content) = &vma.content
            && content.offset.checked_add(new_len).is_none()
        {
            return Err(Errno::EINVAL);
        }
        let growth = new_len.saturating_sub(old_len);
        if growth > 0 {
            if vma.flags.contains(VmaFlags::LOCKED) {
                mappings.may_lock(limits, growth)?;
            }
            mappings.may_expand(limits, growth, vma.is_data())?;
        }
        Ok(vma)
    }

    /// move_vma(): on the host, then in the plan.
    #[allow(clippy::too_many_arguments, reason = "the parts of one decision, made by the callers")]
    fn move_mapping(
        &self,
        cx: &mut dyn Context,
        mappings: &mut Mappings,
        (addr, old_len): (UserAddr, u64),
        to: UserRange,
        vma: Vma,
        keeps: bool,
        removed: &mut Removed,
    ) -> Result<UserAddr, Errno> {
        if mappings.set.len() + 3 > MAX_MAPPINGS {
            return Err(Errno::ENOMEM);
        }
        let from = UserRange::new(addr, old_len).ok_or(Errno::EFAULT)?;
        if from.is_empty() {
            // Shared, so a second look at the same contents.
            let content = vma.content.as_ref().ok_or(Errno::EINVAL)?;
            let host = content.mappable.host_range(content.offset, to.len())?;
            let backing = Backing::Shared { file: host.file.as_fd(), offset: host.offset };
            cx.map(to, vma.protection, backing, MapOptions::empty()).map_err(refused)?;
        } else {
            cx.remap(from, to, keeps).map_err(refused)?;
        }
        if keeps {
            // What stays is empty and no longer locked.
            mappings.set.update(from, |vma| {
                vma.flags.remove(VmaFlags::LOCKED | VmaFlags::LOCK_ON_FAULT);
            });
        } else {
            removed.extend(mappings.set.remove(from));
        }
        mappings.set.insert(to, vma);
        Ok(to.start)
    }
}
