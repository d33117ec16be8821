// SPDX-License-Identifier: Apache-2.0
//! Seccomp's user notification: calls that wait for our verdict.
#![allow(
    unsafe_code,
    reason = "raw system calls; each function is safe to call with any arguments"
)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// `SECCOMP_IOCTL_NOTIF_RECV`.
pub(crate) const RECEIVE: u64 = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_SEND`.
pub(crate) const SEND: u64 = 0xc018_2101;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const CONTINUE: u32 = 1;

/// A thread whose call waits.
#[derive(Debug)]
pub(crate) struct Caller {
    id: u64,
    /// The host's number of it.
    pub(crate) tid: i32,
}

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    data: [u64; 8],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const _: () = assert!(size_of::<Notification>() == 80);
const _: () = assert!(size_of::<Response>() == 24);

/// The next call that waits at `listener`; `None` when it was given up meanwhile.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<Option<Caller>> {
    let mut notification = Notification::default();
    // SAFETY: the structure is zeroed, as the kernel wants, and lives through the call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut notification) };
    if result == 0 {
        let tid = i32::try_from(notification.pid).unwrap_or(0);
        return Ok(Some(Caller { id: notification.id, tid }));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EINTR) => Ok(None),
        _ => Err(error),
    }
}

/// Lets the call happen, or fail with `EPERM`. Whoever died meanwhile needs no answer.
pub(crate) fn answer(listener: BorrowedFd<'_>, caller: &Caller, may: bool) -> io::Result<()> {
    let (error, flags) = if may { (0, CONTINUE) } else { (-libc::EPERM, 0) };
    let response = Response { id: caller.id, value: 0, error, flags };
    // SAFETY: the structure lives through the call.
    if unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const response) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOENT) { Ok(()) } else { Err(error) }
}

/// A descriptor of child `pid`, as one of our own.
pub(crate) fn take_descriptor(pid: i32, fd: i64) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let process = own(process)?;
    // SAFETY: no memory is passed.
    own(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
}

fn own(fd: i64) -> io::Result<OwnedFd> {
    match i32::try_from(fd) {
        // SAFETY: the kernel just gave us this descriptor.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
