// SPDX-License-Identifier: Apache-2.0
//! What `/proc/<pid>/{maps,smaps,statm}` say.

use std::sync::Arc;

use abi::{PAGE_SIZE, UserAddr, UserRange};
use platform::Protection;

use super::{Mappable, MappedFile, Mappings, MemoryManager, Vma, VmaFlags};

/// The column in which names start, as Linux's `seq_pad` has it.
const NAME_COLUMN: usize = 73;
/// The page of the vsyscall emulation, which the host shows in every stub.
const VSYSCALL: UserRange =
    UserRange { start: UserAddr(0xffff_ffff_ff60_0000), end: UserAddr(0xffff_ffff_ff60_1000) };

/// One mapping as `/proc/<pid>/maps` shows it.
#[derive(Debug, Clone)]
pub struct MapsEntry {
    /// Where.
    pub range: UserRange,
    /// `r`, `w`, `x`.
    pub protection: Protection,
    /// What else it is.
    pub flags: VmaFlags,
    /// Offset in the file.
    pub offset: u64,
    /// Device number, as stat(2) has it.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// The last column.
    pub name: Vec<u8>,
}

impl MapsEntry {
    fn special(range: UserRange, protection: Protection, name: &[u8]) -> MapsEntry {
        let flags = VmaFlags::empty();
        let name = name.to_vec();
        MapsEntry { range, protection, flags, offset: 0, device: 0, inode: 0, name }
    }

    /// The line, with its end.
    pub fn line(&self) -> Vec<u8> {
        let bit = |has: bool, letter: char| if has { letter } else { '-' };
        let major = (self.device >> 8 & 0xfff) | (self.device >> 32 & !0xfff);
        let minor = (self.device & 0xff) | (self.device >> 12 & !0xff);
        let head = format!(
            "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
            self.range.start.raw(),
            self.range.end.raw(),
            bit(self.protection.contains(Protection::READ), 'r'),
            bit(self.protection.contains(Protection::WRITE), 'w'),
            bit(self.protection.contains(Protection::EXECUTE), 'x'),
            if self.flags.contains(VmaFlags::SHARED) { 's' } else { 'p' },
            self.offset,
            major,
            minor & 0xffff_ffff,
            self.inode,
        );
        let mut line = head.into_bytes();
        if !self.name.is_empty() {
            line.resize(line.len().max(NAME_COLUMN), b' ');
            for &byte in &self.name {
                // A line is a line: seq_path() escapes what would end it.
                if byte == b'\n' {
                    line.extend_from_slice(b"\\012");
                } else {
                    line.push(byte);
                }
            }
        }
        line.push(b'\n');
        line
    }
}

impl MemoryManager {
    /// All mappings, in order.
    pub fn maps(&self) -> Vec<MapsEntry> {
        // Paths are asked for outside the lock: a file system may have to take its own.
        let snapshot: Vec<(MapsEntry, Option<Shown>)> = {
            let mappings = self.mappings.lock();
            let names = Names::of(&mappings);
            mappings.set.iter().map(|(range, vma)| names.entry(range, vma)).collect()
        };
        let complete = |(mut entry, shown): (MapsEntry, Option<Shown>)| {
            if let Some((mappable, file)) = shown {
                (entry.device, entry.inode) = mappable.identity();
                entry.name = file.path();
            }
            entry
        };
        let mut entries: Vec<MapsEntry> = snapshot.into_iter().map(complete).collect();
        if let Some(vdso) = self.vdso {
            let (r, rx) = (Protection::READ, Protection::READ | Protection::EXECUTE);
            if !vdso.data.is_empty() {
                entries.push(MapsEntry::special(vdso.data, r, b"[vvar]"));
            }
            entries.push(MapsEntry::special(vdso.code, rx, b"[vdso]"));
        }
        entries.push(MapsEntry::special(VSYSCALL, Protection::EXECUTE, b"[vsyscall]"));
        entries
    }

    /// The contents of `/proc/<pid>/maps`.
    pub fn maps_lines(&self) -> Vec<u8> {
        self.maps().iter().flat_map(MapsEntry::line).collect()
    }

    /// The contents of `/proc/<pid>/smaps`.
    ///
    /// DIFFERS: which pages are present only the host knows; they are shown as none.
    pub fn smaps_lines(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for entry in self.maps() {
            text.extend_from_slice(&entry.line());
            text.extend_from_slice(smaps_body(&entry).as_bytes());
        }
        text
    }

