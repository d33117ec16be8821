// SPDX-License-Identifier: Apache-2.0
//! What Linux answers with a signal.

use std::os::fd::AsFd;

use platform::{Backing, Exit, MapOptions, Protection};

use crate::{
    code,
    guest::{CODE, DATA, Host, range},
};

pub fn each_kind(host: &Host) {
    let mut guest = host.guest(code::load());
    // Not mapped: SEGV_MAPERR.
    guest.registers.rdi = 0x900_0000;
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code, fault.addr), (libc::SIGSEGV, 1, 0x900_0000));
    assert_eq!((fault.trap_no, fault.error_code), (14, 4));
    assert_eq!(guest.registers.rip, CODE);
    // Not writable: SEGV_ACCERR.
    guest.put(DATA, 1);
    guest.context.protect(range(DATA, 0x1000), Protection::READ).unwrap();
    guest.load(code::store());
    guest.registers.rdi = DATA + 8;
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code, fault.addr), (libc::SIGSEGV, 2, DATA + 8));
    // DIFFERS: ptrace does not know a store from a load.
    let store = if host.platform.name() == "ptrace" { 0 } else { 2 };
    assert_eq!((fault.trap_no, fault.error_code), (14, 5 | store));
    guest.load(code::divide());
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code, fault.trap_no), (libc::SIGFPE, 1, 0));
    assert_eq!(fault.addr, guest.registers.rip);
    guest.load(code::undefined());
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code, fault.addr), (libc::SIGILL, 2, CODE));
    guest.load(code::breakpoint());
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code, fault.trap_no), (libc::SIGTRAP, 0x80, 3));
    assert_eq!(guest.registers.rip, CODE + 2);
    guest.load(code::misaligned());
    guest.registers.rsi = DATA;
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code, fault.trap_no), (libc::SIGSEGV, 0x80, 13));
    guest.load(code::privileged());
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code, fault.trap_no), (libc::SIGSEGV, 0x80, 13));
    // And it can go on.
    guest.load(code::calls());
    guest.registers.rax = 7;
    assert_eq!(guest.call(), 7);
}

pub fn beyond_the_end_of_a_file(host: &Host) {
    let mut guest = host.guest(code::load());
    let file = tempfile();
    nix::unistd::ftruncate(&file, 4096).unwrap();
    let backing = Backing::Shared { file: file.as_fd(), offset: 0 };
    guest
        .context
        .map(range(0x70_0000, 0x2000), Protection::READ, backing, MapOptions::empty())
        .unwrap();
    guest.registers.rdi = 0x70_1000;
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.code, fault.addr), (libc::SIGBUS, 2, 0x70_1000));
}

pub fn wild_registers_are_the_guests_fault(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.call();
    for rip in [0, 0x8000_0000_0000, 0xffff_8000_0000_0000, u64::MAX, 0x7fff_ffff_f000] {
        guest.registers.rip = rip;
        let fault = guest.fault();
        assert_eq!(fault.signal, libc::SIGSEGV, "{rip:#x}");
    }
    for rsp in [0, 0x8000_0000_0000, 0xffff_8000_0000_0000, u64::MAX, 1] {
        guest.load(code::calls());
        (guest.registers.rsp, guest.registers.rax) = (rsp, 5);
        assert_eq!(guest.call(), 5);
        assert_eq!(guest.registers.rsp, rsp);
    }
    // Flags and selectors that user code cannot have.
    guest.load(code::calls());
    (guest.registers.eflags, guest.registers.cs, guest.registers.ss) = (0x3_7202, 0x10, 0x18);
    guest.registers.rsp = crate::guest::STACK - 64;
    guest.call();
    assert_eq!((guest.registers.cs, guest.registers.ss), (0x33, 0x2b));
    assert_eq!(guest.registers.eflags & 0x3_7000, 0);
    for base in [1 << 47, u64::MAX, 0xffff_8000_0000_0000] {
        let mut registers = guest.registers;
        registers.fs_base = base;
        let exit = guest.context.switch(&mut registers).unwrap();
        assert!(matches!(exit, Exit::Fault(fault) if fault.signal == libc::SIGSEGV), "{exit:?}");
    }
    guest.load(code::calls());
    guest.call();
}

pub fn single_step(host: &Host) {
    let mut guest = host.guest(code::nops());
    for step in 1..=3 {
        guest.registers.eflags |= 0x100;
        let fault = guest.fault();
        assert_eq!((fault.signal, fault.code, fault.trap_no), (libc::SIGTRAP, 2, 1));
        assert_eq!(guest.registers.rip, CODE + step);
    }
    guest.registers.eflags &= !0x100;
    guest.call();
}

pub fn tempfile() -> std::os::fd::OwnedFd {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    memfd_create(c"contract", MFdFlags::MFD_CLOEXEC).unwrap()
}
