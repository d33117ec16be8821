// SPDX-License-Identifier: Apache-2.0
//! x86-64's general registers, in the order of `struct user_regs_struct`.

/// General registers and segment bases. The layout is ptrace(2)'s `struct user_regs_struct`.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are the hardware's names")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

const _: () = assert!(size_of::<Registers>() == 27 * 8);

/// 64-bit user code.
pub const USER_CS: u64 = 0x33;
/// User data.
pub const USER_SS: u64 = 0x2b;
/// The flags that user code may set by itself: `FIX_EFLAGS` of Linux's arch/x86/kernel/signal.c.
pub const USER_EFLAGS: u64 = 0x0005_0dd5;

impl Registers {
    /// The registers of a new program.
    pub fn new_program(entry: u64, stack: u64) -> Registers {
        Registers {
            rip: entry,
            rsp: stack,
            cs: USER_CS,
            ss: USER_SS,
            eflags: 0x202,
            orig_rax: u64::MAX,
            ..Registers::default()
        }
    }

    /// The number of the system call that trapped.
    pub const fn syscall_number(&self) -> u64 {
        self.orig_rax
    }

    /// Its six arguments.
    pub const fn syscall_args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Sets what the call returns.
    pub const fn set_result(&mut self, value: u64) {
        self.rax = value;
    }
}
