// SPDX-License-Identifier: Apache-2.0
//! How a task becomes another program: execve(2).
//!
//! The new program is loaded into memory of its own while the old one still stands: every error that
//! Linux tells the caller of is found before anything is given up. Then the other threads end, the
//! caller becomes the leader, and what a program does not inherit is dropped.

use std::sync::{Arc, atomic::Ordering};

use abi::{
    Errno, Signal, UserCStr, UserIn,
    cred::Capabilities,
    resource::{RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK},
    wait,
};

use platform::Registers;

use super::{Current, FsContext, Rlimits, Task, exec_creds};
use crate::{
    creds::Credentials,
    kernel::{Kernel, Restart, Stop},
    loader::{self, Arguments, Executable, LoadError, Loaded},
    mm::Limits,
    vfs::{Lookup, ResolveContext, resolve},
};

/// `ADDR_NO_RANDOMIZE` of personality(2).
const NO_RANDOMIZE: u32 = 0x004_0000;
/// Flags of personality(2) that a program with more rights does not inherit (`PER_CLEAR_ON_SETID`).
const CLEAR_ON_SETID: u32 = 0x004_0000 | 0x040_0000 | 0x010_0000 | 0x020_0000;

/// What execveat(2) was asked for.
#[derive(Debug)]
pub struct ExecRequest {
    /// Where the path starts, and who walks.
    pub resolve: ResolveContext,
    /// The path, as the caller gave it.
    pub path: Vec<u8>,
    /// Whether a symbolic link in the last place is followed, and an empty path allowed.
    pub lookup: Lookup,
    /// The name that the program is told it has.
    pub name: Vec<u8>,
    /// The name means a close-on-exec descriptor, which a script's interpreter could not open.
    pub is_path_inaccessible: bool,
    /// argv.
    pub arguments: UserIn<UserCStr>,
    /// envp.
    pub environment: UserIn<UserCStr>,
}

impl Rlimits {
    /// The limits that concern memory.
    pub fn of_memory(&self, creds: &Credentials) -> Limits {
        Limits {
            address_space: self.soft(RLIMIT_AS),
            data: self.soft(RLIMIT_DATA),
            stack: self.soft(RLIMIT_STACK),
            locked: self.soft(RLIMIT_MEMLOCK),
            may_lock: creds.has(Capabilities::IPC_LOCK),
        }
    }
}

impl Current {
    /// The limits that concern its memory.
    pub fn memory_limits(&self) -> Limits {
        self.group().rlimits().of_memory(&self.creds())
    }

    /// Becomes another program. Always an `Err`: [`Stop::Reloaded`] if it worked.
    pub fn execute(&mut self, request: &ExecRequest) -> Stop {
        let (loaded, is_secure) = match self.load(request) {
            Ok(loaded) => loaded,
            Err(error) if error.is_fatal => {
                // Linux has given up the old program by then.
                let mut group = self.group().lock();
                let status = wait::killed(Signal::SIGSEGV.raw(), false);
                self.group().end(&mut group, status);
                return Stop::Exit(status);
            }
            Err(error) => return Stop::Fail(error.errno),
        };
        let old_tid = self.task.tid();
        if let Err(stop) = self.become_only_thread() {
            loaded.context.exit();
            return stop;
        }
        self.adopt(loaded, is_secure);
        self.watch_stub();
        self.trace_exec(old_tid);
        self.registers.rax = 0;
        Stop::Reloaded
    }

    fn load(&mut self, request: &ExecRequest) -> Result<(Loaded, bool), LoadError> {
        let place = resolve::walk(&request.resolve, &request.path, request.lookup)?;
        let file = Executable::open_place(&request.resolve, place)?;
        let limits = self.memory_limits();
        let arguments = loader::read_strings(&mut *self.context, request.arguments, limits.stack)?;
        let environment =
            loader::read_strings(&mut *self.context, request.environment, limits.stack)?;
        let creds = self.creds();
        let mut is_secure = false;
        let loaded = loader::load(loader::Request {
            platform: &*self.kernel.config().platform,
            file,
            path: request.name.clone(),
            is_path_inaccessible: request.is_path_inaccessible,
            arguments: Arguments::new(arguments, environment),
            resolve: &request.resolve,
            limits,
            is_randomized: self.group().personality() & NO_RANDOMIZE == 0,
            identify: &mut |file| {
                let new = exec_creds::of_program(&creds, file)?;
                is_secure = new.1;
                Ok(new)
            },
        })?;
        Ok((loaded, is_secure))
    }

