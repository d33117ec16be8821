// SPDX-License-Identifier: Apache-2.0
//! Instructions and processor flags that no program should get far with.

use std::arch::asm;

use crate::kit;

/// Runs `body` in a child that handles no signal: how it ends.
fn alone(label: &str, body: impl FnOnce()) {
    let status = kit::in_plain_child(|| {
        body();
        kit::ignore(sys!(getppid).ok());
        0
    });
    show!(label, kit::status(status));
}

/// Writes instructions to a page below 4 GiB, which ends in `hlt`.
fn code(bytes: &[u8]) -> usize {
    let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    let page = kit::map(4096, prot, flags, -1);
    unsafe {
        std::ptr::write_bytes(page, 0xf4, 4096);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), page, bytes.len());
    }
    page as usize
}

fn call(at: usize) {
    unsafe { asm!("call {}", in(reg) at, out("rax") _, out("rcx") _, out("rdx") _) };
}

/// S24: what the processor keeps for kernels and hypervisors, and what is no instruction at all.
pub fn privileged() {
    let all: [(&str, &[u8]); 22] = [
        ("cli", &[0xfa, 0xc3]),
        ("sti", &[0xfb, 0xc3]),
        ("hlt", &[0xf4]),
        ("in", &[0xec, 0xc3]),
        ("out", &[0xee, 0xc3]),
        ("mov to cr3", &[0x0f, 0x22, 0xd8, 0xc3]),
        ("mov from cr0", &[0x0f, 0x20, 0xc0, 0xc3]),
        ("mov to dr7", &[0x0f, 0x23, 0xf8, 0xc3]),
        ("rdmsr", &[0x0f, 0x32, 0xc3]),
        ("wrmsr", &[0x0f, 0x30, 0xc3]),
        ("invd", &[0x0f, 0x08, 0xc3]),
        ("wbinvd", &[0x0f, 0x09, 0xc3]),
        ("swapgs", &[0x0f, 0x01, 0xf8, 0xc3]),
        ("sysret", &[0x48, 0x0f, 0x07]),
        ("sysexit", &[0x0f, 0x35]),
        ("xsetbv", &[0x31, 0xc9, 0x0f, 0x01, 0xd1, 0xc3]),
        ("clts", &[0x0f, 0x06, 0xc3]),
        ("lgdt", &[0x0f, 0x01, 0x14, 0x24, 0xc3]),
        ("int 0x21", &[0xcd, 0x21, 0xc3]),
        ("int3", &[0xcc, 0xc3]),
        ("icebp", &[0xf1, 0xc3]),
        ("ud2", &[0x0f, 0x0b]),
    ];
    for (name, bytes) in all {
        alone(name, || call(code(bytes)));
    }
}

/// S7: flags that change how the next instructions run.
pub fn flags() {
    // AC and VIF are set only to be cleared again: the next access might not be aligned.
    for (name, bit) in
        [("IOPL", 0x3000u64), ("NT", 0x4000), ("RF", 0x1_0000), ("VM", 0x2_0000), ("ID", 0x20_0000)]
    {
        alone(name, || {
            let now: u64;
            unsafe {
                asm!("pushfq; or [rsp], {bit}; popfq; pushfq; pop {now}", bit = in(reg) bit, now = out(reg) now);
                asm!("syscall", inout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _);
                asm!("pushfq; and qword ptr [rsp], {mask}; popfq", mask = in(reg) !bit);
            }
            show!("kept", format!("{:#x}", now & bit));
        });
    }
    alone("AC", || unsafe {
        let bytes = [0u8; 16];
        asm!("pushfq; or qword ptr [rsp], 0x40000; popfq; mov {out}, [{at} + 1]; pushfq; and qword ptr [rsp], -0x40001; popfq",
            at = in(reg) (&raw const bytes as usize) & !7, out = out(reg) _);
    });
    alone("AC in a call", || unsafe {
        asm!("pushfq; or qword ptr [rsp], 0x40000; popfq; syscall; pushfq; and qword ptr [rsp], -0x40001; popfq",
            inout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _);
    });
    alone("TF", || unsafe { asm!("pushfq; or qword ptr [rsp], 0x100; popfq; nop; nop") });
    alone("TF in a call", || unsafe {
        asm!("mov rax, 39; pushfq; or qword ptr [rsp], 0x100; popfq; syscall; nop", out("rax") _, out("rcx") _, out("r11") _);
    });
    alone("DF in a call", || unsafe {
        asm!("std; syscall; cld", inout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _);
    });
}

