// SPDX-License-Identifier: Apache-2.0
//! The kernel and its tasks as proc shows them.

use std::sync::{Arc, Weak, atomic::Ordering};

use abi::{Errno, UserAddr, cred::Capabilities};

use super::{Kernel, RELEASE, VERSION, filesystems};
use crate::{
    creds::Credentials,
    fs::proc::view::{
        Figures, KnobValue, MapLine, MemoryPlaces, MemorySizes, MemoryView, NamespaceKind,
        SignalSets, SystemView, TaskDetails, TaskNumbers, TaskTimes, TaskView,
    },
    mm::{MemoryManager, VmaFlags},
    sync::Mutex,
    task::{RunState, Task, calling, ptrace},
    time::Clock,
    vfs::{FileDescription, MountNamespace, Place},
};

const NS_PER_S: u64 = 1_000_000_000;

/// The sandbox.
#[derive(Debug)]
pub(super) struct System(pub(super) Weak<Kernel>);

impl SystemView for System {
    fn processes(&self) -> Vec<i32> {
        self.0.upgrade().map_or_else(Vec::new, |kernel| {
            kernel.tasks().processes().map(|(pid, _)| pid).collect()
        })
    }

    fn task(&self, number: i32) -> Option<Arc<dyn TaskView>> {
        let kernel = self.0.upgrade()?;
        let tasks = kernel.tasks();
        // A zombie leader is found by its process.
        let task = tasks
            .process(number)
            .map(|process| Arc::clone(&process.leader))
            .or_else(|| tasks.task(number))?;
        drop(tasks);
        Some(Arc::new(OneTask { task, kernel: self.0.clone() }))
    }

    fn knob(&self, path: &str, initial: &str) -> KnobValue {
        let fresh = || Arc::new(Mutex::new(initial.as_bytes().to_vec()));
        match self.0.upgrade() {
            Some(kernel) => kernel.knob(path, fresh),
            None => fresh(),
        }
    }

    fn caller(&self) -> Option<(i32, i32)> {
        let task = calling::task()?;
        Some((task.pid(), task.tid()))
    }

    fn figures(&self) -> Figures {
        self.0.upgrade().map_or_else(Figures::default, |kernel| kernel.figures())
    }

    fn cpu_description(&self) -> String {
        self.0.upgrade().map_or_else(String::new, |kernel| kernel.config().cpu_description.clone())
    }

    fn filesystems(&self) -> Vec<(&'static str, bool)> {
        filesystems::NAMES.to_vec()
    }

    fn controllers(&self) -> &'static [&'static str] {
        &crate::fs::cgroup::CONTROLLERS
    }

    fn release(&self) -> (String, String) {
        (RELEASE.to_owned(), VERSION.to_owned())
    }

    fn names(&self) -> (Vec<u8>, Vec<u8>) {
        let own = calling::task().and_then(|task| task.resources()).map(|it| it.uts);
        let uts = own.or_else(|| self.0.upgrade().map(|kernel| Arc::clone(kernel.uts())));
        uts.map_or_else(Default::default, |uts| (uts.host(), uts.domain()))
    }

    fn set_host_name(&self, name: &[u8], by: &Credentials) -> Result<(), Errno> {
        self.uts_of(by)?.set_host(name.to_vec())
    }

    fn set_domain_name(&self, name: &[u8], by: &Credentials) -> Result<(), Errno> {
        self.uts_of(by)?.set_domain(name.to_vec())
    }

    fn random(&self, to: &mut [u8]) {
        if let Err(errno) = crate::fs::dev::random(to) {
            tracing::warn!(%errno, "the host gives no random bytes");
        }
    }

    fn network_table(&self, _name: &str) -> Option<String> {
        None
    }

    fn command_line(&self) -> String {
        "BOOT_IMAGE=/vmlinuz quiet".to_owned()
    }
}

