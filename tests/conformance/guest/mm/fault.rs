// SPDX-License-Identifier: Apache-2.0
//! What a guest is told of its faults, and how stacks grow.
//!
//! Covers: mmap, mprotect.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::kit;

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const ANON: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
const PAGE: usize = 4096;

static REPORT: AtomicUsize = AtomicUsize::new(0);
static EXPECTED: AtomicUsize = AtomicUsize::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let info = unsafe { &*info };
    let at = unsafe { info.si_addr() } as usize;
    CODE.store(info.si_code, Ordering::SeqCst);
    let is_right = usize::from(at == EXPECTED.load(Ordering::SeqCst));
    REPORT.store(signal as usize * 10 + is_right, Ordering::SeqCst);
    unsafe { libc::_exit(signal * 4 + info.si_code.min(3) + if is_right == 1 { 0 } else { 100 }) }
}

/// In a child: the exit status of whoever touches `at`.
fn touch(at: usize, writes: bool) -> String {
    let pid = kit::fork(|| {
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
        }
        EXPECTED.store(at, Ordering::SeqCst);
        let at = std::ptr::with_exposed_provenance_mut::<u8>(at);
        unsafe { if writes { at.write_volatile(1) } else { kit::ignore(at.read_volatile()) } };
        0
    });
    kit::status(kit::wait_for(pid))
}

pub fn codes() {
    let map = kit::map(2 * PAGE, RW, ANON, -1) as usize;
    show!("mapped", touch(map, true));
    sys!(mprotect, map, PAGE, libc::PROT_READ).ok();
    show!("read-only", touch(map, true));
    sys!(mprotect, map, PAGE, 0).ok();
    show!("nothing allowed", touch(map, false));
    sys!(munmap, map, PAGE).ok();
    show!("unmapped", touch(map, false));
    show!("low", touch(16, true));
    let fd = kit::file("f", b"short");
    let file = kit::map(2 * PAGE, RW, libc::MAP_SHARED, fd) as usize;
    show!("last page", touch(file + PAGE - 1, true));
    show!("beyond the end", touch(file + PAGE, true));
    show!("top", touch((1 << 47) - 2 * PAGE, false));
}

#[inline(never)]
fn descend(depth: usize) -> usize {
    let mut room = [0u8; 32 * 1024];
    room[depth % room.len()] = 1;
    std::hint::black_box(&mut room);
    if depth == 0 { 0 } else { descend(depth - 1) + usize::from(room[depth % 7]) }
}

pub fn stacks_grow() {
    let pid = kit::fork(|| {
        // From here on the main thread's stack may have 48 MiB; so much was not mapped at its start.
        let limit = libc::rlimit { rlim_cur: 48 << 20, rlim_max: libc::RLIM_INFINITY };
        unsafe { libc::setrlimit(libc::RLIMIT_STACK, &limit) };
        let thread = std::thread::Builder::new().stack_size(40 << 20);
        let deep = thread.spawn(|| descend(1000)).map(|thread| thread.join().is_ok());
        i32::from(!deep.is_ok_and(|deep| deep))
    });
    show!("a thread's", kit::status(kit::wait_for(pid)));
    let flags = ANON | libc::MAP_GROWSDOWN;
    // Far from other mappings, so that it has room below.
    let base = kit::map(64 << 20, 0, ANON, -1) as usize;
    sys!(munmap, base, 64 << 20).ok();
    let top = base + (48 << 20);
    sys!(mmap, top, PAGE, RW, flags | libc::MAP_FIXED, -1, 0).ok();
    show!("just below", touch(top - 8, true));
    show!("far below", touch(top - (1 << 20), true));
    show!("beyond its limit", touch(top - (40 << 20), true));
}
