// SPDX-License-Identifier: Apache-2.0
//! Waiting for files: poll(2) and select(2).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use abi::{
    Errno, Fd, SigSet, UserIn, UserInOut,
    poll::{PollFd, SigSetWithSize},
    resource::RLIMIT_NOFILE,
    time::{Timespec, Timeval},
};
use sentry::{
    kernel::{OrRestart, Restart, Stop, SysResult},
    task::Current,
    time::{duration_of, timespec_of},
    vfs::FileDescription,
    wait::{Cut, Ready, Registration, Wake},
};

/// The temporary signal mask of ppoll(2) and its kin, if one is given.
pub(crate) fn set_mask(cx: &mut Current, mask: UserIn<SigSet>, size: usize) -> SysResult {
    let Some(mask) = mask.nullable() else { return Ok(()) };
    if size != size_of::<SigSet>() {
        return Err(Errno::EINVAL.into());
    }
    let mask = SigSet(cx.read(mask.cast::<u64>())?);
    cx.set_temporary_mask(mask);
    Ok(())
}

/// One file that is waited for.
struct Watched {
    /// `None`: not waited for (a negative number).
    file: Option<Arc<FileDescription>>,
    interest: Ready,
}

impl Watched {
    fn ready(&self) -> Ready {
        self.file
            .as_ref()
            .map_or(Ready::empty(), |file| file.ops().ready() & (self.interest | Ready::ALWAYS))
    }
}

/// Looks with `look`, which counts what is ready, until it counts something or the deadline passes.
/// Files that are waited for are kept open meanwhile.
fn look_until(
    cx: &mut Current,
    watched: &[Watched],
    deadline: Option<Instant>,
    mut look: impl FnMut() -> usize,
) -> Result<usize, Cut> {
    let count = look();
    if count > 0 || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return Ok(count);
    }
    let sleeper = Arc::clone(cx.sleeper());
    let files = watched.iter().filter_map(|one| Some((one.file.as_ref()?, one.interest)));
    let _places: Vec<Registration> = files
        .filter_map(|(file, interest)| Some((file.ops().wait_queue()?, interest)))
        .map(|(queue, interest)| queue.register(Arc::clone(&sleeper) as Arc<dyn Wake>, interest))
        .collect();
    loop {
        let count = look();
        if count > 0 {
            return Ok(count);
        }
        match sleeper.sleep(deadline) {
            Err(Cut::Failed(Errno::ETIMEDOUT)) => return Ok(look()),
            slept => slept?,
        }
    }
}

/// `do_sys_poll()`: the events are told even when a signal comes.
fn poll_until(
    cx: &mut Current,
    fds: UserInOut<PollFd>,
    nfds: u32,
    deadline: Option<Instant>,
) -> Result<usize, Cut> {
    let count = usize::try_from(nfds).map_err(|_| Errno::EINVAL)?;
    if u64::from(nfds) > cx.group().rlimits().soft(RLIMIT_NOFILE) {
        return Err(Errno::EINVAL.into());
    }
    let mut list = cx.read_slice(fds.as_in(), count)?;
    let watched: Vec<Watched> = list
        .iter()
        .map(|one| Watched {
            file: if one.fd < 0 { None } else { cx.file(Fd(one.fd)).ok() },
            interest: Ready::from_bits_truncate(u32::from(one.events)),
        })
        .collect();
    let told = look_until(cx, &watched, deadline, || {
        let mut count = 0;
        for (one, watched) in list.iter_mut().zip(&watched) {
            let ready = match &watched.file {
                Some(_) => watched.ready(),
                None if one.fd < 0 => Ready::empty(),
                None => Ready::NVAL,
            };
            one.revents = u16::try_from(ready.bits()).unwrap_or(u16::MAX);
            count += usize::from(!ready.is_empty());
        }
        count
    });
    cx.write_slice(fds.as_out(), &list)?;
    told
}

/// poll(2). Goes on after a stop with what is left of the time.
pub fn poll(cx: &mut Current, fds: UserInOut<PollFd>, nfds: u32, timeout: i32) -> SysResult<usize> {
    let timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    poll_restartable(cx, fds, nfds, deadline)
}

