// SPDX-License-Identifier: Apache-2.0
//! A task seen from its own thread: registers, memory, the right to sleep.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use abi::{
    Errno, Fd, SigSet, UserAddr, UserCStr, UserIn, UserOut,
    limits::PATH_MAX,
    resource::RLIMIT_NOFILE,
    signal::{SsFlags, StackT},
    uio::Iovec,
};
use platform::{Context, Registers};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{FdTable, FsContext, Resources, Task, ThreadGroup};
use crate::{
    creds::Credentials,
    kernel::{Kernel, SysResult, namespace::UtsNamespace},
    mm::{MemoryManager, UserSink, UserSource, user},
    signal::frame::x86_64::Trap,
    vfs::{FileDescription, MountNamespace, Place},
    wait::{Cut, Ready, Sleeper, Try, WaitQueue},
};

/// What restart_syscall(2) does: the rest of a call that a stop interrupted.
type RestartBlock = Box<dyn FnOnce(&mut Current) -> SysResult<u64> + Send>;

/// The calling task. Handlers get it by `&mut`.
pub struct Current {
    pub(crate) task: Arc<Task>,
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) registers: Registers,
    /// `None` only once the task has ended.
    pub(crate) context: Box<dyn Context>,
    pub(crate) resources: Resources,
    pub(crate) alt_stack: StackT,
    pub(crate) trap: Trap,
    pub(crate) restart_block: Option<RestartBlock>,
    /// A call has replaced the signal mask until its end.
    pub(crate) has_temporary_mask: bool,
    /// When guest code was left last: time since then is the kernel's.
    pub(crate) left_guest: u64,
    /// How long it has slept in the kernel since.
    pub(crate) slept_ns: u64,
    /// Its tracer wants to see each instruction.
    pub(crate) steps: bool,
}

impl Current {
    pub(crate) fn new(
        task: Arc<Task>,
        kernel: Arc<Kernel>,
        registers: Registers,
        context: Box<dyn Context>,
        resources: Resources,
    ) -> Current {
        *task.interrupter.lock() = Some(context.interrupter());
        Current {
            task,
            kernel,
            registers,
            context,
            resources,
            alt_stack: Current::no_alt_stack(),
            trap: Trap::default(),
            restart_block: None,
            steps: false,
            has_temporary_mask: false,
            left_guest: crate::time::Clock::Monotonic.now(),
            slept_ns: 0,
        }
    }

    pub(crate) fn no_alt_stack() -> StackT {
        StackT { ss_flags: SsFlags::DISABLE.bits(), ..StackT::default() }
    }

    /// The part of this task that others may hold.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Its process.
    pub fn group(&self) -> &Arc<ThreadGroup> {
        self.task.group()
    }

    /// The kernel.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    /// Its registers, as the call found them.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Its registers, to change.
    pub fn registers_mut(&mut self) -> &mut Registers {
        &mut self.registers
    }

    /// The platform's side of this thread: host calls on guest memory.
    pub fn context(&mut self) -> &mut dyn Context {
        &mut *self.context
    }

    /// Its memory.
    pub fn mm(&self) -> &Arc<MemoryManager> {
        &self.resources.mm
    }

    /// Its memory with the means to change it.
    pub fn mm_and_context(&mut self) -> (&Arc<MemoryManager>, &mut dyn Context) {
        (&self.resources.mm, &mut *self.context)
    }

    /// Who it is.
    pub fn creds(&self) -> Arc<Credentials> {
        self.task.creds()
    }

    /// Makes it somebody else (Linux's `commit_creds`).
    pub fn set_creds(&mut self, creds: Credentials) {
        let old = self.task.creds();
        let changes_identity = old.euid != creds.euid
            || old.egid != creds.egid
            || old.fsuid != creds.fsuid
            || old.fsgid != creds.fsgid
            || !old.permitted.contains(creds.permitted);
        if changes_identity {
            // What it was must not leak through a core or a debugger (`suid_dumpable` is 0).
            self.group().dumpable.store(0, Ordering::Relaxed);
            self.task.update_facts(|facts| facts.parent_death_signal = 0);
        }
        self.task.creds.store(Arc::new(creds));
    }

    /// Root, working directory and umask.
    pub fn fs_context(&self) -> Arc<FsContext> {
        Arc::clone(&self.resources.fs)
    }

    /// Its host and domain name.
    pub fn uts(&self) -> Arc<UtsNamespace> {
        Arc::clone(&self.resources.uts)
    }

    /// Its mounts.
    pub fn mounts(&self) -> Arc<MountNamespace> {
        Arc::clone(&self.resources.mounts)
    }

    /// Its open files.
    pub fn fd_table(&self) -> Arc<FdTable> {
        Arc::clone(&self.resources.fds)
    }

