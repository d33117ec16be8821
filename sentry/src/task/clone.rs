// SPDX-License-Identifier: Apache-2.0
//! How tasks are born: clone(2) and its family (Linux's `copy_process`).

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
};

use abi::{
    Errno, UserAddr, UserOut,
    cred::Capabilities,
    ptrace::PTRACE_EVENT_VFORK_DONE,
    resource::RLIMIT_NPROC,
    sched::{CloneFlags, SCHED_DEADLINE},
};
use arc_swap::ArcSwap;
use platform::Context;

use super::{
    Current, Resources, Task, TaskFacts, TaskSignals, ThreadGroup, ptrace, run, table::Process,
    thread_group::JobState,
};
use crate::{
    kernel::{Kernel, Restart, Stop, SysResult},
    mm::MemoryManager,
    signal::Actions,
    sync::{Mutex, levels},
    time::Clock,
    wait::{Cut, Ready, Sleeper, Try, WaitQueue},
};

/// Told when a vfork(2) child has let go of its parent's memory.
#[derive(Debug, Default)]
pub(crate) struct VforkDone {
    is_done: AtomicBool,
    queue: WaitQueue,
}

impl VforkDone {
    pub(crate) fn tell(&self) {
        self.is_done.store(true, Ordering::SeqCst);
        self.queue.notify(Ready::READABLE);
    }
}

/// What clone3(2) asks for.
#[derive(Debug, Clone, Default)]
pub struct CloneRequest {
    /// What is shared, and what else.
    pub flags: CloneFlags,
    /// The signal for the parent at the end; 0 for none.
    pub exit_signal: i32,
    /// The child's stack pointer; 0: as the parent's.
    pub stack: u64,
    /// With `SETTLS`: the thread pointer.
    pub tls: u64,
    /// With `PARENT_SETTID`: where the parent finds the id.
    pub parent_tid: UserAddr,
    /// With `CHILD_SETTID` or `CHILD_CLEARTID`: where the child finds it.
    pub child_tid: UserAddr,
    /// With `PIDFD`: where the parent finds the descriptor.
    pub pidfd: UserAddr,
    /// The id that is wanted, if one is.
    pub set_tid: Option<i32>,
}

