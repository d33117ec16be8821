// SPDX-License-Identifier: Apache-2.0
//! Host calls that nix lacks or wraps too loosely: one safe function for each.
#![allow(unsafe_code, reason = "the only file of this crate that talks to libc")]

use std::{
    ffi::CStr,
    mem::{MaybeUninit, size_of, zeroed},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Instant,
};

use abi::Errno;

/// The most descriptors that may come with one frame; more are closed by the kernel.
pub(crate) const MAX_FDS: usize = 4;

/// Whether a receive waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Block,
    No,
}

/// The calling thread's errno. What Linux does not know is `EIO`.
fn last_error() -> Errno {
    std::io::Error::last_os_error().raw_os_error().and_then(Errno::from_raw).unwrap_or(Errno::EIO)
}

/// What a call that says −1 for failure said.
fn checked(result: impl TryInto<i64>) -> Result<i64, Errno> {
    match result.try_into() {
        Ok(-1) => Err(last_error()),
        Ok(value) => Ok(value),
        Err(_) => Err(Errno::EOVERFLOW),
    }
}

/// A length that a call gave.
fn length(result: isize) -> Result<usize, Errno> {
    usize::try_from(checked(i64::try_from(result).map_err(|_| Errno::EOVERFLOW)?)?)
        .map_err(|_| Errno::EIO)
}

/// A connected pair of `SOCK_SEQPACKET` sockets.
pub(crate) fn socket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for two descriptors.
    checked(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            fds.as_mut_ptr(),
        )
    })?;
    // SAFETY: the call succeeded, so this descriptor is new and ours alone.
    let one = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let other = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok((one, other))
}

/// Room for a control message with [`MAX_FDS`] descriptors, aligned as `cmsghdr` must be.
#[repr(C, align(8))]
struct Control([u8; 64]);

const _: () = {
    // SAFETY: arithmetic only.
    let space = unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<i32>()) as u32) };
    assert!(space as usize <= size_of::<Control>());
};

/// sendmsg(2) of one datagram, with a descriptor or none. Never waits, never raises SIGPIPE.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    data: &[u8],
    fd: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    let mut control = Control([0; 64]);
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(fd) = fd {
        message.msg_control = (&raw mut control).cast();
        // SAFETY: arithmetic only.
        let space = unsafe { libc::CMSG_SPACE(size_of::<i32>() as u32) };
        message.msg_controllen = space as usize;
        // SAFETY: `message` has a control buffer with room for a header.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: arithmetic only.
        let len = unsafe { libc::CMSG_LEN(size_of::<i32>() as u32) };
        // SAFETY: `header` points into `control`, which is aligned and long enough.
        unsafe {
            header.write(libc::cmsghdr {
                cmsg_len: len as usize,
                cmsg_level: libc::SOL_SOCKET,
                cmsg_type: libc::SCM_RIGHTS,
            });
        }
        // SAFETY: the data of the header above lie within `control`.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: room for one descriptor was made above; its alignment is not relied on.
        unsafe { data.cast::<i32>().write_unaligned(fd.as_raw_fd()) };
    }
    loop {
        // SAFETY: `message` describes `part` and `control`, which outlive the call.
        let sent = unsafe {
            libc::sendmsg(
                socket.as_raw_fd(),
                &raw const message,
                libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
            )
        };
        match length(sent) {
            Err(Errno::EINTR) => {}
            Ok(sent) if sent == data.len() => return Ok(()),
            Ok(_) => return Err(Errno::EMSGSIZE),
            Err(errno) => return Err(errno),
        }
    }
}

/// recvmsg(2) of one datagram with its descriptors, which are close-on-exec. `EMSGSIZE` if `buffer` is
/// too short for it, or if more descriptors came than [`MAX_FDS`].
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    wait: Wait,
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 64]);
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    // SAFETY: arithmetic only.
    let space = unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<i32>()) as u32) };
    message.msg_controllen = space as usize;
    let flags = libc::MSG_CMSG_CLOEXEC
        | match wait {
            Wait::Block => 0,
            Wait::No => libc::MSG_DONTWAIT,
        };
    let len = loop {
        // SAFETY: `message` describes `buffer` and `control`, which outlive the call.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        match length(got) {
            Err(Errno::EINTR) => {}
            Ok(len) => break len,
            Err(errno) => return Err(errno),
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled in `message`.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: `header` points to a whole header within `control`: the macros look at the length.
        let head = unsafe { header.read() };
        if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: arithmetic only.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            let count = head.cmsg_len.saturating_sub(empty) / size_of::<i32>();
            // SAFETY: the data of a header that the kernel wrote.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<i32>();
            for index in 0..count {
                // SAFETY: within the `cmsg_len` that the kernel wrote.
                let place = unsafe { data.add(index) };
                // SAFETY: as above; alignment is not relied on.
                let fd = unsafe { place.read_unaligned() };
                // SAFETY: the kernel has just made this descriptor for us.
                fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: `header` is a header of `message`.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Err(Errno::EMSGSIZE);
    }
    Ok((len, fds))
}