    /// Ends all other threads of the process and takes the leader's place (`de_thread`).
    fn become_only_thread(&mut self) -> Result<(), Stop> {
        let task = Arc::clone(&self.task);
        let mut group = task.group().lock();
        if let Some(status) = group.exit {
            return Err(Stop::Exit(status));
        }
        if group.executing.is_some() || task.must_die.load(Ordering::SeqCst) {
            return Err(Stop::Restart(Restart::Always));
        }
        group.executing = Some(task.tid());
        for other in group.threads.iter().filter(|other| !Arc::ptr_eq(other, &task)) {
            other.must_die.store(true, Ordering::SeqCst);
            other.interrupt();
        }
        task.group().changed.notify_all();
        while group.unburied > 1 {
            if let Some(status) = group.exit {
                group.executing = None;
                return Err(Stop::Exit(status));
            }
            task.group().changed.wait(&mut group);
        }
        drop(group);
        let pid = task.pid();
        let mut tasks = self.kernel.tasks();
        if task.tid() != pid {
            let old = task.tid();
            tasks.lose_leader(pid);
            tasks.remove_task(old);
            task.tid.store(pid, Ordering::SeqCst);
            tasks.add_task(pid, Arc::clone(&task));
            tasks.take_lead(pid, old, &task);
        }
        if let Some(process) = tasks.process_mut(pid) {
            process.exit_signal = if process.exit_signal == 0 && process.parent == 0 {
                0
            } else {
                Signal::SIGCHLD.raw()
            };
        }
        let mut group = task.group().lock();
        group.executing = None;
        group.leader_status = None;
        Ok(())
    }

    /// From here on there is only the new program.
    fn adopt(&mut self, loaded: Loaded, is_secure: bool) {
        let facts = self.task.facts();
        super::user_exit::leave_memory(self, &facts);
        let group = Arc::clone(self.group());
        group.unshare_actions().lock().reset_caught();
        group.posix_timers.lock().clear();
        *self.task.interrupter.lock() = Some(loaded.context.interrupter());
        let old_context = std::mem::replace(&mut self.context, loaded.context);
        let shares_files = Arc::strong_count(&self.resources.fds) > 2;
        let old = self.set_resources(|resources| {
            resources.mm = loaded.mm;
            if shares_files {
                resources.fds = resources.fds.fork();
            }
        });
        drop(old);
        old_context.exit();
        let vfork = self.task.vfork.lock().take();
        if let Some(done) = vfork {
            done.tell();
        }
        for file in self.resources.fds.remove_close_on_exec() {
            // execve(2) has no way to tell of a failed flush.
            let _ = file.closed_by(self.resources.fds.owner());
        }
        // As on Linux: a tracer still sees which call it was.
        let orig_rax = self.registers.orig_rax;
        self.registers =
            Registers { orig_rax, rax: Errno::ENOSYS.to_register(), ..loaded.registers };
        self.alt_stack = Current::no_alt_stack();
        self.restart_block = None;
        self.task.set_name(&loaded.name);
        if is_secure {
            self.task.update_facts(|facts| facts.parent_death_signal = 0);
            group.personality.fetch_and(!CLEAR_ON_SETID, Ordering::Relaxed);
        }
        let is_readable = exec_creds::is_readable(&loaded.file, &self.creds());
        group.dumpable.store(u32::from(!is_secure && is_readable), Ordering::Relaxed);
        group.has_executed.store(true, Ordering::Relaxed);
        self.take_creds(loaded.creds);
    }

    /// Becomes who the program says, or, under a tracer who may not see that, nobody more than before.
    /// Under `TaskSet`: nobody begins to trace in between.
    fn take_creds(&self, new: Arc<Credentials>) {
        let _tasks = self.kernel.tasks();
        let may_see = |tracer: Arc<Task>| tracer.creds().has(Capabilities::SYS_PTRACE);
        let is_open = self.task.tracer().is_none_or(may_see);
        let creds = if is_open { new } else { exec_creds::without_gains(&self.task.creds(), new) };
        self.task.creds.store(creds);
    }
}

/// A program with its arguments.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: Vec<u8>,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) environment: Vec<Vec<u8>>,
}

/// Loads a program for a process that comes from outside. A name without a slash is looked for in
/// `PATH`, as execvp(3) does.
pub(crate) fn load_outside(
    kernel: &Arc<Kernel>,
    program: &Program,
    fs: &Arc<FsContext>,
    creds: &Arc<Credentials>,
    rlimits: &Rlimits,
) -> Result<Loaded, Errno> {
    let cx = ResolveContext { root: fs.root(), start: fs.cwd(), creds: Arc::clone(creds) };
    let (path, file) = find(&cx, program)?;
    let request = loader::Request {
        platform: &*kernel.config().platform,
        file,
        path,
        is_path_inaccessible: false,
        arguments: Arguments::new(program.arguments.clone(), program.environment.clone()),
        resolve: &cx,
        limits: rlimits.of_memory(creds),
        is_randomized: true,
        identify: &mut |file| exec_creds::of_program(creds, file),
    };
    loader::load(request).map_err(|error| error.errno)
}

fn find(cx: &ResolveContext, program: &Program) -> Result<(Vec<u8>, Executable), Errno> {
    if program.path.is_empty() {
        return Err(Errno::ENOENT);
    }
    if program.path.contains(&b'/') {
        return Ok((program.path.clone(), Executable::open(cx, &program.path)?));
    }
    let variable = program.environment.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let list = variable.unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    // As runc's `exec.LookPath`: what may not be executed, or lies where we may not look, is not found.
    for directory in list.split(|byte| *byte == b':') {
        let mut path = if directory.is_empty() { b".".to_vec() } else { directory.to_vec() };
        path.push(b'/');
        path.extend_from_slice(&program.path);
        match Executable::open(cx, &path) {
            Ok(file) => return Ok((path, file)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::ENOENT)
}