impl Kernel {
    /// Figures of the whole sandbox.
    pub(super) fn figures(&self) -> Figures {
        let tasks: Vec<Arc<Task>> = self.tasks().tasks().cloned().collect();
        let last_pid = self.tasks().last_id();
        let mut spaces: Vec<Arc<MemoryManager>> =
            tasks.iter().filter_map(|task| task.mm()).collect();
        spaces.sort_by_key(|mm| mm.id());
        spaces.dedup_by_key(|mm| mm.id());
        let resident = |mm: &Arc<MemoryManager>| mm.statm().get(1).copied().unwrap_or(0) * 4096;
        let times = tasks.iter().map(|task| task.cpu_time());
        let running = tasks.iter().filter(|task| task.run_state() == RunState::Running).count();
        let uptime = self.uptime();
        let limits = self.limits();
        let now = Clock::Realtime.now();
        Figures {
            cpus: limits.cpus,
            uptime_ns: uptime,
            boot_time: i64::try_from(now.saturating_sub(uptime) / NS_PER_S).unwrap_or(0),
            cpu_time_ns: times
                .fold(self.buried_time(), |sum, time| (sum.0 + time.0, sum.1 + time.1)),
            memory_total: limits.memory_total,
            memory_used: self.memory_in_use().unwrap_or_else(|| spaces.iter().map(resident).sum()),
            memory_shared: 0,
            forks: u64::try_from(last_pid).unwrap_or(0),
            // Whoever reads this runs.
            running: running.max(1),
            tasks: tasks.len(),
            last_pid,
        }
    }
}

impl System {
    fn uts_of(&self, by: &Credentials) -> Result<Arc<super::namespace::UtsNamespace>, Errno> {
        if !by.has(Capabilities::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        let own = calling::task().and_then(|task| task.resources()).map(|it| it.uts);
        own.or_else(|| self.0.upgrade().map(|kernel| Arc::clone(kernel.uts()))).ok_or(Errno::ESRCH)
    }
}

/// A task. It may have exited since.
struct OneTask {
    task: Arc<Task>,
    kernel: Weak<Kernel>,
}

impl TaskView for OneTask {
    fn is_alive(&self) -> bool {
        let Some(kernel) = self.kernel.upgrade() else { return false };
        let tasks = kernel.tasks();
        tasks.task(self.task.tid()).is_some() || tasks.process(self.task.tid()).is_some()
    }

    fn numbers(&self) -> TaskNumbers {
        let (task, process) = (self.task.tid(), self.task.pid());
        let mut numbers =
            TaskNumbers { task, process, terminal_group: -1, ..TaskNumbers::default() };
        let Some(kernel) = self.kernel.upgrade() else { return numbers };
        let terminal = {
            let tasks = kernel.tasks();
            let Some(entry) = tasks.process(process) else { return numbers };
            numbers.parent = entry.parent;
            numbers.group = entry.process_group;
            numbers.session = entry.session;
            tasks.terminal_of(process)
        };
        numbers.tracer = self.task.tracer().map_or(0, |tracer| tracer.tid());
        if let Some(terminal) = terminal.and_then(crate::fs::devpts::find) {
            numbers.terminal = u32::try_from(terminal.device()).unwrap_or(0);
            numbers.terminal_group = terminal.foreground();
        }
        numbers
    }

    fn name(&self) -> Vec<u8> {
        self.task.name()
    }

    fn set_name(&self, name: &[u8]) -> Result<(), Errno> {
        self.task.set_name(name);
        Ok(())
    }

    fn credentials(&self) -> Arc<Credentials> {
        self.task.creds()
    }

    fn signals(&self) -> SignalSets {
        let (blocked, pending) = self.task.signal_sets();
        let group = self.task.group();
        let (ignored, caught) = group.actions_snapshot().ignored_and_caught();
        SignalSets {
            pending,
            shared_pending: group.lock().pending.set(),
            blocked,
            ignored,
            caught,
            queued: 0,
            queue_limit: group.rlimits().soft(abi::resource::RLIMIT_SIGPENDING),
        }
    }

