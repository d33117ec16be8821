// SPDX-License-Identifier: Apache-2.0
//! The stub: the only code of ours that runs inside a guest's address space.
//!
//! `build.rs` compiles this file, with [`shared`], into a blob without data, relocations or calls
//! out. It has one signal handler, which tells the sentry what the guest did and then does what the
//! sentry says, and the code that a new thread or process starts with. It checks nothing: a guest
//! can jump to any byte of it with any registers, so what keeps the host safe is the system call
//! filter (`systrap/filter.rs`), never this code.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "this is the inside of the stub")]

#[path = "../shared.rs"]
#[allow(dead_code, reason = "the stub needs a part of it")]
mod shared;

use core::{
    arch::asm,
    sync::atomic::{AtomicU32, Ordering},
};

use shared::{
    BUFFER_OFFSET, CHANNEL_SIZE, COMMAND_COPY_IN, COMMAND_COPY_OUT, COMMAND_EXIT, COMMAND_OPS,
    COMMAND_RESUME, Control, EVENT_DONE, EVENT_SIGNAL, FEATURE_FSGSBASE, FEATURE_RDPID, OP_ALWAYS,
    OP_ANNOUNCE, OP_MAY_FAIL, OPS_MAX, OPS_OFFSET, Op, PEEK_OFFSET, PEEK_SIZE, TURN_NEWBORN,
    TURN_SENTRY, TURN_SENTRY_STUB_SLEEPS, TURN_STUB_SENTRY_SLEEPS,
};

#[path = "x86_64.rs"]
mod arch;
#[path = "futex.rs"]
mod futex;

const SYS_CLONE: u64 = 56;
const SYS_ARCH_PRCTL: u64 = 158;
const SYS_FUTEX: u64 = 202;
const FUTEX_WAIT: u64 = 0;
const FUTEX_WAKE: u64 = 1;
const ECANCELED: i64 = 125;
const SIGBUS: u32 = 7;
const SIGSEGV: u32 = 11;
const SIGSYS: u32 = 31;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: `ud2` only raises SIGILL.
        unsafe { asm!("ud2") }
    }
}

/// Where a thread starts: a new thread's or process's first instruction after clone(2), and the
/// zygote's after the sentry jumped here. Carries out the operations that wait in its channel and
/// traps, so that the kernel builds a frame; the rest is the handler's.
extern "C" fn start(channel: usize) {
    let control = channel as *mut Control;
    // SAFETY: the channel is mapped for as long as this thread lives.
    unsafe { run_ops(control, channel) }
}

/// The handler of every signal that a guest can cause.
extern "C" fn signal(number: u32, info: u64, context: usize) {
    let frame = context as *mut arch::Context;
    if number == SIGSEGV || number == SIGBUS {
        // SAFETY: the kernel built the frame.
        let rip = unsafe { (*frame).rip };
        if let Some(fixup) = arch::copy_fixup(rip) {
            // SAFETY: as above.
            unsafe { (*frame).rip = fixup };
            return;
        }
    }
    let channel = context & !(CHANNEL_SIZE - 1);
    let control = channel as *mut Control;
    // SAFETY: this thread's alternate stack is in its channel, and so is the frame.
    unsafe {
        let registers = &mut (*frame).registers;
        match futex::answer(control, number, info, registers) {
            futex::Answer::Done(result) => {
                registers[arch::RAX] = result as u64;
                return;
            }
            futex::Answer::Sentry(cut) => (*control).cut = cut,
        }
        (*control).signal = number;
        (*control).info = info;
        (*control).context = context as u64;
        if (*control).features & FEATURE_FSGSBASE != 0 {
            (*control).fs_base = arch::read_fs_base();
            (*control).gs_base = arch::read_gs_base();
        }
        peek(control, channel, number, &(*frame).registers);
        serve(control, channel, EVENT_SIGNAL);
    }
}

