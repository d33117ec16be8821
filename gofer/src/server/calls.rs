// SPDX-License-Identifier: Apache-2.0
//! The host calls that a gofer is left with.

use libc::{
    CLONE_FS, CLONE_SIGHAND, CLONE_THREAD, CLONE_VM, F_DUPFD_CLOEXEC, F_GETFD, PR_SET_NAME,
    PROT_EXEC,
};

use crate::protocol::Policy;

/// When a call is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// With any arguments.
    Always,
    /// If this argument has none of these bits.
    Without(u8, u64),
    /// If this argument has all of these bits.
    With(u8, u64),
    /// If the low half of this argument is one of these.
    OneOf(u8, &'static [u64]),
}

/// A host call that the gofer's filter allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostCall {
    /// Its number.
    pub number: i64,
    /// With which arguments.
    pub when: When,
}

const fn call(number: i64) -> HostCall {
    HostCall { number, when: When::Always }
}

const fn when(number: i64, when: When) -> HostCall {
    HostCall { number, when }
}

/// What serving for reading takes, with the runtime that it stands on.
const READING: &[HostCall] = &[
    call(libc::SYS_recvmsg),
    call(libc::SYS_sendmsg),
    call(libc::SYS_openat2),
    // Through the private /proc/self/fd, and where there is no openat2.
    call(libc::SYS_openat),
    call(libc::SYS_statx),
    call(libc::SYS_fstatfs),
    call(libc::SYS_readlinkat),
    call(libc::SYS_getdents64),
    call(libc::SYS_lseek),
    call(libc::SYS_getxattr),
    call(libc::SYS_listxattr),
    call(libc::SYS_fsync),
    call(libc::SYS_syncfs),
    call(libc::SYS_close),
    when(libc::SYS_fcntl, When::OneOf(1, &[F_DUPFD_CLOEXEC as u64, F_GETFD as u64])),
    // A new channel.
    when(libc::SYS_socketpair, When::OneOf(0, &[libc::AF_UNIX as u64])),
    when(libc::SYS_clone, When::With(0, (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND) as u64)),
    // Answered with ENOSYS, so that the C library falls back to clone, whose flags can be checked.
    call(libc::SYS_clone3),
    call(libc::SYS_set_robust_list),
    call(libc::SYS_rseq),
    call(libc::SYS_sched_getaffinity),
    // A channel's thread goes where its caller is.
    when(libc::SYS_sched_setaffinity, When::OneOf(0, &[0])),
    when(libc::SYS_prctl, When::OneOf(0, &[PR_SET_NAME as u64])),
    when(libc::SYS_unshare, When::OneOf(0, &[CLONE_FS as u64])),
    call(libc::SYS_fchdir),
    call(libc::SYS_rt_sigprocmask),
    // The C library's own signals, at the first thread.
    when(libc::SYS_rt_sigaction, When::OneOf(0, &[32, 33])),
    call(libc::SYS_gettid),
    call(libc::SYS_sigaltstack),
    when(libc::SYS_mmap, When::Without(2, PROT_EXEC as u64)),
    when(libc::SYS_mprotect, When::Without(2, PROT_EXEC as u64)),
    call(libc::SYS_munmap),
    call(libc::SYS_mremap),
    call(libc::SYS_madvise),
    call(libc::SYS_brk),
    call(libc::SYS_futex),
    call(libc::SYS_sched_yield),
    // The log.
    call(libc::SYS_write),
    call(libc::SYS_exit),
    call(libc::SYS_exit_group),
];

/// What changing files takes beside.
const CHANGING: &[HostCall] = &[
    call(libc::SYS_fchmodat),
    call(libc::SYS_fchownat),
    call(libc::SYS_utimensat),
    call(libc::SYS_truncate),
    call(libc::SYS_mkdirat),
    call(libc::SYS_mknodat),
    call(libc::SYS_symlinkat),
    call(libc::SYS_linkat),
    call(libc::SYS_unlinkat),
    call(libc::SYS_renameat2),
    call(libc::SYS_setxattr),
    call(libc::SYS_removexattr),
];

/// What unix sockets of the host take beside.
const CONNECTING: &[HostCall] =
    &[when(libc::SYS_socket, When::OneOf(0, &[libc::AF_UNIX as u64])), call(libc::SYS_connect)];

/// What binding unix sockets on the host takes beside.
const BINDING: &[HostCall] =
    &[when(libc::SYS_socket, When::OneOf(0, &[libc::AF_UNIX as u64])), call(libc::SYS_bind)];

/// The host calls that serving roots with these policies takes; the fewer, the less they allow.
pub fn host_calls(policies: impl IntoIterator<Item = Policy>) -> Vec<HostCall> {
    let mut calls = READING.to_vec();
    let mut any = Policy::empty();
    let mut is_writable = false;
    for policy in policies {
        any |= policy;
        is_writable |= !policy.contains(Policy::READ_ONLY);
    }
    if is_writable {
        calls.extend(CHANGING);
        if any.contains(Policy::BIND_SOCKETS) {
            calls.extend(BINDING);
        }
    }
    if any.contains(Policy::CONNECT_SOCKETS) {
        calls.extend(CONNECTING);
    }
    calls.sort_by_key(|call| call.number);
    calls.dedup();
    calls
}

#[cfg(test)]
mod tests {
    use super::host_calls;
    use crate::protocol::Policy;

    #[test]
    fn the_list_is_short_and_shorter_for_reading() {
        let writable = host_calls([Policy::SET_ID]);
        let reading = host_calls([Policy::READ_ONLY]);
        // One of them is refused, one is for speed: the aim is 50.
        assert!(writable.len() <= 52, "{}", writable.len());
        assert!(reading.len() <= 41, "{}", reading.len());
        assert!(!reading.iter().any(|call| call.number == libc::SYS_unlinkat));
        let sockets = host_calls([Policy::CONNECT_SOCKETS | Policy::BIND_SOCKETS]);
        assert_eq!(sockets.len(), writable.len() + 3);
        let socket = sockets.iter().filter(|call| call.number == libc::SYS_socket);
        assert_eq!(socket.count(), 1);
    }
}