fn poll_restartable(
    cx: &mut Current,
    fds: UserInOut<PollFd>,
    nfds: u32,
    deadline: Option<Instant>,
) -> SysResult<usize> {
    let told = poll_until(cx, fds, nfds, deadline);
    if told == Err(Cut::Interrupted) {
        cx.set_restart_block(move |cx| {
            poll_restartable(cx, fds, nfds, deadline).map(abi::num::to_u64)
        });
    }
    told.or_restart(Restart::WithBlock)
}

/// The deadline of a call with a timeout in nanoseconds, and how to tell what is left of it.
struct Timeout {
    deadline: Option<Instant>,
}

impl Timeout {
    fn after(duration: Option<Duration>) -> Timeout {
        Timeout { deadline: duration.and_then(|duration| Instant::now().checked_add(duration)) }
    }

    fn left(&self) -> Duration {
        self.deadline
            .map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

/// How ppoll(2) and select(2) end (`poll_select_finish()`): what is left of the time is told, and a
/// call that cannot tell it is not restarted.
fn finish(result: Result<usize, Cut>, was_told: Result<(), Errno>) -> SysResult<usize> {
    match (result, was_told) {
        (Err(Cut::Interrupted), Err(_)) => Err(Stop::Restart(Restart::Never)),
        (result, _) => result.or_restart(Restart::IfNoHandler),
    }
}

/// ppoll(2)
pub fn ppoll(
    cx: &mut Current,
    fds: UserInOut<PollFd>,
    nfds: u32,
    timeout: UserInOut<Timespec>,
    sigmask: UserIn<SigSet>,
    sigsetsize: usize,
) -> SysResult<usize> {
    let duration = match timeout.nullable() {
        Some(timeout) => Some(duration_of(cx.read(timeout.as_in())?)?),
        None => None,
    };
    let time = Timeout::after(duration);
    set_mask(cx, sigmask, sigsetsize)?;
    let result = poll_until(cx, fds, nfds, time.deadline);
    let was_told = match timeout.nullable() {
        Some(timeout) => cx.write(timeout.as_out(), &timespec_of(time.left())),
        None => Ok(()),
    };
    finish(result, was_told)
}

const READABLE: Ready =
    Ready::READABLE.union(Ready::RDBAND).union(Ready::HUP).union(Ready::ERR).union(Ready::NVAL);
const WRITABLE: Ready = Ready::WRITABLE.union(Ready::WRBAND).union(Ready::ERR).union(Ready::NVAL);
const EXCEPTIONAL: Ready = Ready::PRI.union(Ready::NVAL);

/// Bits in a word of an `fd_set`.
const WORD: usize = 64;

/// An `fd_set` as the guest gave it, and as it gets it back.
struct FdSet {
    at: UserInOut<u64>,
    given: Vec<u64>,
    told: Vec<u64>,
}

impl FdSet {
    fn read(cx: &mut Current, at: UserInOut<u64>, words: usize) -> Result<FdSet, Errno> {
        let given = match at.nullable() {
            Some(at) => cx.read_slice(at.as_in(), words)?,
            None => vec![0; words],
        };
        Ok(FdSet { at, told: vec![0; words], given })
    }

    fn has(&self, fd: usize) -> bool {
        self.given.get(fd / WORD).is_some_and(|word| word & 1 << (fd % WORD) != 0)
    }

    fn tell(&mut self, fd: usize) {
        if let Some(word) = self.told.get_mut(fd / WORD) {
            *word |= 1 << (fd % WORD);
        }
    }

    fn write(&self, cx: &mut Current) -> Result<(), Errno> {
        match self.at.nullable() {
            Some(at) => cx.write_slice(at.as_out(), &self.told),
            None => Ok(()),
        }
    }
}

/// `core_sys_select()`.
fn select_until(
    cx: &mut Current,
    nfds: i32,
    sets: [UserInOut<u64>; 3],
    deadline: Option<Instant>,
) -> Result<usize, Cut> {
    // Numbers that the table has no room for are not looked at, however large the sets.
    let nfds = usize::try_from(nfds).map_err(|_| Errno::EINVAL)?.min(cx.fd_table().room());
    let words = nfds.div_ceil(WORD);
    let [read, write, except] = sets;
    let mut sets = [
        (FdSet::read(cx, read, words)?, READABLE),
        (FdSet::read(cx, write, words)?, WRITABLE),
        (FdSet::read(cx, except, words)?, EXCEPTIONAL),
    ];
    let mut numbers = Vec::new();
    let mut watched = Vec::new();
    for number in 0..nfds {
        let wanted = sets.iter().filter(|(set, _)| set.has(number));
        let interest = wanted.fold(Ready::empty(), |interest, (_, bits)| interest | *bits);
        if interest.is_empty() {
            continue;
        }
        let fd = i32::try_from(number).map_err(|_| Errno::EBADF)?;
        numbers.push(number);
        watched.push(Watched { file: Some(cx.file(Fd(fd))?), interest });
    }
    let count = look_until(cx, &watched, deadline, || {
        let mut count = 0;
        for (number, watched) in numbers.iter().zip(&watched) {
            let ready = watched.ready();
            for (set, bits) in &mut sets {
                if set.has(*number) && ready.intersects(*bits) {
                    set.tell(*number);
                    count += 1;
                }
            }
        }
        count
    })?;
    for (set, _) in &sets {
        set.write(cx)?;
    }
    Ok(count)
}

/// personality(2): what is left of a timeout is not told (`poll_select_finish`).
const STICKY_TIMEOUTS: u32 = 0x400_0000;

/// select(2)
pub fn select(
    cx: &mut Current,
    nfds: i32,
    readfds: UserInOut<u64>,
    writefds: UserInOut<u64>,
    exceptfds: UserInOut<u64>,
    timeout: UserInOut<Timeval>,
) -> SysResult<usize> {
    let duration = match timeout.nullable() {
        Some(timeout) => {
            let time = cx.read(timeout.as_in())?;
            let seconds = time.tv_sec.checked_add(time.tv_usec / 1_000_000).ok_or(Errno::EINVAL)?;
            let nanos = time.tv_usec % 1_000_000 * 1000;
            Some(duration_of(Timespec { tv_sec: seconds, tv_nsec: nanos })?)
        }
        None => None,
    };
    let time = Timeout::after(duration);
    let result = select_until(cx, nfds, [readfds, writefds, exceptfds], time.deadline);
    let was_told = match timeout.nullable() {
        // Some old programs expect it to stay.
        Some(_) if cx.group().personality() & STICKY_TIMEOUTS != 0 => Ok(()),
        Some(timeout) => {
            let left = time.left();
            let left = Timeval {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_usec: i64::from(left.subsec_micros()),
            };
            cx.write(timeout.as_out(), &left)
        }
        None => Ok(()),
    };
    finish(result, was_told)
}

/// pselect6(2)
pub fn pselect6(
    cx: &mut Current,
    nfds: i32,
    readfds: UserInOut<u64>,
    writefds: UserInOut<u64>,
    exceptfds: UserInOut<u64>,
    timeout: UserInOut<Timespec>,
    sigmask: UserIn<SigSetWithSize>,
) -> SysResult<usize> {
    let mask = match sigmask.nullable() {
        Some(sigmask) => cx.read(sigmask)?,
        None => SigSetWithSize::default(),
    };
    let duration = match timeout.nullable() {
        Some(timeout) => Some(duration_of(cx.read(timeout.as_in())?)?),
        None => None,
    };
    let time = Timeout::after(duration);
    let set = UserIn::new(abi::UserAddr(mask.sigset));
    set_mask(cx, set, abi::num::to_usize(mask.size))?;
    let result = select_until(cx, nfds, [readfds, writefds, exceptfds], time.deadline);
    let was_told = match timeout.nullable() {
        Some(timeout) => cx.write(timeout.as_out(), &timespec_of(time.left())),
        None => Ok(()),
    };
    finish(result, was_told)
}
