// SPDX-License-Identifier: Apache-2.0
//! The program that is measured: the same static binary on the host and in every sandbox.
//!
//! `bench-guest micro` prints one line `NAME NANOSECONDS` an operation; `bench-guest true` ends at
//! once; `bench-guest sleep` waits to be killed. Each figure is the least of several short runs, so
//! that a neighbour's noise counts little.
#![allow(unsafe_code, reason = "the subject is raw system calls")]
#![allow(
    clippy::print_stdout,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::exit,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a measuring program: every call is a plain libc call on its own memory, and a failure is to end it"
)]

use std::{
    ffi::CString,
    io::Write,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

const PAGE: usize = 4096;
const RUNS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("true") => {}
        Some("sleep") => {
            println!("ready");
            std::io::stdout().flush().unwrap();
            loop {
                unsafe { libc::pause() };
            }
        }
        Some("sigsys") => sigsys(),
        Some("micro") => {
            for (name, operation) in OPERATIONS {
                if arguments.get(2).is_none_or(|only| only == name) {
                    println!("{name} {:.0}", operation());
                    std::io::stdout().flush().unwrap();
                }
            }
        }
        _ => {
            eprintln!("usage: bench-guest micro [NAME] | sigsys | true | sleep");
            std::process::exit(2);
        }
    }
}

type Operation = (&'static str, fn() -> f64);

const OPERATIONS: [Operation; 19] = [
    ("getpid", getpid),
    ("getpid-libc", getpid_libc),
    ("clock_gettime", clock_gettime),
    ("pread-4k", pread),
    ("pwrite-4k", pwrite),
    ("open+close", open_close),
    ("stat", stat),
    ("pipe-round-trip", pipe_one_thread),
    ("pipe-ping-pong", pipe_ping_pong),
    ("fork+exit", fork_exit),
    ("fork+exec", fork_exec),
    ("vfork+exec", vfork_exec),
    ("thread-create", thread_create),
    ("futex-ping-pong", futex_ping_pong),
    ("first-touch", first_touch),
    ("cow-after-fork", cow_after_fork),
    ("mmap+munmap", mmap_munmap),
    ("mmap+touch+munmap", mmap_touch_munmap),
    ("memcpy-64k", memcpy),
];

/// Nanoseconds an iteration: the least of [`RUNS`] runs of `count`.
fn least(count: u32, mut operation: impl FnMut()) -> f64 {
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..count {
                operation();
            }
            start.elapsed().as_nanos() as f64 / f64::from(count)
        })
        .fold(f64::INFINITY, f64::min)
}

fn must(result: i64) -> i64 {
    if result < 0 {
        eprintln!("bench-guest: {}", std::io::Error::last_os_error());
        std::process::exit(1);
    }
    result
}

/// The call with its number in a register: no site that a pattern matcher would find.
fn getpid() -> f64 {
    let number = std::hint::black_box(libc::SYS_getppid);
    least(20_000, || {
        unsafe { libc::syscall(number) };
    })
}

/// glibc's own wrapper: `mov $39,%eax; syscall`.
fn getpid_libc() -> f64 {
    least(20_000, || {
        unsafe { libc::getpid() };
    })
}

fn clock_gettime() -> f64 {
    let mut time = unsafe { std::mem::zeroed() };
    least(20_000, || {
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    })
}

fn scratch_file() -> (i32, CString) {
    let path = CString::new(format!("/tmp/bench-guest.{}", std::process::id())).unwrap();
    let fd =
        unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o600) };
    must(i64::from(fd));
    let block = [7u8; PAGE * 16];
    must(unsafe { libc::write(fd, block.as_ptr().cast(), block.len()) } as i64);
    (fd, path)
}

fn pread() -> f64 {
    let (fd, path) = scratch_file();
    let mut block = [0u8; PAGE];
    let ns = least(5_000, || {
        must(unsafe { libc::pread(fd, block.as_mut_ptr().cast(), PAGE, 0) } as i64);
    });
    unsafe { libc::close(fd) };
    unsafe { libc::unlink(path.as_ptr()) };
    ns
}

