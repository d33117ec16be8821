// SPDX-License-Identifier: Apache-2.0
//! One stub process, from the sentry's side: its memory, its threads, its end.

use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
};

use abi::{PAGE_SIZE, UserAddr};
use parking_lot::{Mutex, RwLock};

use super::{
    pool::{Fixed, Kind},
    thread::{Rest, Thread},
    wake,
};
use crate::{
    AddressSpace, Error,
    memory::channel::field,
    ptrace::tracee::{Came, Stopped},
    sys,
};

/// How many threads of a process may wait for another guest.
const RESTING: usize = 4;
/// One stub process.
#[derive(Debug)]
pub(crate) struct Subprocess {
    pub(crate) fixed: Arc<Fixed>,
    pid: i32,
    /// The sentry's end.
    pub(crate) socket: OwnedFd,
    /// The stub's end, as the stub numbers it: 0 or 1.
    pub(crate) stub_socket: u64,
    /// One operation at a time that has descriptors in the stub, or a channel mapped on its way to
    /// somebody else.
    pub(crate) operations: Mutex<()>,
    /// Writes from outside so far: what a stub copied before one is not what is there now.
    pub(crate) writes: AtomicU64,
    /// How it ended, if it did. Whoever uses the process number holds this for reading.
    ended: RwLock<Option<i32>>,
    /// It was told to end.
    is_told: AtomicBool,
    /// Held while a tracer has it clone: who ends then before its tracer has the child's number leaves a
    /// child that nobody knows of.
    cloning: Mutex<()>,
    watchers: Mutex<Watchers>,
    threads: Mutex<Threads>,
}

/// Who wants to know of a stub that was lost.
#[derive(Default)]
struct Watchers(Vec<Box<dyn FnOnce() + Send>>);

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watchers").field(&self.0.len()).finish()
    }
}

#[derive(Debug, Default)]
struct Threads {
    all: Vec<Weak<Thread>>,
    live: usize,
    /// How many times wake-ups were asked to come to the sentry.
    holds: usize,
    /// The first thread, when it ended before others: it must stay, for the host finds a process's
    /// memory by it.
    parked: Option<Arc<Thread>>,
    /// Threads without a guest.
    resting: Vec<(Arc<Thread>, Rest)>,
}

impl Subprocess {
    pub(crate) fn new(fixed: &Arc<Fixed>, pid: i32, socket: OwnedFd, stub_socket: u64) -> Self {
        Subprocess {
            fixed: Arc::clone(fixed),
            pid,
            socket,
            stub_socket,
            operations: Mutex::new(()),
            writes: AtomicU64::new(0),
            ended: RwLock::new(None),
            is_told: AtomicBool::new(false),
            cloning: Mutex::new(()),
            watchers: Mutex::default(),
            threads: Mutex::new(Threads::default()),
        }
    }

    /// Has `clone` done with nobody killing the process meanwhile; whoever wants to has it done then.
    pub(crate) fn unkilled<T>(&self, clone: impl FnOnce() -> T) -> T {
        let cloning = self.cloning.lock();
        let result = clone();
        drop(cloning);
        if self.is_told.load(Ordering::SeqCst) {
            self.kill();
        }
        result
    }

    /// A thread has come.
    pub(crate) fn add(&self, thread: &Arc<Thread>) {
        let mut threads = self.threads.lock();
        threads.live += 1;
        threads.all.retain(|thread| thread.strong_count() > 0);
        threads.all.push(Arc::downgrade(thread));
        thread.channel.set(field::HELD, u32::from(threads.holds > 0));
        drop(threads);
        if self.ended.read().is_some() {
            wake::mark_dead(thread.channel.turn());
        }
    }

    /// A thread without a channel has come.
    pub(crate) fn count_thread(&self) {
        self.threads.lock().live += 1;
    }

    /// A thread without a channel goes. Returns whether it was the last.
    pub(crate) fn uncount_thread(&self) -> bool {
        let mut threads = self.threads.lock();
        threads.live = threads.live.saturating_sub(1);
        threads.live == 0
    }

