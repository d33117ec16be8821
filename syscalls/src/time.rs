// SPDX-License-Identifier: Apache-2.0
//! Clocks and timers.

use std::sync::Arc;

use abi::{
    Errno, Signal, TimerId, UserIn, UserInOut, UserOut,
    signal::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_THREAD_ID, SigEvent},
    time::{
        CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, ClockId, ITIMER_PROF, ITIMER_REAL,
        ITIMER_VIRTUAL, IntervalTimer, Itimerspec, Itimerval, TIME_ERROR, TimerFlags, Timespec,
        Timeval, Timex, Timezone, Tms, USER_HZ,
    },
};
use sentry::{
    kernel::{OrRestart, Restart, Stop, SysResult},
    task::{CpuClock, Current, Notify, TimerClock},
    time::{Clock, Setting, instant_after, nanos_of, timespec_of_nanos},
    wait::Cut,
};

/// A clock as clock_gettime(2) names it.
enum Reading {
    Global(Clock),
    /// CPU time of the caller's process, or of its thread.
    Process(i32),
    Thread(i32),
}

/// The clock behind an id; `EINVAL` for what is none.
fn find_clock(cx: &Current, id: ClockId) -> Result<Reading, Errno> {
    if let Some(clock) = Clock::from_id(id.0) {
        return Ok(Reading::Global(clock));
    }
    match id.0 {
        CLOCK_PROCESS_CPUTIME_ID => Ok(Reading::Process(cx.task().pid())),
        CLOCK_THREAD_CPUTIME_ID => Ok(Reading::Thread(cx.task().tid())),
        id if id < 0 => {
            // `MAKE_PROCESS_CPUCLOCK`, `MAKE_THREAD_CPUCLOCK`; kind 3 is a device's.
            let (pid, kind) = (!(id >> 3), id & 7);
            if kind & 3 == 3 {
                return Err(Errno::EINVAL);
            }
            let is_thread = kind & 4 != 0;
            let own = if is_thread { cx.task().tid() } else { cx.task().pid() };
            let pid = if pid == 0 { own } else { pid };
            let tasks = cx.kernel().tasks();
            if is_thread {
                let task = tasks.task(pid).filter(|task| task.pid() == cx.task().pid());
                task.map(|_| Reading::Thread(pid)).ok_or(Errno::EINVAL)
            } else {
                tasks.process(pid).map(|_| Reading::Process(pid)).ok_or(Errno::EINVAL)
            }
        }
        _ => Err(Errno::EINVAL),
    }
}

fn read_clock(cx: &Current, reading: &Reading) -> Result<u64, Errno> {
    match reading {
        Reading::Global(clock) => Ok(clock.now()),
        Reading::Process(pid) => {
            let tasks = cx.kernel().tasks();
            let usage = tasks.process(*pid).ok_or(Errno::EINVAL)?.group.usage();
            Ok(usage.user_ns + usage.system_ns)
        }
        Reading::Thread(tid) => {
            let task = cx.kernel().tasks().task(*tid).ok_or(Errno::EINVAL)?;
            let (user, system) = task.cpu_time();
            Ok(user + system)
        }
    }
}

/// A clock that ticks while somebody runs, to wait for.
fn cpu_clock(cx: &Current, reading: &Reading) -> Result<CpuClock, Errno> {
    let tasks = cx.kernel().tasks();
    match reading {
        Reading::Global(_) => Err(Errno::EINVAL),
        Reading::Process(pid) => {
            let process = tasks.process(*pid).ok_or(Errno::EINVAL)?;
            Ok(CpuClock::Process(Arc::downgrade(&process.group)))
        }
        Reading::Thread(tid) => {
            let task = tasks.task(*tid).ok_or(Errno::EINVAL)?;
            Ok(CpuClock::Thread(Arc::downgrade(&task)))
        }
    }
}

/// clock_gettime(2)
pub fn clock_gettime(cx: &mut Current, clockid: ClockId, tp: UserOut<Timespec>) -> SysResult {
    let clock = find_clock(cx, clockid)?;
    let now = read_clock(cx, &clock)?;
    Ok(cx.write(tp, &timespec_of_nanos(now))?)
}

/// clock_getres(2)
pub fn clock_getres(cx: &mut Current, clockid: ClockId, res: UserOut<Timespec>) -> SysResult {
    const TICK: u64 = 4_000_000;
    let nanos = match find_clock(cx, clockid)? {
        Reading::Global(Clock::RealtimeCoarse | Clock::MonotonicCoarse) => TICK,
        _ => 1,
    };
    if let Some(to) = res.nullable() {
        cx.write(to, &timespec_of_nanos(nanos))?;
    }
    Ok(())
}

