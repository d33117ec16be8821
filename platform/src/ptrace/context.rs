// SPDX-License-Identifier: Apache-2.0
//! One stub thread under ptrace: runs the guest, changes its memory, copies.
//!
//! Until its first run a thread is traced only while something is done to it, so that another thread
//! of the sentry can be the one that runs it. Afterwards it stays with the thread that ran it.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::Arc,
};

use abi::{Errno, UserAddr, UserRange};

use super::{
    inject::{self, Done, Gadget},
    tracee::{Came, Stopped},
};
use crate::{
    AddressSpace, Backing, Context, Error, Exit, Fault, HostCallError, Interrupter, MapOptions,
    Protection, Registers,
    host::place::Place,
    interrupt::{Bell, INTERRUPT},
    memory::hostcall::{self, Caller, word},
    registers::{USER_CS, USER_EFLAGS, USER_SS, state::StateLayout},
    sys::{
        self,
        ptrace::{Resume, Stop},
    },
    systrap::{
        filter::{FORK_FLAGS, THREAD_FLAGS},
        shared::CHANNEL_SIZE,
        stub::offset,
        subprocess::{Subprocess, within},
        thread::Thread,
    },
};

/// The first address that no user code can have.
const NON_CANONICAL: u64 = 1 << 47;
/// `AUDIT_ARCH_X86_64`.
const ARCH: u32 = 0xc000_003e;
/// A cause that the kernel does not attribute to an address.
const SI_KERNEL: i32 = 0x80;

/// A stub thread and the right to drive it.
pub(crate) struct PtraceContext {
    tracee: Tracee,
    /// Whether it has run, and so stays with its tracer.
    has_run: bool,
    /// Calls to be made when the thread is first attached to.
    first_calls: Vec<(i64, [u64; 6])>,
    state: Option<Vec<u8>>,
    bell: Arc<Bell>,
    process: Arc<Subprocess>,
    space: Arc<dyn AddressSpace>,
    layout: Arc<StateLayout>,
    place: Place,
}

enum Tracee {
    /// In the stub's parking place, untraced.
    Parked,
    Stopped(Stopped),
    /// Traced, but nobody knows where it is; its process is being killed.
    Lost,
    /// It ended.
    Gone,
}

impl PtraceContext {
    /// The first thread of a process from the zygote: it waits in the stub's handler.
    pub(crate) fn first(
        process: Arc<Subprocess>,
        thread: &Thread,
        layout: &Arc<StateLayout>,
    ) -> PtraceContext {
        let channel = thread.channel.stub_addr();
        let bell = Arc::clone(&thread.bell);
        let state = Some(layout.initial());
        let mut context = PtraceContext::new(process, bell, layout, state);
        let unmap = (libc::SYS_munmap, [channel, CHANNEL_SIZE as u64, 0, 0, 0, 0]);
        context.first_calls.push(unmap);
        context
    }

    fn new(
        process: Arc<Subprocess>,
        bell: Arc<Bell>,
        layout: &Arc<StateLayout>,
        state: Option<Vec<u8>>,
    ) -> PtraceContext {
        PtraceContext {
            tracee: Tracee::Parked,
            has_run: false,
            first_calls: Vec::new(),
            state,
            bell,
            space: Arc::clone(&process) as Arc<dyn AddressSpace>,
            process,
            layout: Arc::clone(layout),
            place: Place::default(),
        }
    }

    /// Takes the tracee out for something that consumes it.
    fn take(&mut self) -> Tracee {
        match self.tracee {
            Tracee::Stopped(_) => std::mem::replace(&mut self.tracee, Tracee::Lost),
            Tracee::Parked => Tracee::Parked,
            Tracee::Lost => Tracee::Lost,
            Tracee::Gone => Tracee::Gone,
        }
    }

    fn ended(&mut self, status: i32) -> Error {
        self.tracee = Tracee::Gone;
        if self.bell.tid() == self.process.host_pid() {
            self.process.end(|| status);
        } else {
            // One thread does not end alone: the others follow.
            self.process.kill();
        }
        Error::StubDied { reason: "its process ended" }
    }

    fn failed(&mut self, source: io::Error) -> Error {
        self.process.kill();
        Error::Host { call: "trace a stub", source }
    }