/// S6, S7: other code segments.
pub fn segments() {
    for (name, cs, ss) in [
        ("iretq to 32 bits", 0x23u64, 0x2bu64),
        ("iretq to itself", 0x33, 0x2b),
        ("kernel's code", 0x10, 0x2b),
        ("kernel's stack", 0x33, 0x18),
        ("null code", 0, 0x2b),
        ("null stack", 0x33, 0),
        ("data as code", 0x2b, 0x2b),
        ("beyond the table", 0xfff3, 0x2b),
        ("local table", 0x37, 0x2b),
    ] {
        alone(name, || {
            // `int3` is the same in 32 and in 64 bits.
            let at = code(&[0xcc]);
            let stack = code(&[]) + 2048;
            unsafe {
                asm!("push {ss}; push {stack}; pushfq; push {cs}; push {at}; iretq",
                    ss = in(reg) ss, stack = in(reg) stack, cs = in(reg) cs, at = in(reg) at, options(noreturn));
            }
        });
    }
    for (name, bytes) in
        [("invalid in 32 bits", &[0x0f, 0x0b][..]), ("store to 0 in 32 bits", &[0xa2, 0, 0, 0, 0])]
    {
        alone(name, || {
            let at = code(bytes);
            unsafe { asm!("push 0x23; push {at}; retfq", at = in(reg) at, options(noreturn)) };
        });
    }
    for selector in [0u16, 3, 0x2b, 0x33, 0x10, 0xffff] {
        alone(&format!("ds, es {selector:#x}"), || unsafe {
            asm!("mov ds, {sel:x}; mov es, {sel:x}; syscall; mov {sel:x}, ds", sel = inout(reg) selector => _,
                inout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _);
        });
        alone(&format!("gs {selector:#x}"), || unsafe {
            asm!("mov gs, {sel:x}; syscall", sel = in(reg) selector,
                inout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _);
        });
    }
}

/// S8: the page at the top of the address space.
pub fn vsyscall_page() {
    const PAGE: usize = 0xffff_ffff_ff60_0000;
    let time = || {
        let mut now = [0u64; 2];
        let value: i64;
        unsafe {
            asm!("call {at}", at = in(reg) PAGE, inout("rax") 96i64 => value, in("rdi") now.as_mut_ptr(), in("rsi") 0,
                out("rcx") _, out("r11") _);
        }
        say!("{value} {}", now[0] > 1_600_000_000);
    };
    alone("gettimeofday", time);
    for offset in [0x400, 0x800] {
        alone(&format!("{offset:#x}"), || unsafe {
            asm!("call {at}", at = in(reg) PAGE + offset, inout("rax") 0i64 => _, in("rdi") 0, in("rsi") 0, in("rdx") 0,
                out("rcx") _, out("r11") _);
        });
    }
    for offset in [0x1, 0x10, 0xc00, 0x1000] {
        alone(&format!("{offset:#x}"), || unsafe {
            asm!("call {at}", at = in(reg) PAGE + offset, out("rax") _)
        });
    }
    alone("write", || unsafe { (PAGE as *mut u8).write_volatile(1) });
}

pub fn vsyscall_with_a_bad_pointer() {
    const PAGE: usize = 0xffff_ffff_ff60_0000;
    alone("bad pointer", || unsafe {
        asm!("call {at}", at = in(reg) PAGE, inout("rax") 96i64 => _, in("rdi") 8, in("rsi") 0, out("rcx") _, out("r11") _);
    });
}

fn calls_with_bases(bases: &[u64]) {
    let call = |fs: bool, base: u64| {
        alone(&format!("{} {base:#x}", if fs { "fs" } else { "gs" }), || {
            let (ret, read): (i64, u64);
            unsafe {
                if fs {
                    asm!("rdfsbase {old}; wrfsbase {base}; syscall; rdfsbase {read}; wrfsbase {old}",
                        base = in(reg) base, old = out(reg) _, read = out(reg) read,
                        inout("rax") libc::SYS_getppid => ret, out("rcx") _, out("r11") _);
                } else {
                    asm!("wrgsbase {base}; syscall; rdgsbase {read}", base = in(reg) base, read = out(reg) read,
                        inout("rax") libc::SYS_getppid => ret, out("rcx") _, out("r11") _);
                }
            }
            say!("{} {}", ret > 0, read == base);
        });
    };
    for base in bases {
        call(true, *base);
        call(false, *base);
    }
}

/// Segment bases of the program's own making do not harm its calls.
pub fn segment_bases() {
    calls_with_bases(&[0, 8, 0x7fff_ffff_e000, 0x8000_0000_0000]);
}

/// Bases that only the processor's own instruction gives.
pub fn segment_bases_beyond_user_space() {
    calls_with_bases(&[0x7fff_ffff_f000, 0xffff_8000_0000_0000, u64::MAX]);
}
