// SPDX-License-Identifier: Apache-2.0
//! What open files are told: fcntl(2), flock(2), ioctl(2).

use std::sync::{Arc, atomic::Ordering};

use abi::{
    Errno, Fd, UserAddr, UserIn, UserInOut, UserOut,
    cred::Capabilities,
    fcntl::{
        DnotifyMask, F_ADD_SEALS, F_CREATED_QUERY, F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY,
        F_GET_FILE_RW_HINT, F_GET_RW_HINT, F_GET_SEALS, F_GETFD, F_GETFL, F_GETLEASE, F_GETLK,
        F_GETOWN, F_GETOWN_EX, F_GETOWNER_UIDS, F_GETPIPE_SZ, F_GETSIG, F_NOTIFY, F_OFD_GETLK,
        F_OFD_SETLK, F_OFD_SETLKW, F_OWNER_PGRP, F_OWNER_PID, F_OWNER_TID, F_RDLCK,
        F_SET_FILE_RW_HINT, F_SET_RW_HINT, F_SETFD, F_SETFL, F_SETLEASE, F_SETLK, F_SETLKW,
        F_SETOWN, F_SETOWN_EX, F_SETPIPE_SZ, F_SETSIG, F_UNLCK, F_WRLCK, FOwnerEx, FcntlCommand,
        FdFlags, Flock, FlockOperation, OpenFlags, SEEK_CUR, SEEK_END, SEEK_SET, Seals,
    },
    ioctl::{
        FICLONE, FICLONERANGE, FIGETBSZ, FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, FIONREAD, FIOQSIZE,
        FileCloneRange, IoctlRequest, TIOCGPTPEER,
    },
    num::{to_u64, to_usize},
};
use sentry::{
    fs::{devpts, pipe::PipeEnd},
    kernel::{OrRestart, Restart, SysResult},
    task::Current,
    vfs::{
        FileDescription, FileKind, inode_flags, permission,
        record_lock::{self, Holder, LockKind, RecordLock},
    },
    wait::{Cut, Ready},
};

use crate::stat;

/// The flags that F_SETFL changes.
const SETTABLE: OpenFlags = OpenFlags::APPEND
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::ASYNC)
    .union(OpenFlags::DIRECT)
    .union(OpenFlags::NOATIME);

