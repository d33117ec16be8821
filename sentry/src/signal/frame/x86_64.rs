// SPDX-License-Identifier: Apache-2.0
//! x86-64's `struct rt_sigframe`: written before a handler runs, read by rt_sigreturn(2).
//!
//! From the top down: what was there (below the red zone), the extended state at a 64-byte boundary with
//! `FP_XSTATE_MAGIC2` behind it, and the frame itself such that `rsp + 8` is 16-byte aligned, as a
//! called function expects.

use abi::{
    Errno, SigInfo, SigSet, UserAddr, UserIn, UserOut,
    signal::{
        FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, RtSigFrame, SaFlags, SigAction, SigContext, SsFlags,
        StackT, UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS, UContext,
    },
};
use platform::{
    Context, Registers,
    registers::{USER_CS, USER_EFLAGS, USER_SS},
};
use zerocopy::FromBytes;

use crate::mm::user;

/// Bytes below the stack pointer that a function may use without saying so.
const RED_ZONE: u64 = 128;
/// Direction, resume and trap flags: off in a handler.
const EFLAGS_OFF: u64 = 0x400 | 0x1_0000 | 0x100;
/// The most that a guest's extended state may claim.
const MAX_STATE: usize = 64 * 1024;

/// What the frame says of the interrupted program besides its registers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trap {
    /// `trapno`, `err`, `cr2` of the last fault.
    pub number: u64,
    /// Its error code.
    pub error_code: u64,
    /// Its address.
    pub address: u64,
}

/// What a frame is built of.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The handler and its flags.
    pub action: SigAction,
    /// What it is told.
    pub info: &'a SigInfo,
    /// The mask to come back to.
    pub mask: SigSet,
    /// The alternate stack.
    pub stack: StackT,
    /// The last fault.
    pub trap: Trap,
}

/// Whether `sp` lies on the alternate stack (`on_sig_stack`): bottom excluded, top included.
pub const fn is_on_stack(stack: &StackT, sp: u64) -> bool {
    if stack.ss_flags & SsFlags::AUTODISARM.bits() != 0 {
        return false;
    }
    is_within(stack, sp)
}

/// The same whatever the flags say (`__on_sig_stack`).
const fn is_within(stack: &StackT, sp: u64) -> bool {
    sp > stack.ss_sp && sp - stack.ss_sp <= stack.ss_size
}

/// Pushes a frame and points the registers at the handler. An error (the stack is not there, or
/// overflows) is for the caller to answer with SIGSEGV.
pub fn push(
    context: &mut dyn Context,
    registers: &mut Registers,
    delivery: &Delivery<'_>,
) -> Result<(), Errno> {
    let flags = SaFlags::from_bits_retain(delivery.action.sa_flags);
    // Without a restorer there is no way back (`x86_64_setup_rt_frame`).
    if !flags.contains(SaFlags::RESTORER) {
        return Err(Errno::EFAULT);
    }
    let stack = &delivery.stack;
    let has_stack = stack.ss_size != 0;
    let was_on_stack = is_on_stack(stack, registers.rsp);
    let mut sp = registers.rsp.wrapping_sub(RED_ZONE);
    let mut enters = false;
    if flags.contains(SaFlags::ONSTACK) && has_stack && !was_on_stack {
        sp = stack.ss_sp.wrapping_add(stack.ss_size);
        enters = true;
    }
    let state = context.extended_state().map_err(|_| Errno::EFAULT)?;
    let state_len = abi::num::to_u64(state.len());
    let fpstate = sp.wrapping_sub(state_len + 4) & !63;
    let frame_len = abi::num::to_u64(size_of::<RtSigFrame>());
    let frame = (fpstate.wrapping_sub(frame_len) & !15).wrapping_sub(8);
    // Growing out of the alternate stack is a fault, not a write below it.
    if (was_on_stack || enters) && !is_within(stack, frame) {
        return Err(Errno::EFAULT);
    }
    user::write_bytes(context, UserAddr(fpstate), &state)?;
    let magic = UserOut::new(UserAddr(fpstate).checked_add(state_len)?);
    user::write(context, magic, &FP_XSTATE_MAGIC2)?;
    let image = RtSigFrame {
        pretcode: delivery.action.sa_restorer,
        uc: UContext {
            uc_flags: UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
            uc_link: 0,
            uc_stack: *stack,
            uc_mcontext: save(registers, delivery, fpstate),
            uc_sigmask: delivery.mask,
        },
        info: *delivery.info,
    };
    user::write(context, UserOut::new(UserAddr(frame)), &image)?;
    let frame_base = UserAddr(frame);
    let offset = |bytes: usize| frame_base.checked_add(abi::num::to_u64(bytes));
    registers.rdi = abi::num::to_u64(usize::try_from(delivery.info.si_signo).unwrap_or(0));
    registers.rsi = offset(std::mem::offset_of!(RtSigFrame, info))?.raw();
    registers.rdx = offset(std::mem::offset_of!(RtSigFrame, uc))?.raw();
    registers.rax = 0;
    registers.rip = delivery.action.sa_handler;
    registers.rsp = frame;
    registers.cs = USER_CS;
    registers.ss = USER_SS;
    registers.eflags &= !EFLAGS_OFF;
    registers.orig_rax = u64::MAX;
    Ok(())
}

