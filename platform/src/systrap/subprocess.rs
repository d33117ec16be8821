// SPDX-License-Identifier: Apache-2.0
//! One stub process and its threads, from the sentry's side.

use std::{
    collections::HashMap,
    fmt,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
    time::{Duration, Instant},
};

use abi::{PAGE_SIZE, UserAddr};
use parking_lot::{Mutex, RwLock};

use super::{
    filter,
    frame::Frame,
    gate::Pass,
    pool::{Fixed, Kind},
    shared::{
        CHANNEL_SIZE, COMMAND_OPS, EVENT_DONE, EVENT_SIGNAL, OP_ALWAYS, OP_MAY_FAIL, OPS_MAX, Op,
        SCRATCH_OFFSET, STACK_OFFSET, STACK_SIZE, TURN_SENTRY,
    },
    wake,
};
use crate::{
    AddressSpace, Error,
    interrupt::Bell,
    memory::{
        channel::{Channel, field},
        hostcall::word,
        range::{self, Layout},
    },
    ptrace::tracee::{Came, Stopped},
    sys,
};

/// How long a stub may take for a command. It may have to page in a lot.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// How long a new stub may take to say that it is there.
pub(crate) const BIRTH_DEADLINE: Duration = Duration::from_secs(20);
/// How many threads of a process may wait for another guest.
const RESTING: usize = 4;
/// How often to look whether it has failed before.
const LOOK: Duration = Duration::from_millis(5);

/// What is told to a stub to do: an [`Op`] with its rules by name.
pub(crate) fn op(number: i64, args: [u64; 6]) -> Op {
    Op { number: number.cast_unsigned(), args, result: 0 }
}

/// The same, to be done even when something before it failed, and without counting as a failure.
pub(crate) fn cleanup(number: i64, args: [u64; 6]) -> Op {
    Op { number: number.cast_unsigned() | OP_ALWAYS | OP_MAY_FAIL, args, result: 0 }
}

/// A stub thread: what its context, its interrupters and its process know of it.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) channel: Channel,
    pub(crate) bell: Arc<Bell>,
    /// When the guest was last given the turn, by the processor's clock.
    pub(crate) given: AtomicU64,
}

impl Thread {
    pub(crate) fn new(layout: &Layout, features: u32) -> Result<Thread, Error> {
        let host = |source| Error::Host { call: "make a channel", source };
        let size = CHANNEL_SIZE as u64;
        let addr = range::place(layout, size, size).map_err(host)?;
        let channel = Channel::new(addr).map_err(host)?;
        channel.set(field::FEATURES, features);
        Ok(Thread { channel, bell: Arc::default(), given: AtomicU64::new(0) })
    }

    /// Waits for the event that ends a run of the guest, however long that takes. `late` is called now and
    /// then while it does, for the first time after `first`.
    pub(crate) fn await_guest(
        &self,
        spins: u32,
        first: Option<Duration>,
        mut late: impl FnMut(),
    ) -> Result<(), Error> {
        let mut asked: Option<Instant> = None;
        wake::wait(self.channel.turn(), spins, first, || {
            self.check()?;
            late();
            // An interrupt that gets no answer was lost or is being ignored.
            if self.ring_again() {
                let since = *asked.get_or_insert_with(Instant::now);
                if since.elapsed() > self.answer_deadline() {
                    return Err(Error::StubDied { reason: "it does not answer interrupts" });
                }
            }
            Ok(self.longest_nap())
        })?;
        self.expect(EVENT_SIGNAL)
    }

    /// Waits for the frame that a new thread traps into.
    pub(crate) fn await_birth(&self, spins: u32) -> Result<(), Error> {
        self.await_within(spins, BIRTH_DEADLINE)?;
        self.expect(EVENT_SIGNAL)
    }

    /// Gives `command`.
    pub(crate) fn begin(&self, command: u32) {
        self.channel.set(field::COMMAND, command);
        wake::give(self.channel.turn());
    }

    /// Waits until a command is done.
    pub(crate) fn done(&self, spins: u32) -> Result<(), Error> {
        self.await_within(spins, COMMAND_DEADLINE)?;
        self.expect(EVENT_DONE)
    }

    /// Gives `command` and waits until it is done.
    pub(crate) fn command(&self, command: u32, spins: u32) -> Result<(), Error> {
        self.begin(command);
        self.done(spins)
    }

