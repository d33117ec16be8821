// SPDX-License-Identifier: Apache-2.0
//! The host calls that nix lacks: one safe function a call. All unsafe code of this crate.
#![allow(unsafe_code, reason = "raw system calls that have no safe wrapper elsewhere")]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    ptr,
};

/// A child process.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its number here.
    pub(crate) pid: i32,
    /// Readable once it has ended.
    pub(crate) pidfd: OwnedFd,
}

/// Starts a child process in new namespaces (`CLONE_NEW…`), which runs `child` and ends with its code.
///
/// The caller is the only thread of its process: the child may then do anything.
pub(crate) fn spawn(flags: i32, child: impl FnOnce() -> i32) -> io::Result<Child> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all zeroes is a valid value of this plain structure.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(flags.cast_unsigned()) | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    args.pidfd = ptr::from_mut(&mut pidfd).addr() as u64;
    // SAFETY: without CLONE_VM the child has its own copy of this single-threaded process, and the
    // structure outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(child()),
        pid => {
            // SAFETY: the kernel has just stored a descriptor here that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd })
        }
    }
}

/// Replaces this process by the program behind `file`. Returns only when that fails.
pub(crate) fn exec(file: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| {
        list.iter().map(|item| item.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: both vectors end in a null pointer and, with their strings, outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Puts `files` at the numbers from `first` on (inherited by exec), `last` above them, and marks
/// everything from there on as close-on-exec. For a child that is about to exec.
pub(crate) fn place_fds(
    files: Vec<OwnedFd>,
    first: RawFd,
    last: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let above = first + RawFd::try_from(files.len()).unwrap_or(RawFd::MAX / 2);
    let lift = |fd: RawFd| {
        // SAFETY: a plain call on a number; it takes no pointer.
        check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, above) })
    };
    let mut high = Vec::with_capacity(files.len());
    for file in files {
        high.push(lift(file.into_raw_fd())?);
    }
    let last = lift(last.as_raw_fd())?;
    for (target, old) in (first..).zip(high) {
        // SAFETY: a plain call on numbers.
        check(unsafe { libc::dup2(old, target) })?;
    }
    close_on_exec_from(above)?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(last) })
}

/// Marks every descriptor from `first` on as close-on-exec.
fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: a plain call on numbers.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, first.cast_unsigned(), u32::MAX, CLOSE_RANGE_CLOEXEC)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes over a descriptor that the parent has put at this number, as [`place_fds`] does. `None` if
/// the number is not open. Each number may be taken once, at the start of the process.
pub(crate) fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: a plain call on a number.
    let flags = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: the number is open, and by this function's rule nobody else owns it.
    (flags == 0).then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Removes every capability but those in `keep` (a bit for each) from the bounding set: no program that
/// this process might execute could gain them.
pub(crate) fn bound_capabilities(keep: u64) {
    for capability in 0..64 {
        if keep & (1 << capability) == 0 {
            // The first number that this kernel does not have fails with EINVAL; without CAP_SETPCAP
            // the bounding set stays, which no_new_privs makes harmless.
            // SAFETY: a plain call on numbers.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
                break;
            }
        }
    }
}

/// Removes every capability but those in `keep` (a bit for each) from all sets but the bounding one.
pub(crate) fn keep_capabilities(keep: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    // SAFETY: a plain call on numbers. Kernels without ambient sets have nothing to clear.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| {
        let bits = ((keep >> shift) & u64::from(u32::MAX)) as u32;
        Data { effective: bits, permitted: bits, inheritable: 0 }
    };
    let data = [half(0), half(32)];
    // SAFETY: the header and the two data words have the layout of version 3.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A detached copy of the mounts at and below `path`, seen from a directory descriptor.
pub(crate) fn open_tree(path: &CStr) -> io::Result<OwnedFd> {
    clone_tree(path, libc::AT_RECURSIVE.cast_unsigned())
}

/// A detached copy of the one mount that `path` lies in, from there on.
pub(crate) fn open_mount(path: &CStr) -> io::Result<OwnedFd> {
    clone_tree(path, 0)
}

fn clone_tree(path: &CStr, depth: u32) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: u32 = 1;
    let flags = OPEN_TREE_CLONE
        | libc::O_CLOEXEC.cast_unsigned()
        | depth
        | libc::AT_NO_AUTOMOUNT.cast_unsigned();
    // SAFETY: the string ends in NUL and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    let fd = check(i32::try_from(fd).unwrap_or(-1))?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives a file an extended attribute.
pub(crate) fn set_attribute(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: both strings end in NUL, the value has the length given, and all outlive the call.
    check(unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    })
    .map(drop)
}

/// An extended attribute of a file; nothing if there is none, or a longer one than anybody of ours sets.
pub(crate) fn attribute(path: &CStr, name: &CStr) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let buffer = value.as_mut_ptr().cast();
    // SAFETY: both strings end in NUL, the buffer has the length given, and all outlive the call.
    let size = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), buffer, value.len()) };
    value.truncate(usize::try_from(size).ok()?);
    Some(value)
}

