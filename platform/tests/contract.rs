// SPDX-License-Identifier: Apache-2.0
//! What every platform must keep, on each of them.
#![allow(missing_docs, reason = "test")]

use abi::{UserAddr, UserRange};
use platform::{Backing, Exit, MapOptions, Protection, Registers};

fn range(a: u64, l: u64) -> UserRange {
    UserRange::new(UserAddr(a), l).unwrap()
}

#[test]
fn getpid() {
    let p = platform::systrap::Systrap::new().unwrap();
    let (space, mut cx) = p.new_address_space().unwrap();
    eprintln!("{space:?}");
    cx.map(range(0x10000, 0x2000), Protection::all(), Backing::Anonymous, MapOptions::empty())
        .unwrap();
    // loop: mov eax, 39; syscall; jmp loop
    let code = [0xb8u8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
    assert_eq!(cx.write(UserAddr(0x10000), &code), code.len());
    let mut r = Registers::new_program(0x10000, 0x12000);
    let e = cx.switch(&mut r).unwrap();
    eprintln!("{e:?} {r:x?}");
    assert_eq!(e, Exit::Syscall);
    assert_eq!(r.orig_rax, 39);
    let t = std::time::Instant::now();
    for i in 0..200000 {
        r.rax = i;
        let e = cx.switch(&mut r).unwrap();
        assert_eq!(e, Exit::Syscall);
    }
    eprintln!("{:?} per call", t.elapsed() / 200000);
    let mut child = cx.fork().unwrap();
    let mut rc = r;
    assert_eq!(child.switch(&mut rc).unwrap(), Exit::Syscall);
    let mut thread = cx.spawn_thread().unwrap();
    assert_eq!(thread.switch(&mut rc).unwrap(), Exit::Syscall);
    assert_eq!(cx.switch(&mut r).unwrap(), Exit::Syscall);
}
