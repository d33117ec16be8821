// SPDX-License-Identifier: Apache-2.0
//! Guest memory: mappings and the doors to it.

use std::os::fd::AsFd;

use abi::{Errno, UserAddr, UserRange};
use platform::{Backing, Exit, HostCallError, MapOptions, Protection};

use crate::{
    code,
    faults::tempfile,
    guest::{CODE, Host, RW, RX, range},
};

pub fn mappings_change_as_told(host: &Host) {
    let mut guest = host.guest(code::load());
    guest.map(0x100_0000, 0x4000, RW);
    guest.put(0x100_1000, 42);
    guest.registers.rdi = 0x100_1000;
    guest.call();
    assert_eq!(guest.registers.orig_rax, 42);
    // Moved, grown.
    guest.context.remap(range(0x100_1000, 0x1000), range(0x200_0000, 0x3000), false).unwrap();
    guest.load(code::load());
    assert_eq!(guest.fault().addr, 0x100_1000);
    guest.registers.rdi = 0x200_0000;
    guest.load(code::load());
    guest.call();
    assert_eq!(guest.registers.orig_rax, 42);
    // Shrunk and grown in place.
    guest.context.remap(range(0x200_0000, 0x3000), range(0x200_0000, 0x1000), false).unwrap();
    guest.registers.rdi = 0x200_1000;
    guest.load(code::load());
    guest.fault();
    guest.context.remap(range(0x200_0000, 0x1000), range(0x200_0000, 0x2000), false).unwrap();
    guest.load(code::load());
    guest.call();
    assert_eq!(guest.registers.orig_rax, 0);
    // Moved, with the old place kept.
    guest.context.remap(range(0x200_0000, 0x1000), range(0x300_0000, 0x1000), true).unwrap();
    assert_eq!((guest.word(0x200_0000), guest.word(0x300_0000)), (0, 42));
    // Unmapped.
    guest.context.unmap(range(0x200_0000, 0x2000)).unwrap();
    guest.registers.rdi = 0x200_0000;
    guest.load(code::load());
    assert_eq!((guest.fault().code, guest.fault().signal), (1, libc::SIGSEGV));
    // No access.
    guest.context.protect(range(0x300_0000, 0x1000), Protection::empty()).unwrap();
    guest.registers.rdi = 0x300_0000;
    guest.load(code::load());
    assert_eq!(guest.fault().code, 2);
    // Not executable.
    guest.context.protect(range(CODE, 0x1000), Protection::READ).unwrap();
    guest.registers.rip = CODE;
    let fault = guest.fault();
    assert_eq!((fault.signal, fault.addr), (libc::SIGSEGV, CODE));
    // A stack that grows.
    let options = MapOptions::GROWS_DOWN | MapOptions::NORESERVE;
    guest.context.map(range(0x800_0000, 0x2000), RW, Backing::Anonymous, options).unwrap();
    guest.context.protect(range(CODE, 0x1000), Protection::all()).unwrap();
    guest.load(code::store());
    (guest.registers.rdi, guest.registers.rsi) = (0x7ff_f000 - 64, 9);
    guest.call();
    let options = MapOptions::POPULATE;
    guest.context.map(range(0x900_0000, 0x4000), RW, Backing::Anonymous, options).unwrap();
    let mut pages = [0; 4];
    guest.context.residency(range(0x900_0000, 0x4000), &mut pages).unwrap();
    assert_eq!(pages, [1; 4]);
}