/// clock_settime(2): nobody here may set the host's clock.
pub fn clock_settime(cx: &mut Current, clockid: ClockId, tp: UserIn<Timespec>) -> SysResult {
    match find_clock(cx, clockid)? {
        Reading::Global(Clock::Realtime) => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    nanos_of(cx.read(tp)?)?;
    // DIFFERS: even with CAP_SYS_TIME. The clock is the host's.
    Err(Errno::EPERM.into())
}

/// gettimeofday(2)
pub fn gettimeofday(cx: &mut Current, tv: UserOut<Timeval>, tz: UserOut<Timezone>) -> SysResult {
    if let Some(to) = tv.nullable() {
        let now = Clock::Realtime.now_timespec();
        cx.write(to, &Timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 })?;
    }
    if let Some(to) = tz.nullable() {
        cx.write(to, &Timezone::default())?;
    }
    Ok(())
}

/// settimeofday(2): as [`clock_settime`].
pub fn settimeofday(cx: &mut Current, tv: UserIn<Timeval>, tz: UserIn<Timezone>) -> SysResult {
    if let Some(from) = tv.nullable() {
        let time = cx.read(from)?;
        if time.tv_usec < 0 || time.tv_usec > 1_000_000 {
            return Err(Errno::EINVAL.into());
        }
    }
    if let Some(from) = tz.nullable() {
        cx.read(from)?;
    }
    Err(Errno::EPERM.into())
}

/// time(2)
pub fn time(cx: &mut Current, tloc: UserOut<i64>) -> SysResult<i64> {
    let now = Clock::Realtime.now_timespec().tv_sec;
    if let Some(to) = tloc.nullable() {
        cx.write(to, &now)?;
    }
    Ok(now)
}

/// times(2)
pub fn times(cx: &mut Current, buf: UserOut<Tms>) -> SysResult<i64> {
    const TICK: u64 = 1_000_000_000 / USER_HZ;
    let ticks = |nanos: u64| i64::try_from(nanos / TICK).unwrap_or(i64::MAX);
    if let Some(to) = buf.nullable() {
        let (own, children) = (cx.group().usage(), cx.group().children_usage());
        let tms = Tms {
            tms_utime: ticks(own.user_ns),
            tms_stime: ticks(own.system_ns),
            tms_cutime: ticks(children.user_ns),
            tms_cstime: ticks(children.system_ns),
        };
        cx.write(to, &tms)?;
    }
    Ok(ticks(Clock::Boottime.now()))
}

/// nanosleep(2)
pub fn nanosleep(cx: &mut Current, req: UserIn<Timespec>, rem: UserOut<Timespec>) -> SysResult {
    let nanos = nanos_of(cx.read(req)?)?;
    sleep_for(cx, Clock::Monotonic, nanos, rem)
}

/// clock_nanosleep(2)
pub fn clock_nanosleep(
    cx: &mut Current,
    clockid: ClockId,
    flags: TimerFlags,
    req: UserIn<Timespec>,
    rem: UserOut<Timespec>,
) -> SysResult {
    let clock = match find_clock(cx, clockid)? {
        Reading::Global(Clock::RealtimeCoarse | Clock::MonotonicCoarse | Clock::MonotonicRaw) => {
            return Err(Errno::EOPNOTSUPP.into());
        }
        Reading::Global(clock) => clock,
        // `clock_thread` has no way to sleep; the same clock by its thread's id has, and refuses.
        Reading::Thread(tid) if tid == cx.task().tid() && clockid.0 != CLOCK_THREAD_CPUTIME_ID => {
            return Err(Errno::EINVAL.into());
        }
        Reading::Thread(tid) if tid == cx.task().tid() => return Err(Errno::EOPNOTSUPP.into()),
        cpu => {
            let clock = cpu_clock(cx, &cpu)?;
            let nanos = nanos_of(cx.read(req)?)?;
            let is_absolute = flags.contains(TimerFlags::ABSTIME);
            let base = if is_absolute { 0 } else { clock.now().unwrap_or(0) };
            let rem = if is_absolute { None } else { rem.nullable() };
            return sleep_on(cx, clock, base.saturating_add(nanos), rem);
        }
    };
    let nanos = nanos_of(cx.read(req)?)?;
    if flags.contains(TimerFlags::ABSTIME) {
        let until = clock.instant_at(nanos);
        return cx.sleep_until(Some(until)).or_restart(Restart::IfNoHandler);
    }
    sleep_for(cx, clock, nanos, rem)
}