    /// pivot_root(2): every task whose root or working directory was `old` now has `new` there.
    pub fn move_roots(&self, old: &Place, new: &Place) {
        let tasks: Vec<_> = self.kernel.tasks().tasks().map(Arc::clone).collect();
        for task in tasks {
            let fs = task.resources.lock().as_ref().map(|resources| Arc::clone(&resources.fs));
            let Some(fs) = fs else { continue };
            if fs.root().is_same(old) {
                fs.set_root(new.clone());
            }
            if fs.cwd().is_same(old) {
                fs.set_cwd(new.clone());
            }
        }
    }

    /// Its open files become its own (unshare(2) with `CLONE_FILES`).
    pub fn unshare_files(&mut self) {
        let own = self.resources.fds.fork();
        let old = self.set_resources(|resources| resources.fds = own);
        drop(old);
    }

    /// Changes what it shares, for itself and for those who look at it.
    pub(crate) fn set_resources(&mut self, change: impl FnOnce(&mut Resources)) -> Resources {
        let old = self.resources.clone();
        change(&mut self.resources);
        let seen = self.task.resources.lock().replace(self.resources.clone());
        drop(seen);
        old
    }

    /// The open file behind `fd`; `EBADF` also for one opened with `O_PATH`.
    pub fn file(&self, fd: Fd) -> Result<Arc<FileDescription>, Errno> {
        let file = self.file_or_path(fd)?;
        if file.is_path() { Err(Errno::EBADF) } else { Ok(file) }
    }

    /// The open file behind `fd`, `O_PATH` or not.
    pub fn file_or_path(&self, fd: Fd) -> Result<Arc<FileDescription>, Errno> {
        self.resources.fds.file(fd).ok_or(Errno::EBADF)
    }

    /// RLIMIT_NOFILE.
    pub fn fd_limit(&self) -> u64 {
        self.group().rlimits().soft(RLIMIT_NOFILE)
    }

    /// Gives `file` the lowest free number; `EMFILE` if there is none.
    pub fn install(
        &mut self,
        file: Arc<FileDescription>,
        close_on_exec: bool,
    ) -> Result<Fd, Errno> {
        self.resources.fds.install(file, close_on_exec, 0, self.fd_limit())
    }

    /// Reads one value.
    pub fn read<T: FromBytes>(&mut self, from: UserIn<T>) -> Result<T, Errno> {
        user::read(&mut *self.context, from)
    }

    /// Writes one value.
    pub fn write<T: IntoBytes + Immutable>(
        &mut self,
        to: UserOut<T>,
        value: &T,
    ) -> Result<(), Errno> {
        user::write(&mut *self.context, to, value)
    }

    /// Reads `count` values, a number that the caller has capped.
    pub fn read_slice<T: FromBytes>(
        &mut self,
        from: UserIn<T>,
        count: usize,
    ) -> Result<Vec<T>, Errno> {
        user::read_slice(&mut *self.context, from, count)
    }

    /// Writes all of `values`.
    pub fn write_slice<T: IntoBytes + Immutable>(
        &mut self,
        to: UserOut<T>,
        values: &[T],
    ) -> Result<(), Errno> {
        user::write_slice(&mut *self.context, to, values)
    }

    /// Reads all of `to`.
    pub fn read_bytes(&mut self, addr: UserAddr, to: &mut [u8]) -> Result<(), Errno> {
        user::read_bytes(&mut *self.context, addr, to)
    }

    /// Writes all of `from`.
    pub fn write_bytes(&mut self, addr: UserAddr, from: &[u8]) -> Result<(), Errno> {
        user::write_bytes(&mut *self.context, addr, from)
    }

    /// Reads a path; `ENAMETOOLONG` from PATH_MAX on. It may be empty.
    pub fn read_path(&mut self, path: UserCStr) -> Result<Vec<u8>, Errno> {
        self.read_string(path, PATH_MAX)
    }

    /// Reads a string of fewer than `max` bytes; `ENAMETOOLONG` if it is longer.
    pub fn read_string(&mut self, text: UserCStr, max: usize) -> Result<Vec<u8>, Errno> {
        user::read_string(&mut *self.context, text, max)
    }

    /// `len` bytes that will be read from guest memory.
    pub fn source(&self, from: UserIn<u8>, len: usize) -> UserSource {
        UserSource::new(Arc::clone(self.context.space()), from, len)
    }

    /// Room of `len` bytes in guest memory.
    pub fn sink(&self, to: UserOut<u8>, len: usize) -> UserSink {
        UserSink::new(Arc::clone(self.context.space()), to, len)
    }

