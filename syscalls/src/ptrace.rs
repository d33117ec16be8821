// SPDX-License-Identifier: Apache-2.0
//! Tracing.

use std::sync::Arc;

use abi::{
    Errno, Pid, SigInfo, SigSet, UserAddr, UserIn, UserOut,
    num::to_u64,
    prctl::ArchPrctlOption,
    ptrace::{self as p, PeekSiginfoArgs, PtraceRequest, SyscallInfo},
    uio::Iovec,
};
use sentry::{
    kernel::SysResult,
    task::{
        Current, Sender, Task,
        ptrace::{AT_CALL_ENTRY, AT_CALL_EXIT, RegisterSet, Resume, have_done},
    },
};
use zerocopy::IntoBytes;

/// More than any register set has.
const MOST_STATE: usize = 64 * 1024;

/// ptrace(2). As the kernel's call has it, what is peeked goes to where `data` points.
pub fn ptrace(
    cx: &mut Current,
    request: PtraceRequest,
    pid: Pid,
    addr: UserAddr,
    data: u64,
) -> SysResult<u64> {
    match request.0 {
        p::PTRACE_TRACEME => return Ok(cx.trace_me().map(|()| 0)?),
        p::PTRACE_ATTACH => return Ok(cx.attach(pid.0).map(|()| 0)?),
        p::PTRACE_SEIZE => return Ok(cx.seize(pid.0, addr.raw(), data).map(|()| 0)?),
        p::PTRACE_KILL => {
            let info = SigInfo::kernel(abi::Signal::SIGKILL);
            return Ok(cx.running_tracee(pid.0)?.send(info, Sender::Guest).map(|()| 0)?);
        }
        p::PTRACE_INTERRUPT => return Ok(cx.running_tracee(pid.0)?.trap_soon().map(|()| 0)?),
        _ => {}
    }
    let tracee = cx.tracee(pid.0)?;
    if let Some(how) = resume_of(request) {
        return Ok(tracee.resume(how, data).map(|()| 0)?);
    }
    let to = UserAddr(data);
    match request.0 {
        p::PTRACE_DETACH => {
            let me = Arc::clone(cx.task());
            tracee.detach(&me, data)?;
        }
        p::PTRACE_LISTEN => cx.listen(&tracee)?,
        p::PTRACE_SETOPTIONS => tracee.set_trace_options(data)?,
        p::PTRACE_GETEVENTMSG => {
            let message = tracee.trace_stop()?.message;
            cx.write(UserOut::new(to), &message)?;
        }
        p::PTRACE_GETSIGINFO => {
            let info = tracee.trace_stop()?.info.ok_or(Errno::EINVAL)?;
            cx.write(UserOut::new(to), &info)?;
        }
        p::PTRACE_SETSIGINFO => {
            let info: SigInfo = cx.read(UserIn::new(to))?;
            tracee.set_stop_info(info)?;
        }
        p::PTRACE_PEEKSIGINFO => return Ok(peek_infos(cx, &tracee, addr, to)?),
        p::PTRACE_GETSIGMASK | p::PTRACE_SETSIGMASK => {
            if addr.raw() != to_u64(size_of::<SigSet>()) {
                return Err(Errno::EINVAL.into());
            }
            if request.0 == p::PTRACE_GETSIGMASK {
                cx.write(UserOut::new(to), &tracee.lasting_mask())?;
            } else {
                let mask: SigSet = cx.read(UserIn::new(to))?;
                have_done(&tracee, move |cx| {
                    cx.set_signal_mask(mask);
                    Ok(())
                })?;
            }
        }
        p::PTRACE_GET_SYSCALL_INFO => {
            return Ok(call_info(cx, &tracee, addr.raw(), to)?);
        }
        _ => return Ok(look(cx, &tracee, request, addr, data)?),
    }
    Ok(0)
}

