// SPDX-License-Identifier: Apache-2.0
//! Event counters, timers and signals as files.

use std::sync::Arc;

use abi::{
    Errno, Fd, SigSet, UserIn, UserOut,
    cred::Capabilities,
    eventfd::EventfdFlags,
    fcntl::OpenFlags,
    signalfd::SignalfdFlags,
    time::{
        CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME,
        CLOCK_REALTIME_ALARM, ClockId, Itimerspec,
    },
    timerfd::{TimerfdFlags, TimerfdSetFlags},
};
use sentry::{
    fs::{eventfd::EventFd, signalfd::SignalFd, timerfd::TimerFd},
    kernel::SysResult,
    task::Current,
    time::{Clock, Setting, nanos_of, timespec_of_nanos},
    vfs::{FileDescription, FileOps},
};

/// Opens a file without a name or an inode of its own. All such flags have open(2)'s values.
pub(crate) fn install_anonymous(
    cx: &mut Current,
    ops: Box<dyn FileOps>,
    name: &str,
    flags: u32,
) -> SysResult<Fd> {
    let flags = OpenFlags::from_bits_retain(flags);
    let status = OpenFlags::RDWR | (flags & OpenFlags::NONBLOCK);
    let file = FileDescription::anonymous(ops, name, status);
    Ok(cx.install(file, flags.contains(OpenFlags::CLOEXEC))?)
}

/// eventfd(2)
pub fn eventfd(cx: &mut Current, initval: u32) -> SysResult<Fd> {
    eventfd2(cx, initval, EventfdFlags::empty())
}

/// eventfd2(2)
pub fn eventfd2(cx: &mut Current, initval: u32, flags: EventfdFlags) -> SysResult<Fd> {
    if !EventfdFlags::all().contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let file = EventFd::new(initval, flags.contains(EventfdFlags::SEMAPHORE));
    let status = (flags - EventfdFlags::SEMAPHORE).bits();
    install_anonymous(cx, Box::new(file), "anon_inode:[eventfd]", status)
}

/// timerfd_create(2)
pub fn timerfd_create(cx: &mut Current, clockid: ClockId, flags: TimerfdFlags) -> SysResult<Fd> {
    let is_known = matches!(
        clockid.0,
        CLOCK_REALTIME
            | CLOCK_MONOTONIC
            | CLOCK_BOOTTIME
            | CLOCK_REALTIME_ALARM
            | CLOCK_BOOTTIME_ALARM
    );
    if !TimerfdFlags::all().contains(flags) || !is_known {
        return Err(Errno::EINVAL.into());
    }
    let is_alarm = matches!(clockid.0, CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM);
    if is_alarm && !cx.creds().has(Capabilities::WAKE_ALARM) {
        return Err(Errno::EPERM.into());
    }
    let clock = Clock::from_id(clockid.0).ok_or(Errno::EINVAL)?;
    let file = TimerFd::new(cx.kernel().timers(), clock, clockid.0);
    install_anonymous(cx, Box::new(file), "anon_inode:[timerfd]", flags.bits())
}

fn timer(cx: &Current, fd: Fd) -> Result<Arc<FileDescription>, Errno> {
    let file = cx.file(fd)?;
    if file.ops_as::<TimerFd>().is_some() { Ok(file) } else { Err(Errno::EINVAL) }
}

fn to_itimerspec(setting: Setting) -> Itimerspec {
    Itimerspec {
        it_interval: timespec_of_nanos(setting.interval),
        it_value: timespec_of_nanos(setting.value),
    }
}

/// timerfd_settime(2)
pub fn timerfd_settime(
    cx: &mut Current,
    fd: Fd,
    flags: TimerfdSetFlags,
    new_value: UserIn<Itimerspec>,
    old_value: UserOut<Itimerspec>,
) -> SysResult {
    let new = cx.read(new_value)?;
    if !TimerfdSetFlags::all().contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let setting = Setting { value: nanos_of(new.it_value)?, interval: nanos_of(new.it_interval)? };
    let file = timer(cx, fd)?;
    let timer: &TimerFd = file.ops_as().ok_or(Errno::EINVAL)?;
    let is_absolute = flags.contains(TimerfdSetFlags::ABSTIME);
    let old = timer.set(setting, is_absolute, flags.bits());
    if let Some(old_value) = old_value.nullable() {
        cx.write(old_value, &to_itimerspec(old))?;
    }
    Ok(())
}

/// timerfd_gettime(2)
pub fn timerfd_gettime(cx: &mut Current, fd: Fd, curr_value: UserOut<Itimerspec>) -> SysResult {
    let file = timer(cx, fd)?;
    let timer: &TimerFd = file.ops_as().ok_or(Errno::EINVAL)?;
    let left = to_itimerspec(timer.get());
    Ok(cx.write(curr_value, &left)?)
}

/// signalfd(2)
pub fn signalfd(cx: &mut Current, fd: Fd, mask: UserIn<SigSet>, sizemask: usize) -> SysResult<Fd> {
    signalfd4(cx, fd, mask, sizemask, SignalfdFlags::empty())
}

/// signalfd4(2)
pub fn signalfd4(
    cx: &mut Current,
    fd: Fd,
    mask: UserIn<SigSet>,
    sizemask: usize,
    flags: SignalfdFlags,
) -> SysResult<Fd> {
    if sizemask != size_of::<SigSet>() {
        return Err(Errno::EINVAL.into());
    }
    let mask = SigSet(cx.read(mask.cast::<u64>())?);
    if !SignalfdFlags::all().contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    if fd.0 == -1 {
        let file = SignalFd::new(mask);
        return install_anonymous(cx, Box::new(file), "anon_inode:[signalfd]", flags.bits());
    }
    let file = cx.file(fd)?;
    file.ops_as::<SignalFd>().ok_or(Errno::EINVAL)?.set_mask(mask);
    Ok(fd)
}