/// The alternate stack as sigaltstack(2) tells of it.
pub const fn reported(stack: &StackT, sp: u64) -> StackT {
    let mode = if stack.ss_size == 0 {
        SsFlags::DISABLE.bits()
    } else if is_on_stack(stack, sp) {
        SsFlags::ONSTACK.bits()
    } else {
        0
    };
    StackT {
        ss_flags: mode | (stack.ss_flags & SsFlags::AUTODISARM.bits()),
        ss_sp: stack.ss_sp,
        pad: 0,
        ss_size: stack.ss_size,
    }
}

fn save(registers: &Registers, delivery: &Delivery<'_>, fpstate: u64) -> SigContext {
    SigContext {
        r8: registers.r8,
        r9: registers.r9,
        r10: registers.r10,
        r11: registers.r11,
        r12: registers.r12,
        r13: registers.r13,
        r14: registers.r14,
        r15: registers.r15,
        rdi: registers.rdi,
        rsi: registers.rsi,
        rbp: registers.rbp,
        rbx: registers.rbx,
        rdx: registers.rdx,
        rax: registers.rax,
        rcx: registers.rcx,
        rsp: registers.rsp,
        rip: registers.rip,
        eflags: registers.eflags,
        cs: 0x33,
        gs: 0,
        fs: 0,
        ss: 0x2b,
        err: delivery.trap.error_code,
        trapno: delivery.trap.number,
        oldmask: delivery.mask.0,
        cr2: delivery.trap.address,
        fpstate,
        reserved1: [0; 8],
    }
}

/// What rt_sigreturn(2) found.
#[derive(Debug)]
pub struct Restored {
    /// The mask to go back to.
    pub mask: SigSet,
    /// The alternate stack to go back to.
    pub stack: StackT,
}

/// Reads the frame above the stack pointer and takes the registers from it. An error is for the caller
/// to answer with SIGSEGV; the registers are then as they were.
pub fn pop(context: &mut dyn Context, registers: &mut Registers) -> Result<Restored, Errno> {
    // The handler's return has popped `pretcode`.
    let frame = UserAddr(registers.rsp).checked_sub(8)?;
    let uc_at = abi::num::to_u64(std::mem::offset_of!(RtSigFrame, uc));
    let uc: UContext = user::read(context, UserIn::new(frame.checked_add(uc_at)?))?;
    let saved = &uc.uc_mcontext;
    // Linux takes the selectors as they are, and the way back to the program faults on wrong ones.
    // DIFFERS: 32-bit code is wrong too; no platform goes back to it.
    let selectors = [(saved.cs, USER_CS), (saved.ss, USER_SS)];
    if selectors.iter().any(|(selector, wanted)| u64::from(*selector) | 3 != *wanted) {
        return Err(Errno::EFAULT);
    }
    if saved.fpstate == 0 {
        context.reset_extended_state().map_err(|_| Errno::EFAULT)?;
    } else {
        restore_state(context, UserAddr(saved.fpstate))?;
    }
    let fs_gs = (registers.fs_base, registers.gs_base);
    *registers = Registers {
        r8: saved.r8,
        r9: saved.r9,
        r10: saved.r10,
        r11: saved.r11,
        r12: saved.r12,
        r13: saved.r13,
        r14: saved.r14,
        r15: saved.r15,
        rdi: saved.rdi,
        rsi: saved.rsi,
        rbp: saved.rbp,
        rbx: saved.rbx,
        rdx: saved.rdx,
        rax: saved.rax,
        rcx: saved.rcx,
        rsp: saved.rsp,
        rip: saved.rip,
        eflags: (registers.eflags & !USER_EFLAGS) | (saved.eflags & USER_EFLAGS),
        orig_rax: u64::MAX,
        cs: USER_CS,
        ss: USER_SS,
        fs_base: fs_gs.0,
        gs_base: fs_gs.1,
        ..*registers
    };
    Ok(Restored { mask: uc.uc_sigmask.difference(SigSet::UNBLOCKABLE), stack: uc.uc_stack })
}

/// Reads the extended state as far as its own header says it goes, and no further than a frame's can.
fn restore_state(context: &mut dyn Context, at: UserAddr) -> Result<(), Errno> {
    const LEGACY: usize = 512;
    const SOFTWARE: usize = 464;
    // FXRSTOR's demand; XRSTOR has a stricter one.
    if at.raw() % 16 != 0 {
        return Err(Errno::EFAULT);
    }
    let mut state = vec![0; LEGACY];
    user::read_bytes(context, at, &mut state)?;
    let word = |at: usize| {
        let bytes = state.get(at..).and_then(|tail| <u32>::read_from_prefix(tail).ok());
        bytes.map_or(0, |(word, _)| word)
    };
    let (magic, size) = (word(SOFTWARE), abi::num::to_usize(u64::from(word(SOFTWARE + 16))));
    if magic == FP_XSTATE_MAGIC1 && (LEGACY + 64..=MAX_STATE).contains(&size) {
        let tail: u32 =
            user::read(context, UserIn::new(at.checked_add(abi::num::to_u64(size))?)).unwrap_or(0);
        // Without the second magic Linux restores the legacy part alone.
        if tail == FP_XSTATE_MAGIC2 {
            if at.raw() % 64 != 0 {
                return Err(Errno::EFAULT);
            }
            state.resize(size, 0);
            let rest = state.get_mut(LEGACY..).unwrap_or_default();
            let legacy_end = at.checked_add(abi::num::to_u64(LEGACY))?;
            user::read_bytes(context, legacy_end, rest)?;
        }
    }
    context.set_extended_state(&state).map_err(|_| Errno::EFAULT)
}
