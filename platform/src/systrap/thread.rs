// SPDX-License-Identifier: Apache-2.0
//! One stub thread, from the sentry's side: commands, operations, waits.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use super::{
    frame::Frame,
    shared::{
        CHANNEL_SIZE, COMMAND_OPS, EVENT_DONE, EVENT_SIGNAL, OP_ALWAYS, OP_MAY_FAIL, OPS_MAX, Op,
        SCRATCH_OFFSET, STACK_OFFSET, STACK_SIZE,
    },
    wake,
};
use crate::{
    ANSWER_DEADLINE, Error,
    interrupt::Bell,
    memory::{
        channel::{Channel, field},
        hostcall::word,
        range::{self, Layout},
    },
};

/// How long a stub may take for a command. It may have to page in a lot.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// How long a new stub may take to say that it is there.
pub(crate) const BIRTH_DEADLINE: Duration = ANSWER_DEADLINE;

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