/// Sleeps until a CPU clock shows `target`. Nobody tells when: it is looked at again at the earliest time
/// that could be it.
fn sleep_on(
    cx: &mut Current,
    clock: CpuClock,
    target: u64,
    rem: Option<UserOut<Timespec>>,
) -> SysResult {
    const SHORTEST_LOOK: u64 = 4_000_000;
    loop {
        let Some(left) = clock.now().and_then(|now| target.checked_sub(now)).filter(|n| *n > 0)
        else {
            return Ok(());
        };
        match cx.sleep_until(Some(instant_after(left.max(SHORTEST_LOOK)))) {
            Ok(()) => {}
            Err(Cut::Failed(errno)) => return Err(errno.into()),
            Err(Cut::Interrupted) => {
                if let Some(to) = rem {
                    cx.write(to, &timespec_of_nanos(left))?;
                }
                cx.set_restart_block(move |cx| sleep_on(cx, clock, target, rem).map(|()| 0));
                return Err(Stop::Restart(Restart::WithBlock));
            }
        }
    }
}

/// Sleeps, and goes on with what is left when only stopped and continued.
fn sleep_for(cx: &mut Current, clock: Clock, nanos: u64, rem: UserOut<Timespec>) -> SysResult {
    let until = instant_after(nanos);
    match cx.sleep_until(Some(until)) {
        Ok(()) => Ok(()),
        Err(Cut::Failed(errno)) => Err(errno.into()),
        Err(Cut::Interrupted) => {
            let left = until.saturating_duration_since(std::time::Instant::now());
            let left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
            if let Some(to) = rem.nullable() {
                cx.write(to, &timespec_of_nanos(left))?;
            }
            cx.set_restart_block(move |cx| sleep_for(cx, clock, left, rem).map(|()| 0));
            Err(Stop::Restart(Restart::WithBlock))
        }
    }
}

