// SPDX-License-Identifier: Apache-2.0
//! `linux/elf.h`: executables and core files.

use crate::macros::{consts, flags, layout};

consts! {
    u16;
    ET_NONE = 0;
    ET_REL = 1;
    ET_EXEC = 2;
    ET_DYN = 3;
    ET_CORE = 4;
    EM_386 = 3;
    EM_X86_64 = 62;
    EM_AARCH64 = 183;
    PN_XNUM = 65535;
}

consts! {
    u32;
    PT_NULL = 0;
    PT_LOAD = 1;
    PT_DYNAMIC = 2;
    PT_INTERP = 3;
    PT_NOTE = 4;
    PT_SHLIB = 5;
    PT_PHDR = 6;
    PT_TLS = 7;
    PT_GNU_EH_FRAME = 0x6474e550;
    PT_GNU_STACK = 0x6474e551;
    PT_GNU_RELRO = 0x6474e552;
    PT_GNU_PROPERTY = 0x6474e553;
    EV_CURRENT = 1;
    NT_PRSTATUS = 1;
    NT_PRFPREG = 2;
    NT_PRPSINFO = 3;
    NT_AUXV = 6;
    NT_SIGINFO = 0x53494749;
    NT_FILE = 0x46494c45;
    NT_X86_XSTATE = 0x202;
}

flags! {
    /// `p_flags`.
    pub struct SegmentFlags: u32 = "PF_" {
        X = 1;
        W = 2;
        R = 4;
    }
}

consts! {
    usize;
    EI_NIDENT = 16;
    EI_CLASS = 4;
    EI_DATA = 5;
    EI_VERSION = 6;
    EI_OSABI = 7;
}

consts! {
    u8;
    ELFCLASS64 = 2;
    ELFDATA2LSB = 1;
}

/// The first four bytes.
pub const ELFMAG: [u8; 4] = *b"\x7fELF";

layout! {
    /// `Elf64_Ehdr`.
    pub struct Ehdr [64] {
        e_ident: [u8; 16],
        e_type: u16,
        e_machine: u16,
        e_version: u32,
        e_entry: u64,
        e_phoff: u64,
        e_shoff: u64,
        e_flags: u32,
        e_ehsize: u16,
        e_phentsize: u16,
        e_phnum: u16,
        e_shentsize: u16,
        e_shnum: u16,
        e_shstrndx: u16,
    }
    /// `Elf64_Phdr`.
    pub struct Phdr [56] {
        p_type: u32,
        p_flags: u32,
        p_offset: u64,
        p_vaddr: u64,
        p_paddr: u64,
        p_filesz: u64,
        p_memsz: u64,
        p_align: u64,
    }
    /// `Elf64_Nhdr`.
    pub struct Nhdr [12] {
        n_namesz: u32,
        n_descsz: u32,
        n_type: u32,
    }
}