    fn times(&self) -> TaskTimes {
        let (user, system) = self.task.cpu_time();
        TaskTimes { user, system, start: self.start(), ..TaskTimes::default() }
    }

    fn process_times(&self) -> TaskTimes {
        let (own, children) = (self.task.group().usage(), self.task.group().children_usage());
        TaskTimes {
            user: own.user_ns,
            system: own.system_ns,
            children_user: children.user_ns,
            children_system: children.system_ns,
            start: self.start(),
        }
    }

    fn details(&self) -> TaskDetails {
        let (facts, group) = (self.task.facts(), self.task.group());
        let state = match self.task.run_state() {
            RunState::Running => 'R',
            RunState::Sleeping => 'S',
            RunState::Stopped => 'T',
            RunState::Traced => 't',
            RunState::Zombie => 'Z',
        };
        let cpus = self.kernel.upgrade().map_or(1, |kernel| kernel.limits().cpus);
        let all = if cpus >= 64 { u64::MAX } else { (1 << cpus) - 1 };
        let allowed = facts.affinity.and_then(|mask| mask.first().copied()).unwrap_or(all) & all;
        let (exit_signal, exit_status) = self.exit();
        TaskDetails {
            state,
            nice: facts.nice,
            policy: u32::try_from(facts.policy).unwrap_or(0),
            realtime_priority: u32::try_from(facts.priority).unwrap_or(0),
            processor: 0,
            exit_signal,
            exit_status,
            umask: self.task.fs_context().map_or(0o22, |fs| fs.umask()),
            no_new_privs: self.task.creds().no_new_privs,
            seccomp: self.task.seccomp_mode(),
            oom_score_adj: group.oom_score_adj.load(Ordering::Relaxed),
            personality: group.personality.load(Ordering::Relaxed),
            fd_table_size: self.fd_table_size(),
            is_dumpable: group.dumpable() == 1,
            timer_slack_ns: facts.timer_slack,
            // Where none of them is there any more, it may run anywhere (`cpuset_cpus_allowed`).
            affinity: if allowed == 0 { all } else { allowed },
        }
    }

    fn set_oom_score_adj(&self, value: i32, by: &Credentials) -> Result<(), Errno> {
        let adjust = &self.task.group().oom_score_adj;
        // Lowering needs CAP_SYS_RESOURCE; Linux remembers the least value root set, we the present one.
        if value < adjust.load(Ordering::Relaxed) && !by.has(Capabilities::SYS_RESOURCE) {
            return Err(Errno::EACCES);
        }
        adjust.store(value, Ordering::Relaxed);
        Ok(())
    }

    fn threads(&self) -> Vec<i32> {
        let mut numbers: Vec<i32> = self.task.group().threads().iter().map(|it| it.tid()).collect();
        if numbers.is_empty() {
            numbers.push(self.task.pid());
        }
        numbers.sort_unstable();
        numbers
    }

    fn children(&self) -> Vec<i32> {
        let Some(kernel) = self.kernel.upgrade() else { return Vec::new() };
        let tasks = kernel.tasks();
        let Some(process) = tasks.process(self.task.pid()) else { return Vec::new() };
        let of_task = |pid: &&i32| {
            tasks.process(**pid).is_some_and(|child| child.parent_tid == self.task.tid())
        };
        process.children.iter().filter(of_task).copied().collect()
    }

    fn memory(&self) -> Option<Arc<dyn MemoryView>> {
        let kernel = self.kernel.clone();
        self.task.mm().map(|mm| Arc::new(Memory { mm, kernel }) as _)
    }

    fn executable(&self) -> Option<Place> {
        let file = self.task.mm()?.program().executable?;
        let any = file.as_any();
        any.downcast_ref::<FileDescription>().map(|file| file.place().clone())
    }

