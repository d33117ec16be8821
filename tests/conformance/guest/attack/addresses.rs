// SPDX-License-Identifier: Apache-2.0
//! S16, S17, S22: calls on addresses that are no program's.
//!
//! Covers: munmap, mprotect, mremap, madvise, msync, mincore, remap_file_pages, mlock, munlock, mseal.

use std::arch::asm;

use crate::kit;

/// The end of user space, the hole in the middle, the kernel, and ranges that wrap around.
const RANGES: [(&str, usize, usize); 8] = [
    ("at the end", 0x7fff_ffff_f000, 4096),
    ("over the end", 0x7fff_ffff_e000, 8192 + 4096),
    ("in the hole", 0x8000_0000_0000, 4096),
    ("in the kernel", 0xffff_8880_0000_0000, 4096),
    ("vsyscall", 0xffff_ffff_ff60_0000, 4096),
    ("the last page", 0xffff_ffff_ffff_f000, 4096),
    ("around", 0xffff_ffff_ffff_f000, 8192),
    ("everything", 0x1000, usize::MAX - 0xfff),
];

pub fn calls() {
    let page = kit::map(
        4096,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        -1,
    );
    let fixed = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    for (name, at, len) in RANGES {
        say!("{name}");
        show!("munmap", sys!(munmap, at, len));
        show!("mmap", sys!(mmap, at, len, libc::PROT_READ, fixed, -1, 0));
        show!(
            "without a place",
            sys!(mmap, at, len, libc::PROT_READ, fixed | libc::MAP_FIXED_NOREPLACE, -1, 0)
        );
        show!("mprotect", sys!(mprotect, at, len, libc::PROT_READ));
        show!("mremap from", sys!(mremap, at, len, 4096, libc::MREMAP_MAYMOVE));
        // Below the end it might work: the start is free.
        if at >= 0x7fff_ffff_e000 {
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            show!("mremap to", sys!(mremap, page, 4096, 8192, flags, at));
        }
        show!("msync", sys!(msync, at, len, libc::MS_SYNC));
        show!("mincore", sys!(mincore, at, len.min(1 << 20), page));
        show!("mlock", sys!(mlock, at, len));
        show!("munlock", sys!(munlock, at, len));
        show!("remap_file_pages", sys!(remap_file_pages, at, len, 0, 0, 0));
        show!("mseal", sys!(mseal, at, len, 0));
        for advice in 0..26 {
            say!("advice {advice}: {}", sys!(madvise, at, len, advice));
        }
        show!(
            "write",
            sys!(write, kit::open("/dev/null", libc::O_WRONLY), at, len.min(1 << 20)).is_ok()
        );
        show!("pipe", {
            let (_, w) = kit::pipe();
            sys!(write, w, at, 16)
        });
        show!("read", sys!(read, kit::open("/dev/zero", libc::O_RDONLY), at, len.min(1 << 20)));
        show!("open", sys!(open, at, 0, 0));
        show!("futex", sys!(futex, at, libc::FUTEX_WAKE, 1, 0, 0, 0));
    }
    show!("shmat", {
        let id = sys!(shmget, libc::IPC_PRIVATE, 4096, 0o600).ok();
        let ret = sys!(shmat, id, 0x7fff_ffff_f000usize, 0o40000);
        let other = sys!(shmat, id, 0xffff_8880_0000_0000usize, 0o40000);
        sys!(shmctl, id, libc::IPC_RMID, 0).ok();
        format!("{ret} {other}")
    });
    let now = sys!(brk, 0).0;
    show!("brk", sys!(brk, 0x7fff_ffff_f000usize).0 == now);
    show!("brk around", sys!(brk, usize::MAX).0 == now);
    unsafe { page.write_volatile(1) };
    say!("alive");
}

/// Doors into memory that go by another way than the program's own instructions.
pub fn other_doors() {
    let pid = sys!(getpid).ok();
    let mem = kit::open("/proc/self/mem", libc::O_RDWR);
    let mut byte = [7u8; 8];
    for (name, at, _) in RANGES {
        let local = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 8 };
        let remote = libc::iovec { iov_base: at as *mut _, iov_len: 8 };
        let (local, remote) = (&raw const local, &raw const remote);
        show!(name, sys!(process_vm_readv, pid, local, 1, remote, 1, 0));
        show!(name, sys!(process_vm_writev, pid, local, 1, remote, 1, 0));
        show!(name, sys!(pread64, mem, byte.as_mut_ptr(), 8, at));
        show!(name, sys!(pwrite64, mem, byte.as_ptr(), 8, at));
    }
}

/// What the kernel writes when a thread ends goes nowhere.
pub fn words_written_at_the_end() {
    for (name, at, _) in RANGES {
        let status = kit::in_plain_child(|| {
            sys!(set_tid_address, at).ok();
            let ret = sys!(set_robust_list, at, 24);
            if ret.0 < 0 {
                return 2;
            }
            0
        });
        show!(name, kit::status(status));
        let status = kit::in_plain_child(|| {
            // A list whose first entry lies there.
            let head: [usize; 3] = [at, 0, at];
            sys!(set_robust_list, head.as_ptr(), 24).ok();
            sys!(exit, 5);
            0
        });
        show!(name, kit::status(status));
    }
}

/// A program that unmaps itself, its stack and all dies of it, whatever it has blocked.
pub fn unmapping_everything() {
    for (name, at, len) in [
        ("all of it", 0usize, 0x7fff_ffff_e000usize),
        ("the lower half", 0, 0x4000_0000_0000),
        ("the upper half", 0x4000_0000_0000, 0x3fff_ffff_e000),
    ] {
        for blocks in [false, true] {
            let status = kit::in_plain_child(|| {
                if blocks {
                    let all = u64::MAX;
                    sys!(rt_sigprocmask, libc::SIG_SETMASK, &raw const all, 0, 8).ok();
                }
                unsafe {
                    asm!("syscall; ud2", in("rax") libc::SYS_munmap, in("rdi") at, in("rsi") len, options(noreturn));
                }
            });
            say!("{name}, {}: {}", if blocks { "blocking" } else { "open" }, kit::status(status));
        }
    }
}

/// Rounded up to pages, such a length is none.
pub fn lengths_that_wrap_to_nothing() {
    let (at, len) = (0x1_0000usize, usize::MAX);
    show!("munmap", sys!(munmap, at, len));
    show!("mprotect", sys!(mprotect, at, len, libc::PROT_READ));
    show!("mremap", sys!(mremap, at, len, 4096, libc::MREMAP_MAYMOVE));
    show!("msync", sys!(msync, at, len, libc::MS_SYNC));
    show!("mlock", sys!(mlock, at, len));
    show!("munlock", sys!(munlock, at, len));
    show!("madvise", sys!(madvise, at, len, libc::MADV_DONTNEED));
}
