// SPDX-License-Identifier: Apache-2.0
//! Programs in memory, well-formed and otherwise.

use std::{any::Any, os::unix::fs::FileExt, sync::Arc};

use abi::{
    Errno, UserAddr,
    auxv::{AT_ENTRY, AT_EXECFN, AT_PHDR, AT_PHNUM, AT_RANDOM},
    cred::Capabilities,
    elf::{ELFMAG, EM_X86_64, ET_DYN, ET_EXEC, Ehdr, PT_INTERP, PT_LOAD, Phdr},
    fcntl::OpenFlags,
};
use platform::Protection;
use zerocopy::IntoBytes;

use super::{Arguments, Executable, LoadError, Loaded, Request, load};
use crate::{
    creds::Credentials,
    io::Sink,
    mm::{Limits, Mappable, SharedMemory, fake::FakePlatform},
    vfs::{FileDescription, FileOps, ResolveContext},
    wait::Try,
};

#[derive(Debug)]
struct TestFile {
    bytes: Vec<u8>,
    memory: Arc<SharedMemory>,
}

impl FileOps for TestFile {
    fn read_at(&self, sink: &mut dyn Sink, offset: u64) -> Result<Try<usize>, Errno> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        Ok(Try::Done(sink.write(&self.bytes[start..])?))
    }

    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        Ok(Arc::clone(&self.memory) as _)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

fn try_load(bytes: &[u8]) -> Result<Loaded, LoadError> {
    let memory = SharedMemory::new(bytes.len() as u64, b"/program").expect("a memfd");
    let host = std::fs::File::from(memory.file().try_clone().expect("a descriptor"));
    host.write_all_at(bytes, 0).expect("a writable memfd");
    let ops = Box::new(TestFile { bytes: bytes.to_vec(), memory });
    let file = FileDescription::anonymous(ops, "program", OpenFlags::empty());
    let place = file.place().clone();
    let creds = Arc::new(Credentials::root(Capabilities::empty()));
    let mut identify = |_: &Arc<FileDescription>| Ok((Arc::clone(&creds), false));
    load(Request {
        platform: &FakePlatform,
        file: Executable::of(file),
        path: b"/bin/program".to_vec(),
        is_path_inaccessible: false,
        arguments: Arguments::new(
            vec![b"program".to_vec(), b"-x".to_vec()],
            vec![b"HOME=/".to_vec()],
        ),
        resolve: &ResolveContext { root: place.clone(), start: place, creds: Arc::clone(&creds) },
        limits: Limits { stack: 8 << 20, ..Limits::NONE },
        is_randomized: true,
        identify: &mut identify,
    })
}

/// Two segments: code with the headers, and data with more in memory than in the file.
fn program(kind: u16, base: u64) -> Vec<u8> {
    let header = Ehdr {
        e_ident: {
            let mut ident = [0; 16];
            ident[..4].copy_from_slice(&ELFMAG);
            ident
        },
        e_type: kind,
        e_machine: EM_X86_64,
        e_entry: base + 0x100,
        e_phoff: 64,
        e_phentsize: 56,
        e_phnum: 2,
        ..Ehdr::default()
    };
    let load = Phdr { p_type: PT_LOAD, p_align: 0x1000, ..Phdr::default() };
    let code = Phdr { p_flags: 5, p_vaddr: base, p_filesz: 0x200, p_memsz: 0x200, ..load };
    let data = Phdr {
        p_flags: 6,
        p_offset: 0x1200,
        p_vaddr: base + 0x2200,
        p_filesz: 0x10,
        p_memsz: 0x3000,
        ..load
    };
    let mut bytes = vec![0xcc; 0x1800];
    bytes[..64].copy_from_slice(header.as_bytes());
    bytes[64..120].copy_from_slice(code.as_bytes());
    bytes[120..176].copy_from_slice(data.as_bytes());
    bytes
}

fn word(loaded: &Loaded, addr: u64) -> u64 {
    let mut bytes = [0; 8];
    assert_eq!(loaded.mm.space().read(UserAddr(addr), &mut bytes), 8, "{addr:#x} is readable");
    u64::from_le_bytes(bytes)
}

fn string(loaded: &Loaded, addr: u64) -> Vec<u8> {
    let mut bytes = [0; 64];
    let got = loaded.mm.space().read(UserAddr(addr), &mut bytes);
    bytes[..got].split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
}

#[test]
fn a_program_starts_with_its_segments_and_its_stack() {
    let loaded = try_load(&program(ET_EXEC, 0x40_0000)).expect("well-formed");
    assert_eq!(loaded.registers.rip, 0x40_0100);
    assert_eq!(loaded.name, b"program");
    let bytes = |addr: u64| {
        let mut bytes = [0; 4];
        assert_eq!(loaded.mm.space().read(UserAddr(addr), &mut bytes), 4);
        bytes
    };
    assert_eq!(bytes(0x40_0100), [0xcc; 4]);
    assert_eq!(bytes(0x40_220e), [0xcc, 0xcc, 0, 0], "what the file does not have is zero");
    assert_eq!(bytes(0x40_5000), [0; 4]);
    let rw = Protection::READ | Protection::WRITE;
    assert_eq!(loaded.mm.protection_at(UserAddr(0x40_5000)), Some(rw));

    let sp = loaded.registers.rsp;
    assert_eq!(sp % 16, 0);
    assert_eq!(word(&loaded, sp), 2);
    assert_eq!(string(&loaded, word(&loaded, sp + 8)), b"program");
    assert_eq!(string(&loaded, word(&loaded, sp + 16)), b"-x");
    assert_eq!(word(&loaded, sp + 24), 0);
    assert_eq!(string(&loaded, word(&loaded, sp + 32)), b"HOME=/");
    assert_eq!(word(&loaded, sp + 40), 0);
    let entry = |kind: u64| {
        let at = (0..).map(|index| sp + 48 + 16 * index).find(|&at| word(&loaded, at) == kind);
        word(&loaded, at.expect("there is one") + 8)
    };
    assert_eq!(entry(AT_ENTRY), 0x40_0100);
    assert_eq!((entry(AT_PHDR), entry(AT_PHNUM)), (0x40_0040, 2));
    assert_eq!(string(&loaded, entry(AT_EXECFN)), b"/bin/program");
    assert_ne!(word(&loaded, entry(AT_RANDOM)), 0);
    assert_eq!(loaded.mm.command_line(100), b"program\0-x\0");
    assert_eq!(loaded.mm.environment(100), b"HOME=/\0");
    let (start, now) = loaded.mm.program_break();
    assert!(start == now && start >= 0x40_6000, "{start:#x}");
    let lines = String::from_utf8(loaded.mm.maps_lines()).expect("ASCII");
    assert!(lines.contains("[stack]"), "{lines}");
}

