// SPDX-License-Identifier: Apache-2.0
//! What files are: attributes, and their changes.

pub(crate) mod flags;

pub use flags::{file_getattr, file_setattr};

use abi::{
    DevId, DirFd, Errno, Fd, Gid, Mode, Uid, UserCStr, UserIn, UserOut,
    cred::Capabilities,
    fcntl::{AccessMode, AtFlags},
    fileattr::InodeFlags,
    macros::Known,
    mount::{StatFs, StatFsFlags, Ustat},
    stat::{Stat, Statx, StatxAttributes, StatxMask, StatxTimestamp},
    time::{Timespec, Timeval, Utimbuf},
};
use sentry::{
    creds::Credentials,
    kernel::SysResult,
    task::Current,
    vfs::{
        Attributes, FileKind, Lookup, MountOptions, Place, TimeChange, Timestamp, attributes,
        permission::{self, Access},
    },
};

use crate::path;

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `cp_new_stat()`.
fn to_stat(from: &Attributes) -> Stat {
    Stat {
        st_dev: from.device,
        st_ino: from.inode,
        st_nlink: u64::from(from.links),
        st_mode: from.mode(),
        st_uid: from.uid,
        st_gid: from.gid,
        st_rdev: from.special_device,
        st_size: signed(from.size),
        st_blksize: i64::from(from.block_size),
        st_blocks: signed(from.blocks),
        st_atime: from.accessed.seconds.cast_unsigned(),
        st_atime_nsec: u64::from(from.accessed.nanoseconds),
        st_mtime: from.modified.seconds.cast_unsigned(),
        st_mtime_nsec: u64::from(from.modified.nanoseconds),
        st_ctime: from.changed.seconds.cast_unsigned(),
        st_ctime_nsec: u64::from(from.changed.nanoseconds),
        ..Stat::default()
    }
}

/// stat(2)
pub fn stat(cx: &mut Current, path: UserCStr, statbuf: UserOut<Stat>) -> SysResult {
    newfstatat(cx, DirFd::CWD, path, statbuf, AtFlags::empty())
}

/// lstat(2)
pub fn lstat(cx: &mut Current, path: UserCStr, statbuf: UserOut<Stat>) -> SysResult {
    newfstatat(cx, DirFd::CWD, path, statbuf, AtFlags::SYMLINK_NOFOLLOW)
}

/// fstat(2)
pub fn fstat(cx: &mut Current, fd: Fd, statbuf: UserOut<Stat>) -> SysResult {
    let attributes = cx.file_or_path(fd)?.attributes()?;
    Ok(cx.write(statbuf, &to_stat(&attributes))?)
}

/// newfstatat(2)
pub fn newfstatat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    statbuf: UserOut<Stat>,
    flags: AtFlags,
) -> SysResult {
    let known = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    path::only(flags, known)?;
    let place = stat_place(cx, dirfd, path, flags)?;
    let attributes = place.inode().attributes()?;
    Ok(cx.write(statbuf, &to_stat(&attributes))?)
}

/// The place that a stat-like call is about. A NULL path counts as empty where that is allowed.
fn stat_place(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    flags: AtFlags,
) -> Result<Place, Errno> {
    let text = match path.nullable() {
        None if flags.contains(AtFlags::EMPTY_PATH) => Vec::new(),
        _ => cx.read_path(path)?,
    };
    path::place_of(cx, dirfd, &text, path::following(flags))
}

/// statx(2)
pub fn statx(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    flags: AtFlags,
    mask: StatxMask,
    statxbuf: UserOut<Statx>,
) -> SysResult {
    let sync = AtFlags::STATX_FORCE_SYNC | AtFlags::STATX_DONT_SYNC;
    if mask.contains(StatxMask::_RESERVED) || flags.contains(sync) {
        return Err(Errno::EINVAL.into());
    }
    let known = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH | sync;
    path::only(flags, known)?;
    let place = stat_place(cx, dirfd, path, flags)?;
    let attributes = place.inode().attributes()?;
    let filled = to_statx(&attributes, &place, mask);
    Ok(cx.write(statxbuf, &filled)?)
}