/// fcntl(2)
pub fn fcntl(cx: &mut Current, fd: Fd, op: FcntlCommand, arg: u64) -> SysResult<u64> {
    let file = cx.file_or_path(fd)?;
    let allowed_on_path = [F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GETFD, F_SETFD, F_GETFL];
    if file.is_path() && !allowed_on_path.contains(&op.0) {
        return Err(Errno::EBADF.into());
    }
    // Most arguments are ints: Linux looks at the low half only.
    let int = FcntlArg(arg).int();
    match op.0 {
        F_DUPFD => Ok(duplicate(cx, file, arg, false)?),
        F_DUPFD_CLOEXEC => Ok(duplicate(cx, file, arg, true)?),
        F_DUPFD_QUERY => {
            let other = cx.file_or_path(Fd(int))?;
            Ok(u64::from(Arc::ptr_eq(&file, &other)))
        }
        F_CREATED_QUERY => Ok(u64::from(file.is_created())),
        F_GETFD => {
            let entry = cx.fd_table().get(fd).ok_or(Errno::EBADF)?;
            Ok(u64::from(entry.close_on_exec))
        }
        F_SETFD => {
            let flags = FdFlags::from_bits_truncate(int.cast_unsigned());
            cx.fd_table().set_close_on_exec(fd, flags.contains(FdFlags::CLOEXEC))?;
            Ok(0)
        }
        F_GETFL => Ok(u64::from(file.status().bits())),
        F_SETFL => {
            let was_async = file.status().contains(OpenFlags::ASYNC);
            set_status(cx, &file, OpenFlags::from_bits_retain(int.cast_unsigned()))?;
            if file.status().contains(OpenFlags::ASYNC) != was_async {
                cx.change_async(&file, fd.0);
            }
            Ok(0)
        }
        F_GETLK | F_OFD_GETLK => get_lock(cx, &file, op, UserInOut::new(UserAddr(arg))),
        F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW => {
            set_lock(cx, &file, op, UserIn::new(UserAddr(arg)))
        }
        F_SETOWN | F_GETOWN | F_SETOWN_EX | F_GETOWN_EX | F_SETSIG | F_GETSIG | F_GETOWNER_UIDS => {
            signal_owner(cx, &file, op, arg)
        }
        F_SETPIPE_SZ => {
            let pipe = file.ops_as::<PipeEnd>().ok_or(Errno::EBADF)?.pipe();
            let size = to_usize(u64::from(int.cast_unsigned()));
            let is_privileged = cx.creds().has(Capabilities::SYS_RESOURCE);
            Ok(to_u64(pipe.set_size(size, is_privileged)?))
        }
        F_GETPIPE_SZ => {
            let pipe = file.ops_as::<PipeEnd>().ok_or(Errno::EBADF)?.pipe();
            Ok(to_u64(pipe.size()))
        }
        F_GET_SEALS | F_ADD_SEALS if is_overlaid(&file) => Err(Errno::EINVAL.into()),
        F_GET_SEALS => Ok(u64::from(file.ops().seals()?.bits())),
        F_ADD_SEALS => {
            if !file.is_writable() {
                return Err(Errno::EPERM.into());
            }
            let seals = Seals::from_bits(int.cast_unsigned()).ok_or(Errno::EINVAL)?;
            file.ops().add_seals(seals)?;
            Ok(0)
        }
        F_GET_RW_HINT | F_GET_FILE_RW_HINT => {
            cx.write(UserOut::<u64>::new(UserAddr(arg)), &0)?;
            Ok(0)
        }
        F_SET_RW_HINT | F_SET_FILE_RW_HINT => {
            let hint: u64 = cx.read(UserIn::new(UserAddr(arg)))?;
            if hint > 5 { Err(Errno::EINVAL.into()) } else { Ok(0) }
        }
        F_GETLEASE => Ok(u64::from(F_UNLCK.cast_unsigned())),
        F_SETLEASE => Err(refuse_lease(cx, &file, int).into()),
        F_NOTIFY => {
            let mask = DnotifyMask::from_bits_truncate(int.cast_unsigned());
            cx.watch_directory(&file, fd.0, mask)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// A register's low half as the `int` that most commands take.
struct FcntlArg(u64);

impl FcntlArg {
    fn int(&self) -> i32 {
        abi::FromReg::from_reg(self.0)
    }
}

/// Whether an overlay shows the file: it has no seals, whatever the file below has.
fn is_overlaid(file: &FileDescription) -> bool {
    file.inode().filesystem().name() == "overlay"
}

fn duplicate(
    cx: &mut Current,
    file: Arc<FileDescription>,
    from: u64,
    close_on_exec: bool,
) -> Result<u64, Errno> {
    let limit = cx.fd_limit();
    // Linux takes the argument as an unsigned int.
    let from = u64::from(u32::try_from(from & u64::from(u32::MAX)).unwrap_or(u32::MAX));
    if from >= limit {
        return Err(Errno::EINVAL);
    }
    let from = i32::try_from(from).map_err(|_| Errno::EINVAL)?;
    let fd = cx.fd_table().install(file, close_on_exec, from, limit)?;
    u64::try_from(fd.0).map_err(|_| Errno::EMFILE)
}

/// `F_SETFL`, in `setfl()`'s order.
fn set_status(cx: &Current, file: &FileDescription, flags: OpenFlags) -> Result<(), Errno> {
    let changes_append = (file.status() ^ flags).contains(OpenFlags::APPEND);
    if changes_append {
        inode_flags::check_not_append_only(&**file.inode())?;
    }
    let gains_noatime =
        flags.contains(OpenFlags::NOATIME) && !file.status().contains(OpenFlags::NOATIME);
    if gains_noatime && !permission::is_owner(&file.inode().owner()?, &cx.creds()) {
        return Err(Errno::EPERM);
    }
    file.change_status(SETTABLE, flags);
    Ok(())
}

/// DIFFERS: leases are never granted. Linux would break them for others' opens; here nobody could.
fn refuse_lease(cx: &Current, file: &FileDescription, kind: i32) -> Errno {
    let Ok(owner) = file.inode().owner() else { return Errno::EIO };
    if cx.creds().fsuid != owner.uid && !cx.creds().has(Capabilities::LEASE) {
        return Errno::EACCES;
    }
    match kind {
        F_UNLCK | F_RDLCK | F_WRLCK if file.kind() == FileKind::Regular => Errno::EAGAIN,
        _ => Errno::EINVAL,
    }
}

fn signal_owner(
    cx: &mut Current,
    file: &FileDescription,
    op: FcntlCommand,
    arg: u64,
) -> SysResult<u64> {
    let owner = file.signal_owner();
    let int = FcntlArg(arg).int();
    let (kind, id) = (owner.kind.load(Ordering::Relaxed), owner.id.load(Ordering::Relaxed));
    let creds = cx.creds();
    let store = |kind: i32, id: i32| owner.set(kind, id, &creds);
    match op.0 {
        F_SETOWN if int == i32::MIN => Err(Errno::EINVAL.into()),
        F_SETOWN if int < 0 => {
            check_owner(cx, F_OWNER_PGRP, -int)?;
            store(F_OWNER_PGRP, -int);
            Ok(0)
        }
        F_SETOWN => {
            check_owner(cx, F_OWNER_PID, int)?;
            store(F_OWNER_PID, int);
            Ok(0)
        }
        F_GETOWN => {
            let shown = if kind == F_OWNER_PGRP { -id } else { id };
            Ok(i64::from(shown).cast_unsigned())
        }
        F_SETOWN_EX => {
            let new: FOwnerEx = cx.read(UserIn::new(UserAddr(arg)))?;
            if !matches!(new.kind, F_OWNER_TID | F_OWNER_PID | F_OWNER_PGRP) {
                return Err(Errno::EINVAL.into());
            }
            check_owner(cx, new.kind, new.pid)?;
            store(new.kind, new.pid);
            Ok(0)
        }
        F_GETOWN_EX => {
            let shown = FOwnerEx { kind, pid: id };
            cx.write(UserOut::new(UserAddr(arg)), &shown)?;
            Ok(0)
        }
        F_SETSIG => {
            if !(0..=64).contains(&int) {
                return Err(Errno::EINVAL.into());
            }
            owner.signal.store(int, Ordering::Relaxed);
            Ok(0)
        }
        F_GETSIG => Ok(u64::from(owner.signal.load(Ordering::Relaxed).cast_unsigned())),
        _ => {
            cx.write(UserOut::new(UserAddr(arg)), &owner.setter())?;
            Ok(0)
        }
    }
}

/// `ESRCH` for an owner that is nobody; 0 takes the owner away.
fn check_owner(cx: &Current, kind: i32, id: i32) -> Result<(), Errno> {
    let tasks = cx.kernel().tasks();
    let is_there = match kind {
        F_OWNER_PGRP => tasks.process_group(id).is_some(),
        F_OWNER_PID => tasks.process(id).is_some(),
        _ => tasks.task(id).is_some(),
    };
    if is_there || id == 0 { Ok(()) } else { Err(Errno::ESRCH) }
}

/// The range that a `struct flock` means (`flock64_to_posix_lock()`): first and last byte.
fn range(file: &FileDescription, lock: &Flock) -> Result<(u64, u64), Errno> {
    let base = match i32::from(lock.l_whence) {
        SEEK_SET => 0,
        SEEK_CUR => i64::try_from(file.position()).map_err(|_| Errno::EOVERFLOW)?,
        SEEK_END => i64::try_from(file.attributes()?.size).map_err(|_| Errno::EOVERFLOW)?,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(lock.l_start).ok_or(Errno::EOVERFLOW)?;
    if start < 0 {
        return Err(Errno::EINVAL);
    }
    let (first, last) = match lock.l_len {
        0 => (start, i64::MAX),
        len if len > 0 => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
        len => {
            (start.checked_add(len).filter(|first| *first >= 0).ok_or(Errno::EINVAL)?, start - 1)
        }
    };
    let unsigned = |value| u64::try_from(value).map_err(|_| Errno::EINVAL);
    Ok((unsigned(first)?, unsigned(last)?))
}

fn is_ofd(op: FcntlCommand) -> bool {
    matches!(op.0, F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW)
}

/// Whose the lock is to be. Open-file-description locks want `l_pid` to be zero.
fn holder(
    cx: &Current,
    file: &FileDescription,
    op: FcntlCommand,
    lock: &Flock,
) -> Result<Holder, Errno> {
    if !is_ofd(op) {
        return Ok(Holder::Process { owner: cx.fd_table().owner(), pid: cx.task().pid() });
    }
    if lock.l_pid != 0 { Err(Errno::EINVAL) } else { Ok(Holder::Description(file.id())) }
}

fn get_lock(
    cx: &mut Current,
    file: &FileDescription,
    op: FcntlCommand,
    at: UserInOut<Flock>,
) -> SysResult<u64> {
    let mut lock = cx.read(at.as_in())?;
    let kind = match i32::from(lock.l_type) {
        F_RDLCK => LockKind::Read,
        F_WRLCK => LockKind::Write,
        // Linux 6.13 lets OFD queries ask for anything by F_UNLCK; a write lock asks the same.
        F_UNLCK if is_ofd(op) => LockKind::Write,
        _ => return Err(Errno::EINVAL.into()),
    };
    let (start, last) = range(file, &lock)?;
    let wanted = RecordLock { start, last, kind, holder: holder(cx, file, op, &lock)? };
    let short = |value: i32| i16::try_from(value).unwrap_or(0);
    match record_lock::test(file, &wanted) {
        None => lock.l_type = short(F_UNLCK),
        Some(other) => {
            let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            lock.l_type = short(if other.kind == LockKind::Read { F_RDLCK } else { F_WRLCK });
            lock.l_whence = short(SEEK_SET);
            lock.l_start = signed(other.start);
            lock.l_len = match signed(other.last) {
                i64::MAX => 0,
                last => last - signed(other.start) + 1,
            };
            lock.l_pid = match other.holder {
                Holder::Process { pid, .. } => pid,
                Holder::Description(_) => -1,
            };
        }
    }
    cx.write(at.as_out(), &lock)?;
    Ok(0)
}

fn set_lock(
    cx: &mut Current,
    file: &Arc<FileDescription>,
    op: FcntlCommand,
    at: UserIn<Flock>,
) -> SysResult<u64> {
    let lock = cx.read(at)?;
    let kind = match i32::from(lock.l_type) {
        F_RDLCK => Some(LockKind::Read),
        F_WRLCK => Some(LockKind::Write),
        F_UNLCK => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    let (start, last) = range(file, &lock)?;
    let is_allowed = match kind {
        Some(LockKind::Read) => file.is_readable(),
        Some(LockKind::Write) => file.is_writable(),
        None => true,
    };
    if !is_allowed {
        return Err(Errno::EBADF.into());
    }
    let holder = holder(cx, file, op, &lock)?;
    let Some(kind) = kind else {
        let range = RecordLock { start, last, kind: LockKind::Read, holder };
        record_lock::unset(file, &range)?;
        return Ok(0);
    };
    let wanted = RecordLock { start, last, kind, holder };
    let waits = matches!(op.0, F_SETLKW | F_OFD_SETLKW);
    if !waits {
        record_lock::set(file, &wanted, false)?.or_again()?;
        return Ok(0);
    }
    let queue = record_lock::wait_queue(file);
    let result = cx.wait(&[&queue], Ready::all(), None, || record_lock::set(file, &wanted, true));
    record_lock::stop_waiting(holder);
    result.or_restart(Restart::IfSaRestart)?;
    Ok(0)
}

/// flock(2)
pub fn flock(cx: &mut Current, fd: Fd, op: FlockOperation) -> SysResult {
    let kind = match op.difference(FlockOperation::NB) {
        FlockOperation::SH => Some(LockKind::Read),
        FlockOperation::EX => Some(LockKind::Write),
        FlockOperation::UN => None,
        _ => return Err(Errno::EINVAL.into()),
    };
    let file = cx.file(fd)?;
    if kind.is_some() && !file.is_readable() && !file.is_writable() {
        return Err(Errno::EBADF.into());
    }
    if op.contains(FlockOperation::NB) || kind.is_none() {
        record_lock::flock(&file, kind)?.or_again()?;
        return Ok(());
    }
    let queue = record_lock::wait_queue(&file);
    cx.wait(&[&queue], Ready::all(), None, || record_lock::flock(&file, kind))
        .or_restart(Restart::IfSaRestart)
}

/// ioctl(2): what every file knows is answered here, the rest by the file (`do_vfs_ioctl()`).
pub fn ioctl(cx: &mut Current, fd: Fd, op: IoctlRequest, arg: UserAddr) -> SysResult<u64> {
    let file = cx.file(fd)?;
    match op.0 {
        FIOCLEX => cx.fd_table().set_close_on_exec(fd, true)?,
        FIONCLEX => cx.fd_table().set_close_on_exec(fd, false)?,
        FIONBIO => {
            let on: i32 = cx.read(UserIn::new(arg))?;
            switch(&file, OpenFlags::NONBLOCK, on != 0);
        }
        FIOASYNC => {
            let on: i32 = cx.read(UserIn::new(arg))?;
            switch(&file, OpenFlags::ASYNC, on != 0);
            cx.change_async(&file, fd.0);
        }
        FIOQSIZE => match file.kind() {
            FileKind::Regular | FileKind::Directory | FileKind::Symlink => {
                let size = file.attributes()?.size;
                cx.write(UserOut::<u64>::new(arg), &size)?;
            }
            _ => return Err(Errno::ENOTTY.into()),
        },
        FIGETBSZ => {
            let size = file.attributes()?.block_size;
            cx.write(UserOut::<u32>::new(arg), &size)?;
        }
        FICLONE | FICLONERANGE => return clone_range(cx, &file, op, arg),
        FIONREAD if file.kind() == FileKind::Regular => {
            let left = file.attributes()?.size.saturating_sub(file.position());
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            cx.write(UserOut::new(arg), &left)?;
        }
        TIOCGPTPEER => {
            // The argument is an int: what is above it is cut off.
            let flags = OpenFlags::from_bits_truncate(low_half(arg.raw()));
            let peer = devpts::open_peer(&file, flags, cx)?;
            let fd = cx.install(peer, flags.contains(OpenFlags::CLOEXEC))?;
            return u64::try_from(fd.0).map_err(|_| Errno::EMFILE.into());
        }
        _ => {
            if let Some(result) = stat::flags::request(cx, &file, op, arg) {
                return result;
            }
            // A terminal stops its background processes; the call is made again when they go on.
            return match file.ops().ioctl(cx, op.0, arg.raw()) {
                Err(Errno::EINTR) => Err(Cut::Interrupted).or_restart(Restart::IfSaRestart),
                answer => Ok(answer?),
            };
        }
    }
    Ok(0)
}

/// `FICLONE` and `FICLONERANGE`: no file system here shares blocks. `vfs_clone_file_range()`'s order.
fn clone_range(
    cx: &mut Current,
    to: &FileDescription,
    op: IoctlRequest,
    arg: UserAddr,
) -> SysResult<u64> {
    let from = if op.0 == FICLONE {
        Fd(low_half(arg.raw()).cast_signed())
    } else {
        let range: FileCloneRange = cx.read(UserIn::new(arg))?;
        Fd(i32::try_from(range.src_fd).map_err(|_| Errno::EBADF)?)
    };
    let from = cx.file(from)?;
    for file in [&*from, to] {
        match file.kind() {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
    }
    if !Arc::ptr_eq(&from.place().mount.filesystem().clone(), to.place().mount.filesystem()) {
        return Err(Errno::EXDEV.into());
    }
    if !from.is_readable() || !to.is_writable() || to.status().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF.into());
    }
    Err(Errno::EOPNOTSUPP.into())
}

fn low_half(argument: u64) -> u32 {
    u32::try_from(argument & u64::from(u32::MAX)).unwrap_or_default()
}

fn switch(file: &FileDescription, flag: OpenFlags, on: bool) {
    let value = if on { flag } else { OpenFlags::empty() };
    file.change_status(flag, value);
}