    /// Has the stub start with `ops`.
    pub(crate) fn begin_ops(&self, ops: &[Op]) {
        self.set_ops(ops);
        self.begin(COMMAND_OPS);
    }

    /// Has the stub carry out `ops`; results are in the channel.
    pub(crate) fn run_ops(&self, ops: &[Op], spins: u32) -> Result<(), Error> {
        self.begin_ops(ops);
        self.done(spins)
    }

    /// Writes `ops` down for the stub.
    pub(crate) fn set_ops(&self, ops: &[Op]) {
        debug_assert!(ops.len() <= OPS_MAX);
        for (index, op) in ops.iter().enumerate() {
            self.channel.set_op(index, *op);
        }
        self.channel.set(field::OP_COUNT, u32::try_from(ops.len()).unwrap_or(0));
    }

    /// The operation that makes this thread's channel its alternate stack.
    pub(crate) fn stack_op(&self) -> Op {
        let stack = [self.channel.stub_addr() + STACK_OFFSET as u64, 0, STACK_SIZE as u64];
        op(libc::SYS_sigaltstack, [self.scratch(0, &stack), 0, 0, 0, 0, 0])
    }

    /// Receives what was sent to the socket that is the stub's descriptor `socket`.
    pub(crate) fn receive_op(&self, socket: u64) -> Op {
        let at =
            |index: usize| self.channel.stub_addr() + (SCRATCH_OFFSET + 256 + index * 8) as u64;
        // struct msghdr (7 words), struct iovec (2), data (1), control.
        let header = [0, 0, at(7), 1, at(10), 64, 0, at(9), 8, 0];
        let header = self.scratch(32, &header);
        let flags = word(libc::MSG_DONTWAIT);
        op(libc::SYS_recvmsg, [socket, header, flags, 0, 0, 0])
    }

    /// Writes `words` as the scratch's words from `index` on and says where the stub finds them.
    pub(crate) fn scratch(&self, index: usize, words: &[u64]) -> u64 {
        let offset = SCRATCH_OFFSET + index * 8;
        for (index, word) in words.iter().enumerate() {
            self.channel.write(offset + index * 8, &word.to_le_bytes());
        }
        self.channel.stub_addr() + offset as u64
    }

    fn await_within(&self, spins: u32, limit: Duration) -> Result<(), Error> {
        let mut start: Option<Instant> = None;
        wake::wait(self.channel.turn(), spins, None, || {
            self.check()?;
            if start.get_or_insert_with(Instant::now).elapsed() > limit {
                return Err(Error::StubDied { reason: "it does not answer" });
            }
            Ok(wake::DEADLINE)
        })
    }

    fn expect(&self, event: u32) -> Result<(), Error> {
        if self.channel.get(field::EVENT) == event {
            Ok(())
        } else {
            Err(Error::StubDied { reason: "it faulted in its own code" })
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.bell.is_alive() {
            Ok(())
        } else {
            Err(Error::StubDied { reason: "its thread ended" })
        }
    }
}

/// What a thread that waits for another guest needs to be told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest {
    /// The frame that it waits in.
    pub(crate) frame: Frame,
    /// Its segment bases.
    pub(crate) bases: (u64, u64),
    /// The CPU that it is tied to.
    pub(crate) stub_at: Option<usize>,
}

/// A stub process on its way.
#[derive(Debug)]
pub(crate) struct Pending {
    child: Arc<Thread>,
    socket: OwnedFd,
    stub_socket: u64,
}

impl Pending {
    /// Waits until the process says who it is, or `parent` is done: one wake-up fewer than waiting for
    /// the one and then for the other.
    fn await_word(&self, parent: &Thread) -> Result<(), Error> {
        let host = |source| Error::Host { call: "wait for a new stub", source };
        let start = Instant::now();
        while parent.channel.turn().load(Ordering::Acquire) < TURN_SENTRY
            && start.elapsed() < BIRTH_DEADLINE
            && !sys::is_readable(self.socket.as_fd(), LOOK).map_err(host)?
        {}
        Ok(())
    }