fn to_statx(from: &Attributes, place: &Place, wanted: StatxMask) -> Statx {
    let time = |time: Timestamp| StatxTimestamp {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds,
        ..StatxTimestamp::default()
    };
    let mut mask = StatxMask::BASIC_STATS | StatxMask::MNT_ID;
    if from.created.is_some() {
        mask |= StatxMask::BTIME;
    }
    let mut mount_id = u64::from(place.mount.id());
    if wanted.contains(StatxMask::MNT_ID_UNIQUE) {
        mask.remove(StatxMask::MNT_ID);
        mask |= StatxMask::MNT_ID_UNIQUE;
        mount_id = place.mount.unique_id();
    }
    let mut attributes = StatxAttributes::empty();
    let mut known = StatxAttributes::MOUNT_ROOT;
    if let Some(flags) = place.inode().inode_flags() {
        let pairs = [
            (InodeFlags::IMMUTABLE_FL, StatxAttributes::IMMUTABLE),
            (InodeFlags::APPEND_FL, StatxAttributes::APPEND),
            (InodeFlags::NODUMP_FL, StatxAttributes::NODUMP),
        ];
        for (flag, attribute) in pairs {
            known |= attribute;
            attributes.set(attribute, flags.contains(flag));
        }
    }
    if place.is_mount_root() {
        attributes |= StatxAttributes::MOUNT_ROOT;
    }
    let (device, special) = (DevId(from.device), DevId(from.special_device));
    Statx {
        stx_mask: mask.bits(),
        stx_blksize: from.block_size,
        stx_attributes: attributes.bits(),
        stx_nlink: from.links,
        stx_uid: from.uid,
        stx_gid: from.gid,
        stx_mode: u16::try_from(from.mode()).unwrap_or(u16::MAX),
        stx_ino: from.inode,
        stx_size: from.size,
        stx_blocks: from.blocks,
        stx_attributes_mask: known.bits(),
        stx_atime: time(from.accessed),
        stx_btime: time(from.created.unwrap_or_default()),
        stx_ctime: time(from.changed),
        stx_mtime: time(from.modified),
        stx_rdev_major: special.major(),
        stx_rdev_minor: special.minor(),
        stx_dev_major: device.major(),
        stx_dev_minor: device.minor(),
        stx_mnt_id: mount_id,
        ..Statx::default()
    }
}

/// access(2)
pub fn access(cx: &mut Current, path: UserCStr, mode: AccessMode) -> SysResult {
    faccessat2(cx, DirFd::CWD, path, mode, AtFlags::empty())
}

/// faccessat(2)
pub fn faccessat(cx: &mut Current, dirfd: DirFd, path: UserCStr, mode: AccessMode) -> SysResult {
    faccessat2(cx, dirfd, path, mode, AtFlags::empty())
}

/// faccessat2(2)
pub fn faccessat2(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    mode: AccessMode,
    flags: AtFlags,
) -> SysResult {
    mode.reject_unknown()?;
    let known = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    path::only(flags, known)?;
    let text = cx.read_path(path)?;
    let mut context = path::context(cx, dirfd, &text)?;
    if text.is_empty() && !flags.contains(AtFlags::EMPTY_PATH) {
        return Err(Errno::ENOENT.into());
    }
    if !flags.contains(AtFlags::EACCESS) {
        context.creds = std::sync::Arc::new(real(&context.creds));
    }
    let place = sentry::vfs::resolve::walk(&context, &text, path::following(flags))?;
    place.mount.unmark_expiring();
    let wanted = Access::from_bits_truncate(mode.bits());
    if wanted.is_empty() {
        return Ok(());
    }
    let inode = place.inode();
    if wanted.contains(Access::EXECUTE)
        && inode.kind() == FileKind::Regular
        && place.mount.options().contains(MountOptions::NOEXEC)
    {
        return Err(Errno::EACCES.into());
    }
    if wanted.contains(Access::WRITE)
        && matches!(inode.kind(), FileKind::Regular | FileKind::Directory | FileKind::Symlink)
        && place.mount.filesystem().is_read_only()
    {
        return Err(Errno::EROFS.into());
    }
    permission::check(&**inode, wanted, &context.creds)?;
    if wanted.contains(Access::WRITE)
        && !matches!(
            inode.kind(),
            FileKind::CharDevice | FileKind::BlockDevice | FileKind::Fifo | FileKind::Socket
        )
    {
        place.mount.check_writable()?;
    }
    Ok(())
}

/// access(2) asks for the real ids (`access_override_creds()`).
fn real(creds: &Credentials) -> Credentials {
    let mut real = creds.clone();
    real.fsuid = creds.ruid;
    real.fsgid = creds.rgid;
    /// `SECURE_NO_SETUID_FIXUP`.
    const NO_FIXUP: u32 = 1 << 2;
    if creds.securebits & NO_FIXUP == 0 {
        real.effective = if creds.ruid == 0 { creds.permitted } else { Capabilities::empty() };
    }
    real
}

