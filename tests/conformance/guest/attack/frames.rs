// SPDX-License-Identifier: Apache-2.0
//! S12: signal frames that a program forges before it returns through them.
//!
//! Covers: rt_sigreturn.

use std::{
    arch::asm,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::kit;

/// What is done to the frame: which forgery.
static FORGERY: AtomicUsize = AtomicUsize::new(0);

type Forge = fn(&mut libc::ucontext_t);

fn register(context: &mut libc::ucontext_t, number: i32, value: u64) {
    context.uc_mcontext.gregs[number as usize] = value as i64;
}

fn segments(context: &mut libc::ucontext_t, cs: u64, ss: u64) {
    register(context, libc::REG_CSGSFS, cs | ss << 48);
}

fn or_flags(context: &mut libc::ucontext_t, bits: i64) {
    context.uc_mcontext.gregs[libc::REG_EFL as usize] |= bits;
}

/// A word of the floating point state.
fn state(context: &mut libc::ucontext_t, offset: usize) -> *mut u32 {
    unsafe { context.uc_mcontext.fpregs.cast::<u8>().add(offset).cast() }
}

fn state_pointer(context: &mut libc::ucontext_t, at: usize) {
    context.uc_mcontext.fpregs = at as *mut _;
}

const FORGERIES: [(&str, Forge); 33] = [
    ("nothing", |_| {}),
    ("rip not canonical", |c| register(c, libc::REG_RIP, 0x8000_0000_0000)),
    ("rip in the kernel", |c| register(c, libc::REG_RIP, 0xffff_ffff_8100_0000)),
    ("rip at the end of user space", |c| register(c, libc::REG_RIP, 0x7fff_ffff_f000)),
    ("rip unmapped", |c| register(c, libc::REG_RIP, 0x1000)),
    ("rsp not canonical", |c| register(c, libc::REG_RSP, 0x8000_0000_0000_0000)),
    ("rsp in the kernel", |c| register(c, libc::REG_RSP, 0xffff_ffff_ffff_f000)),
    ("rsp unmapped", |c| register(c, libc::REG_RSP, 0x1008)),
    ("code segment 0", |c| segments(c, 0, 0x2b)),
    ("code segment of the kernel", |c| segments(c, 0x10, 0x2b)),
    ("code segment beyond the table", |c| segments(c, 0xffff, 0x2b)),
    ("data as code", |c| segments(c, 0x2b, 0x2b)),
    ("stack segment 0", |c| segments(c, 0x33, 0)),
    ("stack segment of the kernel", |c| segments(c, 0x33, 0x18)),
    ("stack segment beyond the table", |c| segments(c, 0x33, 0xffff)),
    ("I/O privilege", |c| or_flags(c, 0x3000)),
    ("nested task", |c| or_flags(c, 0x4000)),
    ("virtual 8086", |c| or_flags(c, 0x2_0000)),
    ("all flags", |c| or_flags(c, !0x100 & !0x4_0000 & !0x400)),
    ("single step", |c| or_flags(c, 0x100)),
    ("no state", |c| state_pointer(c, 0)),
    ("state in the kernel", |c| state_pointer(c, 0xffff_8000_0000_0000)),
    ("state unmapped", |c| state_pointer(c, 0x1000)),
    ("state not aligned", |c| {
        let at = state(c, 4) as usize;
        state_pointer(c, at);
    }),
    ("state not canonical", |c| state_pointer(c, 0x8000_0000_0000_0000)),
    ("no magic", |c| unsafe { *state(c, 464) = 0 }),
    ("state size 0", |c| unsafe { *state(c, 464 + 4) = 0 }),
    ("state size huge", |c| unsafe { *state(c, 464 + 4) = u32::MAX }),
    ("size of the features huge", |c| unsafe { *state(c, 464 + 16) = u32::MAX }),
    ("reserved features", |c| unsafe { *state(c, 512 + 4) = 0x7fff_ffff }),
    ("compacted form", |c| unsafe { *state(c, 512 + 12) = 0x8000_0000 }),
    ("reserved header", |c| unsafe { *state(c, 512 + 24) = 1 }),
    ("reserved bits of mxcsr", |c| unsafe { *state(c, 24) = u32::MAX }),
];

extern "C" fn forge(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let (_, forge) = FORGERIES[FORGERY.load(Ordering::SeqCst)];
    forge(unsafe { &mut *context.cast() });
}

fn with_handler(body: impl FnOnce()) {
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = forge as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    body();
}

pub fn forged() {
    for (index, (name, _)) in FORGERIES.iter().enumerate() {
        let status = kit::in_plain_child(|| {
            FORGERY.store(index, Ordering::SeqCst);
            with_handler(|| {
                sys!(tgkill, sys!(getpid).ok(), sys!(gettid).ok(), libc::SIGUSR1).ok();
            });
            7
        });
        show!(name, kit::status(status));
    }
}

/// rt_sigreturn(2) without a frame: whatever lies at the stack pointer is one.
pub fn out_of_nothing() {
    let page = kit::map(
        8192,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        -1,
    ) as usize;
    for (name, stack) in [
        ("null", 8),
        ("zeroes", page + 1024),
        ("half a frame", page + 8192 - 64),
        ("not canonical", 0x8000_0000_0000_0000),
        ("in the kernel", 0xffff_ffff_ffff_f000),
        ("wraps around", usize::MAX - 7),
    ] {
        let status = kit::in_plain_child(|| unsafe {
            asm!("mov rsp, {stack}; syscall; hlt", stack = in(reg) stack, in("rax") libc::SYS_rt_sigreturn, options(noreturn))
        });
        show!(name, kit::status(status));
    }
}

/// Frames of noise, the same each time.
pub fn noise() {
    let page = kit::map(
        8192,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        -1,
    );
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    for round in 0..64 {
        for index in 0..1024 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            // Noise in a few places only gets further than noise all over.
            let word = if round % 2 == 0 || seed % 16 == 0 { seed } else { 0 };
            unsafe { page.cast::<u64>().add(index).write(word) };
        }
        let status = kit::in_plain_child(|| {
            let stack = page as usize + 4096;
            unsafe {
                asm!("mov rsp, {stack}; syscall; hlt", stack = in(reg) stack, in("rax") libc::SYS_rt_sigreturn, options(noreturn))
            }
        });
        show!(round, kit::status(status));
    }
}

/// S20: what is blocked or ignored does not help against the processor.
pub fn blocked_and_ignored() {
    for (name, blocks) in [("ignored", false), ("blocked", true)] {
        for signal in
            [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS, libc::SIGBUS]
        {
            let status = kit::in_plain_child(|| {
                if blocks {
                    let all = u64::MAX;
                    sys!(rt_sigprocmask, libc::SIG_SETMASK, &raw const all, 0, 8).ok();
                } else {
                    unsafe { libc::signal(signal, libc::SIG_IGN) };
                }
                for _ in 0..200 {
                    sys!(getppid).ok();
                }
                match signal {
                    libc::SIGSEGV => unsafe { (8 as *mut u8).write_volatile(1) },
                    libc::SIGILL => unsafe { asm!("ud2") },
                    libc::SIGFPE => unsafe {
                        asm!("div {0}", in(reg) 0u64, inout("rax") 1u64 => _, inout("rdx") 0u64 => _)
                    },
                    libc::SIGTRAP => unsafe { asm!("int3") },
                    _ => {}
                }
                3
            });
            say!("{} {name}: {}", kit::signal(signal), kit::status(status));
        }
    }
}
