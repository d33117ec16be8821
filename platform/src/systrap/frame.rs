// SPDX-License-Identifier: Apache-2.0
//! The signal frame in a channel: where the kernel left a guest's registers.
//!
//! The kernel built it and will restore from it, but the guest can change it in between: whatever is
//! read here is an allegation, and the kernel checks again what it restores.

use crate::{
    Error, Exit, Fault, Registers,
    interrupt::INTERRUPT,
    memory::channel::{Channel, field},
    registers::{USER_CS, USER_EFLAGS, USER_SS},
};

/// Bytes of `struct ucontext`.
const CONTEXT_SIZE: usize = 304;
/// Where the general registers start in it.
const REGISTERS: usize = 40;
/// `struct sigcontext` as 64-bit words, up to and with the floating-point pointer.
const WORDS: usize = 24;
/// Where the floating-point pointer is.
const STATE_POINTER: usize = REGISTERS + 23 * 8;
/// Where the signal mask is.
const MASK: usize = 296;
/// Bytes of `siginfo_t`.
const INFO_SIZE: usize = 128;

/// SIGSYS from a filter.
const SYS_SECCOMP: i32 = 1;
/// `AUDIT_ARCH_X86_64`.
const ARCH: u32 = 0xc000_003e;
/// A cause that the kernel does not attribute to an address.
const SI_KERNEL: i32 = 0x80;
/// General protection.
const TRAP_GP: u64 = 13;

/// The frame of the event that a stub thread is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    context: usize,
    info: usize,
}

/// What is written in `struct sigcontext`, in its order.
#[derive(Clone, Copy)]
struct Words([u64; WORDS]);

impl Frame {
    /// The frame that the stub speaks of, if it lies in the channel.
    pub(crate) fn of(channel: &Channel) -> Result<Frame, Error> {
        let context = channel.offset_of(channel.get(field::CONTEXT), CONTEXT_SIZE);
        let info = channel.offset_of(channel.get(field::INFO), INFO_SIZE);
        let (Some(context), Some(info)) = (context, info) else {
            return Err(Error::StubDied { reason: "its frame lies elsewhere" });
        };
        Ok(Frame { context, info })
    }

    /// Reads the registers and the reason; segment bases are not in a frame and stay.
    pub(crate) fn read(self, channel: &Channel, registers: &mut Registers) -> Result<Exit, Error> {
        let lost = Error::StubDied { reason: "its frame lies elsewhere" };
        let mut bytes = [0; WORDS * 8];
        let mut info = [0; 32];
        if !channel.read(self.context + REGISTERS, &mut bytes)
            || !channel.read(self.info, &mut info)
        {
            return Err(lost);
        }
        let [
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx,
            rsp,
            rip,
            eflags,
            selectors,
            error_code,
            trap_no,
            _,
            _,
            _,
        ] = words(&bytes).0;
        *registers = Registers {
            r15,
            r14,
            r13,
            r12,
            rbp,
            rbx,
            r11,
            r10,
            r9,
            r8,
            rax,
            rcx,
            rdx,
            rsi,
            rdi,
            orig_rax: u64::MAX,
            rip,
            cs: selectors & 0xffff,
            eflags,
            rsp,
            ss: selectors >> 48,
            ..*registers
        };
        let [signal, _, code, _] = halves(&info);
        let [_, _, addr, call] = quads(&info);
        let signal_number = channel.get(field::SIGNAL).cast_signed();
        if signal_number != signal && signal_number != INTERRUPT {
            return Err(Error::StubDied { reason: "its signal has two numbers" });
        }
        Ok(match signal {
            libc::SIGSYS => {
                let arch = u32::try_from(call >> 32).unwrap_or(0);
                if code != SYS_SECCOMP {
                    return Err(Error::StubDied { reason: "a SIGSYS that no filter sent" });
                }
                if arch == ARCH {
                    registers.orig_rax = rax;
                    registers.rax = (-i64::from(libc::ENOSYS)).cast_unsigned();
                    Exit::Syscall
                } else {
                    // As on a kernel without 32-bit calls: `int 0x80` has no gate.
                    registers.rip = rip.wrapping_sub(2);
                    Exit::Fault(Fault {
                        signal: libc::SIGSEGV,
                        code: SI_KERNEL,
                        addr: 0,
                        trap_no: TRAP_GP,
                        error_code: 0x80 * 8 + 2,
                    })
                }
            }
            libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP => {
                Exit::Fault(Fault { signal, code, addr, trap_no, error_code })
            }
            _ => Exit::Interrupted,
        })
    }

    /// Writes the registers that the guest goes on with, and an empty signal mask.
    pub(crate) fn write(self, channel: &Channel, registers: &Registers) {
        let r = registers;
        let eflags = (r.eflags & USER_EFLAGS) | 0x202;
        let before = [
            r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx,
            r.rdx, r.rax, r.rcx, r.rsp, r.rip, eflags,
        ];
        let mut bytes = [0; 19 * 8];
        let selectors = USER_CS | USER_SS << 48;
        for (to, from) in bytes.chunks_exact_mut(8).zip(before.iter().chain([&selectors])) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        // Both lie inside: `of` has checked the whole context.
        channel.write(self.context + REGISTERS, &bytes);
        channel.write(self.context + MASK, &[0; 8]);
    }

    /// Where `len` bytes of extended state are in the channel.
    pub(crate) fn state(self, channel: &Channel, len: usize) -> Result<usize, Error> {
        let mut pointer = [0; 8];
        channel.read(self.context + STATE_POINTER, &mut pointer);
        channel
            .offset_of(u64::from_le_bytes(pointer), len)
            .filter(|offset| offset.is_multiple_of(64))
            .ok_or(Error::StubDied { reason: "its extended state lies elsewhere" })
    }
}

fn words(bytes: &[u8; WORDS * 8]) -> Words {
    let mut words = [0; WORDS];
    for (to, from) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *to = u64::from_le_bytes(*from);
    }
    Words(words)
}

fn halves(info: &[u8; 32]) -> [i32; 4] {
    let mut out = [0; 4];
    for (to, from) in out.iter_mut().zip(info.as_chunks::<4>().0) {
        *to = i32::from_le_bytes(*from);
    }
    out
}

fn quads(info: &[u8; 32]) -> [u64; 4] {
    let mut out = [0; 4];
    for (to, from) in out.iter_mut().zip(info.as_chunks::<8>().0) {
        *to = u64::from_le_bytes(*from);
    }
    out
}
