// SPDX-License-Identifier: Apache-2.0
//! Host calls that nix lacks or wraps too narrowly: one safe function each.
#![allow(
    unsafe_code,
    reason = "raw system calls; each function is safe to call with any arguments"
)]

pub(crate) mod notify;
pub(crate) mod ptrace;

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::atomic::AtomicU32,
    time::Duration,
};

/// A new memfd of `len` bytes.
pub(crate) fn memfd(name: &std::ffi::CStr, len: u64) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    nix::unistd::ftruncate(&fd, i64::try_from(len).map_err(io::Error::other)?)?;
    Ok(fd)
}

/// Whether nothing of this process lies in the `len` bytes at `addr`, page-aligned both.
pub(crate) fn is_free(addr: u64, len: u64) -> bool {
    let (Ok(start), Ok(len)) = (usize::try_from(addr), usize::try_from(len)) else { return false };
    let flags =
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let hint = std::ptr::without_provenance_mut(start);
    // SAFETY: a fresh mapping that replaces none and that nobody is told of.
    let mapped = unsafe { libc::mmap(hint, len, libc::PROT_NONE, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: the mapping that was just made.
    unsafe { libc::munmap(mapped, len) };
    mapped == hint
}

/// Sleeps while `word` is `value`, at most for `timeout`. Wakes for no reason, too.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    // SAFETY: the word and the timeout live through the call; a failure only means "look again".
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const timeout);
    }
}

/// Whether the host can wait for several futexes at once (futex_waitv(2), Linux 5.16).
pub(crate) fn has_futex_waitv() -> bool {
    // SAFETY: a list of no words is refused before it is read.
    let result = unsafe { libc::syscall(libc::SYS_futex_waitv, 0, 0, 0, 0, 0) };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

/// Wakes one sleeper on `word`.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: the kernel only takes the address as a key.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// Sends `signal` to thread `tid` of process `pid`; 0 asks whether it is there.
pub(crate) fn tgkill(pid: i32, tid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).map(drop)
}

/// Sends `signal` to process `pid`.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(i64::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// Which way [`process_vm`] copies.
pub(crate) enum Copy<'a> {
    /// From the process to here.
    In(&'a mut [u8]),
    /// From here to the process.
    Out(&'a [u8]),
}

/// `process_vm_readv(2)` or `process_vm_writev(2)` at `addr` of process `pid`: the bytes copied,
/// which end at the first page that cannot be accessed.
pub(crate) fn process_vm(pid: i32, addr: u64, copy: Copy<'_>) -> usize {
    let (base, len, out) = match copy {
        Copy::In(to) => (to.as_mut_ptr(), to.len(), false),
        Copy::Out(from) => (from.as_ptr().cast_mut(), from.len(), true),
    };
    let local = libc::iovec { iov_base: base.cast(), iov_len: len };
    let mut done = 0;
    // One remote element reports partial copies in whole elements on some kernels' error paths, so
    // a short or failed copy is tried again from where it ended.
    while done < len {
        let Some(at) = addr.checked_add(done as u64) else { break };
        let remote = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: len - done };
        // SAFETY: `done < len`, so the pointer stays inside the slice.
        let here = unsafe { local.iov_base.cast::<u8>().add(done) };
        let here = libc::iovec { iov_base: here.cast(), iov_len: len - done };
        // SAFETY: `here` describes the rest of the caller's slice, writable for a copy inward; the
        // other side is another process's.
        let n = unsafe {
            let call = if out { libc::SYS_process_vm_writev } else { libc::SYS_process_vm_readv };
            libc::syscall(call, pid, &raw const here, 1_u64, &raw const remote, 1_u64, 0_u64)
        };
        match usize::try_from(n) {
            Ok(n) if n > 0 => done = done.saturating_add(n).min(len),
            _ => break,
        }
    }
    done
}

/// Writes through ptrace to stopped thread `tid`, word by word: the bytes written, which end at the
/// first page that is not there.
pub(crate) fn poke_words(tid: i32, addr: u64, from: &[u8]) -> usize {
    const WORD: u64 = 8;
    let mut done = 0;
    while let Some(rest) = from.get(done..)
        && !rest.is_empty()
    {
        let at = addr.wrapping_add(done as u64);
        let (start, skip) = (at & !(WORD - 1), usize::try_from(at % WORD).unwrap_or(0));
        let Ok(old) = ptrace::peek(tid, start) else { break };
        let mut bytes = old.to_le_bytes();
        let mut count = 0;
        for (to, from) in bytes.iter_mut().skip(skip).zip(rest) {
            *to = *from;
            count += 1;
        }
        if ptrace::poke(tid, start, u64::from_le_bytes(bytes)).is_err() {
            break;
        }
        done += count;
    }
    done
}

/// A pair of connected `SOCK_SEQPACKET` sockets.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Has the kernel say on `socket` which process sent a message.
pub(crate) fn pass_credentials(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::PassCred, &true)?)
}

