// SPDX-License-Identifier: Apache-2.0
//! Host calls on open files that nix lacks: I/O that never waits, terminals. One safe function a call.
#![allow(unsafe_code, reason = "raw host calls; each function is safe for any argument")]

use std::os::fd::{AsRawFd, BorrowedFd};

use abi::{
    Errno,
    ioctl::{Termios, Winsize},
};

/// The errno of the host call that just failed.
fn last_errno() -> Errno {
    let number = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Errno::from_raw(number).unwrap_or(Errno::EIO)
}

/// A byte count or the errno, from what a host call returned.
fn count(returned: isize) -> Result<usize, Errno> {
    usize::try_from(returned).map_err(|_| last_errno())
}

/// Reads at the file's own position without waiting, whatever its status flags (they may be shared with
/// other processes). `EAGAIN` when it would wait, `EOPNOTSUPP` where the file cannot promise not to.
pub fn read_now(fd: BorrowedFd<'_>, to: &mut [u8]) -> Result<usize, Errno> {
    let iov = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    // SAFETY: `iov` describes `to`, which is writable for the length of the call.
    count(unsafe { libc::preadv2(fd.as_raw_fd(), &raw const iov, 1, -1, libc::RWF_NOWAIT) })
}

/// Writes at the file's own position without waiting; as [`read_now`].
pub fn write_now(fd: BorrowedFd<'_>, from: &[u8]) -> Result<usize, Errno> {
    let iov = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    // SAFETY: `iov` describes `from`, which is readable for the length of the call; the kernel only
    // reads through it.
    count(unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const iov, 1, -1, libc::RWF_NOWAIT) })
}

/// Writes at the end of the file, whatever that is by then (`RWF_APPEND`).
pub fn append(fd: BorrowedFd<'_>, from: &[u8]) -> Result<usize, Errno> {
    let iov = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    // SAFETY: `iov` describes `from`, which is readable for the length of the call; the kernel only
    // reads through it.
    count(unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const iov, 1, 0, libc::RWF_APPEND) })
}

/// fstat(2). The C library makes it a newfstatat(2), whose path a filter cannot see to be empty.
pub fn status(fd: BorrowedFd<'_>) -> Result<libc::stat, Errno> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `status` has room for what the kernel of this architecture writes.
    let done = unsafe { libc::syscall(libc::SYS_fstat, fd.as_raw_fd(), status.as_mut_ptr()) };
    if done == -1 {
        return Err(last_errno());
    }
    // SAFETY: zeroed before, and any bytes are a valid stat.
    Ok(unsafe { status.assume_init() })
}

/// The settings of a terminal (`TCGETS`); `ENOTTY` for anything else.
pub fn termios(fd: BorrowedFd<'_>) -> Result<Termios, Errno> {
    let mut termios = Termios::default();
    // SAFETY: `Termios` is the kernel's `struct termios`, which TCGETS fills.
    let returned = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TCGETS, &raw mut termios) };
    if returned < 0 { Err(last_errno()) } else { Ok(termios) }
}

/// When a terminal's new settings take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once (`TCSETS`).
    Now,
    /// After the output has drained (`TCSETSW`).
    Drained,
    /// Then, and input is thrown away (`TCSETSF`).
    Flushed,
}

/// Changes the settings of a terminal.
pub fn set_termios(fd: BorrowedFd<'_>, when: When, termios: &Termios) -> Result<(), Errno> {
    let request = match when {
        When::Now => libc::TCSETS,
        When::Drained => libc::TCSETSW,
        When::Flushed => libc::TCSETSF,
    };
    // SAFETY: `termios` is the kernel's `struct termios`, which the request reads.
    let returned = unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_ref(termios)) };
    if returned < 0 { Err(last_errno()) } else { Ok(()) }
}

/// The size of a terminal's window.
pub fn window_size(fd: BorrowedFd<'_>) -> Result<Winsize, Errno> {
    let mut size = Winsize::default();
    // SAFETY: `Winsize` is the kernel's `struct winsize`, which TIOCGWINSZ fills.
    let returned = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if returned < 0 { Err(last_errno()) } else { Ok(size) }
}

/// Changes the size of a terminal's window.
pub fn set_window_size(fd: BorrowedFd<'_>, size: &Winsize) -> Result<(), Errno> {
    // SAFETY: `size` is the kernel's `struct winsize`, which TIOCSWINSZ reads.
    let returned =
        unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(size)) };
    if returned < 0 { Err(last_errno()) } else { Ok(()) }
}

/// A terminal request whose argument is a number: `TCSBRK`, `TCXONC`, `TCFLSH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalAction {
    /// `TCSBRK`; a non-zero argument waits for the output to drain.
    Break,
    /// `TCXONC`.
    Flow,
    /// `TCFLSH`.
    Flush,
}

/// Carries out a [`TerminalAction`].
pub fn terminal_action(
    fd: BorrowedFd<'_>,
    action: TerminalAction,
    argument: i32,
) -> Result<(), Errno> {
    let request = match action {
        TerminalAction::Break => libc::TCSBRK,
        TerminalAction::Flow => libc::TCXONC,
        TerminalAction::Flush => libc::TCFLSH,
    };
    // SAFETY: these requests take a number and touch no memory of ours.
    let returned = unsafe { libc::ioctl(fd.as_raw_fd(), request, libc::c_long::from(argument)) };
    if returned < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Bytes that can be read at once (`FIONREAD`).
pub fn pending(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD fills one int.
    let returned = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if returned < 0 { Err(last_errno()) } else { Ok(bytes) }
}

/// An entry of the auxiliary vector that this very process was started with; 0 if it has none.
pub fn auxv(kind: u64) -> u64 {
    crate::sys::auxv(kind)
}

/// The host calls that this module makes, for the sentry's seccomp filter.
pub const HOST_CALLS: &[i64] =
    &[libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_fstat, libc::SYS_ioctl, libc::SYS_getrandom];

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use abi::Errno;

    use super::{pending, read_now, termios, write_now};

    #[test]
    fn a_pipe_never_waits() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut room = [0; 8];
        assert_eq!(read_now(reader.as_fd(), &mut room), Err(Errno::EAGAIN));
        assert_eq!(write_now(writer.as_fd(), b"abc"), Ok(3));
        assert_eq!(pending(reader.as_fd()), Ok(3));
        assert_eq!(read_now(reader.as_fd(), &mut room), Ok(3));
        assert_eq!(termios(reader.as_fd()).err(), Some(Errno::ENOTTY));
    }
}

/// Random bytes from the host's generator: getrandom(2).
pub fn random(to: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: `to` is writable for the length of the call.
    count(unsafe { libc::getrandom(to.as_mut_ptr().cast(), to.len(), 0) })
}
