// SPDX-License-Identifier: Apache-2.0
//! mmap(2), munmap(2), mprotect(2), mremap(2), brk(2) and what they do to memory.
//!
//! Covers: mmap, munmap, mprotect, mremap, brk, madvise, msync, mincore, mlock, munlock, mlockall, munlockall, mlock2.

use crate::kit;

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const ANON: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

fn put(at: *mut u8, value: u8) {
    unsafe { at.write_volatile(value) };
}

fn get(at: *mut u8) -> u8 {
    unsafe { at.read_volatile() }
}

/// Whether the byte can be read, asked of the kernel.
fn readable(at: *mut u8) -> kit::Ret {
    let (_r, w) = kit::pipe();
    let ret = sys!(write, w, at, 1);
    kit::close(&[_r, w]);
    ret
}

pub fn errors() {
    let fd = kit::file("f", b"abc");
    let read = kit::open("f", libc::O_RDONLY);
    let write = kit::open("f", libc::O_WRONLY);
    show!("no length", sys!(mmap, 0, 0, RW, ANON, -1, 0));
    show!("huge length", sys!(mmap, 0, usize::MAX, RW, ANON, -1, 0));
    show!("neither shared nor private", sys!(mmap, 0, 4096, RW, libc::MAP_ANONYMOUS, -1, 0));
    show!("offset", sys!(mmap, 0, 4096, RW, libc::MAP_PRIVATE, fd, 100));
    show!("closed", sys!(mmap, 0, 4096, RW, libc::MAP_PRIVATE, 99, 0));
    show!("shared writable of read-only", sys!(mmap, 0, 4096, RW, libc::MAP_SHARED, read, 0));
    show!("private writable of read-only", sys!(mmap, 0, 4096, RW, libc::MAP_PRIVATE, read, 0).is_ok());
    show!("write-only", sys!(mmap, 0, 4096, libc::PROT_READ, libc::MAP_PRIVATE, write, 0));
    show!("directory", sys!(mmap, 0, 4096, 1, libc::MAP_PRIVATE, kit::open(".", 0), 0));
    show!("pipe", sys!(mmap, 0, 4096, 1, libc::MAP_PRIVATE, kit::pipe().0, 0));
    show!("fixed unaligned", sys!(mmap, 100, 4096, RW, ANON | libc::MAP_FIXED, -1, 0));
    show!("fixed out of range", sys!(mmap, 1usize << 47, 4096, RW, ANON | libc::MAP_FIXED, -1, 0));
    show!("munmap unaligned", sys!(munmap, 100, 4096));
    show!("munmap nothing", sys!(munmap, 4096 * 16, 0));
    show!("munmap hole", sys!(munmap, 4096 * 16, 4096));
    show!("mprotect hole", sys!(mprotect, 4096 * 16, 4096, 1));
    show!("mprotect unaligned", sys!(mprotect, 100, 4096, 1));
    show!("mprotect bits", sys!(mprotect, kit::map(4096, RW, ANON, -1), 4096, 0x40));
    show!("mprotect no length", sys!(mprotect, 4096 * 16, 0, 1));
    let map = kit::map(4096, 1, libc::MAP_SHARED, read);
    show!("mprotect writable of read-only", sys!(mprotect, map, 4096, RW));
}

pub fn anonymous() {
    let map = kit::map(3 * 4096, RW, ANON, -1);
    show!("zero", get(map));
    put(map, 1);
    sys!(munmap, unsafe { map.add(4096) }, 4096).ok();
    show!("before the hole", readable(map));
    show!("hole", readable(unsafe { map.add(4096) }));
    show!("behind the hole", readable(unsafe { map.add(8192) }));
    let hole = unsafe { map.add(4096) };
    let fixed = sys!(mmap, hole, 4096, RW, ANON | libc::MAP_FIXED, -1, 0);
    show!("filled", fixed.0 as usize == hole.addr());
    let noreplace = ANON | libc::MAP_FIXED_NOREPLACE;
    show!("occupied", sys!(mmap, map, 4096, RW, noreplace, -1, 0));
    let fixed = sys!(mmap, map, 4096, RW, ANON | libc::MAP_FIXED, -1, 0);
    say!("replaced {} {}", fixed.0 as usize == map.addr(), get(map));
    show!("hint", {
        let hint = unsafe { map.add(4096) };
        sys!(munmap, hint, 4096).ok();
        sys!(mmap, hint, 4096, RW, ANON, -1, 0).0 as usize == hint.addr()
    });
}