/// Sends `fds` in one message.
pub(crate) fn send_fds(socket: BorrowedFd<'_>, fds: &[i32]) -> io::Result<()> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let bytes = [io::IoSlice::new(b"f")];
    let rights = [ControlMessage::ScmRights(fds)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &bytes, &rights, flags, None)?;
    Ok(())
}

/// Waits until `file` can be read (or has an error to tell), at most for `timeout`.
pub(crate) fn is_readable(file: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    use nix::poll::{PollFd, PollFlags, ppoll};
    let mut ready = [PollFd::new(file, PollFlags::POLLIN)];
    match ppoll(&mut ready, Some(timeout.into()), None) {
        Ok(count) => Ok(count > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether nobody has the other end of a socket any more.
pub(crate) fn is_hung_up(socket: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, ppoll};
    let mut ready = [PollFd::new(socket, PollFlags::empty())];
    let found = ppoll(&mut ready, Some(Duration::ZERO.into()), None).is_ok_and(|count| count > 0);
    let [ready] = ready;
    found && ready.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

/// Receives a message and says which process sent it, by the kernel's word.
pub(crate) fn receive_sender(socket: BorrowedFd<'_>, timeout: Duration) -> io::Result<i32> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg};
    let start = std::time::Instant::now();
    let mut byte = [0_u8; 8];
    let mut slices = [io::IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(UnixCredentials);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Err(nix::errno::Errno::EAGAIN) => {}
            received => break received?,
        }
        if !is_readable(socket, timeout)? && start.elapsed() >= timeout {
            return Err(io::ErrorKind::TimedOut.into());
        }
    };
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmCredentials(sender) = control {
            return Ok(sender.pid());
        }
    }
    Err(io::Error::other("a message without a sender"))
}

/// Looks for a child of the calling thread (not of its siblings) that has ended, with `waits` until one
/// has, and leaves it a zombie, so that its number cannot be reused yet. `None` when there is no child, or
/// none has ended.
pub(crate) fn peek_ended_child(waits: bool) -> io::Result<Option<i32>> {
    loop {
        // SAFETY: all-zero is a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let mut options = libc::WEXITED | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
        if !waits {
            options |= libc::WNOHANG;
        }
        // SAFETY: `info` lives through the call.
        let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
        if result == 0 {
            if matches!(info.si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED) {
                // SAFETY: waitid filled in a SIGCHLD's fields.
                return Ok(Some(unsafe { info.si_pid() }));
            }
            // SAFETY: as above; the number stays 0 when there is none.
            if !waits && unsafe { info.si_pid() } == 0 {
                return Ok(None);
            }
            // Traced by another thread, which pokes it: soon over.
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ECHILD) => return Ok(None),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

/// Reaps the child `pid`, when it has ended, and returns its wait status.
pub(crate) fn reap(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives through the call.
        let result = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        if result == pid {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}

/// Fills `bytes` from the host's CSPRNG.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    // SAFETY: the slice is writable.
    let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(n) == Ok(bytes.len()) { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An entry of the auxiliary vector; 0 when there is none.
pub(crate) fn auxv(entry: u64) -> u64 {
    // SAFETY: only looks up a number.
    unsafe { libc::getauxval(entry) }
}

/// Copies between this memory and memory that others write at the same time.
///
/// # Safety
/// Both sides are mapped for `len` bytes, and the writable one is not borrowed.
pub(crate) unsafe fn copy_shared(to: *mut u8, from: *const u8, len: usize) {
    // The compiler cannot see into this, so it can assume nothing about bytes that change.
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
}

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The CPUs that the calling thread may use.
pub(crate) fn affinity() -> Vec<usize> {
    use nix::{sched::sched_getaffinity, unistd::Pid};
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

/// Ties thread `tid` (0 is the caller) to `cpus`. `false` when the host does not.
pub(crate) fn tie(tid: i32, cpus: &[usize]) -> bool {
    use nix::{sched::sched_setaffinity, unistd::Pid};
    let mut set = nix::sched::CpuSet::new();
    cpus.iter().all(|cpu| set.set(*cpu).is_ok())
        && sched_setaffinity(Pid::from_raw(tid), &set).is_ok()
}

/// The processor's clock.
pub(crate) fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux lets user code use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_not_free() {
        let value = 0u8;
        let here = std::ptr::from_ref(&value).addr() as u64 & !0xfff;
        assert!(!is_free(here, 0x1000));
        assert!(!is_free(here - 0x1000, 0x3000), "its neighbours are");
        // Low addresses are nobody's, and looking leaves them so.
        for _ in 0..2 {
            assert!(is_free(0x10_0000, 0x1000));
        }
        assert!(!is_free(0x10_0001, 0x1000), "no page starts there");
        assert!(!is_free(u64::MAX - 0xfff, 0x1000));
    }
}