    /// Attaches if need be, and makes the calls that are due.
    fn attached(&mut self) -> Result<(), Error> {
        match self.tracee {
            Tracee::Stopped(_) => return Ok(()),
            Tracee::Lost | Tracee::Gone => {
                return Err(Error::StubDied { reason: "its process ended" });
            }
            Tracee::Parked => {}
        }
        let stopped = match Stopped::attach(self.bell.tid()) {
            Ok(Came::Stopped(stopped, _)) => stopped,
            Ok(Came::Ended(status)) => return Err(self.ended(status)),
            Err(error) => return Err(self.failed(error)),
        };
        if let Err(error) = stopped.clear_signal_mask() {
            return Err(self.failed(error));
        }
        self.tracee = Tracee::Stopped(stopped);
        for (number, args) in std::mem::take(&mut self.first_calls) {
            self.inject(number, args)?;
        }
        if let Some(state) = self.state.take() {
            self.write_state(&state)?;
        }
        Ok(())
    }

    /// Lets go of a thread that has not run, so that any other may attach to it.
    fn release(&mut self) -> Result<(), Error> {
        if self.has_run {
            return Ok(());
        }
        self.park()
    }

    /// Sends the thread to the stub's parking place and detaches.
    fn park(&mut self) -> Result<(), Error> {
        if !matches!(self.tracee, Tracee::Stopped(_)) {
            return Ok(());
        }
        let Tracee::Stopped(stopped) = self.take() else { return Ok(()) };
        let park = |stopped: Stopped| {
            let registers = Registers {
                rip: self.process.fixed.text + offset::PARK,
                orig_rax: u64::MAX,
                rsp: 0,
                ..stopped.registers()?
            };
            stopped.set_registers(&registers)?;
            stopped.detach()
        };
        match park(stopped) {
            Ok(()) => {
                self.tracee = Tracee::Parked;
                Ok(())
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn inject(&mut self, number: i64, args: [u64; 6]) -> Result<i64, Error> {
        let gadget = Gadget::call(self.process.fixed.text);
        self.inject_by(gadget, number, args)
    }

    fn inject_by(&mut self, gadget: Gadget, number: i64, args: [u64; 6]) -> Result<i64, Error> {
        let Tracee::Stopped(stopped) = self.take() else {
            return Err(Error::StubDied { reason: "its process ended" });
        };
        match inject::call(stopped, gadget, &self.bell, number, args) {
            Ok(Done::Returned(stopped, result)) => {
                self.tracee = Tracee::Stopped(stopped);
                Ok(result)
            }
            Ok(Done::Ended(status)) => Err(self.ended(status)),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Has the stub receive what was just sent to its socket. The header lies where the guest can
    /// change it; all that can come of it is that the files go elsewhere or nowhere in that guest.
    fn receive(&mut self) -> Result<(), Error> {
        let base = self.process.fixed.scratch;
        let at = |index: u64| base + index * 8;
        let header = [0, 0, at(7), 1, at(10), 64, 0, at(9), 8, 0];
        let mut bytes = [0; 80];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(header) {
            *to = u64::to_le_bytes(word);
        }
        self.process.write_anywhere(base, &bytes);
        let flags = word(libc::MSG_DONTWAIT);
        let socket = self.process.stub_socket;
        let received = self.inject(libc::SYS_recvmsg, [socket, base, flags, 0, 0, 0])?;
        if received < 0 {
            return Err(Error::StubDied { reason: "it did not receive a file" });
        }
        Ok(())
    }

    fn close(&mut self, fd: u64) -> Result<(), Error> {
        self.inject(libc::SYS_close, [fd, 0, 0, 0, 0, 0]).map(drop)
    }

    fn clone_thread(&mut self, flags: i32) -> Result<i32, Error> {
        let gadget = Gadget::clone(self.process.fixed.text);
        let result = self.inject_by(gadget, libc::SYS_clone, [word(flags), 0, 0, 0, 0, 0])?;
        i32::try_from(result).ok().filter(|tid| *tid > 0).ok_or_else(|| Error::Host {
            call: "clone a stub",
            source: io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EIO)),
        })
    }

    fn write_state(&mut self, state: &[u8]) -> Result<(), Error> {
        let Tracee::Stopped(stopped) = &self.tracee else {
            return Err(Error::StubDied { reason: "its process ended" });
        };
        let write = || {
            let mut whole = stopped.extended_state()?;
            for (to, from) in whole.iter_mut().zip(state) {
                *to = *from;
            }
            stopped.set_extended_state(&mut whole)
        };
        write().map_err(|source| Error::Host { call: "set a stub's state", source })
    }

    fn read_state(&self) -> Result<Vec<u8>, Error> {
        let Tracee::Stopped(stopped) = &self.tracee else {
            return Err(Error::StubDied { reason: "its process ended" });
        };
        let mut state = stopped
            .extended_state()
            .map_err(|source| Error::Host { call: "read a stub's state", source })?;
        state.resize(self.layout.size(), 0);
        self.layout.sign(&mut state);
        Ok(state)
    }

    fn run(&mut self, registers: &mut Registers) -> Result<Exit, Error> {
        self.attached()?;
        self.has_run = true;
        if !self.bell.start() {
            self.bell.take();
            return Ok(Exit::Interrupted);
        }
        self.place.enter(u32::MAX, || self.bell.checked_tid(), None);
        let result = self.run_traced(registers);
        self.bell.stop();
        self.place.leave();
        result
    }

    fn run_traced(&mut self, registers: &mut Registers) -> Result<Exit, Error> {
        let Tracee::Stopped(stopped) = self.take() else {
            return Err(Error::StubDied { reason: "its process ended" });
        };
        let clean = Registers {
            orig_rax: u64::MAX,
            cs: USER_CS,
            ss: USER_SS,
            eflags: (registers.eflags & USER_EFLAGS) | 0x202,
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
            ..*registers
        };
        match run_until_exit(stopped, &clean) {
            Ok(Ran::Exited(stopped, after, exit)) => {
                self.tracee = Tracee::Stopped(stopped);
                *registers = *after;
                if exit == Exit::Interrupted {
                    self.bell.take();
                }
                Ok(exit)
            }
            Ok(Ran::Ended(status)) => Err(self.ended(status)),
            Err(error) => Err(self.failed(error)),
        }
    }
}

enum Ran {
    Exited(Stopped, Box<Registers>, Exit),
    Ended(i32),
}

fn run_until_exit(stopped: Stopped, registers: &Registers) -> io::Result<Ran> {
    // What the kernel refuses to load is the guest's fault, as when it had got there by itself.
    if let Err(error) = stopped.set_registers(registers) {
        if error.raw_os_error() != Some(libc::EIO) {
            return Err(error);
        }
        let fault =
            Fault { signal: libc::SIGSEGV, code: SI_KERNEL, addr: 0, trap_no: 13, error_code: 0 };
        return Ok(Ran::Exited(stopped, Box::new(*registers), Exit::Fault(fault)));
    }
    let mut running = stopped.resume(Resume::Emulating)?;
    loop {
        let (stopped, stop) = match running.wait()? {
            Came::Ended(status) => return Ok(Ran::Ended(status)),
            Came::Stopped(stopped, stop) => (stopped, stop),
        };
        let exit = match stop {
            Stop::Event | Stop::Ended(_) => {
                running = stopped.resume(Resume::Emulating)?;
                continue;
            }
            Stop::Call => {
                let mut after = Box::new(stopped.registers()?);
                let exit = if stopped.call_arch()? == ARCH {
                    after.rax = (-i64::from(libc::ENOSYS)).cast_unsigned();
                    Exit::Syscall
                } else {
                    // As on a kernel without 32-bit calls: `int 0x80` has no gate.
                    after.rip = after.rip.wrapping_sub(2);
                    after.rax = after.orig_rax;
                    after.orig_rax = u64::MAX;
                    Exit::Fault(Fault {
                        signal: libc::SIGSEGV,
                        code: SI_KERNEL,
                        addr: 0,
                        trap_no: 13,
                        error_code: 0x80 * 8 + 2,
                    })
                };
                return Ok(Ran::Exited(stopped, after, exit));
            }
            Stop::Signal(INTERRUPT) => Exit::Interrupted,
            Stop::Signal(libc::SIGSYS) => {
                // The vsyscall page, which only the filter sees.
                let mut after = Box::new(stopped.registers()?);
                after.orig_rax = after.rax;
                after.rax = (-i64::from(libc::ENOSYS)).cast_unsigned();
                return Ok(Ran::Exited(stopped, after, Exit::Syscall));
            }
            Stop::Signal(
                signal @ (libc::SIGSEGV
                | libc::SIGBUS
                | libc::SIGFPE
                | libc::SIGILL
                | libc::SIGTRAP),
            ) => {
                let [_, code, addr, _] = stopped.signal_info()?;
                let code = i32::try_from(code & 0xffff_ffff).unwrap_or(0);
                let rip = stopped.registers()?.rip;
                Exit::Fault(infer(signal, code, addr, rip))
            }
            Stop::Signal(_) => Exit::Interrupted,
        };
        let mut after = Box::new(stopped.registers()?);
        after.orig_rax = u64::MAX;
        return Ok(Ran::Exited(stopped, after, exit));
    }
}

/// A fault with what siginfo_t lets one say about the exception.
///
/// DIFFERS: the host keeps the exception's number and error code to itself; whether a page fault was
/// a load or a store cannot be known, so it is called a load.
fn infer(signal: i32, code: i32, addr: u64, rip: u64) -> Fault {
    let (trap_no, error_code) = match (signal, code) {
        (libc::SIGSEGV, SI_KERNEL) => (13, 0),
        (libc::SIGSEGV, _) => {
            let present = u64::from(code == 2);
            let fetch = if addr == rip { 0x10 } else { 0 };
            (14, 4 | present | fetch)
        }
        (libc::SIGBUS, 1) => (17, 0),
        (libc::SIGBUS, _) => (14, 4),
        (libc::SIGFPE, 1) => (0, 0),
        (libc::SIGFPE, _) => (19, 0),
        (libc::SIGILL, _) => (6, 0),
        (libc::SIGTRAP, SI_KERNEL) => (3, 0),
        _ => (1, 0),
    };
    Fault { signal, code, addr: if code == SI_KERNEL { 0 } else { addr }, trap_no, error_code }
}

impl Context for PtraceContext {
    fn switch(&mut self, registers: &mut Registers) -> Result<Exit, Error> {
        if let Some(status) = self.process.status() {
            return Ok(Exit::Died(status));
        }
        if self.bell.take() {
            return Ok(Exit::Interrupted);
        }
        if registers.fs_base >= NON_CANONICAL || registers.gs_base >= NON_CANONICAL {
            let (signal, code) = (libc::SIGSEGV, SI_KERNEL);
            return Ok(Exit::Fault(Fault { signal, code, addr: 0, trap_no: 13, error_code: 0 }));
        }
        Ok(self.run(registers).unwrap_or_else(|error| {
            let status = self.process.status();
            if status.is_none() {
                tracing::warn!(pid = self.process.host_pid(), %error, "a stub is given up");
                self.process.kill();
            }
            Exit::Died(status.unwrap_or(libc::SIGKILL))
        }))
    }

    fn interrupter(&self) -> Interrupter {
        let bell = Arc::clone(&self.bell);
        Interrupter::new(move || {
            bell.ring();
        })
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
        self.process.read(addr, to)
    }

    fn write(&mut self, addr: UserAddr, from: &[u8]) -> usize {
        self.process.write(addr, from)
    }

    fn poke(&mut self, addr: UserAddr, from: &[u8]) -> usize {
        let len = within(&self.process.fixed, addr, from.len());
        let (Some(from), Ok(())) = (from.get(..len), self.attached()) else { return 0 };
        let done = sys::poke_words(self.bell.tid(), addr.raw(), from);
        self.release().ok();
        done
    }

    fn spawn_thread(&mut self) -> Result<Box<dyn Context>, Error> {
        self.attached()?;
        let process = Arc::clone(&self.process);
        let held = process.operations.lock();
        let tid = self.clone_thread(THREAD_FLAGS)?;
        drop(held);
        self.release()?;
        let bell = Arc::new(Bell::default());
        bell.name(self.process.host_pid(), tid);
        self.process.count_thread();
        let process = Arc::clone(&self.process);
        // The host gave the new thread this one's state.
        let mut context = PtraceContext::new(process, bell, &self.layout, None);
        context.place = self.place.child();
        Ok(Box::new(context))
    }

    fn fork(&mut self) -> Result<Box<dyn Context>, Error> {
        self.attached()?;
        let (socket, theirs) = sys::socket_pair()
            .map_err(|source| Error::Host { call: "make a stub's socket", source })?;
        sys::pass_credentials(socket.as_fd())
            .map_err(|source| Error::Host { call: "set up a stub's socket", source })?;
        let (fd, _) = self.process.free_descriptors();
        let process = Arc::clone(&self.process);
        let held = process.operations.lock();
        process.send(&[theirs.as_raw_fd()])?;
        self.receive()?;
        let pid = process.unkilled(|| self.clone_thread(FORK_FLAGS));
        // From here on it ends with what stands for it, whatever becomes of its parent.
        let child = pid.map(|pid| Subprocess::new(&self.process.fixed, pid, socket, fd));
        self.close(fd)?;
        drop(held);
        let child = Arc::new(child?);
        let pid = child.host_pid();
        self.release()?;
        child.count_thread();
        let bell = Arc::new(Bell::default());
        bell.name(pid, pid);
        let mut context = PtraceContext::new(child, bell, &self.layout, None);
        let close = (libc::SYS_close, [self.process.stub_socket, 0, 0, 0, 0, 0]);
        let die = [word(libc::PR_SET_PDEATHSIG), word(libc::SIGKILL), 0, 0, 0, 0];
        context.first_calls = vec![close, (libc::SYS_prctl, die)];
        context.place = self.place.child();
        Ok(Box::new(context))
    }

    fn extended_state(&mut self) -> Result<Vec<u8>, Error> {
        self.attached()?;
        let state = self.read_state()?;
        self.release()?;
        Ok(state)
    }

    fn set_extended_state(&mut self, state: &[u8]) -> Result<(), HostCallError> {
        let state = self.layout.accept(state).ok_or(HostCallError::Refused(Errno::EINVAL))?;
        self.attached()?;
        self.write_state(&state)?;
        Ok(self.release()?)
    }

    fn reset_extended_state(&mut self) -> Result<(), Error> {
        self.attached()?;
        self.write_state(&self.layout.initial())?;
        self.release()
    }

    fn exit(self: Box<Self>) {
        // Dropping it does.
    }
}

impl Caller for PtraceContext {
    fn call(&mut self, number: i64, args: [u64; 6]) -> Result<i64, Error> {
        self.attached()?;
        let result = self.inject(number, args)?;
        self.release()?;
        Ok(result)
    }

    fn call_with_file(
        &mut self,
        number: i64,
        mut args: [u64; 6],
        file: BorrowedFd<'_>,
    ) -> Result<i64, Error> {
        self.attached()?;
        let (fd, _) = self.process.free_descriptors();
        let [.., place, _] = &mut args;
        *place = fd;
        let process = Arc::clone(&self.process);
        let held = process.operations.lock();
        process.send(&[file.as_raw_fd()])?;
        self.receive()?;
        let result = self.inject(number, args)?;
        self.close(fd)?;
        drop(held);
        self.release()?;
        Ok(result)
    }

    fn call_into(
        &mut self,
        number: i64,
        mut args: [u64; 6],
        index: usize,
        to: &mut [u8],
    ) -> Result<i64, Error> {
        let scratch = self.process.fixed.scratch;
        if let Some(place) = args.get_mut(index) {
            *place = scratch;
        }
        let process = Arc::clone(&self.process);
        let held = process.operations.lock();
        let result = self.call(number, args)?;
        if result >= 0 && process.read_anywhere(scratch, to) < to.len() {
            return Err(Error::StubDied { reason: "its scratch memory is gone" });
        }
        drop(held);
        Ok(result)
    }

    fn user_range(&self) -> UserRange {
        self.process.fixed.layout.user
    }
}

impl Drop for PtraceContext {
    fn drop(&mut self) {
        self.place.leave_for_good();
        let leader = self.bell.tid() == self.process.host_pid();
        let last = self.process.uncount_thread();
        if last {
            self.process.kill();
        } else if leader {
            // The host finds a process's memory by its first thread, so that one stays.
            if let Err(error) = self.park() {
                tracing::debug!(%error, "a stub's first thread cannot stay");
            }
            return;
        } else if self.attached().is_ok()
            && let Tracee::Stopped(stopped) = self.take()
        {
            let gadget = Gadget::call(self.process.fixed.text);
            match inject::call(stopped, gadget, &self.bell, libc::SYS_exit, [0; 6]) {
                Ok(Done::Ended(_)) => self.tracee = Tracee::Gone,
                other => {
                    tracing::debug!(?other, "a stub thread does not leave");
                    self.process.kill();
                }
            }
        }
        // A traced thread that ended is a zombie until its tracer has looked.
        while matches!(self.tracee, Tracee::Stopped(_) | Tracee::Lost) {
            match sys::ptrace::wait(self.bell.tid()) {
                Ok(Stop::Ended(status)) => {
                    self.tracee = Tracee::Gone;
                    if leader {
                        self.process.end(|| status);
                    }
                }
                Ok(_) => {}
                Err(_) => self.tracee = Tracee::Gone,
            }
        }
    }
}

impl fmt::Debug for PtraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.process.host_pid();
        f.debug_struct("PtraceContext").field("pid", &pid).finish_non_exhaustive()
    }
}