    /// What an array of iovecs names, to be read.
    pub fn source_iov(&mut self, list: UserIn<Iovec>, count: usize) -> Result<UserSource, Errno> {
        UserSource::import(&mut *self.context, list, count)
    }

    /// What an array of iovecs names, to be filled.
    pub fn sink_iov(&mut self, list: UserIn<Iovec>, count: usize) -> Result<UserSink, Errno> {
        UserSink::import(&mut *self.context, list, count)
    }

    /// Where this thread sleeps.
    pub fn sleeper(&self) -> &Arc<Sleeper> {
        &self.task.sleeper
    }

    /// Does `op` on `file` until it is done: `EAGAIN` instead of waiting with `O_NONBLOCK`, `ETIMEDOUT`
    /// at the deadline.
    pub fn until_ready<T>(
        &mut self,
        file: &Arc<FileDescription>,
        interest: Ready,
        deadline: Option<Instant>,
        mut op: impl FnMut() -> Result<Try<T>, Errno>,
    ) -> Result<T, Cut> {
        if let Try::Done(value) = op()? {
            return Ok(value);
        }
        if file.is_nonblocking() {
            return Err(Cut::Failed(Errno::EAGAIN));
        }
        let patience = if deadline.is_none() { file.ops().patience(interest) } else { None };
        let deadline = deadline.or_else(|| Instant::now().checked_add(patience?));
        let done = match file.ops().wait_queue() {
            Some(queue) => self.wait(&[&queue], interest, deadline, op),
            None => self.wait(&[], interest, deadline, op),
        };
        match done {
            Err(Cut::Failed(Errno::ETIMEDOUT)) if patience.is_some() => {
                Err(Cut::Failed(Errno::EAGAIN))
            }
            done => done,
        }
    }

    /// Tries `op` until it is done, sleeping on `queues` in between.
    pub fn wait<T>(
        &mut self,
        queues: &[&WaitQueue],
        interest: Ready,
        deadline: Option<Instant>,
        mut op: impl FnMut() -> Result<Try<T>, Errno>,
    ) -> Result<T, Cut> {
        if let Try::Done(value) = op()? {
            return Ok(value);
        }
        self.sleeping(|cx| cx.task.sleeper.until(queues, interest, deadline, op))
    }

    /// Runs `sleep`, which does little else: the time that it takes is not the task's.
    pub fn sleeping<T>(&mut self, sleep: impl FnOnce(&mut Current) -> T) -> T {
        self.task.voluntary_switches.fetch_add(1, Ordering::Relaxed);
        let began = crate::time::Clock::Monotonic.now();
        let result = sleep(self);
        let slept = crate::time::Clock::Monotonic.now().saturating_sub(began);
        self.slept_ns = self.slept_ns.saturating_add(slept);
        result
    }

    /// Sleeps until `deadline` or until a signal comes.
    pub fn sleep_until(&mut self, deadline: Option<Instant>) -> Result<(), Cut> {
        match self.wait(&[], Ready::empty(), deadline, || Ok(Try::<()>::WouldBlock)) {
            Err(Cut::Failed(Errno::ETIMEDOUT)) => Ok(()),
            other => other,
        }
    }

    /// Leaves what restart_syscall(2) is to do: goes with [`crate::kernel::Restart::WithBlock`].
    pub fn set_restart_block(
        &mut self,
        block: impl FnOnce(&mut Current) -> SysResult<u64> + Send + 'static,
    ) {
        self.restart_block = Some(Box::new(block));
    }

    /// Takes what [`Current::set_restart_block`] left.
    pub fn take_restart_block(
        &mut self,
    ) -> Option<Box<dyn FnOnce(&mut Current) -> SysResult<u64> + Send>> {
        self.restart_block.take()
    }

    /// Blocks `mask` until this call is over and its signals are handled: rt_sigsuspend(2), ppoll(2),
    /// pselect(2), epoll_pwait(2).
    pub fn set_temporary_mask(&mut self, mask: SigSet) {
        let mask = mask.difference(SigSet::UNBLOCKABLE);
        let old = {
            let mut signals = self.task.signals.lock();
            let old = std::mem::replace(&mut signals.mask, mask);
            signals.saved_mask.get_or_insert(old);
            old
        };
        self.has_temporary_mask = true;
        if !old.difference(mask).is_empty() {
            self.recheck_signals();
        }
    }

    /// The signals it blocks.
    pub fn signal_mask(&self) -> SigSet {
        self.task.signals.lock().mask
    }

    /// The alternate signal stack, as sigaltstack(2) stored it.
    pub fn alt_stack(&self) -> StackT {
        self.alt_stack
    }

    /// Sets the alternate signal stack, after its checks.
    pub fn set_alt_stack(&mut self, stack: StackT) {
        self.alt_stack = stack;
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Current({})", self.task.tid())
    }
}