/// Copies the beginning of the path that a call names, up to the end of its page: the sentry will want it.
///
/// # Safety
/// `control` is the calling thread's channel, which starts at `channel`.
#[inline(always)]
unsafe fn peek(control: *mut Control, channel: usize, signal: u32, registers: &[u64; 16]) {
    /// open, stat, lstat, access, execve, chdir, rename, mkdir, rmdir, unlink, readlink.
    const FIRST: u128 = 1 << 2 | 1 << 4 | 1 << 6 | 1 << 21 | 1 << 59 | 1 << 80 | PATHS;
    const PATHS: u128 = 1 << 82 | 1 << 83 | 1 << 84 | 1 << 87 | 1 << 89;
    /// From 256 on: openat, newfstatat, unlinkat, readlinkat, faccessat, statx.
    const SECOND: u128 = 1 << 1 | 1 << 6 | 1 << 7 | 1 << 11 | 1 << 13 | 1 << 76;
    let bit = |set: u128, number: u64| number < 128 && set >> number & 1 != 0;
    let number = registers[arch::RAX];
    let path = if signal != SIGSYS {
        0
    } else if bit(FIRST, number) {
        registers[arch::RDI]
    } else if bit(SECOND, number.wrapping_sub(256)) {
        registers[arch::RSI]
    } else {
        0
    };
    let mut done = 0;
    if path != 0 {
        let to_page_end = 4096 - path as usize % 4096;
        let len = if to_page_end < PEEK_SIZE { to_page_end } else { PEEK_SIZE };
        // SAFETY: inside the channel; a bad guest address is fixed up by the handler.
        done = len - unsafe { arch::copy(channel + PEEK_OFFSET, path as usize, len) };
    }
    // SAFETY: the caller's promise.
    unsafe {
        (*control).peek_addr = path;
        (*control).peek_len = done as u32;
    }
}

/// Tells the sentry `event` and does what it says until it says to resume.
///
/// # Safety
/// `control` is the calling thread's channel.
#[inline(always)]
unsafe fn serve(control: *mut Control, channel: usize, mut event: u32) {
    loop {
        // SAFETY: the caller's promise, for the whole loop.
        unsafe {
            hand_over(control, event);
            let command = (&raw const (*control).command).read_volatile();
            if command == COMMAND_RESUME {
                if (&raw const (*control).set_bases).read_volatile() != 0 {
                    set_bases(control);
                }
                return;
            }
            match command {
                COMMAND_OPS => run_ops(control, channel),
                COMMAND_COPY_IN => copy(control, channel, true),
                COMMAND_COPY_OUT => copy(control, channel, false),
                COMMAND_EXIT => arch::unmap_and_exit(channel, CHANNEL_SIZE),
                _ => {}
            }
        }
        event = EVENT_DONE;
    }
}