    /// A thread is to go, in whose place `rest` can be done with it. Returns whether it shall end itself;
    /// else it stays, or the process goes.
    pub(crate) fn remove(&self, thread: &Arc<Thread>, rest: Option<Rest>) -> bool {
        let mut threads = self.threads.lock();
        threads.live = threads.live.saturating_sub(1);
        if threads.live == 0 {
            drop(threads);
            self.kill();
            return false;
        }
        let is_first = thread.bell.tid() == self.pid;
        let may_rest = || threads.resting.len() < RESTING && self.fixed.take_bed();
        if let Some(rest) = rest
            && (is_first || may_rest())
        {
            threads.resting.push((Arc::clone(thread), rest));
            return false;
        }
        if is_first {
            threads.parked = Some(Arc::clone(thread));
        }
        !is_first
    }

    /// A thread that has lost its guest and waits for another one.
    pub(crate) fn reuse(&self) -> Option<(Arc<Thread>, Rest)> {
        let mut threads = self.threads.lock();
        let (thread, rest) = threads.resting.pop()?;
        threads.live += 1;
        drop(threads);
        self.leave_bed(&thread);
        Some((thread, rest))
    }

    /// The first thread has no bed, for it has to stay in any case.
    fn leave_bed(&self, thread: &Thread) {
        if thread.bell.tid() != self.pid {
            self.fixed.resting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Changes how many want wake-ups to come to the sentry, and tells the threads.
    fn change_holds(&self, change: impl FnOnce(usize) -> usize) {
        let mut threads = self.threads.lock();
        let (before, now) = (threads.holds, change(threads.holds));
        threads.holds = now;
        if (before == 0) != (now == 0) {
            for thread in threads.all.iter().filter_map(Weak::upgrade) {
                thread.channel.set(field::HELD, u32::from(now > 0));
            }
        }
        // Whoever holds them looks at the word next.
        fence(Ordering::SeqCst);
    }

    /// How it ended, if it did.
    pub(crate) fn status(&self) -> Option<i32> {
        *self.ended.read()
    }

    /// The process has ended: `reap` lets its number go and says how.
    pub(crate) fn end(&self, reap: impl FnOnce() -> i32) {
        let mut ended = self.ended.write();
        if ended.is_none() {
            *ended = Some(reap());
        }
        drop(ended);
        for thread in &self.threads.lock().all {
            if let Some(thread) = thread.upgrade() {
                wake::mark_dead(thread.channel.turn());
            }
        }
        if !self.is_told.load(Ordering::SeqCst) {
            let watchers = std::mem::take(&mut *self.watchers.lock());
            for lost in watchers.0 {
                lost();
            }
        }
    }

    /// Copies from the stub's memory, its own included.
    pub(crate) fn read_anywhere(&self, addr: u64, to: &mut [u8]) -> usize {
        let ended = self.ended.read();
        if ended.is_some() { 0 } else { sys::process_vm(self.pid, addr, sys::Copy::In(to)) }
    }

    /// Copies into the stub's memory, its own included.
    pub(crate) fn write_anywhere(&self, addr: u64, from: &[u8]) -> usize {
        let ended = self.ended.read();
        if ended.is_some() { 0 } else { sys::process_vm(self.pid, addr, sys::Copy::Out(from)) }
    }

    /// Writes as a debugger does, by stopping the first thread for a moment.
    fn poke_stopped(&self, addr: u64, from: &[u8]) -> usize {
        match Stopped::attach(self.pid) {
            Ok(Came::Stopped(stopped, _)) => {
                let done = sys::poke_words(self.pid, addr, from);
                if let Err(error) = stopped.detach() {
                    tracing::debug!(%error, "a stub that was poked is gone");
                }
                done
            }
            Ok(Came::Ended(status)) => {
                self.end(|| status);
                0
            }
            Err(error) => {
                tracing::debug!(%error, "a stub cannot be poked");
                0
            }
        }
    }

    /// Sends `files` to the stub, for its next receive.
    pub(crate) fn send(&self, files: &[i32]) -> Result<(), Error> {
        sys::send_fds(self.socket.as_fd(), files)
            .map_err(|source| Error::Host { call: "send files to a stub", source })
    }

    /// The two lowest descriptors that the stub has free.
    pub(crate) fn free_descriptors(&self) -> (u64, u64) {
        if self.stub_socket == 0 { (1, 2) } else { (0, 2) }
    }
}

impl AddressSpace for Subprocess {
    fn read(&self, addr: UserAddr, to: &mut [u8]) -> usize {
        let len = readable_within(&self.fixed, addr, to.len());
        to.get_mut(..len).map_or(0, |to| self.read_anywhere(addr.raw(), to))
    }

    fn write(&self, addr: UserAddr, from: &[u8]) -> usize {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let len = within(&self.fixed, addr, from.len());
        from.get(..len).map_or(0, |from| self.write_anywhere(addr.raw(), from))
    }

    fn poke(&self, addr: UserAddr, from: &[u8]) -> usize {
        let len = within(&self.fixed, addr, from.len());
        let mut done = self.write(addr, from);
        if self.fixed.kind == Kind::Systrap {
            // What cannot be written in the ordinary way; then that way again, which is faster.
            while let Some(rest) = from.get(done..len)
                && !rest.is_empty()
            {
                let page = usize::try_from(PAGE_SIZE - (addr.raw() + done as u64) % PAGE_SIZE);
                let piece = rest.get(..page.unwrap_or(1)).unwrap_or(rest);
                let poked = self.poke_stopped(addr.raw() + done as u64, piece);
                done += poked;
                if poked < piece.len() {
                    break;
                }
            }
        }
        done
    }

    fn has_ended(&self) -> bool {
        // On its way out a process lets go of its files first.
        self.status().is_some() || sys::is_hung_up(self.socket.as_fd())
    }

    fn watch(&self, lost: Box<dyn FnOnce() + Send>) {
        self.watchers.lock().0.push(lost);
        // It may have ended before: whoever finds the watcher calls it.
        if self.status().is_some() {
            self.end(|| 0);
        }
    }

    fn hold_wakes(&self) {
        self.change_holds(|holds| holds.saturating_add(1));
    }

    fn release_wakes(&self) {
        self.change_holds(|holds| holds.saturating_sub(1));
    }

    fn kill(&self) {
        self.is_told.store(true, Ordering::SeqCst);
        // Whoever has it clone looks afterwards.
        let Some(_none_clones) = self.cloning.try_lock() else { return };
        let ended = self.ended.read();
        if ended.is_none()
            && let Err(error) = sys::kill(self.pid, libc::SIGKILL)
        {
            tracing::warn!(pid = self.pid, %error, "a stub cannot be killed");
        }
    }

    fn host_pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        self.kill();
        let resting = std::mem::take(&mut self.threads.get_mut().resting);
        resting.iter().for_each(|(thread, _)| self.leave_bed(thread));
        if self.fixed.kind == Kind::Ptrace && self.status().is_none() {
            self.fixed.registry.forget(self.pid);
            if let Err(error) = sys::reap(self.pid) {
                tracing::warn!(pid = self.pid, %error, "a stub cannot be reaped");
            }
        }
    }
}

/// How many of `len` bytes at `addr` the guest may have: what lies above is not its own.
pub(crate) fn within(fixed: &Fixed, addr: UserAddr, len: usize) -> usize {
    let user = fixed.layout.user;
    if addr < user.start {
        return 0;
    }
    let room = user.end.raw().saturating_sub(addr.raw());
    len.min(usize::try_from(room).unwrap_or(usize::MAX))
}

/// As [`within`] for what may only be read: the vDSO's code is the guest's as well.
fn readable_within(fixed: &Fixed, addr: UserAddr, len: usize) -> usize {
    match fixed.layout.vdso.filter(|vdso| vdso.code.contains(addr)) {
        Some(vdso) => {
            let room = vdso.code.end.raw() - addr.raw();
            len.min(usize::try_from(room).unwrap_or(usize::MAX))
        }
        None => within(fixed, addr, len),
    }
}