/// Whether this kernel has a call. It is made with arguments that none of the calls we ask for accepts.
pub(crate) fn has_call(number: i64) -> bool {
    // SAFETY: -1 is no descriptor, no size, no flag and no address of anything, so nothing is done.
    let result = unsafe { libc::syscall(number, -1, -1, -1, -1, -1, -1) };
    result >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// Attaches a detached tree of mounts to a directory.
pub(crate) fn attach_tree(tree: BorrowedFd<'_>, at: &CStr) -> io::Result<()> {
    move_mount(tree, libc::AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH)
}

/// Attaches a detached tree of mounts to the place behind a descriptor.
pub(crate) fn attach_tree_at(tree: BorrowedFd<'_>, at: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, at.as_raw_fd(), c"", flags)
}

const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

fn move_mount(tree: BorrowedFd<'_>, at: RawFd, path: &CStr, flags: u32) -> io::Result<()> {
    let from = tree.as_raw_fd();
    // SAFETY: both strings end in NUL and outlive the call.
    let done = unsafe {
        libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), at, path.as_ptr(), flags)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a tree of mounts, attached or not, one that cannot be written to.
pub(crate) fn make_readonly(tree: BorrowedFd<'_>) -> io::Result<()> {
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let attributes = [MOUNT_ATTR_RDONLY, 0, 0, 0];
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the string ends in NUL; the four words are `struct mount_attr`, of the size that is said.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A detached, empty tmpfs of at most `size`.
pub(crate) fn new_tmpfs(size: &CStr) -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: u32 = 1;
    const FSMOUNT_CLOEXEC: u32 = 1;
    const FSCONFIG_SET_STRING: u32 = 1;
    const FSCONFIG_CMD_CREATE: u32 = 6;
    // `MOUNT_ATTR_NOSUID`, `NODEV` and `NOEXEC`.
    const ATTRIBUTES: u32 = 2 | 4 | 8;
    // SAFETY: the string ends in NUL.
    let fd = unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), FSOPEN_CLOEXEC) };
    let fd = check(i32::try_from(fd).unwrap_or(-1))?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    let context = unsafe { OwnedFd::from_raw_fd(fd) };
    let configure = |command: u32, key: Option<&CStr>, value: Option<&CStr>| {
        let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
        let (key, value) = (pointer(key), pointer(value));
        // SAFETY: each pointer is null or that of a string that ends in NUL and outlives the call.
        let done = unsafe {
            libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0)
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    configure(FSCONFIG_SET_STRING, Some(c"mode"), Some(c"555"))?;
    configure(FSCONFIG_SET_STRING, Some(c"size"), Some(size))?;
    configure(FSCONFIG_CMD_CREATE, None, None)?;
    let raw = context.as_raw_fd();
    // SAFETY: a plain call on numbers.
    let fd = unsafe { libc::syscall(libc::SYS_fsmount, raw, FSMOUNT_CLOEXEC, ATTRIBUTES) };
    let fd = check(i32::try_from(fd).unwrap_or(-1))?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the very process behind a pidfd.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for what kill(2) sends.
    let done =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A handle on another process.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: a plain call on numbers.
    let fd =
        check(i32::try_from(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).unwrap_or(-1))?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether two descriptors share one open file. Where the kernel cannot tell, they do not.
pub(crate) fn is_same_file(one: &OwnedFd, other: &OwnedFd) -> bool {
    const KCMP_FILE: i32 = 0;
    let me = std::process::id();
    // SAFETY: a plain call on numbers.
    let order = unsafe {
        libc::syscall(libc::SYS_kcmp, me, me, KCMP_FILE, one.as_raw_fd(), other.as_raw_fd())
    };
    order == 0
}

/// One message of a socket and the descriptors that came with it: the length of the message.
pub(crate) fn receive_files(
    socket: BorrowedFd<'_>,
    to: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    /// `SCM_MAX_FD`: the kernel takes no more in one message.
    const MOST: usize = 253;
    let mut room = nix::cmsg_space!([RawFd; MOST]);
    let mut parts = [io::IoSliceMut::new(to)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags)?;
    let mut files = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made these descriptors; nobody else owns them.
            files.extend(numbers.into_iter().map(|it| unsafe { OwnedFd::from_raw_fd(it) }));
        }
    }
    Ok((message.bytes, files))
}

/// The next connection to a listening socket.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let none = ptr::null_mut::<libc::sockaddr>();
    // SAFETY: null pointers say that the address is not wanted.
    let fd = check(unsafe {
        libc::accept4(listener.as_raw_fd(), none, ptr::null_mut(), libc::SOCK_CLOEXEC)
    })?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes what the caller of this program has leaked into it. To be called before anything is opened.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: a plain call on numbers, of which none is ours yet. It cannot fail on Linux ≥ 5.9.
    unsafe { libc::syscall(libc::SYS_close_range, first.cast_unsigned(), u32::MAX, 0) };
}

