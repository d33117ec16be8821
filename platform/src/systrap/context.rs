// SPDX-License-Identifier: Apache-2.0
//! One stub thread under systrap: runs the guest, changes its memory, copies.

use std::{
    fmt,
    os::fd::{AsRawFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
};

use abi::{Errno, UserAddr, UserRange};

use super::{
    frame::Frame,
    futex::Handle,
    shared::{
        BUFFER_OFFSET, BUFFER_SIZE, COMMAND_COPY_IN, COMMAND_COPY_OUT, COMMAND_EXIT,
        COMMAND_RESUME, FEATURE_FSGSBASE, FEATURE_FUTEX, PEEK_OFFSET, PEEK_SIZE,
    },
    subprocess::{Subprocess, within},
    thread::{Rest, Thread, cleanup, op},
    wake,
};
use crate::{
    AddressSpace, Backing, Context, CutWait, Error, Exit, Fault, FutexCall, HostCallError,
    Interrupter, MapOptions, Protection, Registers,
    host::place::{Calm, Place},
    memory::{
        channel::field,
        hostcall::{self, Caller},
    },
    registers::state::StateLayout,
};

/// The first address that no user code can have.
const NON_CANONICAL: u64 = 1 << 47;

/// A stub thread and the right to drive it.
pub(crate) struct SystrapContext {
    thread: Arc<Thread>,
    process: Arc<Subprocess>,
    space: Arc<dyn AddressSpace>,
    layout: Arc<StateLayout>,
    /// Where the registers are, once the thread has trapped for the first time.
    frame: Option<Frame>,
    /// The extended state to start with.
    state: Option<Vec<u8>>,
    /// What the thread's segment bases are.
    bases: (u64, u64),
    place: Place,
    /// What the stub copied of a path that the call names: where, how much, and how often its memory
    /// had been written to by then.
    peek: Option<(u64, u64, u64)>,
    /// How often each side looks at the word before it sleeps.
    looks: u32,
    /// The stub may answer calls about private futexes.
    answers_futexes: bool,
    /// The call that trapped is a wait that was cut short.
    cut: Option<CutWait>,
}

impl SystrapContext {
    pub(crate) fn new(
        process: Arc<Subprocess>,
        thread: Arc<Thread>,
        layout: &Arc<StateLayout>,
        state: Option<Vec<u8>>,
        place: Place,
    ) -> SystrapContext {
        let space = Arc::clone(&process) as Arc<dyn AddressSpace>;
        let layout = Arc::clone(layout);
        let bases = (0, 0);
        SystrapContext {
            thread,
            process,
            space,
            layout,
            frame: None,
            state,
            bases,
            place,
            peek: None,
            looks: 0,
            answers_futexes: false,
            cut: None,
        }
    }

    /// The frame that the stub waits in. Waits for a new thread to come up.
    fn frame(&mut self) -> Result<Frame, Error> {
        if let Some(frame) = self.frame {
            return Ok(frame);
        }
        self.thread.await_birth(self.looks)?;
        let frame = Frame::of(&self.thread.channel)?;
        self.see_bases();
        self.frame = Some(frame);
        if let Some(state) = self.state.take() {
            self.write_state(frame, &state)?;
        }
        Ok(frame)
    }

    fn see_bases(&mut self) {
        if self.process.fixed.features & FEATURE_FSGSBASE != 0 {
            let channel = &self.thread.channel;
            self.bases = (channel.get(field::FS_BASE), channel.get(field::GS_BASE));
        }
    }

    fn write_state(&self, frame: Frame, state: &[u8]) -> Result<(), Error> {
        let offset = frame.state(&self.thread.channel, self.layout.frame_size())?;
        self.thread.channel.write(offset, state);
        Ok(())
    }

    /// A broken protocol is the guest's doing or its death: either way the process goes.
    fn lost(&mut self, error: &Error) -> Exit {
        let status = self.process.status();
        if status.is_none() {
            tracing::warn!(pid = self.process.host_pid(), %error, "a stub is given up");
            self.process.kill();
        }
        Exit::Died(status.unwrap_or(libc::SIGKILL))
    }

    /// Fills `to` with what the stub copied already, if that is all of it.
    fn peeked(&self, addr: u64, to: &mut [u8]) -> bool {
        let Some((start, len, writes)) = self.peek else { return false };
        let Some(skip) = addr.checked_sub(start) else { return false };
        let is_inside = skip.checked_add(to.len() as u64).is_some_and(|end| end <= len);
        is_inside
            && self.process.writes.load(Ordering::SeqCst) == writes
            && self.thread.channel.read(PEEK_OFFSET + usize::try_from(skip).unwrap_or(0), to)
    }

    fn run(&mut self, registers: &mut Registers) -> Result<Exit, Error> {
        (self.peek, self.cut) = (None, None);
        let frame = self.frame()?;
        let channel = &self.thread.channel;
        frame.write(channel, registers);
        let end = self.process.fixed.layout.user.end.raw();
        channel.set(field::FUTEX_END, if self.answers_futexes { end } else { 0 });
        self.thread.begin_run();
        let wanted = (registers.fs_base, registers.gs_base);
        let set_bases = wanted != self.bases;
        if set_bases {
            channel.set(field::FS_BASE, wanted.0);
            channel.set(field::GS_BASE, wanted.1);
        }
        channel.set(field::SET_BASES, u32::from(set_bases));
        channel.set(field::COMMAND, COMMAND_RESUME);
        if !self.thread.bell.start() {
            self.thread.bell.take();
            return Ok(Exit::Interrupted);
        }
        // Only now: a stub that is not told to go on does not set them.
        self.bases = wanted;
        let calm = || -> Calm {
            let thread = Arc::clone(&self.thread);
            Box::new(move || thread.channel.set(field::SPINS, 0))
        };
        let last_cpu = channel.get(field::CPU);
        let looks = self.place.enter(last_cpu, || self.thread.bell.checked_tid(), Some(&calm));
        let patience = self.place.patience();
        self.looks = looks;
        channel.set(field::SPINS, looks);
        wake::give(channel.turn());
        let (place, thread) = (&mut self.place, &self.thread);
        let result = thread.await_guest(looks, patience, || {
            place.let_go(thread.quiet(), || thread.bell.checked_tid());
        });
        self.thread.bell.stop();
        self.thread.bell.doze(false);
        self.place.leave();
        result?;
        let frame = Frame::of(&self.thread.channel)?;
        let exit = frame.read(&self.thread.channel, registers)?;
        self.frame = Some(frame);
        self.see_bases();
        (registers.fs_base, registers.gs_base) = self.bases;
        if exit == Exit::Syscall {
            let channel = &self.thread.channel;
            let len = u64::from(channel.get(field::PEEK_LEN)).min(PEEK_SIZE as u64);
            let writes = self.process.writes.load(Ordering::SeqCst);
            self.peek = Some((channel.get(field::PEEK_ADDR), len, writes));
            self.cut = self.thread.cut();
        }
        if exit == Exit::Interrupted {
            self.thread.bell.take();
        }
        Ok(exit)
    }

    /// Copies through the channel when the stub is awake, else not at all.
    fn copy(&mut self, command: u32, addr: u64, len: usize) -> Option<usize> {
        let channel = &self.thread.channel;
        channel.set(field::COPY_ADDR, addr);
        channel.set(field::COPY_LEN, len as u64);
        self.thread.command(command, self.looks).ok()?;
        let left = usize::try_from(channel.get(field::COPY_LEFT)).ok()?;
        len.checked_sub(left)
    }

    /// With what its thread can serve another guest, if it waits for orders.
    fn rest(&self) -> Option<Rest> {
        let waits = wake::is_waiting(self.thread.channel.turn());
        let (bases, stub_at) = (self.bases, self.place.stub_at());
        self.frame.filter(|_| waits).map(|frame| Rest { frame, bases, stub_at })
    }

    /// Whether the stub can copy at once. On the sentry's CPU it cannot, though it may not have gone to
    /// sleep yet: two switches of threads cost more than a copy from outside.
    fn is_watching(&self) -> bool {
        self.looks > 0 && self.frame.is_some() && wake::is_watching(self.thread.channel.turn())
    }
}

impl Context for SystrapContext {
    fn switch(&mut self, registers: &mut Registers) -> Result<Exit, Error> {
        if let Some(status) = self.process.status() {
            return Ok(Exit::Died(status));
        }
        if self.thread.bell.take() {
            return Ok(Exit::Interrupted);
        }
        if registers.fs_base >= NON_CANONICAL || registers.gs_base >= NON_CANONICAL {
            // The hardware would refuse the base itself.
            let (signal, code) = (libc::SIGSEGV, 0x80);
            return Ok(Exit::Fault(Fault { signal, code, addr: 0, trap_no: 13, error_code: 0 }));
        }
        Ok(self.run(registers).unwrap_or_else(|error| self.lost(&error)))
    }

    fn interrupter(&self) -> Interrupter {
        Interrupter::of(Handle(Arc::downgrade(&self.thread)))
    }

    fn has_own_futexes(&self) -> bool {
        self.process.fixed.features & FEATURE_FUTEX != 0
    }

    fn answer_futexes(&mut self, may: bool) {
        self.answers_futexes = may && self.has_own_futexes();
    }

    fn take_cut(&mut self) -> Option<CutWait> {
        self.cut.take()
    }

    fn futex(&mut self, call: &FutexCall) -> Result<u32, HostCallError> {
        hostcall::futex(self, call)
    }

    fn waited(&self, ns: u64) -> u64 {
        if self.answers_futexes { self.thread.waited(ns) } else { 0 }
    }

    fn space(&self) -> &Arc<dyn AddressSpace> {
        &self.space
    }

    fn map(
        &mut self,
        range: UserRange,
        protection: Protection,
        backing: Backing<'_>,
        options: MapOptions,
    ) -> Result<(), HostCallError> {
        hostcall::map(self, range, protection, backing, options)
    }

    fn unmap(&mut self, range: UserRange) -> Result<(), HostCallError> {
        hostcall::unmap(self, range)
    }

    fn protect(&mut self, range: UserRange, protection: Protection) -> Result<(), HostCallError> {
        hostcall::protect(self, range, protection)
    }

    fn remap(&mut self, from: UserRange, to: UserRange, keep: bool) -> Result<(), HostCallError> {
        hostcall::remap(self, from, to, keep)
    }

    fn advise(&mut self, range: UserRange, advice: i32) -> Result<(), HostCallError> {
        hostcall::advise(self, range, advice)
    }

    fn sync(&mut self, range: UserRange, flags: i32) -> Result<(), HostCallError> {
        hostcall::sync(self, range, flags)
    }

    fn residency(&mut self, range: UserRange, to: &mut [u8]) -> Result<(), HostCallError> {
        hostcall::residency(self, range, to)
    }

    fn membarrier(&mut self, command: i32, flags: u32) -> Result<i32, HostCallError> {
        hostcall::membarrier(self, command, flags)
    }

    fn read(&mut self, addr: UserAddr, to: &mut [u8]) -> usize {
        let len = within(&self.process.fixed, addr, to.len());
        if len == to.len() && self.peeked(addr.raw(), to) {
            return len;
        }
        if len > 0
            && len <= BUFFER_SIZE
            && self.is_watching()
            && let Some(done) = self.copy(COMMAND_COPY_IN, addr.raw(), len)
        {
            return match to.get_mut(..done).map(|to| self.thread.channel.read_buffer(to)) {
                Some(true) => done,
                _ => 0,
            };
        }
        self.process.read(addr, to)
    }

    fn write(&mut self, addr: UserAddr, from: &[u8]) -> usize {
        self.peek = None;
        let len = within(&self.process.fixed, addr, from.len());
        if len > 0
            && len <= BUFFER_SIZE
            && self.is_watching()
            && let Some(from) = from.get(..len)
            && self.thread.channel.write_buffer(from)
            && let Some(done) = self.copy(COMMAND_COPY_OUT, addr.raw(), len)
        {
            return done;
        }
        self.process.write(addr, from)
    }

    fn spawn_thread(&mut self) -> Result<Box<dyn Context>, Error> {
        self.place.make_room();
        let state = self.extended_state()?;
        let (process, place) = (Arc::clone(&self.process), self.place.child());
        if let Some((thread, rest)) = self.process.reuse() {
            let place = place.with_stub_at(rest.stub_at);
            let mut context = SystrapContext::new(process, thread, &self.layout, None, place);
            (context.frame, context.bases) = (Some(rest.frame), rest.bases);
            context.write_state(rest.frame, &state)?;
            return Ok(Box::new(context));
        }
        let thread = self.process.spawn(&self.thread, self.looks)?;
        Ok(Box::new(SystrapContext::new(process, thread, &self.layout, Some(state), place)))
    }

    fn fork(&mut self) -> Result<Box<dyn Context>, Error> {
        self.place.make_room();
        let state = self.extended_state()?;
        let (process, thread) = self.process.fork(&self.thread, self.looks)?;
        let place = self.place.child();
        Ok(Box::new(SystrapContext::new(process, thread, &self.layout, Some(state), place)))
    }

    fn extended_state(&mut self) -> Result<Vec<u8>, Error> {
        let frame = self.frame()?;
        let offset = frame.state(&self.thread.channel, self.layout.frame_size())?;
        let mut state = vec![0; self.layout.size()];
        self.thread.channel.read(offset, &mut state);
        self.layout.sign(&mut state);
        Ok(state)
    }

    fn set_extended_state(&mut self, state: &[u8]) -> Result<(), HostCallError> {
        let state = self.layout.accept(state).ok_or(HostCallError::Refused(Errno::EINVAL))?;
        let frame = self.frame()?;
        Ok(self.write_state(frame, &state)?)
    }

    fn reset_extended_state(&mut self) -> Result<(), Error> {
        let frame = self.frame()?;
        self.write_state(frame, &self.layout.initial())
    }

    fn exit(self: Box<Self>) {
        // Dropping it does.
    }
}

impl Caller for SystrapContext {
    fn call(&mut self, number: i64, args: [u64; 6]) -> Result<i64, Error> {
        self.peek = None;
        self.frame()?;
        self.thread.run_ops(&[op(number, args)], self.looks)?;
        Ok(self.thread.channel.op_result(0))
    }

    fn call_with_file(
        &mut self,
        number: i64,
        mut args: [u64; 6],
        file: BorrowedFd<'_>,
    ) -> Result<i64, Error> {
        self.peek = None;
        self.frame()?;
        let (fd, _) = self.process.free_descriptors();
        let [.., place, _] = &mut args;
        *place = fd;
        let _held = self.process.operations.lock();
        self.process.send(&[file.as_raw_fd()])?;
        let ops = [
            self.thread.receive_op(self.process.stub_socket),
            op(number, args),
            cleanup(libc::SYS_close, [fd, 0, 0, 0, 0, 0]),
        ];
        self.thread.run_ops(&ops, self.looks)?;
        if self.thread.channel.op_result(0) < 0 {
            return Err(Error::StubDied { reason: "it did not receive a file" });
        }
        Ok(self.thread.channel.op_result(1))
    }

    fn call_into(
        &mut self,
        number: i64,
        mut args: [u64; 6],
        index: usize,
        to: &mut [u8],
    ) -> Result<i64, Error> {
        if let Some(place) = args.get_mut(index) {
            *place = self.thread.channel.stub_addr() + BUFFER_OFFSET as u64;
        }
        let result = self.call(number, args)?;
        if result >= 0 {
            self.thread.channel.read_buffer(to);
        }
        Ok(result)
    }

    fn user_range(&self) -> UserRange {
        self.process.fixed.layout.user
    }
}

impl Drop for SystrapContext {
    fn drop(&mut self) {
        self.place.leave_for_good();
        let rest = self.rest();
        if self.process.remove(&self.thread, rest) && self.frame().is_ok() {
            self.thread.channel.set(field::COMMAND, COMMAND_EXIT);
            wake::give(self.thread.channel.turn());
        }
        let (thread, process) = (Arc::clone(&self.thread), Arc::clone(&self.process));
        self.process.fixed.spares.discard(thread, process);
    }
}

impl fmt::Debug for SystrapContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.process.host_pid();
        f.debug_struct("SystrapContext").field("pid", &pid).finish_non_exhaustive()
    }
}
