// SPDX-License-Identifier: Apache-2.0
//! How a stub thread makes another one, or a process.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    filter,
    gate::Pass,
    shared::{CHANNEL_SIZE, COMMAND_EXIT, OP_ANNOUNCE, Op, TURN_NEWBORN, TURN_SENTRY},
    subprocess::Subprocess,
    thread::{BIRTH_DEADLINE, Thread, cleanup, op},
    wake,
};
use crate::{AddressSpace, Error, memory::hostcall::word, sys};

/// How often to look whether it has failed before.
const LOOK: Duration = Duration::from_millis(5);
/// How long a stub that nobody wants may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

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

    /// Ends the process, if it was made after all: nobody will drive it, and nobody else knows of it. A
    /// guest that writes over its parent's channel can have the order fail as it likes after the clone.
    fn forgo(self, parent: &Subprocess) {
        // Whoever has the other end is the parent, on its way, or the child.
        if sys::is_hung_up(self.socket.as_fd()) {
            return;
        }
        parent.kill();
        let start = Instant::now();
        while !sys::is_hung_up(self.socket.as_fd()) {
            if sys::is_readable(self.socket.as_fd(), LOOK).unwrap_or(false) {
                // It says who it is; and ends, as what comes of this is dropped.
                if let Err(error) = self.meet(parent) {
                    tracing::debug!(%error, "a stub that nobody wants is gone");
                }
                return;
            }
            // It does not say so any more, but obeys.
            if wake::is_waiting(self.child.channel.turn()) {
                self.child.begin(COMMAND_EXIT);
            }
            if start.elapsed() > FAREWELL {
                tracing::warn!(pid = parent.host_pid(), "a child of this stub may be left");
                return;
            }
        }
    }
}

impl Subprocess {
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
        let carried_out = pass
            .map_or(Ok(()), |pass| pass.admit(thread))
            .and_then(|()| pending.await_word(thread))
            .and_then(|()| thread.done(spins))
            .and_then(|()| self.cloned(thread, &pending.child, 2, "fork a stub"));
        if let Err(error) = carried_out {
            pending.forgo(self);
            return Err(error);
        }
        drop(held);
        pending.meet(self)
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
        // The child: drop the parent's things, and trap; from its frame it says who it is. So whoever
        // hears that need not wait for the frame.
        child.set_ops(&[
            cleanup(libc::SYS_close, [self.stub_socket, 0, 0, 0, 0, 0]),
            cleanup(libc::SYS_close, [channel_fd, 0, 0, 0, 0, 0]),
            op(libc::SYS_madvise, [addr, size, word(libc::MADV_DONTFORK), 0, 0, 0]),
            op(libc::SYS_prctl, [word(libc::PR_SET_PDEATHSIG), word(libc::SIGKILL), 0, 0, 0, 0]),
            child.stack_op(),
        ]);
        let hello = [socket_fd, child.scratch(8, &[0]), 1, 0, 0, 0];
        child.channel.set_op(OP_ANNOUNCE, op(libc::SYS_sendto, hello));
        child.channel.turn().store(TURN_NEWBORN, Ordering::SeqCst);
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
        child.bell.name(self.host_pid(), i32::try_from(tid).unwrap_or(0));
        self.add(&child);
        Ok(child)
    }
}

fn map_channel(addr: u64, fd: u64) -> Op {
    let protection = word(libc::PROT_READ | libc::PROT_WRITE);
    let flags = word(libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE);
    op(libc::SYS_mmap, [addr, CHANNEL_SIZE as u64, protection, flags, fd, 0])
}