    /// Waits until the process of `parent`'s says who it is.
    pub(crate) fn meet(self, parent: &Subprocess) -> Result<(Arc<Subprocess>, Arc<Thread>), Error> {
        let Pending { child, socket, stub_socket } = self;
        // By the kernel's word: what a stub says of itself may be anything.
        let pid = sys::receive_sender(socket.as_fd(), BIRTH_DEADLINE)
            .map_err(|source| Error::Host { call: "wait for a new stub", source })?;
        child.bell.name(pid, pid);
        let process = Arc::new(Subprocess::new(&parent.fixed, pid, socket, stub_socket));
        process.add(&child);
        parent.fixed.registry.register(pid, &process)?;
        Ok((process, child))
    }
}

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
            watchers: Mutex::default(),
            threads: Mutex::new(Threads::default()),
        }
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

    /// Makes `thread`, which runs in this process, fork: a new process with one thread in it, which
    /// will trap into its first frame.
    pub(crate) fn fork(
        &self,
        thread: &Thread,
        spins: u32,
    ) -> Result<(Arc<Subprocess>, Arc<Thread>), Error> {
        let held = self.operations.lock();
        let pass = self.expect(thread);
        let pending = self.begin_fork(thread, 0)?;
        pass.map_or(Ok(()), |pass| pass.admit(thread))?;
        pending.await_word(thread)?;
        thread.done(spins)?;
        let child = self.forked(thread, pending)?;
        drop(held);
        child.meet(self)
    }

    /// The first half of [`Subprocess::fork`]: the stub works on its own from here on, until
    /// [`Thread::done`], but that somebody has to admit it at the gate unless it has the password.
    /// The caller sees to it that nothing else is done with it meanwhile.
    pub(crate) fn begin_fork(&self, thread: &Thread, password: u64) -> Result<Pending, Error> {
        let child = Arc::new(self.fixed.spares.thread()?);
        let (socket, theirs) = self.fixed.spares.sockets()?;
        let addr = child.channel.stub_addr();
        let size = CHANNEL_SIZE as u64;
        let (socket_fd, channel_fd) = self.free_descriptors();
        // The child: drop the parent's things, then say who it is.
        let hello = child.scratch(8, &[0]);
        child.set_ops(&[
            cleanup(libc::SYS_close, [self.stub_socket, 0, 0, 0, 0, 0]),
            cleanup(libc::SYS_close, [channel_fd, 0, 0, 0, 0, 0]),
            op(libc::SYS_madvise, [addr, size, word(libc::MADV_DONTFORK), 0, 0, 0]),
            op(libc::SYS_prctl, [word(libc::PR_SET_PDEATHSIG), word(libc::SIGKILL), 0, 0, 0, 0]),
            child.stack_op(),
            op(libc::SYS_sendto, [socket_fd, hello, 1, 0, 0, 0]),
        ]);
        let sent = child
            .channel
            .give_file(|channel| self.send(&[theirs.as_raw_fd(), channel.as_raw_fd()]));
        sent.unwrap_or(Err(Error::StubDied { reason: "its channel was given away" }))?;
        thread.begin_ops(&[
            thread.receive_op(self.stub_socket),
            map_channel(addr, channel_fd),
            op(libc::SYS_clone, [word(filter::FORK_FLAGS), addr + size, 0, 0, password, 0]),
            op(libc::SYS_munmap, [addr, size, 0, 0, 0, 0]),
            cleanup(libc::SYS_close, [socket_fd, 0, 0, 0, 0, 0]),
            cleanup(libc::SYS_close, [channel_fd, 0, 0, 0, 0, 0]),
        ]);
        Ok(Pending { child, socket, stub_socket: socket_fd })
    }

    /// What `thread` passes the gate by, if there is one.
    fn expect(&self, thread: &Thread) -> Option<Pass<'_>> {
        self.fixed.gate.get().map(|gate| gate.expect(thread))
    }

    /// What came of [`Subprocess::begin_fork`], after [`Thread::done`].
    pub(crate) fn forked(&self, thread: &Thread, pending: Pending) -> Result<Pending, Error> {
        self.cloned(thread, &pending.child, 2, "fork a stub")?;
        Ok(pending)
    }

    /// Whether operation number `clone` of `thread` made `child`; if not, nothing of it stays.
    fn cloned(
        &self,
        thread: &Thread,
        child: &Thread,
        clone: usize,
        call: &'static str,
    ) -> Result<i64, Error> {
        let failed = (0..=clone).find(|index| thread.channel.op_result(*index) < 0);
        let Some(failed) = failed else { return Ok(thread.channel.op_result(clone)) };
        let errno = i32::try_from(-thread.channel.op_result(failed)).unwrap_or(libc::EIO);
        // The channel's mapping is the second operation.
        if failed > 1 {
            let addr = child.channel.stub_addr();
            let unmap = cleanup(libc::SYS_munmap, [addr, CHANNEL_SIZE as u64, 0, 0, 0, 0]);
            thread.run_ops(&[unmap], 0)?;
        }
        Err(Error::Host { call, source: std::io::Error::from_raw_os_error(errno) })
    }

    /// Makes `thread` start another thread in this process.
    pub(crate) fn spawn(&self, thread: &Thread, spins: u32) -> Result<Arc<Thread>, Error> {
        let child = Arc::new(self.fixed.spares.thread()?);
        let addr = child.channel.stub_addr();
        let size = CHANNEL_SIZE as u64;
        let (fd, _) = self.free_descriptors();
        child.set_ops(&[child.stack_op()]);
        let _held = self.operations.lock();
        let sent = child.channel.give_file(|channel| self.send(&[channel.as_raw_fd()]));
        sent.unwrap_or(Err(Error::StubDied { reason: "its channel was given away" }))?;
        let pass = self.expect(thread);
        thread.begin_ops(&[
            thread.receive_op(self.stub_socket),
            map_channel(addr, fd),
            op(libc::SYS_madvise, [addr, size, word(libc::MADV_DONTFORK), 0, 0, 0]),
            op(libc::SYS_clone, [word(filter::THREAD_FLAGS), addr + size, 0, 0, 0, 0]),
            cleanup(libc::SYS_close, [fd, 0, 0, 0, 0, 0]),
        ]);
        pass.map_or(Ok(()), |pass| pass.admit(thread))?;
        thread.done(spins)?;
        let tid = self.cloned(thread, &child, 3, "start a stub thread")?;
        // What the stub calls a thread may be anything; with the process's number it can only name
        // one of its own.
        child.bell.name(self.pid, i32::try_from(tid).unwrap_or(0));
        self.add(&child);
        Ok(child)
    }

    /// The two lowest descriptors that the stub has free.
    pub(crate) fn free_descriptors(&self) -> (u64, u64) {
        if self.stub_socket == 0 { (1, 2) } else { (0, 2) }
    }
}

