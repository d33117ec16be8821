// SPDX-License-Identifier: Apache-2.0
//! `/proc/<pid>/{maps,smaps,smaps_rollup,numa_maps,map_files}`.

use std::{fmt::Write, sync::Arc};

use abi::{DevId, Errno};

use super::{process::Subject, view::MapLine};
use crate::{
    fs::pseudo::{Entries, PseudoFilesystem, Tree},
    vfs::Inode,
};

fn lines(subject: &Subject) -> Vec<MapLine> {
    subject.task.memory().map_or_else(Vec::new, |memory| memory.maps())
}

/// One line: addresses, rights, offset, device, inode, and the name at column 73.
fn show(line: &MapLine, to: &mut Vec<u8>) {
    let flag = |on: bool, letter: char| if on { letter } else { '-' };
    let device = DevId(line.device);
    let head = format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
        line.start,
        line.end,
        flag(line.is_readable, 'r'),
        flag(line.is_writable, 'w'),
        flag(line.is_executable, 'x'),
        if line.is_shared { 's' } else { 'p' },
        line.offset,
        device.major(),
        device.minor(),
        line.inode,
    );
    if line.name.is_empty() {
        to.extend_from_slice(head.as_bytes());
    } else {
        to.extend_from_slice(format!("{head:<73}").as_bytes());
        for byte in &line.name {
            match byte {
                b'\n' => to.extend_from_slice(b"\\012"),
                byte => to.push(*byte),
            }
        }
    }
    to.push(b'\n');
}

pub(super) fn maps(subject: &Subject) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines(subject) {
        show(&line, &mut text);
    }
    text
}

/// The figures of one mapping. What is resident is known to the host alone: sizes are exact, the rest
/// is what an untouched mapping has.
fn figures(size: u64, to: &mut Vec<u8>) {
    let rows = [
        ("Rss", 0),
        ("Pss", 0),
        ("Pss_Dirty", 0),
        ("Shared_Clean", 0),
        ("Shared_Dirty", 0),
        ("Private_Clean", 0),
        ("Private_Dirty", 0),
        ("Referenced", 0),
        ("Anonymous", 0),
        ("KSM", 0),
        ("LazyFree", 0),
        ("AnonHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FilePmdMapped", 0),
        ("Shared_Hugetlb", 0),
        ("Private_Hugetlb", 0),
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", 0),
    ];
    let mut text = String::new();
    if size > 0 {
        let pages = [("Size", size), ("KernelPageSize", 4096), ("MMUPageSize", 4096)];
        for (name, bytes) in pages {
            let _ = writeln!(text, "{:<16}{:>8} kB", format!("{name}:"), bytes / 1024);
        }
    }
    for (name, kib) in rows {
        let _ = writeln!(text, "{:<16}{kib:>8} kB", format!("{name}:"));
    }
    to.extend_from_slice(text.as_bytes());
}

pub(super) fn smaps(subject: &Subject) -> Vec<u8> {
    let mut text = Vec::new();
    for line in lines(subject) {
        show(&line, &mut text);
        figures(line.end.saturating_sub(line.start), &mut text);
        text.extend_from_slice(format!("THPeligible:    0\nVmFlags: {}\n", line.flags).as_bytes());
    }
    text
}

pub(super) fn smaps_rollup(subject: &Subject) -> Vec<u8> {
    let all = lines(subject);
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return Vec::new() };
    let mut text = Vec::new();
    let whole = MapLine {
        start: first.start,
        end: last.end,
        name: b"[rollup]".to_vec(),
        ..MapLine::default()
    };
    show(&whole, &mut text);
    figures(0, &mut text);
    text
}

pub(super) fn numa_maps(subject: &Subject) -> Vec<u8> {
    let mut text = String::new();
    for line in lines(subject) {
        let _ = write!(text, "{:08x} default", line.start);
        if line.name.first() == Some(&b'/') {
            let _ = write!(text, " file={}", String::from_utf8_lossy(&line.name));
        } else if line.name == b"[heap]" || line.name == b"[stack]" {
            let _ =
                write!(text, " {}", String::from_utf8_lossy(&line.name).trim_matches(['[', ']']));
        }
        text.push_str(" kernelpagesize_kB=4\n");
    }
    text.into_bytes()
}

/// `map_files`: Linux shows it to the checkpointing privileged only; here it is empty.
pub(super) struct MapFiles(pub(super) Subject);

impl Tree for MapFiles {
    fn lookup(
        &self,
        _filesystem: &Arc<PseudoFilesystem>,
        _name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        Err(if self.0.task.is_alive() { Errno::ENOENT } else { Errno::ESRCH })
    }

    fn entries(&self, _filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        Ok(Vec::new())
    }
}
