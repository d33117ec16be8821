// SPDX-License-Identifier: Apache-2.0
//! What the platforms cost on this machine: `cargo run --release -p platform --example bench`.
//!
//! Prints nanoseconds, each the median of several rounds, the platforms in turn.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a program for people")]

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use abi::{UserAddr, UserRange};
use platform::{Backing, Context, Exit, MapOptions, Platform, Protection, Registers};

const CODE: u64 = 0x1_0000;
const ROUNDS: usize = 7;

/// mov eax, 39; syscall; jmp back
const CALLS: &[u8] = &[0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
/// mov ecx, edi; dec ecx; jnz; syscall; jmp back
const WORK: &[u8] = &[0x89, 0xf9, 0xff, 0xc9, 0x75, 0xfc, 0x0f, 0x05, 0xeb, 0xf6];

fn range(start: u64, len: u64) -> UserRange {
    UserRange::new(UserAddr(start), len).unwrap()
}

fn guest(platform: &dyn Platform, code: &[u8]) -> (Box<dyn Context>, Registers) {
    let (_, mut context) = platform.new_address_space().unwrap();
    let options = MapOptions::empty();
    context.map(range(CODE, 0x4000), Protection::all(), Backing::Anonymous, options).unwrap();
    context.write(UserAddr(CODE), code);
    (context, Registers::new_program(CODE, CODE + 0x4000))
}

fn call(context: &mut Box<dyn Context>, registers: &mut Registers) {
    loop {
        match context.switch(registers).unwrap() {
            Exit::Syscall => return,
            Exit::Interrupted => {}
            other => panic!("{other:?}"),
        }
    }
}

fn median(mut round: impl FnMut() -> f64) -> f64 {
    let mut all: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    all.sort_by(f64::total_cmp);
    all[ROUNDS / 2]
}

/// Nanoseconds for each of `count` times `action`.
fn time(count: u32, mut action: impl FnMut()) -> f64 {
    median(|| {
        let start = Instant::now();
        for _ in 0..count {
            action();
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
    })
}

fn row(platform: &str, what: &str, ns: f64) {
    println!("{platform:8} {what:34} {ns:12.0}");
}

fn measure(platform: &Arc<dyn Platform>) {
    let name = platform.name();
    let (mut context, mut registers) = guest(&**platform, CALLS);
    let calls = if name == "systrap" { 50_000 } else { 3_000 };
    row(name, "call", time(calls, || call(&mut context, &mut registers)));
    let mut bytes = vec![0; 0x1000];
    for len in [8, 256, 4096] {
        let to = &mut bytes[..len];
        call(&mut context, &mut registers);
        let ns = time(500, || {
            assert_eq!(context.read(UserAddr(CODE), to), len);
        });
        row(name, &format!("read {len} bytes, stub awake"), ns);
        let space = Arc::clone(context.space());
        let ns = time(500, || {
            assert_eq!(space.read(UserAddr(CODE), to), len);
        });
        row(name, &format!("read {len} bytes, process_vm"), ns);
    }
    let ns = time(2_000, || {
        let at = range(0x100_0000, 0x1000);
        let (all, none) = (Protection::READ | Protection::WRITE, MapOptions::empty());
        context.map(at, all, Backing::Anonymous, none).unwrap();
        call(&mut context, &mut registers);
        context.unmap(at).unwrap();
        call(&mut context, &mut registers);
    });
    row(name, "mmap + munmap, two calls", ns);
    let ns = time(100, || {
        let mut child = context.fork().unwrap();
        let mut of_child = registers;
        call(&mut child, &mut of_child);
    });
    row(name, "fork + a call + exit", ns);
    let ns = time(100, || {
        let mut thread = context.spawn_thread().unwrap();
        let mut of_thread = registers;
        call(&mut thread, &mut of_thread);
        thread.exit();
    });
    row(name, "thread + a call + exit", ns);
    let ns = time(50, || {
        let (mut context, mut registers) = guest(&**platform, CALLS);
        call(&mut context, &mut registers);
    });
    row(name, "fresh space + a call", ns);
    // A guest that computes between calls: does waiting for it slow it down?
    for (what, loops) in [("10 us", 30_000_u64), ("100 us", 300_000), ("1 ms", 3_000_000)] {
        let (mut context, mut registers) = guest(&**platform, WORK);
        registers.rdi = loops;
        let ns = time(u32::try_from(30_000_000 / loops).unwrap(), || {
            call(&mut context, &mut registers);
        });
        row(name, &format!("call after some {what} of work"), ns);
    }
    for guests in [2, 4, 8] {
        let ns = median(|| {
            let start = Instant::now();
            let count = calls / 10;
            thread::scope(|scope| {
                for _ in 0..guests {
                    scope.spawn(|| {
                        let (mut context, mut registers) = guest(&**platform, CALLS);
                        for _ in 0..count {
                            call(&mut context, &mut registers);
                        }
                    });
                }
            });
            start.elapsed().as_secs_f64() * 1e9 / f64::from(count * guests)
        });
        row(name, &format!("call, {guests} guests at once, all together"), ns);
    }
    // Calls that keep the sentry long enough for the stub to sleep.
    let (mut context, mut registers) = guest(&**platform, CALLS);
    let ns = time(100, || {
        thread::sleep(Duration::from_micros(300));
        call(&mut context, &mut registers);
    });
    row(name, "call after 300 us asleep", ns - 300_000.0);
}

/// A trap and the return from it, with nothing done: in a child of its own.
fn bare_trap() -> f64 {
    bare::sigsys()
}

mod bare {
    #![allow(unsafe_code, reason = "a bare signal handler to compare with")]

    use std::{io::Read, os::unix::process::CommandExt, process::Command, time::Instant};

    extern "C" fn handler(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

    /// Runs itself again, for a filter stays for good.
    pub(crate) fn sigsys() -> f64 {
        let mut child = Command::new("/proc/self/exe");
        child.arg0("bench").env("BARE", "1").stdout(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        text.trim().parse().unwrap()
    }

    pub(crate) fn child() {
        // SAFETY: installs a handler that does nothing and a filter that traps getppid(2).
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut());
            let mut code = [
                libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
                libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: 110 },
                libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x3_0000 },
                libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 },
            ];
            let program = libc::sock_fprog { len: 4, filter: code.as_mut_ptr() };
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program);
        }
        let mut all: Vec<f64> = (0..7)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..50_000 {
                    // SAFETY: getppid(2), which traps.
                    unsafe { libc::syscall(libc::SYS_getppid) };
                }
                start.elapsed().as_secs_f64() * 1e9 / 50_000.0
            })
            .collect();
        all.sort_by(f64::total_cmp);
        println!("{}", all[3]);
    }
}

fn main() {
    if std::env::var_os("BARE").is_some() {
        return bare::child();
    }
    row("host", "bare SIGSYS and return", bare_trap());
    if std::env::args().nth(1).as_deref() != Some("ptrace") {
        measure(&platform::systrap::Systrap::new().unwrap());
    }
    row("host", "bare SIGSYS and return", bare_trap());
    if std::env::args().nth(1).as_deref() != Some("systrap") {
        measure(&platform::ptrace::Ptrace::new().unwrap());
    }
}
