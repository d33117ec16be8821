// SPDX-License-Identifier: Apache-2.0
//! A program's segments in memory, mapped as Linux's `fs/binfmt_elf.c: elf_load` does.

use std::sync::Arc;

use abi::{
    Errno, PAGE_SIZE, UserAddr, UserRange,
    elf::{Phdr, SegmentFlags},
};
use platform::{Context, Protection};

use super::{
    Executable,
    elf::{Program, page_floor, page_offset},
    guest,
};
use crate::mm::{
    FileMapping, FileRef, Limits, MappedFile, MemoryManager, TASK_SIZE, Vma, VmaFlags, page_align,
};

/// Where a program lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapped {
    /// What was added to the addresses in the file.
    pub(super) bias: u64,
    pub(super) entry: u64,
    /// The end of the highest segment.
    pub(super) end: u64,
    pub(super) code: (u64, u64),
    pub(super) data: (u64, u64),
    /// The program headers, their size each and their number.
    pub(super) headers: u64,
    pub(super) header_count: u16,
}

/// Maps the program itself.
pub(super) fn map_program(
    mm: &MemoryManager,
    cx: &mut dyn Context,
    limits: &Limits,
    file: &Executable,
    program: &Program,
) -> Result<Mapped, Errno> {
    let (low, high) = program.span().ok_or(Errno::EINVAL)?;
    let bias = if program.is_relocatable() {
        let base = mm.layout().program_base.raw() & !(program.alignment() - 1);
        // Too big for its usual place: wherever there is room.
        if base.checked_add(high - low).is_some_and(|end| end <= mm.layout().map_base.raw()) {
            base.wrapping_sub(low)
        } else {
            mm.find_room(high - low, program.alignment())?.wrapping_sub(low)
        }
    } else {
        0
    };
    map_segments(mm, cx, limits, file, program, bias)
}

/// Maps a program's interpreter: an address from the place where mmap(2) would put it.
pub(super) fn map_interpreter(
    mm: &MemoryManager,
    cx: &mut dyn Context,
    limits: &Limits,
    file: &Executable,
    program: &Program,
) -> Result<Mapped, Errno> {
    let (low, high) = program.span().ok_or(Errno::EINVAL)?;
    let bias = if program.is_relocatable() {
        mm.find_room(high - low, program.alignment())?.wrapping_sub(low)
    } else {
        0
    };
    map_segments(mm, cx, limits, file, program, bias)
}

fn map_segments(
    mm: &MemoryManager,
    cx: &mut dyn Context,
    limits: &Limits,
    file: &Executable,
    program: &Program,
    bias: u64,
) -> Result<Mapped, Errno> {
    let entry = program.header.e_entry.wrapping_add(bias);
    let mut mapped = Mapped {
        bias,
        entry,
        end: 0,
        code: (u64::MAX, 0),
        data: (0, 0),
        headers: match program.headers_at() {
            0 => 0,
            at => at.wrapping_add(bias),
        },
        header_count: program.header.e_phnum,
    };
    for segment in program.loaded() {
        let start = segment.p_vaddr.wrapping_add(bias);
        if start >= TASK_SIZE
            || segment.p_filesz > segment.p_memsz
            || segment.p_memsz > TASK_SIZE
            || TASK_SIZE - segment.p_memsz < start
        {
            return Err(Errno::EINVAL);
        }
        load_segment(mm, cx, limits, file, segment, start)?;
        let (file_end, end) = (start + segment.p_filesz, start + segment.p_memsz);
        let is_code = SegmentFlags::from_bits_retain(segment.p_flags).contains(SegmentFlags::X);
        if is_code {
            mapped.code.0 = mapped.code.0.min(start);
            mapped.code.1 = mapped.code.1.max(file_end);
        }
        mapped.data.0 = mapped.data.0.max(start);
        mapped.data.1 = mapped.data.1.max(file_end);
        mapped.end = mapped.end.max(end);
    }
    if mapped.code.0 > mapped.code.1 {
        mapped.code = (0, 0);
    }
    if entry >= TASK_SIZE {
        return Err(Errno::EINVAL);
    }
    Ok(mapped)
}

/// elf_load(): the part that the file has, and zeroes up to the size in memory.
fn load_segment(
    mm: &MemoryManager,
    cx: &mut dyn Context,
    limits: &Limits,
    file: &Executable,
    segment: &Phdr,
    start: u64,
) -> Result<(), Errno> {
    let flags = SegmentFlags::from_bits_retain(segment.p_flags);
    let mut protection = Protection::empty();
    protection.set(Protection::READ, flags.contains(SegmentFlags::R));
    protection.set(Protection::WRITE, flags.contains(SegmentFlags::W));
    protection.set(Protection::EXECUTE, flags.contains(SegmentFlags::X));
    let first = page_floor(start);
    let within = page_offset(start);
    let file_end = start + segment.p_filesz;
    let end = page_align(start + segment.p_memsz).ok_or(Errno::EINVAL)?;
    let mut zeroes_from = first;
    if segment.p_filesz > 0 {
        let offset = segment.p_offset.checked_sub(within).ok_or(Errno::EINVAL)?;
        if page_offset(offset) != 0 {
            return Err(Errno::EINVAL);
        }
        let mapped_end = page_align(file_end).ok_or(Errno::EINVAL)?;
        let range = UserRange { start: guest(first), end: guest(mapped_end) };
        let description = Arc::clone(file.description()) as Arc<dyn MappedFile>;
        let content =
            FileMapping { mappable: file.mappable()?, offset, file: FileRef::new(description) };
        let vma = Vma { protection, flags: VmaFlags::MAY_ALL, content: Some(content), name: None };
        mm.map_fixed(cx, limits, range, vma)?;
        if segment.p_memsz > segment.p_filesz {
            clear(cx, file_end, mapped_end, protection)?;
        }
        zeroes_from = mapped_end;
    }
    if zeroes_from < end {
        // vm_brk_flags(): readable and writable whatever the segment says, executable if it says so.
        let rw = Protection::READ | Protection::WRITE;
        let protection = rw | (protection & Protection::EXECUTE);
        let range = UserRange { start: guest(zeroes_from), end: guest(end) };
        mm.map_fixed(cx, limits, range, Vma::anonymous(protection, VmaFlags::empty()))?;
    }
    Ok(())
}

/// padzero(): the rest of the last page that shows the file. Only a writable segment must have it.
fn clear(cx: &mut dyn Context, from: u64, to: u64, protection: Protection) -> Result<(), Errno> {
    let zeroes = [0; 4096];
    let len = usize::try_from((to - from).min(PAGE_SIZE)).map_err(|_| Errno::EINVAL)?;
    let bytes = zeroes.get(..len).unwrap_or_default();
    if len > 0 && protection.contains(Protection::WRITE) && cx.write(UserAddr(from), bytes) < len {
        return Err(Errno::EFAULT);
    }
    Ok(())
}
