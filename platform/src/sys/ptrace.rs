// SPDX-License-Identifier: Apache-2.0
//! ptrace(2), request by request, and the waiting that goes with it.
#![allow(
    unsafe_code,
    reason = "raw system calls; each function is safe to call with any arguments"
)]

use std::{io, ptr};

use crate::Registers;

/// `NT_X86_XSTATE`.
const XSTATE: usize = 0x202;
/// More than any processor's state.
const XSTATE_MAX: usize = 16 * 1024;
/// `PTRACE_SYSEMU`.
const SYSEMU: u32 = 31;
/// `PTRACE_SETSIGMASK`.
const SETSIGMASK: u32 = 0x420b;
/// `PTRACE_GET_SYSCALL_INFO`.
const GET_SYSCALL_INFO: u32 = 0x420e;

/// Why a traced thread stands still, or that it does not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At a system call.
    Call,
    /// Before a signal is delivered.
    Signal(i32),
    /// For ptrace's own reasons.
    Event,
    /// It ended with this wait status.
    Ended(i32),
}

/// How a traced thread goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resume {
    /// Calls stop before they happen, and do not happen.
    Emulating,
    /// Calls happen.
    Running,
}

fn request(request: u32, tid: i32, addr: usize, data: usize) -> io::Result<i64> {
    // SAFETY: callers pass pointers to memory that lives through the call, of the size that the
    // request wants; nothing here reads or writes else.
    let result = unsafe { libc::ptrace(request, tid, addr, data) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Starts to trace `tid`, from this thread, and to stop it. If this thread ends, so does the tracee.
pub(crate) fn seize(tid: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
    request(libc::PTRACE_SEIZE, tid, 0, usize::try_from(options).unwrap_or(0))?;
    request(libc::PTRACE_INTERRUPT, tid, 0, 0)?;
    Ok(())
}

/// Lets it go on untraced.
pub(crate) fn detach(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, tid, 0, 0).map(drop)
}

/// Lets it go on.
pub(crate) fn resume(tid: i32, how: Resume) -> io::Result<()> {
    let number = match how {
        Resume::Emulating => SYSEMU,
        Resume::Running => libc::PTRACE_CONT,
    };
    request(number, tid, 0, 0).map(drop)
}

/// Its registers.
pub(crate) fn registers(tid: i32) -> io::Result<Registers> {
    let mut registers = Registers::default();
    request(libc::PTRACE_GETREGS, tid, 0, (&raw mut registers).addr())?;
    Ok(registers)
}

/// Sets its registers.
pub(crate) fn set_registers(tid: i32, registers: &Registers) -> io::Result<()> {
    request(libc::PTRACE_SETREGS, tid, 0, ptr::from_ref(registers).addr()).map(drop)
}

/// Its extended state.
pub(crate) fn extended_state(tid: i32) -> io::Result<Vec<u8>> {
    let mut state = vec![0_u8; XSTATE_MAX];
    let mut vector = libc::iovec { iov_base: state.as_mut_ptr().cast(), iov_len: state.len() };
    request(libc::PTRACE_GETREGSET, tid, XSTATE, (&raw mut vector).addr())?;
    state.truncate(vector.iov_len);
    Ok(state)
}

/// Sets its extended state: as many bytes as [`extended_state`] gave.
pub(crate) fn set_extended_state(tid: i32, state: &mut [u8]) -> io::Result<()> {
    let mut vector = libc::iovec { iov_base: state.as_mut_ptr().cast(), iov_len: state.len() };
    request(libc::PTRACE_SETREGSET, tid, XSTATE, (&raw mut vector).addr()).map(drop)
}

/// Blocks no signals.
pub(crate) fn clear_signal_mask(tid: i32) -> io::Result<()> {
    let mask = 0_u64;
    request(SETSIGMASK, tid, size_of::<u64>(), (&raw const mask).addr()).map(drop)
}

/// The signal that it stopped for: `si_signo`, `si_code`, `si_addr`, and what follows.
pub(crate) fn signal_info(tid: i32) -> io::Result<[u64; 4]> {
    let mut info = [0_u64; 16];
    request(libc::PTRACE_GETSIGINFO, tid, 0, info.as_mut_ptr().addr())?;
    let [a, b, c, d, ..] = info;
    Ok([a, b, c, d])
}

/// The architecture of the call that it stopped at: `AUDIT_ARCH_*`.
pub(crate) fn call_arch(tid: i32) -> io::Result<u32> {
    let mut info = [0_u32; 22];
    request(GET_SYSCALL_INFO, tid, size_of_val(&info), info.as_mut_ptr().addr())?;
    let [_, arch, ..] = info;
    Ok(arch)
}

/// The word at `addr`, even in memory that the tracee cannot read.
pub(crate) fn peek(tid: i32, addr: u64) -> io::Result<u64> {
    let mut word = 0_u64;
    let at = usize::try_from(addr).map_err(io::Error::other)?;
    // The raw call stores what glibc's wrapper returns.
    // SAFETY: `word` lives through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_PEEKDATA, tid, at, &raw mut word) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(word) }
}

/// Writes the word at `addr`, even in private memory that the tracee cannot write.
pub(crate) fn poke(tid: i32, addr: u64, word: u64) -> io::Result<()> {
    let at = usize::try_from(addr).map_err(io::Error::other)?;
    request(libc::PTRACE_POKEDATA, tid, at, usize::try_from(word).unwrap_or(0)).map(drop)
}

/// Waits until `tid` stops or ends.
pub(crate) fn wait(tid: i32) -> io::Result<Stop> {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives through the call.
        if unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) } == tid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
    if !libc::WIFSTOPPED(status) {
        return Ok(Stop::Ended(status));
    }
    let signal = libc::WSTOPSIG(status);
    Ok(if status >> 16 != 0 {
        Stop::Event
    } else if signal == libc::SIGTRAP | 0x80 {
        Stop::Call
    } else {
        Stop::Signal(signal)
    })
}