fn map_channel(addr: u64, fd: u64) -> Op {
    let protection = word(libc::PROT_READ | libc::PROT_WRITE);
    let flags = word(libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE);
    op(libc::SYS_mmap, [addr, CHANNEL_SIZE as u64, protection, flags, fd, 0])
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

/// All stub processes by number, for the thread that reaps them.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: Mutex<HashMap<i32, Entry>>,
}

#[derive(Debug)]
enum Entry {
    Live(Weak<Subprocess>),
    /// Ended before it was registered, with this status.
    Ended(i32),
}

impl Registry {
    /// Ended processes that nobody has asked for; a guest can make such by jumping to the stub's
    /// clone.
    const UNCLAIMED: usize = 256;

    /// A process is known from now on.
    pub(crate) fn register(&self, pid: i32, process: &Arc<Subprocess>) -> Result<(), Error> {
        let mut entries = self.entries.lock();
        match entries.get(&pid) {
            Some(Entry::Live(other)) if other.strong_count() > 0 => {
                return Err(Error::StubDied { reason: "a message came from another stub" });
            }
            Some(Entry::Ended(status)) => {
                let status = *status;
                entries.remove(&pid);
                drop(entries);
                process.end(|| status);
                return Ok(());
            }
            _ => {}
        }
        entries.insert(pid, Entry::Live(Arc::downgrade(process)));
        Ok(())
    }

    /// Process `pid` will be reaped by whoever owns it.
    pub(crate) fn forget(&self, pid: i32) {
        self.entries.lock().remove(&pid);
    }

    /// Process `pid` has ended and is still a zombie.
    pub(crate) fn ended(&self, pid: i32) {
        let reap = || match sys::reap(pid) {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(pid, %error, "a stub cannot be reaped");
                0
            }
        };
        let mut entries = self.entries.lock();
        match entries.remove(&pid) {
            Some(Entry::Live(process)) => {
                drop(entries);
                match process.upgrade() {
                    Some(process) => process.end(reap),
                    None => drop(reap()),
                }
            }
            _ => {
                if entries.len() >= Self::UNCLAIMED {
                    entries.retain(|_, entry| matches!(entry, Entry::Live(_)));
                }
                entries.insert(pid, Entry::Ended(reap()));
            }
        }
    }
}
