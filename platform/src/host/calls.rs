// SPDX-License-Identifier: Apache-2.0
//! Which host calls the platforms make in the sentry once guests run.

use crate::sys::notify;

/// A host call that the sentry's own filter must let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostCall {
    /// Its number.
    pub number: i64,
    /// Values of one argument (by index) outside of which it is not made.
    pub one_of: Option<(u8, &'static [u64])>,
    /// What for.
    pub note: &'static str,
}

const fn call(number: i64, note: &'static str) -> HostCall {
    HostCall { number, one_of: None, note }
}

const fn only(number: i64, index: u8, values: &'static [u64], note: &'static str) -> HostCall {
    HostCall { number, one_of: Some((index, values)), note }
}

macro_rules! calls {
    ($requests:expr) => {
        &[
            call(libc::SYS_process_vm_readv, "guest memory, by the number of the stub's process"),
            call(libc::SYS_process_vm_writev, "guest memory, by the number of the stub's process"),
            only(
                libc::SYS_tgkill,
                2,
                &[0, libc::SIGURG as u64, libc::SIGABRT as u64],
                "interrupts a stub thread, and asks whether it is there; and a panic's end",
            ),
            only(libc::SYS_kill, 1, &[libc::SIGKILL as u64], "ends a stub process"),
            only(libc::SYS_socketpair, 0, &[libc::AF_UNIX as u64], "a new stub's socket"),
            only(libc::SYS_setsockopt, 2, &[libc::SO_PASSCRED as u64], "on a new stub's socket"),
            call(libc::SYS_sendmsg, "hands descriptors to a stub"),
            call(libc::SYS_recvmsg, "a new stub says who it is"),
            call(libc::SYS_ppoll, "waits for a new stub"),
            only(
                libc::SYS_ioctl,
                1,
                &[notify::RECEIVE, notify::SEND],
                "a stub that is told to clone is let through",
            ),
            call(libc::SYS_memfd_create, "a new channel"),
            call(libc::SYS_ftruncate, "a new channel"),
            call(libc::SYS_waitid, "the reaper: stubs that ended"),
            call(libc::SYS_wait4, "stubs that ended, and those that are traced"),
            call(libc::SYS_sched_setaffinity, "ties a stub thread and its sentry thread together"),
            only(libc::SYS_ptrace, 0, $requests, "guests that are traced, and poking"),
        ]
    };
}

const PEEKDATA: u64 = libc::PTRACE_PEEKDATA as u64;
const POKEDATA: u64 = libc::PTRACE_POKEDATA as u64;
const SEIZE: u64 = libc::PTRACE_SEIZE as u64;
const INTERRUPT: u64 = libc::PTRACE_INTERRUPT as u64;
const DETACH: u64 = libc::PTRACE_DETACH as u64;

const SYSTRAP: &[HostCall] = calls!(&[PEEKDATA, POKEDATA, SEIZE, INTERRUPT, DETACH]);

const PTRACE: &[HostCall] = calls!(&[
    PEEKDATA,
    POKEDATA,
    SEIZE,
    INTERRUPT,
    DETACH,
    libc::PTRACE_CONT as u64,
    31, // PTRACE_SYSEMU
    libc::PTRACE_GETREGS as u64,
    libc::PTRACE_SETREGS as u64,
    libc::PTRACE_GETREGSET as u64,
    libc::PTRACE_SETREGSET as u64,
    libc::PTRACE_GETSIGINFO as u64,
    0x420b, // PTRACE_SETSIGMASK
    0x420e, // PTRACE_GET_SYSCALL_INFO
]);

/// The host calls that platform `name` makes in the sentry after its start. Those of Rust's own
/// runtime are not among them: threads, locks (futex), memory that is never executable, random
/// numbers, closing, sleeping.
pub fn host_calls(name: &str) -> &'static [HostCall] {
    match name {
        "systrap" => SYSTRAP,
        "ptrace" => PTRACE,
        _ => &[],
    }
}