impl Current {
    /// Makes a child; its id.
    pub fn clone_task(&mut self, request: &CloneRequest) -> SysResult<i32> {
        let flags = request.flags;
        self.check_clone(flags)?;
        if self.is_doomed() {
            return Err(Stop::Restart(Restart::Always));
        }
        let creds = self.creds();
        let mut resources = self.resources.clone();
        let context = if flags.contains(CloneFlags::VM) {
            self.context.spawn_thread().map_err(refused)?
        } else {
            let (mm, context) = self.fork_memory()?;
            resources.mm = mm;
            context
        };
        if !flags.contains(CloneFlags::FILES) {
            resources.fds = resources.fds.fork();
        }
        if !flags.contains(CloneFlags::FS) {
            resources.fs = resources.fs.fork();
        }
        if flags.contains(CloneFlags::NEWUTS) {
            resources.uts = resources.uts.fork();
        }
        if flags.contains(CloneFlags::NEWNS) {
            resources.fork_mounts();
        }
        resources.tokens = self.hand_on_tokens(flags);
        let mut registers = self.registers;
        registers.rax = 0;
        if request.stack != 0 {
            registers.rsp = request.stack;
        }
        if flags.contains(CloneFlags::SETTLS) {
            registers.fs_base = request.tls;
        }
        let vfork = flags.contains(CloneFlags::VFORK).then(Arc::<VforkDone>::default);
        let mut facts = self.task.facts();
        facts.parent_death_signal = 0;
        facts.robust_list = 0;
        facts.default_timer_slack = facts.timer_slack;
        if facts.policy == SCHED_DEADLINE && !facts.resets_on_fork {
            return Err(Errno::EAGAIN.into());
        }
        let clears = flags.contains(CloneFlags::CHILD_CLEARTID);
        facts.clear_child_tid = if clears { request.child_tid.raw() } else { 0 };
        if facts.resets_on_fork {
            facts = TaskFacts { policy: 0, priority: 0, nice: facts.nice.max(0), ..facts };
            facts.resets_on_fork = false;
        }
        let event = ptrace::event_of_clone(flags, request.exit_signal);
        let is_told = !flags.contains(CloneFlags::UNTRACED) && self.traces(event);
        let is_traced = is_told || flags.contains(CloneFlags::PTRACE);
        let birth = Birth { request, facts, creds, resources, vfork: vfork.clone(), is_traced };
        let task = match self.enter_table(birth) {
            Ok(task) => task,
            Err(errno) => {
                context.exit();
                return Err(errno.into());
            }
        };
        let tid = task.tid();
        if flags.contains(CloneFlags::PARENT_SETTID) {
            // Linux does not look at the result either.
            let _ = self.write(UserOut::new(request.parent_tid), &tid);
        }
        let pidfd =
            flags.contains(CloneFlags::PIDFD).then(|| self.give_pidfd(&task, request.pidfd));
        let mut child = Current::new(
            Arc::clone(&task),
            Arc::clone(&self.kernel),
            registers,
            context,
            task.resources().expect("a task that has not run has its resources"),
        );
        // A new stack, or memory of one's own: only a copy keeps the alternate stack.
        let shares_memory = flags.contains(CloneFlags::VM) && !flags.contains(CloneFlags::VFORK);
        child.alt_stack = if shares_memory { Current::no_alt_stack() } else { self.alt_stack };
        let child_tid = flags.contains(CloneFlags::CHILD_SETTID).then_some(request.child_tid);
        let started = if let Some(Err(errno)) = pidfd { Err(errno) } else { Ok(()) };
        let job = move || {
            if let Some(addr) = child_tid {
                let tid = child.task.tid();
                // As schedule_tail() of Linux: a bad address is the child's own loss.
                let _ = child.write(UserOut::new(addr), &tid);
            }
            run::run(child);
        };
        if started.is_err() {
            // It is born and dies at once, for the table already knows it.
            task.must_die.store(true, Ordering::SeqCst);
        }
        if self.kernel.threads().run(job).is_err() {
            // The job was dropped with the child in it: nobody else will bury it.
            return Err(self.stillborn(&task).into());
        }
        started?;
        let message = u64::from(tid.cast_unsigned());
        if is_told {
            self.trace_event(event, message);
        }
        if let Some(done) = vfork
            && self.await_vfork(&done)
        {
            self.trace_event(PTRACE_EVENT_VFORK_DONE, message);
        }
        Ok(tid)
    }

