// SPDX-License-Identifier: Apache-2.0
//! What a system call is to the kernel: a table handed in, and how a call can end.

use std::sync::Arc;

use abi::Errno;

use crate::{
    task::{Current, ptrace::Entry, seccomp::Verdict},
    wait::Cut,
};

/// How an interrupted call goes on once the signal is handled. Linux's private errnos by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Anew if the handler has `SA_RESTART`, else `EINTR` (`ERESTARTSYS`).
    IfSaRestart,
    /// Anew whatever the handler says (`ERESTARTNOINTR`).
    Always,
    /// Anew if no handler ran, else `EINTR` (`ERESTARTNOHAND`).
    IfNoHandler,
    /// By restart_syscall(2) with what is left of the time if no handler ran, else `EINTR`
    /// (`ERESTART_RESTARTBLOCK`). The handler has left a restart block in [`Current`].
    WithBlock,
    /// `EINTR` always.
    Never,
}

impl Restart {
    /// Linux's private errnos, as a tracer sees them in the register of the result.
    const CODES: [(Restart, i64); 4] = [
        (Restart::IfSaRestart, 512),
        (Restart::Always, 513),
        (Restart::IfNoHandler, 514),
        (Restart::WithBlock, 516),
    ];

    /// What stands for it in the register of the result.
    pub(crate) fn to_register(self) -> u64 {
        let found = Restart::CODES.iter().find(|(restart, _)| *restart == self);
        found.map_or(Errno::EINTR.to_register(), |(_, code)| (-code).cast_unsigned())
    }

    /// What a register says about a call that was cut short.
    pub(crate) fn of_register(value: u64) -> Option<Restart> {
        let code = value.cast_signed().checked_neg()?;
        Restart::CODES.iter().find(|(_, of)| *of == code).map(|(restart, _)| *restart)
    }
}

/// Why a handler did not return a value. Made only by `syscalls`, read only by [`super::syscall`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The call failed.
    Fail(Errno),
    /// A signal came first.
    Restart(Restart),
    /// The task ends: a wait status as wait4(2) gives it.
    Exit(i32),
    /// The registers are another program's already (execve, rt_sigreturn): leave them alone.
    Reloaded,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Fail(errno)
    }
}

/// What a handler returns.
pub type SysResult<T = ()> = Result<T, Stop>;

/// Says what an interruption means for a call: the author of each handler must choose.
pub trait OrRestart<T> {
    /// `Cut::Interrupted` becomes `restart`; a failure stays one.
    fn or_restart(self, restart: Restart) -> SysResult<T>;
}

impl<T> OrRestart<T> for Result<T, Cut> {
    fn or_restart(self, restart: Restart) -> SysResult<T> {
        self.map_err(|cut| match cut {
            Cut::Failed(errno) => Stop::Fail(errno),
            Cut::Interrupted => Stop::Restart(restart),
        })
    }
}

/// The system-call table, as the kernel sees it: `syscalls` fills it, the binary hands it in.
#[derive(Debug, Clone, Copy)]
pub struct SyscallTable {
    /// Carries out call `number` with six arguments. Unknown numbers are `ENOSYS`.
    pub dispatch: fn(&mut Current, number: u64, args: [u64; 6]) -> SysResult<u64>,
    /// The call's name.
    pub name: fn(number: u64) -> Option<&'static str>,
    /// One line in strace(1)'s format for a finished call. Called only while tracing.
    pub trace: fn(&mut Current, number: u64, args: [u64; 6], result: &SysResult<u64>) -> String,
}

/// Carries out the call that trapped and puts its result where the program looks for it. Returns the
/// wait status if the task is to end.
pub(crate) fn enter(cx: &mut Current) -> Option<i32> {
    cx.registers.rax = Errno::ENOSYS.to_register();
    if cx.task().is_traced() && cx.trace_call_entry() == Entry::Skip {
        return None;
    }
    let status = carry_out(cx);
    if status.is_none() && cx.task().is_traced() {
        cx.trace_call_exit();
    }
    status
}

/// What [`enter`] does between the tracer's two looks: number and arguments are what the tracer has left.
fn carry_out(cx: &mut Current) -> Option<i32> {
    /// A tracer's word for: not at all. The result stands in the registers already.
    const NO_CALL: u64 = 0xffff_ffff;
    let kernel = Arc::clone(&cx.kernel);
    let table = &kernel.config().syscalls;
    // The kernel looks at the low half of the register alone (`do_syscall_64`).
    let number = cx.registers.syscall_number() & 0xffff_ffff;
    if number == NO_CALL {
        return None;
    }
    let verdict = cx.ask_seccomp(number, cx.registers.syscall_args());
    // A filter may have had the tracer change the call.
    let (number, args) = (cx.registers.syscall_number() & 0xffff_ffff, cx.registers.syscall_args());
    let result = match verdict {
        Verdict::Allow => (table.dispatch)(cx, number, args),
        Verdict::Skip => refused(cx.registers.rax),
        Verdict::End(status) => Err(Stop::Exit(status)),
    };
    if let Some(trace) = &kernel.config().trace {
        let line = (table.trace)(cx, number, args, &result);
        if !line.is_empty() {
            trace(&format!("[{:5}] {line}", cx.task().tid()));
        }
    }
    match result {
        Ok(value) => cx.registers.rax = value,
        Err(Stop::Fail(errno)) => cx.registers.rax = errno.to_register(),
        Err(Stop::Restart(restart)) => cx.interrupted_with(restart),
        Err(Stop::Exit(status)) => return Some(status),
        Err(Stop::Reloaded) => {}
    }
    None
}

/// What a call seems to have come to that a filter has answered, for the trace and for the register.
fn refused(register: u64) -> SysResult<u64> {
    let errno = register.cast_signed().checked_neg().and_then(|value| i32::try_from(value).ok());
    match errno.and_then(Errno::from_raw) {
        Some(errno) => Err(Stop::Fail(errno)),
        None => Ok(register),
    }
}
