// SPDX-License-Identifier: Apache-2.0
//! ELF headers, accepted and refused as Linux's `fs/binfmt_elf.c` does.

use abi::{
    Errno, PAGE_SIZE,
    elf::{
        ELFMAG, EM_X86_64, ET_DYN, ET_EXEC, Ehdr, PT_GNU_STACK, PT_INTERP, PT_LOAD, Phdr,
        SegmentFlags,
    },
    limits::PATH_MAX,
    num::{to_u64, to_usize},
};
use zerocopy::FromBytes;

use super::Executable;

/// Headers of segments, in bytes, at most.
const MOST_HEADERS: usize = 65_536;

/// A file's headers.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) header: Ehdr,
    pub(super) segments: Vec<Phdr>,
    /// Without `PT_GNU_STACK` the stack of a 64-bit program is not executable; with it, as it says.
    pub(super) has_executable_stack: bool,
}

impl Program {
    /// The headers of a program whose first bytes are `start`: `ENOEXEC` if it is none.
    pub(super) fn read(file: &Executable, start: &[u8]) -> Result<Program, Errno> {
        let (header, _) = Ehdr::read_from_prefix(start).map_err(|_| Errno::ENOEXEC)?;
        check(&header).ok_or(Errno::ENOEXEC)?;
        file.mappable().map_err(|_| Errno::ENOEXEC)?;
        Program::with_segments(file, header).map_err(|_| Errno::ENOEXEC)
    }

    /// The headers of a program's interpreter: `ELIBBAD` if it cannot be one.
    pub(super) fn read_interpreter(file: &Executable) -> Result<Program, Errno> {
        let mut start = [0; size_of::<Ehdr>()];
        file.read_exact(0, &mut start)?;
        let (header, _) = Ehdr::read_from_prefix(&start).map_err(|_| Errno::ELIBBAD)?;
        check(&header).ok_or(Errno::ELIBBAD)?;
        Program::with_segments(file, header).map_err(|_| Errno::ELIBBAD)
    }

    /// load_elf_phdrs().
    fn with_segments(file: &Executable, header: Ehdr) -> Result<Program, Errno> {
        let size = usize::from(header.e_phnum) * size_of::<Phdr>();
        if usize::from(header.e_phentsize) != size_of::<Phdr>() || size == 0 || size > MOST_HEADERS
        {
            return Err(Errno::ENOEXEC);
        }
        let mut bytes = vec![0; size];
        file.read_exact(header.e_phoff, &mut bytes)?;
        let segments: Vec<Phdr> = bytes
            .chunks_exact(size_of::<Phdr>())
            .filter_map(|bytes| Phdr::read_from_bytes(bytes).ok())
            .collect();
        let has_executable_stack = segments
            .iter()
            .rfind(|segment| segment.p_type == PT_GNU_STACK)
            .is_some_and(|s| SegmentFlags::from_bits_retain(s.p_flags).contains(SegmentFlags::X));
        Ok(Program { header, segments, has_executable_stack })
    }

    /// The path in the first `PT_INTERP`.
    pub(super) fn interpreter(&self, file: &Executable) -> Result<Option<Vec<u8>>, Errno> {
        let Some(segment) = self.segments.iter().find(|segment| segment.p_type == PT_INTERP) else {
            return Ok(None);
        };
        if segment.p_filesz > to_u64(PATH_MAX) || segment.p_filesz < 2 {
            return Err(Errno::ENOEXEC);
        }
        let mut path = vec![0; to_usize(segment.p_filesz)];
        file.read_exact(segment.p_offset, &mut path)?;
        if path.last() != Some(&0) {
            return Err(Errno::ENOEXEC);
        }
        // What the C string holds.
        let end = path.iter().position(|&byte| byte == 0).unwrap_or_default();
        path.truncate(end);
        Ok(Some(path))
    }

    /// The segments that are loaded.
    pub(super) fn loaded(&self) -> impl Iterator<Item = &Phdr> {
        self.segments.iter().filter(|segment| segment.p_type == PT_LOAD)
    }

    /// Whether it may be loaded anywhere.
    pub(super) fn is_relocatable(&self) -> bool {
        self.header.e_type == ET_DYN
    }

    /// total_mapping_size(): from the first page of the lowest segment to the end of the highest. `None`
    /// if there is nothing to load or the numbers make no sense.
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let low = self.loaded().map(|segment| page_floor(segment.p_vaddr)).min()?;
        let mut high = 0;
        for segment in self.loaded() {
            high = high.max(segment.p_vaddr.checked_add(segment.p_memsz)?);
        }
        (high > low).then_some((low, high))
    }

    /// maximum_alignment(): the largest alignment that is a power of two, at least a page.
    pub(super) fn alignment(&self) -> u64 {
        let wanted = self.loaded().map(|segment| segment.p_align);
        wanted.filter(|align| align.is_power_of_two()).max().unwrap_or(0).max(PAGE_SIZE)
    }

    /// Where the program headers lie in memory once it is loaded, before it is moved.
    pub(super) fn headers_at(&self) -> u64 {
        let at = self.header.e_phoff;
        self.loaded()
            .find(|segment| {
                at.checked_sub(segment.p_offset).is_some_and(|in_| in_ < segment.p_filesz)
            })
            .map_or(0, |segment| (at - segment.p_offset).wrapping_add(segment.p_vaddr))
    }
}

fn check(header: &Ehdr) -> Option<()> {
    let is_one = header.e_ident.starts_with(&ELFMAG)
        && matches!(header.e_type, ET_EXEC | ET_DYN)
        && header.e_machine == EM_X86_64;
    is_one.then_some(())
}

pub(super) fn page_floor(addr: u64) -> u64 {
    addr & !(PAGE_SIZE - 1)
}

pub(super) fn page_offset(addr: u64) -> u64 {
    addr & (PAGE_SIZE - 1)
}