    fn check_clone(&self, flags: CloneFlags) -> Result<(), Errno> {
        use CloneFlags as F;
        let both = |a: F, b: F| flags.contains(a) && flags.intersects(b);
        let lacks = |a: F, b: F| flags.contains(a) && !flags.contains(b);
        if both(F::NEWNS, F::FS)
            || both(F::NEWUSER, F::FS)
            || lacks(F::THREAD, F::SIGHAND)
            || lacks(F::SIGHAND, F::VM)
            || both(F::THREAD, F::NEWUSER | F::NEWPID)
            || both(F::SIGHAND, F::CLEAR_SIGHAND)
            || (flags.contains(F::PARENT) && self.task.pid() == 1)
        {
            return Err(Errno::EINVAL);
        }
        let privileged =
            F::NEWUTS | F::NEWNS | F::NEWIPC | F::NEWPID | F::NEWNET | F::NEWCGROUP | F::NEWTIME;
        if flags.intersects(privileged)
            && !flags.contains(F::NEWUSER)
            && !self.creds().has(Capabilities::SYS_ADMIN)
        {
            return Err(Errno::EPERM);
        }
        // DIFFERS: of the namespaces only UTS and mount ones can be made; a kernel built without the
        // others answers so.
        let absent = F::NEWIPC | F::NEWUSER | F::NEWPID | F::NEWNET | F::NEWCGROUP;
        if flags.intersects(absent | F::NEWTIME | F::INTO_CGROUP) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// The child's I/O context and semaphore adjustments: what is none yet is the same for everybody.
    fn hand_on_tokens(&mut self, flags: CloneFlags) -> [Arc<()>; 2] {
        let [mut io, mut undo] = self.resources.tokens.clone();
        if !flags.contains(CloneFlags::IO) && self.task.facts().io_priority != 0 {
            io = Arc::new(());
        }
        if !flags.contains(CloneFlags::SYSVSEM) {
            undo = super::no_token();
        } else if Arc::ptr_eq(&undo, &super::no_token()) {
            undo = Arc::new(());
            let own = Arc::clone(&undo);
            let [_, slot] = &mut self.resources.tokens;
            *slot = own;
            let old = self.set_resources(|_| {});
            drop(old);
        }
        [io, undo]
    }

    fn fork_memory(&mut self) -> Result<(Arc<MemoryManager>, Box<dyn Context>), Errno> {
        self.resources.mm.fork(&mut *self.context)
    }

    /// Makes the child known to everybody.
    fn enter_table(&mut self, birth: Birth<'_>) -> Result<Arc<Task>, Errno> {
        let flags = birth.request.flags;
        let kernel = Arc::clone(&self.kernel);
        let mut tasks = kernel.tasks();
        if tasks.is_closed || tasks.count() >= kernel.config().max_tasks {
            return Err(Errno::EAGAIN);
        }
        kernel.admit(&tasks)?;
        self.check_task_limit(&tasks, &birth)?;
        let tid = match birth.request.set_tid {
            Some(wanted) if tasks.is_taken(wanted) => return Err(Errno::EEXIST),
            Some(wanted) => wanted,
            None => tasks.new_id()?,
        };
        let group = if flags.contains(CloneFlags::THREAD) {
            Arc::clone(self.group())
        } else {
            self.new_group(tid, flags)
        };
        let mask = self.task.signals.lock().mask;
        let is_traced = birth.is_traced;
        let task = Task::new(tid, Arc::clone(&group), birth, mask);
        {
            let mut signals = group.lock();
            if signals.exit.is_some() || signals.executing.is_some() {
                return Err(Errno::EAGAIN);
            }
            // Under the lock that changes are made under: a thread gets the old or the new filters.
            task.seccomp.inherit(&self.task.seccomp);
            signals.threads.push(Arc::clone(&task));
            signals.unburied += 1;
            if signals.job != JobState::Running {
                task.look_first();
            }
        }
        tasks.add_task(tid, Arc::clone(&task));
        if is_traced {
            task.inherit_trace(&self.task);
        }
        if !flags.contains(CloneFlags::THREAD) {
            let exit_signal = birth_signal(&tasks, self, flags);
            let me = tasks.process(self.task.pid()).ok_or(Errno::ESRCH)?;
            let (process_group, session) = (me.process_group, me.session);
            let (parent, parent_tid) = if flags.contains(CloneFlags::PARENT) {
                (me.parent, me.parent_tid)
            } else {
                (self.task.pid(), self.task.tid())
            };
            let process = Process {
                group,
                leader: Arc::clone(&task),
                parent,
                parent_tid,
                children: BTreeSet::new(),
                process_group,
                session,
                exit_signal: exit_signal.unwrap_or(task.exit_signal),
                zombie: None,
                waiter: None,
            };
            tasks.add_process(tid, process);
        }
        Ok(task)
    }

    fn check_task_limit(&self, tasks: &super::TaskTable, birth: &Birth<'_>) -> Result<(), Errno> {
        let creds = &birth.creds;
        let limit = self.group().rlimits().soft(RLIMIT_NPROC);
        let exempt = Capabilities::SYS_RESOURCE | Capabilities::SYS_ADMIN;
        if creds.ruid == 0 || creds.effective.intersects(exempt) {
            return Ok(());
        }
        let count = tasks.tasks().filter(|task| task.creds().ruid == creds.ruid).count();
        if abi::num::to_u64(count) >= limit { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    fn new_group(&self, pid: i32, flags: CloneFlags) -> Arc<ThreadGroup> {
        let mine = self.group();
        let actions = if flags.contains(CloneFlags::SIGHAND) {
            mine.actions()
        } else {
            let mut copy: Actions = mine.actions_snapshot();
            if flags.contains(CloneFlags::CLEAR_SIGHAND) {
                copy.clear_caught();
            }
            Arc::new(Mutex::new(copy))
        };
        let group = ThreadGroup::new(pid, self.kernel.weak(), actions, mine.rlimits().fork());
        group.dumpable.store(mine.dumpable(), Ordering::Relaxed);
        let adjust = mine.oom_score_adj.load(Ordering::Relaxed);
        group.oom_score_adj.store(adjust, Ordering::Relaxed);
        group.personality.store(mine.personality.load(Ordering::Relaxed), Ordering::Relaxed);
        if group.rlimits().soft(abi::resource::RLIMIT_CPU) != abi::resource::RLIM_INFINITY {
            group.watch_cpu_limit();
        }
        group
    }

    fn give_pidfd(&mut self, task: &Arc<Task>, to: UserAddr) -> Result<(), Errno> {
        let file = super::pidfd::open(task)?;
        let fd = self.install(file, true)?;
        self.write(UserOut::new(to), &fd.0)
    }

    /// The host had no thread for a child that everybody knows already.
    fn stillborn(&mut self, task: &Arc<Task>) -> Errno {
        super::exit::forget(&self.kernel, task);
        Errno::EAGAIN
    }

    /// Waits until the child lets go of this memory. Only the end of this task cuts it short: `false`.
    fn await_vfork(&mut self, done: &VforkDone) -> bool {
        loop {
            let waited = self.wait(&[&done.queue], Ready::READABLE, None, || {
                let is_done = done.is_done.load(Ordering::SeqCst);
                Ok(if is_done { Try::Done(()) } else { Try::WouldBlock })
            });
            match waited {
                Ok(()) => return true,
                Err(Cut::Interrupted) if !self.is_doomed() => {
                    // Whatever came stays pending until the child is done: `attention` stands.
                    self.task.sleeper.clear_interrupt();
                }
                Err(_) => return false,
            }
        }
    }
}

/// The host would not make what a child needs.
fn refused(error: platform::Error) -> Errno {
    tracing::debug!(%error, "no stub for a child");
    match error {
        platform::Error::Host { .. } => Errno::EAGAIN,
        _ => Errno::ENOMEM,
    }
}

/// `CLONE_PARENT` and `CLONE_THREAD` children end with the signal of whoever made them.
fn birth_signal(tasks: &super::TaskTable, cx: &Current, flags: CloneFlags) -> Option<i32> {
    flags
        .contains(CloneFlags::PARENT)
        .then(|| tasks.process(cx.task.pid()).map(|process| process.exit_signal))
        .flatten()
}

/// What a task is born with.
pub(crate) struct Birth<'a> {
    pub(crate) request: &'a CloneRequest,
    pub(crate) facts: TaskFacts,
    pub(crate) creds: Arc<crate::creds::Credentials>,
    pub(crate) resources: Resources,
    pub(crate) vfork: Option<Arc<VforkDone>>,
    /// Whoever traces its parent traces it as well.
    pub(crate) is_traced: bool,
}

impl fmt::Debug for Birth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Birth({:?})", self.request)
    }
}

