// SPDX-License-Identifier: Apache-2.0
//! Attacks on the stub itself, for `tests/attacks.rs`: the host tells where its pages are.
//!
//! The first process only watches: it forks the attacker, kills it in the end, and then says that it is
//! alive and can still fork and execute.

use std::{
    arch::asm,
    io::{BufRead, Write},
    ops::Range,
};

use crate::kit;

/// A mapping at this address tells the attacker's stub from others.
const MARK: usize = 0x12_3456_7000;
/// How long an attacker may be at it.
const PATIENCE_MS: u64 = 20_000;

/// What the host saw in the attacker's maps.
struct Stub {
    text: Range<usize>,
    channel: Range<usize>,
}

fn attack(body: impl FnOnce(&Stub)) {
    let attacker = kit::fork(|| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        sys!(mmap, MARK, 4096, libc::PROT_NONE, flags, -1, 0).ok();
        say!("ready");
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).unwrap();
        let numbers: Vec<usize> =
            line.split_whitespace().map(|word| usize::from_str_radix(word, 16).unwrap()).collect();
        // A panic that matters is the sentry's; what the attacker does to itself may look like one.
        sys!(close, 2).ok();
        body(&Stub { text: numbers[0]..numbers[1], channel: numbers[2]..numbers[3] });
        0
    });
    let mut status = 0;
    let mut waited = 0;
    while sys!(wait4, attacker, &raw mut status, libc::WNOHANG, 0).0 == 0 {
        kit::sleep_ms(10);
        waited += 10;
        if waited == PATIENCE_MS {
            sys!(kill, attacker, libc::SIGKILL);
        }
        if waited == PATIENCE_MS + 5000 {
            say!("the attacker cannot be killed");
            return;
        }
    }
    let child = kit::in_child(|| 11);
    let program = kit::reexec("stress/load/child_nothing", &[]).status().unwrap();
    say!("alive {} {}", kit::status(child), program.success());
}

/// Runs `body` in a child that is killed after a while, for it may wait for ever.
fn try_one(body: impl FnOnce()) {
    let child = kit::fork(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        body();
        0
    });
    let mut waited = 0;
    while sys!(wait4, child, 0, libc::WNOHANG, 0).0 == 0 {
        if waited == 100 {
            sys!(kill, child, libc::SIGKILL).ok();
        }
        assert!(waited < 5000, "a child cannot be killed");
        waited += 1;
        kit::sleep_ms(if waited < 20 { 1 } else { 5 });
    }
}

fn noise(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// S9: into the stub's code, at every third byte, with registers that point somewhere or nowhere.
pub fn child_jumps() {
    attack(|stub| {
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        for at in stub.text.clone().take(0x600).step_by(3) {
            let (a, b) = (noise(&mut seed), stub.channel.start as u64 + noise(&mut seed) % 0x2_0000);
            try_one(|| unsafe {
                asm!("xor ebp, ebp; jmp {at}", at = in(reg) at, in("rax") a & 0x1ff, in("rdi") b, in("rsi") a, in("rdx") b,
                    in("r10") a, in("r8") b, in("r9") a, options(noreturn));
            });
        }
    });
}

/// S10, S11: every call's number through the stub's own `syscall` instructions.
pub fn child_gadgets() {
    attack(|stub| {
        let text = unsafe { std::slice::from_raw_parts(stub.text.start as *const u8, 0x800) };
        let gadgets: Vec<usize> =
            text.windows(2).enumerate().filter(|(_, w)| *w == [0x0f, 0x05]).map(|(at, _)| stub.text.start + at).collect();
        say!("gadgets {}", !gadgets.is_empty());
        // Among them what the stub's filter allows: futex, rt_sigreturn, mmap, clone, recvmsg, exit ….
        let numbers = [202, 15, 9, 11, 10, 25, 28, 26, 27, 324, 47, 44, 3, 56, 60, 231, 131, 158, 157, 34, 0, 1, 2, 59, 62, 101, 228, 257, 435, 449];
        for (index, number) in numbers.iter().enumerate() {
            let at = gadgets[index % gadgets.len()];
            for (a, b) in [(0, 0), (stub.channel.start, 1), (stub.text.start, 0x1000), (usize::MAX, usize::MAX)] {
                try_one(|| unsafe {
                    asm!("jmp {at}", at = in(reg) at, in("rax") *number as u64, in("rdi") a, in("rsi") b, in("rdx") a,
                        in("r10") b, in("r8") a, in("r9") 0, options(noreturn));
                });
            }
        }
    });
}

/// S13 to S15: threads that overwrite the channel while the program makes calls.
pub fn child_scribbles() {
    attack(|stub| {
        let channel = stub.channel.clone();
        let writer = move |part: Range<usize>, pattern: Option<u64>| {
            let mut seed = 0x1234_5678_9abc_def1;
            loop {
                for at in (channel.start + part.start..channel.start + part.end).step_by(8) {
                    let value = pattern.unwrap_or_else(|| noise(&mut seed));
                    unsafe { (at as *mut u64).write_volatile(value) };
                }
            }
        };
        for (part, pattern) in [(0x1000..0x2000, None), (8..128, Some(0)), (0..0x2_0000, None)] {
            let writer = writer.clone();
            // What the writers before it did to the channel may well make this fail.
            std::thread::Builder::new().spawn(move || writer(part, pattern)).ok();
            for _ in 0..2000 {
                sys!(getppid);
                sys!(write, -1, c"x", 1);
            }
        }
    });
}

/// Threads that overwrite the words by which the stub waits in a private futex, while others wait, are
/// stopped, go on and are killed.
pub fn child_waits() {
    attack(|stub| {
        let words = stub.channel.start + 128..stub.channel.start + 256;
        for pattern in [None, Some(0), Some(1), Some(u64::MAX), Some(stub.channel.start as u64)] {
            let waiter = kit::fork(|| {
                let word = std::sync::atomic::AtomicU32::new(0);
                std::thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| loop {
                            sys!(futex, word.as_ptr(), 128, 0, 0, 0, 0);
                            sys!(futex, word.as_ptr(), 129, 1, 0, 0, 0);
                        });
                    }
                });
                0
            });
            let words = words.clone();
            let writer = move || {
                let mut seed = 0x1234_5678_9abc_def1;
                for at in words.step_by(8).cycle().take(200_000) {
                    unsafe { (at as *mut u64).write_volatile(pattern.unwrap_or_else(|| noise(&mut seed))) };
                }
            };
            let thread = std::thread::Builder::new().spawn(writer);
            let word = std::sync::atomic::AtomicU32::new(0);
            for _ in 0..200 {
                let short = [0i64, 100_000];
                sys!(futex, word.as_ptr(), 128, 0, short.as_ptr(), 0, 0);
            }
            thread.map(|thread| thread.join().ok()).ok();
            for signal in [libc::SIGSTOP, libc::SIGCONT, libc::SIGKILL] {
                sys!(kill, waiter, signal);
                kit::sleep_ms(5);
            }
            let mut status = 0;
            sys!(wait4, waiter, &raw mut status, 0, 0);
        }
    });
}