pub fn files() {
    let fd = kit::file("f", b"hello world");
    let shared = kit::map(4096, RW, libc::MAP_SHARED, fd);
    let private = kit::map(4096, RW, libc::MAP_PRIVATE, fd);
    kit::close(&[fd]);
    put(private, b'J');
    put(shared, b'C');
    show!("private", char::from(get(private)));
    show!("file", String::from_utf8(std::fs::read("f").unwrap()).unwrap());
    show!("behind the end", get(unsafe { shared.add(100) }));
    let fd = kit::open("f", libc::O_RDWR);
    sys!(pwrite64, fd, &b"W"[..], 1, 6).ok();
    say!("{} {}", char::from(get(unsafe { shared.add(6) })), char::from(get(unsafe { private.add(6) })));
    show!("msync", sys!(msync, shared, 4096, libc::MS_SYNC));
    show!("msync flags", sys!(msync, shared, 4096, libc::MS_SYNC | libc::MS_ASYNC));
    show!("msync hole", sys!(msync, 4096 * 16, 4096, libc::MS_SYNC));
    kit::in_child(|| {
        put(shared, b'D');
        put(private, b'X');
        0
    });
    say!("{} {}", char::from(get(shared)), char::from(get(private)));
    sys!(ftruncate, fd, 0).ok();
    show!("truncated", readable(shared));
    std::fs::remove_file("f").unwrap();
    sys!(ftruncate, fd, 4096).ok();
    show!("grown again", get(shared));
}

pub fn protection() {
    let map = kit::map(3 * 4096, RW, ANON, -1);
    put(map, 7);
    show!("none", sys!(mprotect, map, 4096, 0));
    show!("read", readable(map));
    show!("read only", sys!(mprotect, map, 4096, 1));
    show!("kept", get(map));
    show!("kernel may not write", sys!(read, kit::file("f", b"x"), map, 1));
    show!("over a hole", {
        sys!(munmap, unsafe { map.add(4096) }, 4096).ok();
        sys!(mprotect, map, 3 * 4096, RW)
    });
    show!("the part before was changed", {
        put(map, 8);
        get(map)
    });
    show!("write only can be read", {
        sys!(mprotect, map, 4096, libc::PROT_WRITE).ok();
        get(map)
    });
}

#[cfg(target_arch = "x86_64")]
pub fn made_code_runs() {
    let code = [0xb8u8, 42, 0, 0, 0, 0xc3];
    let map = kit::map(4096, RW, ANON, -1);
    unsafe { map.copy_from_nonoverlapping(code.as_ptr(), 6) };
    sys!(mprotect, map, 4096, libc::PROT_READ | libc::PROT_EXEC).ok();
    let f: extern "C" fn() -> i32 = unsafe { std::mem::transmute(map) };
    show!("returns", f());
    let status = kit::in_child(|| {
        sys!(mprotect, map, 4096, RW).ok();
        f()
    });
    show!("not executable", kit::status(status & 0x7f));
}

pub fn moving() {
    let map = kit::map(4 * 4096, RW, ANON, -1);
    put(map, 1);
    put(unsafe { map.add(4096) }, 2);
    show!("shrink", sys!(mremap, map, 4 * 4096, 2 * 4096, 0, 0).0 as usize == map.addr());
    show!("tail", readable(unsafe { map.add(2 * 4096) }));
    let fence = sys!(mmap, unsafe { map.add(2 * 4096) }, 4096, RW, ANON | libc::MAP_FIXED, -1, 0);
    fence.is_ok();
    show!("no room", sys!(mremap, map, 2 * 4096, 8 * 4096, 0, 0));
    // A fence of other protection, lest the two grow into one mapping.
    sys!(mprotect, unsafe { map.add(2 * 4096) }, 4096, 1).ok();
    let moved = sys!(mremap, map, 2 * 4096, 8 * 4096, libc::MREMAP_MAYMOVE, 0).ok() as *mut u8;
    say!("moved {} {} {}", moved != map, get(moved), get(unsafe { moved.add(4096) }));
    show!("old place", readable(map));
    let target = kit::map(2 * 4096, RW, ANON, -1);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    let fixed = sys!(mremap, moved, 2 * 4096, 2 * 4096, flags, target);
    say!("{} {}", fixed.0 as usize == target.addr(), get(target));
    show!("overlap", sys!(mremap, target, 8192, 8192, flags, unsafe { target.add(4096) }));
    show!("fixed alone", sys!(mremap, target, 4096, 4096, libc::MREMAP_FIXED, moved));
    show!("hole", sys!(mremap, 4096 * 16, 4096, 8192, 1, 0));
    show!("unaligned", sys!(mremap, 100, 4096, 8192, 1, 0));
    show!("to nothing", sys!(mremap, target, 4096, 0, 1, 0));
    show!("flags", sys!(mremap, target, 4096, 8192, 64, 0));
}