fn resume_of(request: PtraceRequest) -> Option<Resume> {
    Some(match request.0 {
        p::PTRACE_CONT => Resume::Continue,
        p::PTRACE_SYSCALL => Resume::ToCall,
        p::PTRACE_SINGLESTEP => Resume::Step,
        p::PTRACE_SYSEMU => Resume::Emulating,
        p::PTRACE_SYSEMU_SINGLESTEP => Resume::EmulatingStep,
        _ => return None,
    })
}

/// Requests that look at the tracee's registers and memory, or change them.
fn look(
    cx: &mut Current,
    tracee: &Task,
    request: PtraceRequest,
    addr: UserAddr,
    data: u64,
) -> Result<u64, Errno> {
    let to = UserAddr(data);
    match request.0 {
        p::PTRACE_PEEKTEXT | p::PTRACE_PEEKDATA => {
            let word = have_done(tracee, move |cx| cx.peek(addr))?;
            cx.write(UserOut::new(to), &word)?;
        }
        p::PTRACE_POKETEXT | p::PTRACE_POKEDATA => {
            have_done(tracee, move |cx| cx.poke(addr, data))?;
        }
        p::PTRACE_PEEKUSER => {
            let word = have_done(tracee, move |cx| cx.peek_user(addr.raw()))?;
            cx.write(UserOut::new(to), &word)?;
        }
        p::PTRACE_POKEUSER => {
            have_done(tracee, move |cx| cx.poke_user(addr.raw(), data))?;
        }
        p::PTRACE_GETREGS => get_all(cx, tracee, RegisterSet::General, to)?,
        p::PTRACE_SETREGS => set_all(cx, tracee, RegisterSet::General, to)?,
        p::PTRACE_GETFPREGS => get_all(cx, tracee, RegisterSet::Legacy, to)?,
        p::PTRACE_SETFPREGS => set_all(cx, tracee, RegisterSet::Legacy, to)?,
        p::PTRACE_GETREGSET | p::PTRACE_SETREGSET => {
            register_set(cx, tracee, request, addr.raw(), UserIn::new(to))?;
        }
        p::PTRACE_ARCH_PRCTL => {
            // Reading goes to the tracer's memory, as `do_arch_prctl_64` has it.
            let option = ArchPrctlOption(i32::try_from(data).map_err(|_| Errno::EINVAL)?);
            return crate::prctl::arch_of_tracee(cx, tracee, option, addr);
        }
        _ => return Err(Errno::EIO),
    }
    Ok(0)
}

fn get_all(cx: &mut Current, tracee: &Task, set: RegisterSet, to: UserAddr) -> Result<(), Errno> {
    let bytes = have_done(tracee, move |cx| cx.register_set(set))?;
    cx.write_bytes(to, &bytes)
}

fn set_all(cx: &mut Current, tracee: &Task, set: RegisterSet, from: UserAddr) -> Result<(), Errno> {
    let size = match set {
        RegisterSet::General => size_of::<p::UserRegs>(),
        RegisterSet::Legacy | RegisterSet::Extended => RegisterSet::Legacy.unit(),
    };
    let mut bytes = vec![0; size];
    cx.read_bytes(from, &mut bytes)?;
    have_done(tracee, move |cx| cx.set_register_set(set, &bytes))
}

/// `PTRACE_GETREGSET`, `PTRACE_SETREGSET` (`ptrace_regset`).
fn register_set(
    cx: &mut Current,
    tracee: &Task,
    request: PtraceRequest,
    note: u64,
    vector: UserIn<Iovec>,
) -> Result<(), Errno> {
    let mut piece: Iovec = cx.read(vector)?;
    let set = RegisterSet::of_note(note).ok_or(Errno::EINVAL)?;
    let wanted = abi::num::to_usize(piece.iov_len);
    if !wanted.is_multiple_of(set.unit()) {
        return Err(Errno::EINVAL);
    }
    let base = UserAddr(piece.iov_base);
    let done = if request.0 == p::PTRACE_GETREGSET {
        let bytes = have_done(tracee, move |cx| cx.register_set(set))?;
        let part = bytes.get(..wanted).unwrap_or(&bytes);
        cx.write_bytes(base, part)?;
        part.len()
    } else {
        let size = have_done(tracee, move |cx| cx.register_set(set))?.len();
        let mut bytes = vec![0; wanted.min(size).min(MOST_STATE)];
        cx.read_bytes(base, &mut bytes)?;
        let len = bytes.len();
        have_done(tracee, move |cx| cx.set_register_set(set, &bytes))?;
        len
    };
    piece.iov_len = to_u64(done);
    cx.write(UserOut::new(vector.addr()), &piece)
}