/// S16 to S18: what the kernel is asked about the stub's pages is answered as if they were not there.
pub fn child_asks_about_the_stub() {
    attack(|stub| {
        let page = kit::map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
        let mem = kit::open("/proc/self/mem", libc::O_RDWR);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let fixed = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        for (name, at) in [("text", stub.text.start), ("channel", stub.channel.start)] {
            say!("{name} listed {}", maps.contains(&format!("{at:x}")));
            for (from, len) in [(at, 4096), (at - 4096, 3 * 4096), (at, 0x2_0000)] {
                let rets = [
                    ("munmap", sys!(munmap, from, len)),
                    ("mmap", sys!(mmap, from, len, libc::PROT_READ, fixed, -1, 0)),
                    ("mprotect", sys!(mprotect, from, len, 7)),
                    ("mremap from", sys!(mremap, from, len, 4096, libc::MREMAP_MAYMOVE)),
                    ("mremap to", sys!(mremap, page, 4096, 8192, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, from)),
                    ("msync", sys!(msync, from, len, libc::MS_SYNC)),
                    ("mincore", sys!(mincore, from, len, page)),
                    ("mlock", sys!(mlock, from, len)),
                    ("mseal", sys!(mseal, from, len, 0)),
                    ("dontneed", sys!(madvise, from, len, libc::MADV_DONTNEED)),
                    ("remove", sys!(madvise, from, len, libc::MADV_REMOVE)),
                    ("pread", sys!(pread64, mem, page, 16, from + 4096 * usize::from(len > 4096))),
                    ("pwrite", sys!(pwrite64, mem, page, 16, from + 4096 * usize::from(len > 4096))),
                ];
                // Unmapping what is not there is no error, as nowhere else.
                let worked = rets.iter().filter(|(call, ret)| ret.0 >= 0 && *call != "munmap");
                let worked: Vec<&str> = worked.map(|(call, _)| *call).collect();
                say!("{name} {len:#x} worked {worked:?}");
            }
            let shm = sys!(shmget, libc::IPC_PRIVATE, 4096, 0o600).ok();
            say!("{name} shmat {}", sys!(shmat, shm, at, 0o40000).0 >= 0);
            sys!(shmctl, shm, libc::IPC_RMID, 0).ok();
        }
        for _ in 0..100 {
            sys!(getppid).ok();
        }
        say!("done");
    });
}

/// S1, S4: every number by `syscall` and by `int 0x80` from a page of the program's own.
pub fn child_every_number() {
    attack(|_| {
        let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let page = kit::map(4096, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT, -1);
        unsafe {
            page.cast::<[u8; 3]>().write([0x0f, 0x05, 0xc3]);
            page.add(16).cast::<[u8; 3]>().write([0xcd, 0x80, 0xc3]);
        }
        let call = |at: usize, number: u64| -> i64 {
            let ret: i64;
            unsafe {
                asm!("call {at}", at = in(reg) at, inout("rax") number => ret, in("rdi") 0, in("rsi") 0, in("rdx") 0,
                    in("r10") 0, in("r8") 0, in("r9") 0, out("rcx") _, out("r11") _);
            }
            ret
        };
        // They end, suspend or double the caller, as they should.
        let sensible = [15, 34, 56, 57, 58, 60, 101, 130, 231, 317, 322, 435];
        for block in (0..1024).step_by(64) {
            try_one(|| {
                for number in (block..block + 64).filter(|number| !sensible.contains(number)) {
                    call(page as usize, number);
                }
            });
        }
        let mut gone_astray = 0;
        for number in 0..440 {
            let child = kit::fork(|| {
                unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
                // No number of the old table means anything here, whatever the new table has under it.
                i32::from(call(page as usize + 16, number) != -i64::from(libc::ENOSYS))
            });
            let status = kit::wait_for(child);
            gone_astray += u32::from(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) != 0);
        }
        say!("int 0x80 taken for something {gone_astray}");
        std::io::stdout().flush().unwrap();
    });
}