pub fn what_is_not_the_guests_is_refused(host: &Host) {
    let mut guest = host.guest(code::calls());
    let user = host.platform.user_range();
    let all = |start: u64, end: u64| UserRange { start: UserAddr(start), end: UserAddr(end) };
    let end = user.end.raw();
    for bad in [
        all(0, 0x1000),
        all(0, 0x2_0000),
        all(end, end + 0x1000),
        all(end - 0x1000, end + 0x1000),
        all(CODE, CODE),
        all(CODE + 1, CODE + 0x1001),
        all(CODE, CODE + 1),
        all(CODE, u64::MAX & !0xfff),
        all(0xffff_8000_0000_0000, 0xffff_8000_0000_1000),
        all(CODE + 0x1000, CODE),
    ] {
        let refused = |result: Result<(), HostCallError>| {
            assert!(matches!(result, Err(HostCallError::Refused(Errno::EINVAL))), "{bad:?}");
        };
        let none = MapOptions::empty();
        refused(guest.context.map(bad, RW, Backing::Anonymous, none));
        refused(guest.context.unmap(bad));
        refused(guest.context.protect(bad, RW));
        refused(guest.context.advise(bad, libc::MADV_DONTNEED));
        refused(guest.context.sync(bad, libc::MS_SYNC));
        refused(guest.context.remap(bad, range(0x100_0000, 0x1000), false));
        refused(guest.context.remap(range(CODE, 0x1000), bad, false));
        refused(guest.context.residency(bad, &mut [0]));
    }
    // The host's own refusals come through.
    let result = guest.context.protect(range(0x500_0000, 0x1000), RW);
    assert!(matches!(result, Err(HostCallError::Refused(Errno::ENOMEM))), "{result:?}");
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let backing = Backing::Shared { file: file.as_fd(), offset: 0 };
    let result = guest.context.map(range(0x500_0000, 0x1000), RW, backing, MapOptions::empty());
    assert!(matches!(result, Err(HostCallError::Refused(Errno::EACCES))), "{result:?}");
    guest.call();
}

pub fn files(host: &Host) {
    let mut guest = host.guest(code::store());
    let file = tempfile();
    nix::unistd::ftruncate(&file, 0x3000).unwrap();
    nix::sys::uio::pwrite(&file, &7_u64.to_le_bytes(), 0x1000).unwrap();
    let none = MapOptions::empty();
    let backing = Backing::Shared { file: file.as_fd(), offset: 0x1000 };
    guest.context.map(range(0x100_0000, 0x2000), RW, backing, none).unwrap();
    let backing = Backing::Private { file: file.as_fd(), offset: 0x1000 };
    guest.context.map(range(0x200_0000, 0x2000), RW, backing, none).unwrap();
    assert_eq!((guest.word(0x100_0000), guest.word(0x200_0000)), (7, 7));
    (guest.registers.rdi, guest.registers.rsi) = (0x200_0000, 8);
    guest.call();
    assert_eq!((guest.word(0x100_0000), guest.word(0x200_0000)), (7, 8));
    (guest.registers.rdi, guest.registers.rsi) = (0x100_0000, 9);
    guest.load(code::store());
    guest.call();
    assert_eq!((guest.word(0x100_0000), guest.word(0x200_0000)), (9, 8));
    let mut bytes = [0; 8];
    nix::sys::uio::pread(&file, &mut bytes, 0x1000).unwrap();
    assert_eq!(u64::from_le_bytes(bytes), 9);
    guest.context.sync(range(0x100_0000, 0x2000), libc::MS_SYNC).unwrap();
    // Many of them leave no descriptor behind.
    for _ in 0..100 {
        let backing = Backing::Private { file: file.as_fd(), offset: 0 };
        guest.context.map(range(0x200_0000, 0x1000), RW, backing, none).unwrap();
    }
}

