// SPDX-License-Identifier: Apache-2.0
//! Which host calls the platforms make in the sentry once guests run.

/// A host call that the sentry's own filter must let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostCall {
    /// Its number.
    pub number: i64,
    /// What for.
    pub note: &'static str,
}

const fn call(number: i64, note: &'static str) -> HostCall {
    HostCall { number, note }
}

/// Both platforms make stubs in the same way, wait for them, and may poke into them.
const CALLS: &[HostCall] = &[
    call(libc::SYS_futex, "hand-over with a stub thread"),
    call(libc::SYS_process_vm_readv, "guest memory, by the number of the stub's process"),
    call(libc::SYS_process_vm_writev, "guest memory, by the number of the stub's process"),
    call(libc::SYS_tgkill, "interrupts a stub thread (SIGURG), and asks whether it is there (0)"),
    call(libc::SYS_kill, "ends a stub process (SIGKILL)"),
    call(libc::SYS_socketpair, "a new stub's socket: AF_UNIX, SOCK_SEQPACKET"),
    call(libc::SYS_setsockopt, "SO_PASSCRED on a new stub's socket"),
    call(libc::SYS_sendmsg, "hands descriptors to a stub"),
    call(libc::SYS_recvmsg, "a new stub says who it is"),
    call(libc::SYS_poll, "waits for a new stub"),
    call(libc::SYS_close, "descriptors that were handed over"),
    call(libc::SYS_getrandom, "where a channel goes"),
    call(libc::SYS_memfd_create, "a new channel"),
    call(libc::SYS_ftruncate, "a new channel"),
    call(libc::SYS_mmap, "a new channel: PROT_READ|PROT_WRITE, MAP_SHARED"),
    call(libc::SYS_munmap, "a channel that is no longer used"),
    call(libc::SYS_madvise, "a new channel: MADV_DONTFORK"),
    call(libc::SYS_waitid, "the reaper: stubs that ended"),
    call(libc::SYS_wait4, "stubs that ended, and those that are traced"),
    call(libc::SYS_clock_nanosleep, "the reaper, while a stub is poked"),
    call(libc::SYS_sched_setaffinity, "ties a stub thread and its sentry thread to one CPU"),
    call(
        libc::SYS_ptrace,
        "systrap: SEIZE, INTERRUPT, PEEKDATA, POKEDATA, DETACH, to write through read-only pages; \
         ptrace: also SYSEMU, CONT, {GET,SET}REGS, {GET,SET}REGSET, GETSIGINFO, SETSIGMASK, \
         GET_SYSCALL_INFO",
    ),
];

/// The host calls that platform `name` makes in the sentry after its start. Those of Rust's own
/// runtime (threads, allocation, locks) are not among them.
pub fn host_calls(name: &str) -> &'static [HostCall] {
    match name {
        "systrap" | "ptrace" => CALLS,
        _ => &[],
    }
}
