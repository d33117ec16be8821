// SPDX-License-Identifier: Apache-2.0
//! Pieces of guest code: position-independent, ended by whatever the test waits for.

use std::arch::global_asm;

macro_rules! code {
    ($($name:ident: $($line:literal)*;)*) => { $(
        global_asm!(
            ".pushsection .rodata.guest, \"a\"",
            concat!(".globl guest_", stringify!($name), "_start"),
            concat!("guest_", stringify!($name), "_start:"),
            $($line,)*
            concat!(".globl guest_", stringify!($name), "_end"),
            concat!("guest_", stringify!($name), "_end:"),
            ".popsection",
        );

        pub fn $name() -> &'static [u8] {
            unsafe extern "C" {
                #[link_name = concat!("guest_", stringify!($name), "_start")]
                static START: u8;
                #[link_name = concat!("guest_", stringify!($name), "_end")]
                static END: u8;
            }
            // SAFETY: both symbols bound one piece of read-only data.
            unsafe {
                let start = &raw const START;
                let len = (&raw const END).offset_from(start) as usize;
                std::slice::from_raw_parts(start, len)
            }
        }
    )* };
}

code! {
    // Makes one call after the other, with the registers it is given.
    calls: "2:" "syscall" "jmp 2b";
    // One call with the registers it is given, its result to rbx, and call 500.
    twice: "syscall" "mov rbx, rax" "mov eax, 500" "syscall";
    spin: "2:" "inc rax" "jmp 2b";
    // zmm, k from [rsi]; a call; zmm, k to [rdi]; a call.
    vectors512:
        "vmovdqu64 zmm0, [rsi]" "vmovdqu64 zmm1, [rsi+64]" "vmovdqu64 zmm15, [rsi+128]"
        "vmovdqu64 zmm16, [rsi+192]" "vmovdqu64 zmm31, [rsi+256]" "kmovq k1, [rsi+320]"
        "fld1" "fldpi"
        "syscall"
        "vmovdqu64 [rdi], zmm0" "vmovdqu64 [rdi+64], zmm1" "vmovdqu64 [rdi+128], zmm15"
        "vmovdqu64 [rdi+192], zmm16" "vmovdqu64 [rdi+256], zmm31" "kmovq [rdi+320], k1"
        "fstp qword ptr [rdi+328]" "fstp qword ptr [rdi+336]"
        "syscall";
    vectors256:
        "vmovdqu ymm0, [rsi]" "vmovdqu ymm1, [rsi+64]" "vmovdqu ymm15, [rsi+128]"
        "syscall"
        "vmovdqu [rdi], ymm0" "vmovdqu [rdi+64], ymm1" "vmovdqu [rdi+128], ymm15"
        "syscall";
    // xmm0 from [rsi]; a call; to [rdi]; a call; and again.
    xmm: "2:" "movdqu xmm0, [rsi]" "syscall" "movdqu [rdi], xmm0" "syscall" "jmp 2b";
    xmm_store: "movdqu [rdi], xmm0" "movdqu [rdi+16], xmm15" "stmxcsr [rdi+32]" "fnstcw [rdi+36]"
        "syscall";
    bases: "mov rax, fs:[0]" "mov rbx, gs:[8]" "syscall";
    write_bases: "wrfsbase rdi" "wrgsbase rsi" "syscall" "rdfsbase rax" "rdgsbase rbx" "syscall";
    vsyscall: "mov rax, 0xffffffffff600400" "xor edi, edi" "call rax" "mov rbx, rax" "syscall";
    int80: "mov eax, 20" "int 0x80" "mov rbx, rax" "syscall";
    time: "rdtsc" "mov eax, 0" "cpuid" "mov eax, 39" "syscall";
    load: "mov rax, [rdi]" "syscall";
    store: "mov [rdi], rsi" "syscall";
    jump: "jmp rdi";
    divide: "xor edx, edx" "xor ecx, ecx" "mov eax, 1" "div ecx";
    undefined: "ud2";
    breakpoint: "nop" "int3";
    misaligned: "movaps xmm0, [rsi+1]";
    privileged: "hlt";
    nops: "nop" "nop" "nop" "syscall";
    // Touches rsi pages from rdi on.
    touch: "2:" "mov byte ptr [rdi], 1" "add rdi, 4096" "dec rsi" "jnz 2b" "syscall";
    // Writes noise over rsi words at rdi, for ever.
    scribble:
        "mov r8, rdi" "mov r9, rsi" "mov rax, 88172645463325252"
        "2:" "mov rdi, r8" "mov rcx, r9"
        "3:" "mov rdx, rax" "shl rdx, 13" "xor rax, rdx" "mov rdx, rax" "shr rdx, 7" "xor rax, rdx"
        "mov rdx, rax" "shl rdx, 17" "xor rax, rdx"
        "mov [rdi], rax" "add rdi, 8" "dec rcx" "jnz 3b" "jmp 2b";
    // Writes rsi over the words at rdi, rcx of them, for ever.
    fill: "mov r8, rdi" "mov r9, rcx" "mov rax, rsi" "2:" "mov rdi, r8" "mov rcx, r9"
        "rep stosq" "jmp 2b";
}