/// Waits until `fd` is readable or its peer has gone: `ETIMEDOUT` after the deadline.
pub(crate) fn poll_readable(fd: BorrowedFd<'_>, deadline: Instant) -> Result<(), Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = libc::timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut wanted = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, a timeout, and no signal mask.
        let ready =
            unsafe { libc::ppoll(&raw mut wanted, 1, &raw const timeout, std::ptr::null()) };
        match checked(ready) {
            Ok(0) => return Err(Errno::ETIMEDOUT),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// statx(2) of the descriptor itself.
pub(crate) fn statx(fd: BorrowedFd<'_>) -> Result<libc::statx, Errno> {
    let mut out = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: an empty path with AT_EMPTY_PATH means `fd`; `out` has room for the answer.
    checked(unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT,
            libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID,
            out.as_mut_ptr(),
        )
    })?;
    // SAFETY: zeroed before, and any bytes are a valid statx.
    Ok(unsafe { out.assume_init() })
}

/// fstatfs(2).
pub(crate) fn fstatfs(fd: BorrowedFd<'_>) -> Result<abi::mount::StatFs, Errno> {
    let mut out = abi::mount::StatFs::default();
    const _: () = assert!(size_of::<abi::mount::StatFs>() == size_of::<libc::statfs>());
    // SAFETY: `StatFs` is the kernel's struct statfs of this architecture, by size and order.
    checked(unsafe { libc::fstatfs(fd.as_raw_fd(), (&raw mut out).cast()) })?;
    Ok(out)
}

/// getdents64(2): the bytes that were filled.
pub(crate) fn getdents64(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes.
    let got = unsafe {
        libc::syscall(libc::SYS_getdents64, fd.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
    };
    usize::try_from(checked(got)?).map_err(|_| Errno::EIO)
}

/// readlinkat(2) of the descriptor itself.
pub(crate) fn readlink(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: an empty path means `fd`; the kernel writes at most `buffer.len()` bytes.
    let got = unsafe {
        libc::readlinkat(fd.as_raw_fd(), c"".as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
    };
    length(got)
}

/// utimensat(2) of the descriptor itself.
pub(crate) fn set_times(fd: BorrowedFd<'_>, times: &[libc::timespec; 2]) -> Result<(), Errno> {
    // SAFETY: an empty path with AT_EMPTY_PATH means `fd`; two timespecs are given.
    checked(unsafe {
        libc::utimensat(fd.as_raw_fd(), c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH)
    })
    .map(drop)
}

/// renameat2(2), which the C library makes a renameat(2) when there are no flags.
pub(crate) fn rename(
    from: BorrowedFd<'_>,
    name: &CStr,
    to: BorrowedFd<'_>,
    new_name: &CStr,
    flags: u32,
) -> nix::Result<()> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: two strings with their NUL, which the kernel only reads.
    let result = unsafe {
        libc::syscall(libc::SYS_renameat2, from, name.as_ptr(), to, new_name.as_ptr(), flags)
    };
    nix::errno::Errno::result(result).map(drop)
}

/// getxattr(2).
pub(crate) fn getxattr(path: &CStr, name: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: two strings with their NUL; the kernel writes at most `buffer.len()` bytes.
    length(unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
    })
}

/// setxattr(2).
pub(crate) fn setxattr(path: &CStr, name: &CStr, value: &[u8], flags: i32) -> Result<(), Errno> {
    // SAFETY: two strings with their NUL; the kernel reads `value.len()` bytes.
    checked(unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags)
    })
    .map(drop)
}

/// listxattr(2).
pub(crate) fn listxattr(path: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: a string with its NUL; the kernel writes at most `buffer.len()` bytes.
    length(unsafe { libc::listxattr(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// removexattr(2).
pub(crate) fn removexattr(path: &CStr, name: &CStr) -> Result<(), Errno> {
    // SAFETY: two strings with their NUL.
    checked(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) }).map(drop)
}

/// The processor that the calling thread runs on; `u32::MAX` if the host does not say.
pub(crate) fn current_cpu() -> u32 {
    // SAFETY: takes nothing, and asks the vDSO or the thread's own rseq area.
    u32::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(u32::MAX)
}

/// Ties the calling thread to one processor. `false` if there is no such, or the host does not want it.
pub(crate) fn tie_to(cpu: u32) -> bool {
    let mut set = nix::sched::CpuSet::new();
    let is_one = usize::try_from(cpu).is_ok_and(|cpu| set.set(cpu).is_ok());
    is_one && nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).is_ok()
}

/// Keeps the C library's allocator to one arena.
///
/// Without a limit it counts the CPUs when a second thread first allocates under contention, and before
/// an arena other than the first shrinks it asks how the host overcommits memory: both by reading a file,
/// which under the filter is the end of the process.
pub(crate) fn limit_arenas() {
    // SAFETY: changes a number inside the allocator.
    let accepted = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    debug_assert_eq!(accepted, 1, "glibc accepts any number of arenas");
}