    fn directories(&self) -> Option<(Place, Place)> {
        self.task.fs_context().map(|fs| (fs.cwd(), fs.root()))
    }

    fn files(&self) -> Vec<(i32, Arc<FileDescription>, bool)> {
        let Some(table) = self.task.fd_table() else { return Vec::new() };
        let entries = table.entries().into_iter();
        entries.map(|(fd, entry)| (fd.0, entry.file, entry.close_on_exec)).collect()
    }

    fn limits(&self) -> [(u64, u64); 16] {
        let mut all = [(u64::MAX, u64::MAX); 16];
        for (number, slot) in (0..).zip(&mut all) {
            if let Ok(limit) = self.task.group().rlimits().get(number) {
                *slot = (limit.rlim_cur, limit.rlim_max);
            }
        }
        all
    }

    fn mounts(&self) -> Option<Arc<MountNamespace>> {
        self.task.resources().map(|resources| resources.mounts)
    }

    fn namespace(&self, kind: NamespaceKind) -> u64 {
        // The numbers of Linux's initial namespaces; those that can be left have their own.
        match kind {
            NamespaceKind::Time => 4_026_531_834,
            NamespaceKind::Cgroup => 4_026_531_835,
            NamespaceKind::Pid => 4_026_531_836,
            NamespaceKind::User => 4_026_531_837,
            NamespaceKind::Uts => 4_026_531_838,
            NamespaceKind::Ipc => 4_026_531_839,
            NamespaceKind::Network => 4_026_531_840,
            NamespaceKind::Mount => {
                4_026_531_841 + self.mounts().map_or(0, |namespace| namespace.id())
            }
        }
    }

    fn may_be_read_by(&self, asker: &Credentials) -> bool {
        if self.is_own_process() || asker.has(Capabilities::SYS_PTRACE) {
            return true;
        }
        let of = self.task.creds();
        let same_user = [of.euid, of.suid, of.ruid].iter().all(|uid| *uid == asker.fsuid);
        let same_group = [of.egid, of.sgid, of.rgid].iter().all(|gid| *gid == asker.fsgid);
        same_user
            && same_group
            && self.task.group().dumpable() == 1
            && asker.permitted.contains(of.permitted)
    }

    fn id_map(&self, groups: bool) -> String {
        let line = |first: u32, outside: u32, count: u32| {
            format!("{first:>10} {outside:>10} {count:>10}\n")
        };
        let kernel = self.kernel.upgrade();
        let maps = kernel.as_ref().map(|kernel| &kernel.config().id_maps);
        let ranges = maps.map(|maps| if groups { &maps.groups } else { &maps.users });
        match ranges {
            Some(ranges) if !ranges.is_empty() => {
                ranges.iter().map(|range| line(range.0, range.1, range.2)).collect()
            }
            _ => line(0, 0, u32::MAX),
        }
    }

    fn set_id_map(&self, _groups: bool, _text: &[u8], _by: &Credentials) -> Result<(), Errno> {
        // The initial namespace's map was written before anybody was born.
        Err(Errno::EPERM)
    }

    fn may_set_groups(&self) -> bool {
        true
    }

    fn set_may_set_groups(&self, allow: bool, _by: &Credentials) -> Result<(), Errno> {
        if allow { Ok(()) } else { Err(Errno::EPERM) }
    }
}

impl OneTask {
    fn start(&self) -> u64 {
        let booted = self.kernel.upgrade().map_or(0, |kernel| kernel.booted());
        self.task.started().saturating_sub(booted)
    }

    fn is_own_process(&self) -> bool {
        calling::task().is_some_and(|task| Arc::ptr_eq(task.group(), self.task.group()))
    }

    fn exit(&self) -> (i32, i32) {
        let Some(kernel) = self.kernel.upgrade() else { return (0, 0) };
        let tasks = kernel.tasks();
        tasks.process(self.task.pid()).map_or((0, 0), |process| {
            (process.exit_signal, process.zombie.as_ref().map_or(0, |zombie| zombie.status))
        })
    }