pub fn program_break() {
    let start = sys!(brk, 0).0 as usize;
    show!("grow", sys!(brk, start + 3 * 4096).0 as usize == start + 3 * 4096);
    let at = std::ptr::with_exposed_provenance_mut::<u8>((start + 4095) & !4095);
    put(at, 5);
    show!("byte", get(at));
    show!("shrink", sys!(brk, start).0 as usize == start);
    show!("gone", readable(at));
    show!("grow again, zero", {
        sys!(brk, start + 3 * 4096);
        get(at)
    });
    show!("below the start", sys!(brk, 4096).0 as usize == start + 3 * 4096);
    show!("too far", sys!(brk, usize::MAX).0 as usize == start + 3 * 4096);
}

pub fn advice() {
    let map = kit::map(2 * 4096, RW, ANON, -1);
    put(map, 1);
    show!("dontneed", sys!(madvise, map, 8192, libc::MADV_DONTNEED));
    show!("zero again", get(map));
    for advice in [0, 1, 2, 3, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23] {
        show!(format!("advice {advice}"), sys!(madvise, map, 8192, advice));
    }
    show!("unknown", sys!(madvise, map, 8192, 77));
    show!("unaligned", sys!(madvise, map.addr() + 1, 4096, 0));
    show!("no length", sys!(madvise, map, 0, 4));
    show!("hole", sys!(madvise, 4096 * 16, 4096, 4));
    put(map, 1);
    sys!(madvise, map, 4096, libc::MADV_WIPEONFORK).ok();
    sys!(madvise, unsafe { map.add(4096) }, 4096, libc::MADV_DONTFORK).ok();
    kit::in_child(|| {
        say!("wiped {} not there {}", get(map), readable(unsafe { map.add(4096) }));
        0
    });
    show!("parent's", get(map));
    let fd = kit::file("f", b"abc");
    let file = kit::map(4096, RW, libc::MAP_PRIVATE, fd);
    put(file, b'x');
    sys!(madvise, file, 4096, libc::MADV_DONTNEED).ok();
    show!("file's again", char::from(get(file)));
}

pub fn residency_and_locks() {
    let map = kit::map(3 * 4096, RW, ANON, -1);
    put(unsafe { map.add(4096) }, 1);
    let mut vec = [9u8; 3];
    show!("mincore", sys!(mincore, map, 3 * 4096, vec.as_mut_ptr()));
    show!("touched", vec[1] & 1);
    show!("unaligned", sys!(mincore, map.addr() + 1, 4096, vec.as_mut_ptr()));
    show!("hole", sys!(mincore, 4096 * 16, 4096, vec.as_mut_ptr()));
    show!("bad vector", sys!(mincore, map, 4096, 8));
    show!("mlock", sys!(mlock, map, 4096));
    show!("mlock2 flags", sys!(mlock2, map, 4096, 8));
    show!("mlock hole", sys!(mlock, 4096 * 16, 4096));
    show!("munlock", sys!(munlock, map, 4096));
    show!("mlockall flags", sys!(mlockall, 0));
    show!("munlockall", sys!(munlockall));
}

pub fn address_space_limit() {
    kit::in_child(|| {
        let limit = libc::rlimit { rlim_cur: 64 << 20, rlim_max: 64 << 20 };
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
        show!("too much", sys!(mmap, 0, 128 << 20, RW, ANON, -1, 0));
        show!("some", sys!(mmap, 0, 1 << 20, RW, ANON, -1, 0).is_ok());
        0
    });
}

pub fn copy_on_write_after_fork() {
    let map = kit::map(64 * 4096, RW, ANON, -1);
    for page in 0..64 {
        put(unsafe { map.add(page * 4096) }, page as u8);
    }
    let status = kit::in_child(|| {
        let mut wrong = 0;
        for page in 0..64 {
            let at = unsafe { map.add(page * 4096) };
            wrong += i32::from(get(at) != page as u8);
            put(at, 255);
        }
        wrong
    });
    show!("child's wrong", kit::status(status));
    show!("parent's wrong", (0..64).filter(|p| get(unsafe { map.add(p * 4096) }) != *p as u8).count());
}