    /// The seven numbers of `/proc/<pid>/statm`, in pages: size, resident, shared, text, lib, data, dirty.
    ///
    /// DIFFERS: which pages are present only the host knows. What is certainly there (the program's text
    /// and a page of stack) stands for it.
    pub fn statm(&self) -> [u64; 7] {
        let mappings = self.mappings.lock();
        let usage = mappings.set.usage();
        let text = mappings.program.end_code.saturating_sub(mappings.program.start_code);
        let pages = |bytes: u64| bytes.div_ceil(PAGE_SIZE);
        let (text, data) = (pages(text), pages(usage.data.saturating_add(usage.stack)));
        [pages(usage.total), text + 1, text, text, 0, data, 0]
    }
}

/// A file and its contents, to be asked for what a line shows of them.
type Shown = (Arc<dyn Mappable>, Arc<dyn MappedFile>);

/// What names of mappings depend on.
struct Names {
    brk: (u64, u64),
    stack: u64,
}

impl Names {
    fn of(mappings: &Mappings) -> Names {
        let stack = mappings.program.start_stack;
        Names { brk: (mappings.brk_start, mappings.brk), stack }
    }

    /// The entry, and of a file what has to be asked.
    fn entry(&self, range: UserRange, vma: &Vma) -> (MapsEntry, Option<Shown>) {
        let (protection, flags) = (vma.protection, vma.flags);
        let mut entry =
            MapsEntry { protection, flags, ..MapsEntry::special(range, protection, b"") };
        match &vma.content {
            Some(content) => {
                entry.offset = content.offset;
                let file = Arc::clone(content.file.file());
                (entry, Some((Arc::clone(&content.mappable), file)))
            }
            None => {
                entry.name = self.name(range, vma);
                (entry, None)
            }
        }
    }

    fn name(&self, range: UserRange, vma: &Vma) -> Vec<u8> {
        let (start, end) = (range.start.raw(), range.end.raw());
        if start < self.brk.1 && end > self.brk.0 {
            b"[heap]".to_vec()
        } else if start <= self.stack && self.stack <= end {
            b"[stack]".to_vec()
        } else if let Some(name) = &vma.name {
            [b"[anon:", &**name, b"]"].concat()
        } else {
            Vec::new()
        }
    }
}

fn smaps_body(entry: &MapsEntry) -> String {
    let kib = entry.range.len() / 1024;
    let mut text = format!(
        "Size:           {kib:8} kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n"
    );
    const ZEROES: [&str; 18] = [
        "Rss",
        "Pss",
        "Pss_Dirty",
        "Shared_Clean",
        "Shared_Dirty",
        "Private_Clean",
        "Private_Dirty",
        "Referenced",
        "Anonymous",
        "KSM",
        "LazyFree",
        "AnonHugePages",
        "ShmemPmdMapped",
        "FilePmdMapped",
        "Shared_Hugetlb",
        "Private_Hugetlb",
        "Swap",
        "SwapPss",
    ];
    for name in ZEROES {
        text.push_str(&format!("{:<16}{:8} kB\n", format!("{name}:"), 0));
    }
    let locked = if entry.flags.contains(VmaFlags::LOCKED) { kib } else { 0 };
    text.push_str(&format!("Locked:         {locked:8} kB\nTHPeligible:           0\nVmFlags: "));
    let shared = entry.flags.contains(VmaFlags::SHARED);
    let letters = [
        (entry.protection.contains(Protection::READ), "rd "),
        (entry.protection.contains(Protection::WRITE), "wr "),
        (entry.protection.contains(Protection::EXECUTE), "ex "),
        (shared, "sh "),
        (entry.flags.contains(VmaFlags::MAY_READ), "mr "),
        (entry.flags.contains(VmaFlags::MAY_WRITE), "mw "),
        (entry.flags.contains(VmaFlags::MAY_EXECUTE), "me "),
        (shared, "ms "),
        (entry.flags.contains(VmaFlags::GROWS_DOWN), "gd "),
        (entry.flags.contains(VmaFlags::LOCKED), "lo "),
        (entry.flags.contains(VmaFlags::SEQUENTIAL), "sr "),
        (entry.flags.contains(VmaFlags::RANDOM), "rr "),
        (entry.flags.contains(VmaFlags::DONT_FORK), "dc "),
        (entry.flags.contains(VmaFlags::NO_RESERVE), "nr "),
        (entry.flags.contains(VmaFlags::WIPE_ON_FORK), "wf "),
        (entry.flags.contains(VmaFlags::DONT_DUMP), "dd "),
        (entry.flags.contains(VmaFlags::HUGE_PAGES), "hg "),
        (entry.flags.contains(VmaFlags::NO_HUGE_PAGES), "nh "),
        (entry.flags.contains(VmaFlags::MERGEABLE), "mg "),
        (entry.flags.contains(VmaFlags::SEALED), "sl "),
    ];
    for (has, word) in letters {
        if has {
            text.push_str(word);
        }
    }
    text.push('\n');
    text
}