    fn fd_table_size(&self) -> u32 {
        let highest =
            self.task.fd_table().and_then(|table| table.entries().last().map(|it| it.0.0));
        let least = u32::try_from(highest.unwrap_or(0)).unwrap_or(0) + 1;
        least.div_ceil(64).max(1) * 64
    }
}

/// An address space.
struct Memory {
    mm: Arc<MemoryManager>,
    kernel: Weak<Kernel>,
}

impl Memory {
    /// A thread in this memory that stands still for its tracer: it can write what others cannot.
    fn tracee(&self) -> Option<Arc<Task>> {
        let kernel = self.kernel.upgrade()?;
        let tasks: Vec<Arc<Task>> =
            kernel.tasks().tasks().filter(|task| task.is_traced()).cloned().collect();
        let is_here = |task: &Arc<Task>| task.mm().is_some_and(|mm| Arc::ptr_eq(&mm, &self.mm));
        tasks.into_iter().find(|task| is_here(task) && task.trace_stop().is_ok())
    }
}

impl MemoryView for Memory {
    fn maps(&self) -> Vec<MapLine> {
        let line = |entry: crate::mm::MapsEntry| {
            let has = |flag| entry.protection.contains(flag);
            MapLine {
                start: entry.range.start.raw(),
                end: entry.range.end.raw(),
                is_readable: has(platform::Protection::READ),
                is_writable: has(platform::Protection::WRITE),
                is_executable: has(platform::Protection::EXECUTE),
                is_shared: entry.flags.contains(VmaFlags::SHARED),
                offset: entry.offset,
                device: entry.device,
                inode: entry.inode,
                flags: String::new(),
                is_anonymous: entry.inode == 0,
                name: entry.name,
            }
        };
        self.mm.maps().into_iter().map(line).collect()
    }

    fn sizes(&self) -> MemorySizes {
        let usage = self.mm.usage();
        let pages = |index: usize| self.mm.statm().get(index).copied().unwrap_or(0) * 4096;
        let program = self.mm.program();
        let text = program.end_code.saturating_sub(program.start_code);
        MemorySizes {
            size: usage.total,
            peak: usage.total,
            resident: pages(1),
            resident_shared: pages(2),
            data: usage.data,
            stack: usage.stack,
            text,
            libraries: usage.executable.saturating_sub(text),
            locked: usage.locked,
        }
    }

    fn places(&self) -> MemoryPlaces {
        let program = self.mm.program();
        MemoryPlaces {
            start_code: program.start_code,
            end_code: program.end_code,
            start_data: program.start_data,
            end_data: program.end_data,
            start_brk: self.mm.program_break().0,
            start_stack: program.start_stack,
            arguments: (program.arg_start, program.arg_end),
            environment: (program.env_start, program.env_end),
        }
    }

    fn auxv(&self) -> Vec<u8> {
        let program = self.mm.program();
        let end = [(0, 0)];
        let entries = program.auxv.iter().chain(&end);
        entries.flat_map(|(kind, value)| [*kind, *value]).flat_map(u64::to_ne_bytes).collect()
    }

    fn read(&self, address: u64, to: &mut [u8]) -> usize {
        self.mm.space().read(UserAddr(address), to)
    }

    fn write(&self, address: u64, from: &[u8]) -> usize {
        let done = self.mm.space().poke(UserAddr(address), from);
        if done == from.len() {
            return done;
        }
        let Some(tracee) = self.tracee() else { return done };
        let bytes = from.get(done..).unwrap_or_default().to_vec();
        let at = address.saturating_add(abi::num::to_u64(done));
        let poked =
            ptrace::have_done(&tracee, move |cx| Ok(cx.context().poke(UserAddr(at), &bytes)));
        done + poked.unwrap_or(0)
    }
}