#[test]
fn relocatable_programs_go_high() {
    let loaded = try_load(&program(ET_DYN, 0)).expect("well-formed");
    assert!(loaded.registers.rip > 0x5555_0000_0000, "{:#x}", loaded.registers.rip);
    assert_eq!(loaded.registers.rip % 0x1000, 0x100);
}

#[test]
fn what_is_no_program_is_refused() {
    let refusal = |bytes: &[u8]| try_load(bytes).err().map(|error| (error.errno, error.is_fatal));
    let noexec = Some((Errno::ENOEXEC, false));
    assert_eq!(refusal(b""), noexec);
    assert_eq!(refusal(b"\x7fELF"), noexec);
    assert_eq!(refusal(b"echo hello\n"), noexec);
    assert_eq!(refusal(b"#!\n"), noexec);
    let with = |change: fn(&mut Ehdr), segment: fn(&mut Phdr)| {
        let mut bytes = program(ET_EXEC, 0x40_0000);
        let (header, _) = zerocopy::FromBytes::mut_from_prefix(&mut bytes).expect("long enough");
        change(header);
        let (phdr, _) = zerocopy::FromBytes::mut_from_prefix(&mut bytes[120..]).expect("long");
        segment(phdr);
        refusal(&bytes)
    };
    assert_eq!(with(|header| header.e_type = 1, |_| ()), noexec);
    assert_eq!(with(|header| header.e_machine = 3, |_| ()), noexec);
    assert_eq!(with(|header| header.e_phnum = 0, |_| ()), noexec);
    assert_eq!(with(|header| header.e_phentsize = 57, |_| ()), noexec);
    assert_eq!(with(|header| header.e_phoff = u64::MAX - 3, |_| ()), noexec);
    assert_eq!(with(|_| (), |s| s.p_type = PT_INTERP), Some((Errno::ENOEXEC, false)));
    assert_eq!(with(|_| (), |s| s.p_memsz = 1), Some((Errno::EINVAL, true)));
    assert_eq!(with(|_| (), |s| s.p_memsz = 1 << 47), Some((Errno::EINVAL, true)));
    assert_eq!(with(|_| (), |s| s.p_vaddr = 1 << 50), Some((Errno::EINVAL, true)));
    assert_eq!(with(|_| (), |s| s.p_offset = 0x1201), Some((Errno::EINVAL, true)));
    assert_eq!(with(|header| header.e_entry = 1 << 60, |_| ()), Some((Errno::EINVAL, true)));
}

#[test]
fn no_header_makes_it_panic_or_take_much() {
    // xorshift64*: a fixed sequence is enough to vary bytes.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    };
    let mut loaded = 0;
    for round in 0..10_000_u64 {
        let mut bytes = program(if round % 2 == 0 { ET_EXEC } else { ET_DYN }, 0x40_0000);
        for _ in 0..=random() % 4 {
            let at = (random() % 176) as usize;
            // Whole words too: single bytes rarely make numbers huge.
            if random() % 2 == 0 {
                let at = at & !7;
                let word = (random() << 8) >> (random() % 64);
                bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
            } else {
                bytes[at] = random() as u8;
            }
        }
        loaded += u32::from(try_load_small(&bytes).is_ok());
    }
    assert!(loaded > 1000, "{loaded} of 10000 were still programs");
}

/// As [`try_load`] with a small limit: the fake keeps every page, which the host would not.
fn try_load_small(bytes: &[u8]) -> Result<(), LoadError> {
    let memory = SharedMemory::new(bytes.len() as u64, b"/program").expect("a memfd");
    let ops = Box::new(TestFile { bytes: bytes.to_vec(), memory });
    let file = FileDescription::anonymous(ops, "program", OpenFlags::empty());
    let place = file.place().clone();
    let creds = Arc::new(Credentials::root(Capabilities::empty()));
    let mut identify = |_: &Arc<FileDescription>| Ok((Arc::clone(&creds), false));
    load(Request {
        platform: &FakePlatform,
        file: Executable::of(file),
        path: b"x".to_vec(),
        is_path_inaccessible: false,
        arguments: Arguments::new(vec![], vec![]),
        resolve: &ResolveContext { root: place.clone(), start: place, creds: Arc::clone(&creds) },
        limits: Limits { stack: 64 << 10, address_space: 1 << 20, ..Limits::NONE },
        is_randomized: true,
        identify: &mut identify,
    })
    .map(drop)
}