pub fn first_touch_never_reaches_us(host: &Host) {
    let mut guest = host.guest(code::touch());
    guest.map(0x1000_0000, 0x100_0000, RW);
    (guest.registers.rdi, guest.registers.rsi) = (0x1000_0000, 0x1000);
    let mut exits = 0;
    loop {
        exits += 1;
        match guest.context.switch(&mut guest.registers).unwrap() {
            Exit::Syscall => break,
            Exit::Interrupted => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(exits, 1);
    assert_eq!(guest.registers.rdi, 0x1100_0000);
    let mut pages = vec![0; 0x1000];
    guest.context.residency(range(0x1000_0000, 0x100_0000), &mut pages).unwrap();
    assert!(pages.iter().all(|page| *page == 1));
}

pub fn copies_stop_where_memory_stops(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.map(0x100_0000, 0x3000, RW);
    guest.context.protect(range(0x100_1000, 0x1000), Protection::READ).unwrap();
    guest.context.unmap(range(0x100_2000, 0x1000)).unwrap();
    let space = guest.space.clone();
    // Awake (right after a call) and not (after a while): both doors, and the one without a stub.
    for wait in [0, 0, 30] {
        guest.call();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        for (addr, len, readable, writable) in [
            (0x100_0000_u64, 0x1000_usize, 0x1000, 0x1000),
            (0x100_0ff8, 16, 16, 8),
            (0x100_0fff, 2, 2, 1),
            (0x100_1ff0, 32, 16, 0),
            (0x100_1fff, 1, 1, 0),
            (0x100_2000, 1, 0, 0),
            (0x100_0100, 0x4000, 0x1f00, 0xf00),
            (0, 8, 0, 0),
            (0x7fff_ffff_f000, 8, 0, 0),
            (0xffff_8000_0000_0000, 8, 0, 0),
            (u64::MAX - 3, 8, 0, 0),
            (0x100_0000, 0, 0, 0),
        ] {
            let mut to = vec![0; len];
            assert_eq!(guest.context.read(UserAddr(addr), &mut to), readable, "{addr:#x}");
            assert_eq!(space.read(UserAddr(addr), &mut to), readable, "{addr:#x}");
            assert_eq!(guest.context.write(UserAddr(addr), &to), writable, "{addr:#x}");
            assert_eq!(space.write(UserAddr(addr), &to), writable, "{addr:#x}");
        }
        guest.context.write(UserAddr(0x100_0ffc), b"abcdefgh");
        let mut to = [0; 8];
        space.read(UserAddr(0x100_0ff8), &mut to);
        assert_eq!(&to[4..], b"abcd");
    }
    // Files end too.
    let file = tempfile();
    nix::unistd::ftruncate(&file, 4096).unwrap();
    let backing = Backing::Shared { file: file.as_fd(), offset: 0 };
    guest.context.map(range(0x300_0000, 0x2000), RW, backing, MapOptions::empty()).unwrap();
    guest.call();
    assert_eq!(guest.context.read(UserAddr(0x300_0ff0), &mut [0; 32]), 16);
    assert_eq!(guest.context.write(UserAddr(0x300_0ff0), &[0; 32]), 16);
}

pub fn poke_writes_what_the_guest_cannot(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.registers.rax = 1;
    guest.call();
    guest.map(0x100_0000, 0x2000, RW);
    guest.context.protect(range(0x100_0000, 0x1000), RX).unwrap();
    assert_eq!(guest.context.write(UserAddr(0x100_0ff8), &[1; 16]), 0);
    assert_eq!(guest.context.poke(UserAddr(0x100_0ff8), &[7; 16]), 16);
    let mut to = [0; 16];
    assert_eq!(guest.context.read(UserAddr(0x100_0ff8), &mut to), 16);
    assert_eq!(to, [7; 16]);
    assert_eq!(guest.context.poke(UserAddr(0x100_0003), &[9; 3]), 3);
    assert_eq!(guest.word(0x100_0000), 0x0000_0909_0900_0000);
    assert_eq!(guest.context.poke(UserAddr(0x100_1ffc), &[1; 8]), 4);
    assert_eq!(guest.context.poke(UserAddr(0x100_2000), &[1; 8]), 0);
    // Protection stays what it was.
    guest.load(code::store());
    guest.registers.rdi = 0x100_0000;
    assert_eq!(guest.fault().code, 2);
}

pub fn residency_and_advice(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.map(0x100_0000, 0x4000, RW);
    guest.put(0x100_1000, 1);
    let mut pages = [9; 4];
    guest.context.residency(range(0x100_0000, 0x4000), &mut pages).unwrap();
    assert_eq!(pages, [0, 1, 0, 0]);
    guest.context.advise(range(0x100_0000, 0x4000), libc::MADV_DONTNEED).unwrap();
    guest.context.residency(range(0x100_0000, 0x4000), &mut pages).unwrap();
    assert_eq!(pages, [0; 4]);
    assert_eq!(guest.word(0x100_1000), 0);
    let result = guest.context.advise(range(0x100_0000, 0x4000), 9999);
    assert!(matches!(result, Err(HostCallError::Refused(_))), "{result:?}");
    // MEMBARRIER_CMD_QUERY.
    assert!(guest.context.membarrier(0, 0).unwrap() >= 0);
    assert!(guest.context.membarrier(0x7fff_0000, 0).is_err());
    guest.call();
}

pub fn large_copies(host: &Host) {
    let mut guest = host.guest(code::calls());
    guest.map(0x100_0000, 0x30_0000, RW);
    let bytes: Vec<u8> = (0..0x20_0123_u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    guest.call();
    assert_eq!(guest.context.write(UserAddr(0x100_0007), &bytes), bytes.len());
    let mut back = vec![0; bytes.len()];
    assert_eq!(guest.context.read(UserAddr(0x100_0007), &mut back), back.len());
    assert!(back == bytes);
}