fn pwrite() -> f64 {
    let (fd, path) = scratch_file();
    let block = [0u8; PAGE];
    let ns = least(5_000, || {
        must(unsafe { libc::pwrite(fd, block.as_ptr().cast(), PAGE, 0) } as i64);
    });
    unsafe { libc::close(fd) };
    unsafe { libc::unlink(path.as_ptr()) };
    ns
}

fn open_close() -> f64 {
    let path = c"/etc/passwd";
    least(2_000, || {
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) };
        must(i64::from(fd));
        unsafe { libc::close(fd) };
    })
}

fn stat() -> f64 {
    let path = c"/etc/passwd";
    let mut attributes = unsafe { std::mem::zeroed() };
    least(2_000, || {
        must(i64::from(unsafe { libc::stat(path.as_ptr(), &raw mut attributes) }));
    })
}

fn pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    must(i64::from(unsafe { libc::pipe(ends.as_mut_ptr()) }));
    (ends[0], ends[1])
}

fn pipe_one_thread() -> f64 {
    let (read, write) = pipe();
    let mut byte = [1u8];
    least(5_000, || {
        must(unsafe { libc::write(write, byte.as_ptr().cast(), 1) } as i64);
        must(unsafe { libc::read(read, byte.as_mut_ptr().cast(), 1) } as i64);
    })
}

fn pipe_ping_pong() -> f64 {
    let ((to_read, to_write), (back_read, back_write)) = (pipe(), pipe());
    let child = unsafe { libc::fork() };
    must(i64::from(child));
    let mut byte = [1u8];
    if child == 0 {
        unsafe { libc::close(to_write) };
        while unsafe { libc::read(to_read, byte.as_mut_ptr().cast(), 1) } == 1 {
            unsafe { libc::write(back_write, byte.as_ptr().cast(), 1) };
        }
        unsafe { libc::_exit(0) };
    }
    let ns = least(300, || {
        must(unsafe { libc::write(to_write, byte.as_ptr().cast(), 1) } as i64);
        must(unsafe { libc::read(back_read, byte.as_mut_ptr().cast(), 1) } as i64);
    });
    unsafe { libc::close(to_write) };
    reap(child);
    ns
}

fn reap(child: i32) {
    let mut status = 0;
    must(i64::from(unsafe { libc::waitpid(child, &raw mut status, 0) }));
}

fn fork_exit() -> f64 {
    least(30, || {
        let child = unsafe { libc::fork() };
        if child == 0 {
            unsafe { libc::_exit(0) };
        }
        must(i64::from(child));
        reap(child);
    })
}

fn fork_exec() -> f64 {
    let (path, arguments) = own_true();
    least(20, || {
        let child = unsafe { libc::fork() };
        if child == 0 {
            unsafe { libc::execv(path.as_ptr(), arguments.as_ptr().cast()) };
            unsafe { libc::_exit(1) };
        }
        must(i64::from(child));
        reap(child);
    })
}

fn own_true() -> (CString, [*const libc::c_char; 3]) {
    let path = CString::new(std::env::args().next().unwrap()).unwrap();
    let name = path.as_ptr();
    (path, [name, c"true".as_ptr(), ptr::null()])
}

fn vfork_exec() -> f64 {
    let (path, arguments) = own_true();
    least(20, || {
        let mut child = 0;
        let environment: [*mut libc::c_char; 1] = [ptr::null_mut()];
        must(-i64::from(unsafe {
            libc::posix_spawn(
                &raw mut child,
                path.as_ptr(),
                ptr::null(),
                ptr::null(),
                arguments.as_ptr().cast(),
                environment.as_ptr(),
            )
        }));
        reap(child);
    })
}

fn thread_create() -> f64 {
    least(100, || {
        std::thread::spawn(|| {}).join().unwrap();
    })
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, ptr::null::<u8>());
    }
}

