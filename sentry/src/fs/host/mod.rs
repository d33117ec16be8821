// SPDX-License-Identifier: Apache-2.0
//! Files of the host that were handed to us open: standard input, output and error.
//!
//! * **The type to know.** A [`HostFile`] is an open file of the host as an open file of the guest:
//!   [`HostFile::import`].
//! * **Invariants.** The host's description may be shared with other processes, so its status flags are
//!   never changed: what must not wait says so per call (`RWF_NOWAIT`, `MSG_DONTWAIT`) or asks poll(2)
//!   first. The position of a regular file is the host's, as `(a; b) > file` wants it.
//! * **Lock levels.** None while the host is called.
//! * **What it does not do.** It opens nothing: the sentry may not.

mod file;
mod inode;
mod notifier;
mod terminal;

#[cfg(test)]
mod tests;

pub use file::{HostFile, Shared};
pub use inode::open;
pub(crate) use notifier::Watch;

use abi::Errno;

/// The host's errno for an operation on an open file, as the guest may see it. Anything that the list
/// does not name is `EIO` and one log line.
fn shown(errno: nix::errno::Errno) -> Errno {
    use nix::errno::Errno as Host;
    match errno {
        Host::EAGAIN => Errno::EAGAIN,
        Host::EBADF => Errno::EBADF,
        Host::ECONNRESET => Errno::ECONNRESET,
        Host::EDQUOT => Errno::EDQUOT,
        Host::EFBIG => Errno::EFBIG,
        Host::EINTR => Errno::EINTR,
        Host::EINVAL => Errno::EINVAL,
        Host::EIO => Errno::EIO,
        Host::EISDIR => Errno::EISDIR,
        Host::ENOSPC => Errno::ENOSPC,
        Host::ENOTCONN => Errno::ENOTCONN,
        Host::ENOTTY => Errno::ENOTTY,
        Host::ENXIO => Errno::ENXIO,
        Host::EOPNOTSUPP => Errno::EOPNOTSUPP,
        Host::EPERM => Errno::EPERM,
        Host::EPIPE => Errno::EPIPE,
        Host::ESPIPE => Errno::ESPIPE,
        other => {
            tracing::warn!(errno = %other, "a host file failed in an unforeseen way");
            Errno::EIO
        }
    }
}

/// The host calls that files of the host need, for the sentry's seccomp filter.
pub fn host_calls() -> Vec<i64> {
    let mut calls = vec![
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_lseek,
        libc::SYS_fstat,
        libc::SYS_ftruncate,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_ppoll,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_wait,
    ];
    calls.extend_from_slice(platform::hostio::HOST_CALLS);
    calls
}