/// Puts a descriptor at a number that is in use, closing what was there.
pub(crate) fn replace(file: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: a plain call on numbers; the standard streams are replaced by something as good.
    check(unsafe { libc::dup2(file.as_raw_fd(), number) }).map(drop)
}

/// Makes a terminal the controlling one of this session.
pub(crate) fn control_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes a number.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// A new terminal: the master's end, and the other.
pub(crate) fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the string ends in NUL.
    let master = check(unsafe { libc::open(c"/dev/ptmx".as_ptr(), flags) })?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    let master = unsafe { OwnedFd::from_raw_fd(master) };
    let unlocked: libc::c_int = 0;
    // SAFETY: the request reads one number through the pointer.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    // By way of the master itself: no path that an attacker could have put there.
    // SAFETY: the request takes flags and returns a descriptor.
    let slave = check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok((master, unsafe { OwnedFd::from_raw_fd(slave) }))
}

/// Sets the size of a terminal.
pub(crate) fn set_window_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads one structure through the pointer.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Gives a signal its default action back.
pub(crate) fn reset_signal(signal: nix::sys::signal::Signal) -> nix::Result<()> {
    use nix::sys::signal::{SigHandler, signal as set};
    // SAFETY: the default action runs no code of ours.
    unsafe { set(signal, SigHandler::SigDfl) }.map(drop)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Keeps the C library's allocator from opening files: with a limit of arenas it never asks how many CPUs
/// there are, and an arena that does not shrink never asks how the host overcommits memory.
pub(crate) fn limit_arenas(count: i32) {
    // SAFETY: it takes numbers, and nobody else sets this option.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, count) };
    // SAFETY: as above.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX) };
}

/// Where the parts of this process's memory are, as the kernel's books have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryMap {
    code: (u64, u64),
    data: (u64, u64),
    start_brk: u64,
    start_stack: u64,
    /// Where the command line begins.
    pub(crate) arg_start: u64,
    /// Where it ends.
    pub(crate) arg_end: u64,
    env: (u64, u64),
}

impl MemoryMap {
    /// Reads the books.
    pub(crate) fn read() -> io::Result<MemoryMap> {
        let text = std::fs::read_to_string("/proc/self/stat")?;
        // The name in parentheses may hold anything; the third field stands behind it.
        let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<u64> =
            fields.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let field = |number: usize| {
            let value = fields.get(number - 3).copied();
            value.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
        };
        Ok(MemoryMap {
            code: (field(26)?, field(27)?),
            start_stack: field(28)?,
            data: (field(45)?, field(46)?),
            start_brk: field(47)?,
            arg_start: field(48)?,
            arg_end: field(49)?,
            env: (field(50)?, field(51)?),
        })
    }
}

/// Has `/proc/self/cmdline` show `text`. Nothing but what the kernel shows of us changes.
pub(crate) fn show_arguments(map: &MemoryMap, text: &'static [u8]) -> io::Result<()> {
    #[repr(C)]
    struct Map {
        addresses: [u64; 11],
        auxv: *const u64,
        auxv_size: u32,
        exe_fd: u32,
    }
    const PR_SET_MM_MAP: i32 = 14;
    // The kernel wants the heap above the data, which it need not be in a static position-independent
    // program. These two bounds are shown and nothing else.
    let data =
        if map.start_brk > map.data.1 { map.data } else { (map.code.0.min(1 << 20), 1 << 20) };
    // SAFETY: it only asks where the heap ends.
    let brk = unsafe { libc::sbrk(0) }.addr() as u64;
    let start = text.as_ptr().addr() as u64;
    let end = start + text.len() as u64;
    let map = Map {
        addresses: [
            map.code.0,
            map.code.1,
            data.0,
            data.1,
            map.start_brk,
            brk,
            map.start_stack,
            start,
            end,
            map.env.0,
            map.env.1,
        ],
        auxv: ptr::null(),
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    // SAFETY: the structure is `struct prctl_mm_map` and outlives the call; the text lives for good.
    check(unsafe {
        libc::prctl(libc::PR_SET_MM, PR_SET_MM_MAP, &raw const map, size_of_val(&map), 0)
    })
    .map(drop)
}

/// Closes a descriptor that a fork has copied, and whose owner in this process is never dropped.
pub(crate) fn close_copy(number: RawFd) {
    // SAFETY: a plain call on a number; by this function's rule nobody here uses it any more.
    unsafe { libc::close(number) };
}

/// Ends this process at once, without running anything that was left for its end.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: it takes no pointer and does not return.
    unsafe { libc::_exit(code) }
}