fn futex_ping_pong() -> f64 {
    const STOP: u32 = u32::MAX;
    let word = Arc::new(AtomicU32::new(0));
    let other = Arc::clone(&word);
    let (wait, wake) =
        (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG);
    let peer = std::thread::spawn(move || {
        loop {
            match other.load(Ordering::SeqCst) {
                1 => {
                    other.store(0, Ordering::SeqCst);
                    futex(&other, wake, 1);
                }
                STOP => return,
                seen => futex(&other, wait, seen),
            }
        }
    });
    let ns = least(300, || {
        word.store(1, Ordering::SeqCst);
        futex(&word, wake, 1);
        while word.load(Ordering::SeqCst) == 1 {
            futex(&word, wait, 1);
        }
    });
    word.store(STOP, Ordering::SeqCst);
    futex(&word, wake, 1);
    peer.join().unwrap();
    ns
}

fn map(pages: usize) -> *mut u8 {
    let at = unsafe {
        libc::mmap(
            ptr::null_mut(),
            pages * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if at == libc::MAP_FAILED {
        must(-1);
    }
    at.cast()
}

fn touch(at: *mut u8, pages: usize) {
    for page in 0..pages {
        unsafe { at.add(page * PAGE).write_volatile(1) };
    }
}

fn first_touch() -> f64 {
    const PAGES: usize = 2048;
    (0..RUNS)
        .map(|_| {
            let at = map(PAGES);
            // Huge pages would hide the faults.
            unsafe { libc::madvise(at.cast(), PAGES * PAGE, libc::MADV_NOHUGEPAGE) };
            let start = Instant::now();
            touch(at, PAGES);
            let ns = start.elapsed().as_nanos() as f64 / PAGES as f64;
            unsafe { libc::munmap(at.cast(), PAGES * PAGE) };
            ns
        })
        .fold(f64::INFINITY, f64::min)
}

fn cow_after_fork() -> f64 {
    const PAGES: usize = 1024;
    let at = map(PAGES);
    unsafe { libc::madvise(at.cast(), PAGES * PAGE, libc::MADV_NOHUGEPAGE) };
    touch(at, PAGES);
    let least = (0..RUNS)
        .map(|_| {
            let (read, write) = pipe();
            let child = unsafe { libc::fork() };
            if child == 0 {
                let start = Instant::now();
                touch(at, PAGES);
                let ns = (start.elapsed().as_nanos() as u64).to_ne_bytes();
                unsafe { libc::write(write, ns.as_ptr().cast(), 8) };
                unsafe { libc::_exit(0) };
            }
            let mut ns = [0u8; 8];
            must(unsafe { libc::read(read, ns.as_mut_ptr().cast(), 8) } as i64);
            reap(child);
            unsafe { libc::close(read) };
            unsafe { libc::close(write) };
            u64::from_ne_bytes(ns) as f64 / PAGES as f64
        })
        .fold(f64::INFINITY, f64::min);
    unsafe { libc::munmap(at.cast(), PAGES * PAGE) };
    least
}

fn mmap_munmap() -> f64 {
    least(500, || {
        let at = map(16);
        unsafe { libc::munmap(at.cast(), 16 * PAGE) };
    })
}

fn mmap_touch_munmap() -> f64 {
    least(200, || {
        let at = map(16);
        touch(at, 16);
        unsafe { libc::munmap(at.cast(), 16 * PAGE) };
    })
}

fn memcpy() -> f64 {
    let from = vec![3u8; 65_536];
    let mut to = vec![0u8; 65_536];
    least(2_000, || {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
    })
}

extern "C" fn ignore(_signal: i32) {}

/// The yardstick of the trap path: a call that seccomp answers with SIGSYS, and nothing else.
fn sigsys() {
    const AUDIT_ARCH_X86_64: u32 = 0xC000_003E;
    let number = libc::SYS_getppid as u32;
    let statement =
        |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 4, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, AUDIT_ARCH_X86_64, 0, 2),
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 1, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_TRAP, 0, 0),
    ];
    let filter =
        libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    unsafe { libc::signal(libc::SIGSYS, ignore as *const () as usize) };
    must(i64::from(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }));
    must(i64::from(unsafe { libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const filter) }));
    println!("sigsys {:.0}", getpid());
}
