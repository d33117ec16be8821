// SPDX-License-Identifier: Apache-2.0
//! What the stub needs of x86-64.

use core::arch::{asm, global_asm, naked_asm};

/// The kernel's `struct ucontext` as far as the stub looks.
#[repr(C)]
pub struct Context {
    flags: u64,
    link: u64,
    stack: [u64; 3],
    /// r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp.
    pub registers: [u64; 16],
    /// The instruction that was interrupted.
    pub rip: u64,
}

/// Places in [`Context::registers`].
pub const R8: usize = 0;
/// The sixth argument.
pub const R9: usize = 1;
/// The fourth.
pub const R10: usize = 2;
/// The first.
pub const RDI: usize = 8;
/// The second argument.
pub const RSI: usize = 9;
/// The third.
pub const RDX: usize = 12;
/// The call's number.
pub const RAX: usize = 13;

global_asm!(
    // rsp: the end of this thread's channel.
    ".globl stub_entry",
    "stub_entry:",
    "lea rdi, [rsp - {size}]",
    "xor ebp, ebp",
    "call {start}",
    ".globl stub_trap",
    "stub_trap:",
    "hlt",
    "jmp stub_trap",
    ".globl stub_signal",
    "stub_signal:",
    "jmp {signal}",
    ".globl stub_restore",
    "stub_restore:",
    "mov eax, 15",
    "syscall",
    "ud2",
    // A gadget for a tracer: nothing in memory says what it does.
    ".globl stub_call",
    "stub_call:",
    "syscall",
    ".globl stub_called",
    "stub_called:",
    "int3",
    "jmp stub_called",
    // The same for clone(2): the child parks without touching memory until it is traced.
    // prctl(PR_SET_PDEATHSIG, SIGKILL), then pause(2) for ever.
    ".globl stub_call_clone",
    "stub_call_clone:",
    "syscall",
    "test rax, rax",
    "jz stub_park",
    ".globl stub_cloned",
    "stub_cloned:",
    "int3",
    "jmp stub_cloned",
    ".globl stub_park",
    "stub_park:",
    "mov eax, 157",
    "mov edi, 1",
    "mov esi, 9",
    "syscall",
    ".globl stub_parked",
    "stub_parked:",
    "mov eax, 34",
    "syscall",
    "jmp stub_parked",
    size = const super::CHANNEL_SIZE,
    start = sym super::start,
    signal = sym super::signal,
);

/// The child must not return on a stack that is not its own; it starts afresh, without the password.
///
/// # Safety
/// `stack` is the end of a channel that awaits its thread.
#[unsafe(naked)]
pub unsafe extern "C" fn clone(flags: u64, stack: u64, password: u64) -> i64 {
    naked_asm!(
        "mov eax, 56",
        "mov r8, rdx",
        "xor edx, edx",
        "xor r10d, r10d",
        "syscall",
        "xor r8d, r8d",
        "test rax, rax",
        "jz stub_entry",
        "ret",
    )
}

/// Copies, and returns how many bytes were not copied.
///
/// # Safety
/// One side is the copy buffer, the other the guest's.
#[unsafe(naked)]
pub unsafe extern "C" fn copy(to: usize, from: usize, len: usize) -> usize {
    naked_asm!(
        "mov rcx, rdx",
        ".globl stub_copy_fault",
        "stub_copy_fault:",
        "rep movsb",
        ".globl stub_copy_fixup",
        "stub_copy_fixup:",
        "mov rax, rcx",
        "ret",
    )
}

/// Unmaps the channel and ends the thread, which has no stack in between.
///
/// # Safety
/// The calling thread runs on `channel` and has nothing more to do.
#[unsafe(naked)]
pub unsafe extern "C" fn unmap_and_exit(channel: usize, len: usize) -> ! {
    naked_asm!("mov eax, 11", "syscall", "xor edi, edi", "mov eax, 60", "syscall", "ud2")
}

/// Where to go on when the instruction at `rip` is the copying one.
#[inline(always)]
pub fn copy_fixup(rip: u64) -> Option<u64> {
    let (fault, fixup): (u64, u64);
    // SAFETY: takes two addresses.
    unsafe {
        asm!(
            "lea {0}, [rip + stub_copy_fault]",
            "lea {1}, [rip + stub_copy_fixup]",
            out(reg) fault,
            out(reg) fixup,
            options(nomem, nostack, preserves_flags),
        );
    }
    (rip == fault).then_some(fixup)
}

/// A host call. What it may do is the filter's matter.
#[inline(always)]
pub fn syscall(number: u64, args: [u64; 6]) -> i64 {
    let result: i64;
    let [a, b, c, d, e, f] = args;
    // SAFETY: the calls that the filter lets through change guest memory and the channel, which
    // this code reads by volatile and atomic accesses only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The processor's clock.
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux lets user code use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The CPU this runs on.
#[inline(always)]
pub fn cpu() -> u32 {
    let value: u64;
    // SAFETY: `rdpid` reads a register that Linux sets to CPU and node.
    unsafe { asm!("rdpid {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
    (value & 0xfff) as u32
}

/// # Safety
/// The kernel lets user code read it.
#[inline(always)]
pub unsafe fn read_fs_base() -> u64 {
    let base: u64;
    // SAFETY: the caller's promise.
    unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// # Safety
/// The kernel lets user code read it.
#[inline(always)]
pub unsafe fn read_gs_base() -> u64 {
    let base: u64;
    // SAFETY: the caller's promise.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// # Safety
/// Nothing of ours uses the segment.
#[inline(always)]
pub unsafe fn write_fs_base(base: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("wrfsbase {}", in(reg) base, options(nostack, preserves_flags)) };
}

/// # Safety
/// Nothing of ours uses the segment.
#[inline(always)]
pub unsafe fn write_gs_base(base: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("wrgsbase {}", in(reg) base, options(nostack, preserves_flags)) };
}