fn micros(time: Timeval) -> Result<u64, Errno> {
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?;
    match u64::try_from(time.tv_usec) {
        Ok(micros @ ..=999_999) => {
            Ok(seconds.saturating_mul(1_000_000_000).saturating_add(micros * 1000))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn timeval(nanos: u64) -> Timeval {
    let time = timespec_of_nanos(nanos);
    Timeval { tv_sec: time.tv_sec, tv_usec: time.tv_nsec / 1000 }
}

fn itimerval(setting: Setting) -> Itimerval {
    // What is armed never shows as zero.
    let value = if setting.value > 0 { setting.value.max(1000) } else { 0 };
    Itimerval { it_interval: timeval(setting.interval), it_value: timeval(value) }
}

/// getitimer(2)
pub fn getitimer(
    cx: &mut Current,
    which: IntervalTimer,
    curr_value: UserOut<Itimerval>,
) -> SysResult {
    let setting = match which.0 {
        ITIMER_REAL => cx.group().real_timer(),
        ITIMER_VIRTUAL | ITIMER_PROF => cx.group().cpu_timer(which.0 == ITIMER_PROF),
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok(cx.write(curr_value, &itimerval(setting))?)
}

/// setitimer(2)
pub fn setitimer(
    cx: &mut Current,
    which: IntervalTimer,
    new_value: UserIn<Itimerval>,
    old_value: UserOut<Itimerval>,
) -> SysResult {
    let new = match new_value.nullable() {
        Some(from) => cx.read(from)?,
        // As Linux does, with a warning in its log.
        None => Itimerval::default(),
    };
    let new = Setting { value: micros(new.it_value)?, interval: micros(new.it_interval)? };
    let old = match which.0 {
        ITIMER_REAL => cx.group().set_real_timer(new),
        ITIMER_VIRTUAL | ITIMER_PROF => cx.group().set_cpu_timer(which.0 == ITIMER_PROF, new),
        _ => return Err(Errno::EINVAL.into()),
    };
    if let Some(to) = old_value.nullable() {
        cx.write(to, &itimerval(old))?;
    }
    Ok(())
}

/// alarm(2)
pub fn alarm(cx: &mut Current, seconds: u32) -> SysResult<u64> {
    let new = Setting { value: u64::from(seconds) * 1_000_000_000, interval: 0 };
    let old = cx.group().set_real_timer(new).value;
    // Rounded to the nearest second, but never to none (`alarm_setitimer`).
    let seconds = old / 1_000_000_000;
    let rest = old % 1_000_000_000;
    let up = (seconds == 0 && rest > 0) || rest >= 500_000_000;
    Ok(seconds + u64::from(up))
}

/// adjtimex(2): tells, and refuses to change.
pub fn adjtimex(cx: &mut Current, buf: UserInOut<Timex>) -> SysResult<i32> {
    let asked = cx.read(buf.as_in())?;
    if asked.modes != 0 {
        // DIFFERS: even with CAP_SYS_TIME. The clock is the host's.
        return Err(Errno::EPERM.into());
    }
    let now = Clock::Realtime.now_timespec();
    let state = Timex {
        status: i32::try_from(abi::time::STA_UNSYNC).unwrap_or(0),
        maxerror: 16_000_000,
        esterror: 16_000_000,
        constant: 2,
        precision: 1,
        tolerance: 32_768_000,
        tick: 10_000,
        time: Timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 },
        ..Timex::default()
    };
    cx.write(buf.as_out(), &state)?;
    Ok(TIME_ERROR)
}

/// clock_adjtime(2)
pub fn clock_adjtime(cx: &mut Current, clockid: ClockId, buf: UserInOut<Timex>) -> SysResult<i32> {
    match find_clock(cx, clockid)? {
        Reading::Global(Clock::Realtime) => adjtimex(cx, buf),
        _ => Err(Errno::EOPNOTSUPP.into()),
    }
}

/// timer_create(2)
pub fn timer_create(
    cx: &mut Current,
    clockid: ClockId,
    sevp: UserIn<SigEvent>,
    timerid: UserOut<i32>,
) -> SysResult {
    let clock = match find_clock(cx, clockid)? {
        Reading::Global(
            clock @ (Clock::Realtime | Clock::Monotonic | Clock::Boottime | Clock::Tai),
        ) => TimerClock::Global(clock),
        Reading::Global(_) => return Err(Errno::EOPNOTSUPP.into()),
        cpu => TimerClock::Cpu(cpu_clock(cx, &cpu)?),
    };
    let notify = match sevp.nullable() {
        None => Notify::Process(Signal::SIGALRM, None),
        Some(sevp) => {
            let event = cx.read(sevp)?;
            let signal = Signal::from_raw(event.sigev_signo).ok_or(Errno::EINVAL);
            match event.sigev_notify {
                SIGEV_NONE => Notify::None,
                SIGEV_SIGNAL | SIGEV_THREAD => Notify::Process(signal?, Some(event.sigev_value)),
                SIGEV_THREAD_ID => {
                    let task = cx.kernel().tasks().task(event.sigev_notify_thread_id);
                    let task = task.filter(|task| task.pid() == cx.task().pid());
                    let task = task.ok_or(Errno::EINVAL)?;
                    Notify::Thread(signal?, event.sigev_value, Arc::downgrade(&task))
                }
                _ => return Err(Errno::EINVAL.into()),
            }
        }
    };
    let id = cx.create_timer(clock, notify)?;
    if let Err(errno) = cx.write(timerid, &id) {
        cx.delete_timer(id)?;
        return Err(errno.into());
    }
    Ok(())
}

fn itimerspec(setting: Setting) -> Itimerspec {
    Itimerspec {
        it_interval: timespec_of_nanos(setting.interval),
        it_value: timespec_of_nanos(setting.value),
    }
}

/// timer_settime(2)
pub fn timer_settime(
    cx: &mut Current,
    timerid: TimerId,
    flags: TimerFlags,
    new_value: UserIn<Itimerspec>,
    old_value: UserOut<Itimerspec>,
) -> SysResult {
    let new = cx.read(new_value.nullable().ok_or(Errno::EINVAL)?)?;
    let setting = Setting { value: nanos_of(new.it_value)?, interval: nanos_of(new.it_interval)? };
    let old = cx.set_timer(timerid.0, setting, flags.contains(TimerFlags::ABSTIME))?;
    if let Some(to) = old_value.nullable() {
        cx.write(to, &itimerspec(old))?;
    }
    Ok(())
}

/// timer_gettime(2)
pub fn timer_gettime(
    cx: &mut Current,
    timerid: TimerId,
    curr_value: UserOut<Itimerspec>,
) -> SysResult {
    let left = cx.timer_left(timerid.0)?;
    Ok(cx.write(curr_value, &itimerspec(left))?)
}

/// timer_getoverrun(2)
pub fn timer_getoverrun(cx: &mut Current, timerid: TimerId) -> SysResult<i32> {
    Ok(cx.timer_overrun(timerid.0)?)
}

/// timer_delete(2)
pub fn timer_delete(cx: &mut Current, timerid: TimerId) -> SysResult {
    Ok(cx.delete_timer(timerid.0)?)
}