/// chmod(2)
pub fn chmod(cx: &mut Current, path: UserCStr, mode: Mode) -> SysResult {
    fchmodat(cx, DirFd::CWD, path, mode)
}

/// fchmod(2)
pub fn fchmod(cx: &mut Current, fd: Fd, mode: Mode) -> SysResult {
    let file = cx.file(fd)?;
    Ok(attributes::change_mode(file.place(), mode.permissions(), &cx.creds())?)
}

/// fchmodat(2)
pub fn fchmodat(cx: &mut Current, dirfd: DirFd, path: UserCStr, mode: Mode) -> SysResult {
    fchmodat2(cx, dirfd, path, mode, AtFlags::empty())
}

/// fchmodat2(2)
pub fn fchmodat2(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    mode: Mode,
    flags: AtFlags,
) -> SysResult {
    path::only(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    let place = path::place(cx, dirfd, path, path::following(flags))?;
    Ok(attributes::change_mode(&place, mode.permissions(), &cx.creds())?)
}

/// chown(2)
pub fn chown(cx: &mut Current, path: UserCStr, owner: Uid, group: Gid) -> SysResult {
    fchownat(cx, DirFd::CWD, path, owner, group, AtFlags::empty())
}

/// lchown(2)
pub fn lchown(cx: &mut Current, path: UserCStr, owner: Uid, group: Gid) -> SysResult {
    fchownat(cx, DirFd::CWD, path, owner, group, AtFlags::SYMLINK_NOFOLLOW)
}

/// fchown(2)
pub fn fchown(cx: &mut Current, fd: Fd, owner: Uid, group: Gid) -> SysResult {
    let file = cx.file(fd)?;
    change_owner(cx, file.place(), owner, group)
}

/// fchownat(2)
pub fn fchownat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    owner: Uid,
    group: Gid,
    flags: AtFlags,
) -> SysResult {
    path::only(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    let place = path::place(cx, dirfd, path, path::following(flags))?;
    change_owner(cx, &place, owner, group)
}

fn change_owner(cx: &mut Current, place: &Place, owner: Uid, group: Gid) -> SysResult {
    let (uid, gid) = (owner.given().map(|uid| uid.0), group.given().map(|gid| gid.0));
    Ok(attributes::change_owner(place, uid, gid, &cx.creds())?)
}

/// umask(2)
pub fn umask(cx: &mut Current, mask: Mode) -> SysResult<Mode> {
    Ok(Mode(cx.fs_context().set_umask(mask.0 & 0o777)))
}

/// The two times of a utime-like call: access, modification.
type Times = (Option<TimeChange>, Option<TimeChange>);

const BOTH_NOW: Times = (Some(TimeChange::Now), Some(TimeChange::Now));

fn change_times(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    times: Times,
    how: Lookup,
) -> SysResult {
    let place = path::place(cx, dirfd, path, how)?;
    Ok(attributes::change_times(&place, times.0, times.1, &cx.creds())?)
}

/// utime(2)
pub fn utime(cx: &mut Current, path: UserCStr, times: UserIn<Utimbuf>) -> SysResult {
    let at = |seconds| Some(TimeChange::To(Timestamp { seconds, nanoseconds: 0 }));
    let times = match times.nullable() {
        None => BOTH_NOW,
        Some(times) => {
            let times = cx.read(times)?;
            (at(times.actime), at(times.modtime))
        }
    };
    change_times(cx, DirFd::CWD, path, times, Lookup::FOLLOW)
}

fn from_timeval(time: Timeval) -> Result<Option<TimeChange>, Errno> {
    let micros = u32::try_from(time.tv_usec).ok().filter(|micros| *micros < 1_000_000);
    let nanoseconds = micros.ok_or(Errno::EINVAL)? * 1000;
    Ok(Some(TimeChange::To(Timestamp { seconds: time.tv_sec, nanoseconds })))
}

fn from_timespec(time: Timespec) -> Result<Option<TimeChange>, Errno> {
    const UTIME_NOW: i64 = (1 << 30) - 1;
    const UTIME_OMIT: i64 = (1 << 30) - 2;
    match time.tv_nsec {
        UTIME_NOW => Ok(Some(TimeChange::Now)),
        UTIME_OMIT => Ok(None),
        0..=999_999_999 => {
            let nanoseconds = u32::try_from(time.tv_nsec).map_err(|_| Errno::EINVAL)?;
            Ok(Some(TimeChange::To(Timestamp { seconds: time.tv_sec, nanoseconds })))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// utimes(2)
pub fn utimes(cx: &mut Current, path: UserCStr, times: UserIn<[Timeval; 2]>) -> SysResult {
    futimesat(cx, DirFd::CWD, path, times)
}

/// futimesat(2). A NULL path means the descriptor itself.
pub fn futimesat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    times: UserIn<[Timeval; 2]>,
) -> SysResult {
    let times = match times.nullable() {
        None => BOTH_NOW,
        Some(times) => {
            let [accessed, modified] = cx.read(times)?;
            (from_timeval(accessed)?, from_timeval(modified)?)
        }
    };
    if path.nullable().is_none() && dirfd != DirFd::CWD {
        return change_times_of(cx, dirfd.fd(), times);
    }
    change_times(cx, dirfd, path, times, Lookup::FOLLOW)
}

/// utimensat(2). A NULL path means the descriptor itself.
pub fn utimensat(
    cx: &mut Current,
    dirfd: DirFd,
    path: UserCStr,
    times: UserIn<[Timespec; 2]>,
    flags: AtFlags,
) -> SysResult {
    let times = match times.nullable() {
        None => BOTH_NOW,
        Some(times) => {
            let [accessed, modified] = cx.read(times)?;
            let times = (from_timespec(accessed)?, from_timespec(modified)?);
            if times == (None, None) {
                return Ok(());
            }
            times
        }
    };
    if path.nullable().is_none() && dirfd != DirFd::CWD {
        path::only(flags, AtFlags::empty())?;
        return change_times_of(cx, dirfd.fd(), times);
    }
    path::only(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    change_times(cx, dirfd, path, times, path::following(flags))
}

fn change_times_of(cx: &mut Current, fd: Fd, times: Times) -> SysResult {
    let file = cx.file(fd)?;
    Ok(attributes::change_times(file.place(), times.0, times.1, &cx.creds())?)
}

/// statfs(2)
pub fn statfs(cx: &mut Current, path: UserCStr, buf: UserOut<StatFs>) -> SysResult {
    let place = path::place(cx, DirFd::CWD, path, Lookup::FOLLOW)?;
    let statistics = statistics(&place)?;
    Ok(cx.write(buf, &statistics)?)
}

/// fstatfs(2)
pub fn fstatfs(cx: &mut Current, fd: Fd, buf: UserOut<StatFs>) -> SysResult {
    let file = cx.file_or_path(fd)?;
    let statistics = statistics(file.place())?;
    Ok(cx.write(buf, &statistics)?)
}

fn statistics(place: &Place) -> Result<StatFs, Errno> {
    let mut statistics = place.mount.filesystem().statistics()?;
    let options = place.mount.options();
    let shown = [
        (MountOptions::NOSUID, StatFsFlags::NOSUID),
        (MountOptions::NODEV, StatFsFlags::NODEV),
        (MountOptions::NOEXEC, StatFsFlags::NOEXEC),
        (MountOptions::NOATIME, StatFsFlags::NOATIME),
        (MountOptions::NODIRATIME, StatFsFlags::NODIRATIME),
        (MountOptions::RELATIME, StatFsFlags::RELATIME),
        (MountOptions::NOSYMFOLLOW, StatFsFlags::NOSYMFOLLOW),
    ];
    let mut flags = StatFsFlags::VALID;
    for (option, flag) in shown {
        if options.contains(option) {
            flags |= flag;
        }
    }
    if place.mount.check_writable().is_err() {
        flags |= StatFsFlags::RDONLY;
    }
    statistics.f_flags = signed(flags.bits());
    if statistics.f_fsid == [0, 0] {
        let device = place.mount.filesystem().device();
        let half = |part: u64| u32::try_from(part & 0xffff_ffff).unwrap_or(0).cast_signed();
        statistics.f_fsid = [half(device), half(device >> 32)];
    }
    Ok(statistics)
}

/// ustat(2)
pub fn ustat(cx: &mut Current, dev: u32, ubuf: UserOut<Ustat>) -> SysResult {
    let wanted = old_device(dev);
    let mounts = cx.mounts().mounts();
    let mount = mounts.iter().find(|mount| mount.filesystem().device() == wanted.0);
    let statistics = mount.ok_or(Errno::EINVAL)?.filesystem().statistics()?;
    let filled = Ustat {
        f_tfree: i32::try_from(statistics.f_bfree).unwrap_or(i32::MAX),
        f_tinode: statistics.f_ffree,
        ..Ustat::default()
    };
    Ok(cx.write(ubuf, &filled)?)
}

/// `new_decode_dev()`: a device number in 32 bits.
pub(crate) fn old_device(dev: u32) -> DevId {
    DevId::new((dev & 0xf_ff00) >> 8, (dev & 0xff) | ((dev >> 12) & 0xf_ff00))
}