/// Gives the turn to the sentry and waits for it to come back.
///
/// # Safety
/// `control` is the calling thread's channel.
#[inline(always)]
unsafe fn hand_over(control: *mut Control, event: u32) {
    // SAFETY: the word is in the channel, aligned, and only ever accessed atomically.
    let turn = unsafe { AtomicU32::from_ptr(&raw mut (*control).turn) };
    // SAFETY: the channel is mapped.
    unsafe {
        (*control).event = event;
        if (*control).features & FEATURE_RDPID != 0 {
            (*control).cpu = arch::cpu();
        }
    }
    // The sentry may take it back to 0 at any time.
    // SAFETY: the channel is mapped.
    let spins = || unsafe { (&raw const (*control).spins).read_volatile() };
    match turn.swap(TURN_SENTRY, Ordering::SeqCst) {
        TURN_STUB_SENTRY_SLEEPS => {
            arch::syscall(SYS_FUTEX, [turn.as_ptr() as u64, FUTEX_WAKE, 1, 0, 0, 0]);
        }
        // SAFETY: the operation is in the channel.
        TURN_NEWBORN => unsafe { announce(control) },
        _ => {}
    }
    let mut looked = 0;
    while looked < spins() {
        if turn.load(Ordering::Acquire) <= TURN_STUB_SENTRY_SLEEPS {
            return;
        }
        core::hint::spin_loop();
        looked += 1;
    }
    while turn.load(Ordering::Acquire) > TURN_STUB_SENTRY_SLEEPS {
        let slept = turn.compare_exchange(
            TURN_SENTRY,
            TURN_SENTRY_STUB_SLEEPS,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        if slept.is_ok() || slept == Err(TURN_SENTRY_STUB_SLEEPS) {
            let sleeps = u64::from(TURN_SENTRY_STUB_SLEEPS);
            arch::syscall(SYS_FUTEX, [turn.as_ptr() as u64, FUTEX_WAIT, sleeps, 0, 0, 0]);
        }
    }
}

/// # Safety
/// `control` is the calling thread's channel.
unsafe fn set_bases(control: *mut Control) {
    // SAFETY: the caller's promise; a bad base faults, and the guest dies of it.
    unsafe {
        let (fs, gs) = ((*control).fs_base, (*control).gs_base);
        if (*control).features & FEATURE_FSGSBASE != 0 {
            arch::write_fs_base(fs);
            arch::write_gs_base(gs);
        } else {
            arch::syscall(SYS_ARCH_PRCTL, [0x1002, fs, 0, 0, 0, 0]);
            arch::syscall(SYS_ARCH_PRCTL, [0x1001, gs, 0, 0, 0, 0]);
        }
    }
}

/// Tells the sentry that a new process is there.
///
/// # Safety
/// `control` is the calling thread's channel.
unsafe fn announce(control: *mut Control) {
    let ops = (control as usize + OPS_OFFSET) as *mut Op;
    // SAFETY: inside the channel.
    unsafe {
        let op = ops.add(OP_ANNOUNCE);
        let number = (&raw const (*op).number).read_volatile();
        arch::syscall(number, (&raw const (*op).args).read_volatile());
    }
}

/// # Safety
/// `control` is the calling thread's channel, which starts at `channel`.
unsafe fn run_ops(control: *mut Control, channel: usize) {
    let ops = (channel + OPS_OFFSET) as *mut Op;
    // SAFETY: the caller's promise.
    let count = unsafe { (&raw const (*control).op_count).read_volatile() } as usize;
    let mut failed = false;
    let mut index = 0;
    while index < count && index < OPS_MAX {
        // SAFETY: below `OPS_MAX`, so inside the channel.
        unsafe {
            let op = ops.add(index);
            let number = (&raw const (*op).number).read_volatile();
            let args = (&raw const (*op).args).read_volatile();
            let result = if failed && number & OP_ALWAYS == 0 {
                -ECANCELED
            } else if number & 0xffff_ffff == SYS_CLONE {
                arch::clone(args[0], args[1], args[4])
            } else {
                arch::syscall(number & 0xffff_ffff, args)
            };
            (&raw mut (*op).result).write_volatile(result);
            if (-4095..0).contains(&result) && number & OP_MAY_FAIL == 0 {
                failed = true;
            }
        }
        index += 1;
    }
}

/// # Safety
/// `control` is the calling thread's channel, which starts at `channel`.
unsafe fn copy(control: *mut Control, channel: usize, inward: bool) {
    let buffer = channel + BUFFER_OFFSET;
    // SAFETY: the caller's promise; a bad guest address is fixed up by the handler.
    unsafe {
        let guest = (&raw const (*control).copy_addr).read_volatile() as usize;
        let len = (&raw const (*control).copy_len).read_volatile() as usize;
        let left = if inward {
            arch::copy(buffer, guest, len)
        } else {
            arch::copy(guest, buffer, len)
        };
        (&raw mut (*control).copy_left).write_volatile(left as u64);
    }
}