/// `PTRACE_PEEKSIGINFO`: how many infos were written.
fn peek_infos(cx: &mut Current, tracee: &Task, args: UserAddr, to: UserAddr) -> Result<u64, Errno> {
    /// `PTRACE_PEEKSIGINFO_SHARED`.
    const SHARED: u32 = 1;
    let args: PeekSiginfoArgs = cx.read(UserIn::new(args))?;
    if args.flags & !SHARED != 0 {
        return Err(Errno::EINVAL);
    }
    let most = usize::try_from(args.nr).map_err(|_| Errno::EINVAL)?;
    let infos = tracee.pending_infos(args.flags & SHARED != 0, args.off, most);
    for (index, info) in infos.iter().enumerate() {
        let at = to.checked_add(to_u64(index * size_of::<SigInfo>()))?;
        if let Err(errno) = cx.write(UserOut::new(at), info) {
            return if index > 0 { Ok(to_u64(index)) } else { Err(errno) };
        }
    }
    Ok(to_u64(infos.len()))
}

/// `PTRACE_GET_SYSCALL_INFO`: how long the whole is.
fn call_info(cx: &mut Current, tracee: &Task, size: u64, to: UserAddr) -> Result<u64, Errno> {
    /// `AUDIT_ARCH_X86_64`.
    const ARCH: u32 = 0xc000_003e;
    let stop = tracee.trace_stop()?;
    let registers = have_done(tracee, |cx| Ok(*cx.registers()))?;
    let mut info = SyscallInfo {
        arch: ARCH,
        instruction_pointer: registers.rip,
        stack_pointer: registers.rsp,
        ..SyscallInfo::default()
    };
    let code = stop.info.map_or(0, |info| info.si_code);
    let [a, b, c, d, e, f] = registers.syscall_args();
    let call = [registers.syscall_number(), a, b, c, d, e, f];
    let len = match (code, stop.message) {
        (CALL, AT_CALL_ENTRY) => {
            (info.op, info.words) = (p::PTRACE_SYSCALL_INFO_ENTRY, call);
            80
        }
        (CALL, AT_CALL_EXIT) => {
            info.op = p::PTRACE_SYSCALL_INFO_EXIT;
            let is_error = registers.rax >= LAST_ERROR;
            info.words = [registers.rax, u64::from(is_error), 0, 0, 0, 0, 0];
            33
        }
        (FILTER, data) => {
            (info.op, info.words) = (p::PTRACE_SYSCALL_INFO_SECCOMP, call);
            info.ret_data = u32::try_from(data).unwrap_or(0);
            84
        }
        _ => 24,
    };
    let shown = abi::num::to_usize(size).min(len);
    cx.write_bytes(to, info.as_bytes().get(..shown).unwrap_or_default())?;
    Ok(to_u64(len))
}

/// What no address and no count is, but an error (`MAX_ERRNO`).
const LAST_ERROR: u64 = u64::MAX - 4094;
/// `SIGTRAP | 0x80`: a call, where the tracer has asked for the mark.
const CALL: i32 = 0x85;
/// `SIGTRAP | PTRACE_EVENT_SECCOMP << 8`.
const FILTER: i32 = 5 | p::PTRACE_EVENT_SECCOMP << 8;