impl Task {
    pub(crate) fn new(
        tid: i32,
        group: Arc<ThreadGroup>,
        birth: Birth<'_>,
        mask: abi::SigSet,
    ) -> Arc<Task> {
        Arc::new(Task {
            tid: AtomicI32::new(tid),
            group,
            creds: ArcSwap::new(birth.creds),
            seccomp: Default::default(),
            resources: Mutex::<_, levels::TaskState>::new(Some(birth.resources)),
            signals: Mutex::new(TaskSignals { mask, ..TaskSignals::default() }),
            facts: Mutex::new(birth.facts),
            sleeper: Sleeper::new(),
            interrupter: Mutex::new(None),
            attention: AtomicBool::new(false),
            in_guest: AtomicBool::new(false),
            must_die: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            started: Clock::Monotonic.now(),
            user_ns: AtomicU64::new(0),
            system_ns: AtomicU64::new(0),
            guest_since: AtomicU64::new(0),
            voluntary_switches: AtomicU64::new(0),
            vfork: Mutex::new(birth.vfork),
            is_traced: AtomicBool::new(false),
            ties: ptrace::Ties::default(),
            exit_signal: birth.request.exit_signal,
        })
    }
}

impl Kernel {
    /// Whether somebody may still be born.
    pub fn is_closed(&self) -> bool {
        self.tasks().is_closed
    }
}
