// SPDX-License-Identifier: Apache-2.0
//! Processes that `runsc exec` adds to the guest: from a request to the end that is told.
//!
//! Each has a conversation of its own with the host process that stands for it. When that process goes,
//! the guest's is killed.

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    sync::Arc,
    thread,
};

use abi::Errno;
use nix::libc;
use sentry::{
    creds::Credentials,
    fs::{devpts::Devpts, host as host_file},
    kernel::{Kernel, ProcessSpec},
    task::{ExitWaiter, Prepared, TaskFacts, seccomp::Inherited},
    vfs::{FileDescription, FileKind, Lookup, MountNamespace, Place, ResolveContext, resolve},
};
use tracing::debug;

use super::{
    guest, process,
    stdio::{self, Stream},
    terminal::Console,
    users::Users,
};
use crate::sandbox::{
    control::{Channel, Event, Failure, Request, Target},
    plan::{Bytes, Capabilities, Choice, ExecPlan, Process, Scheduling, UserChoice},
};

/// A longer plan is refused: arguments and environment have their own limit.
const LIMIT: usize = 16 * 1024 * 1024;

/// What further processes are made from.
#[derive(Debug)]
pub(super) struct Executor {
    /// Who runs them.
    pub(super) kernel: Arc<Kernel>,
    /// What they see.
    pub(super) tree: Arc<MountNamespace>,
    /// Where their terminals are.
    pub(super) devpts: Option<Arc<Devpts>>,
    /// The container's own process, for what is not given.
    pub(super) base: Process,
    /// The filter that binds every process of the container.
    pub(super) filter: Option<Inherited>,
    /// personality(2).
    pub(super) personality: u32,
}

/// What came with a request.
struct Files {
    channel: Channel,
    plan: OwnedFd,
    others: Vec<OwnedFd>,
}

impl Files {
    fn of(files: Vec<OwnedFd>) -> Option<Files> {
        let mut files = files.into_iter();
        let (channel, plan) = (Channel::new(files.next()?), files.next()?);
        Some(Files { channel, plan, others: files.collect() })
    }
}

impl Executor {
    /// Takes a request up. How it goes is told on its own channel, the first of `files`.
    pub(super) fn accept(self: &Arc<Self>, files: Vec<OwnedFd>) -> Result<(), Errno> {
        let files = Files::of(files).ok_or(Errno::EINVAL)?;
        let executor = Arc::clone(self);
        let run = move || {
            let Files { channel, plan, others } = files;
            let channel = Arc::new(channel);
            let last = match executor.prepare(plan, others) {
                Ok(ready) => ready.run(&executor.kernel, &channel),
                Err(failed) => failed,
            };
            // Nobody else to tell if runsc has gone.
            let _ = channel.send(&last);
        };
        let thread = thread::Builder::new().name("exec".into()).spawn(run);
        thread.map(drop).map_err(|_| Errno::EAGAIN)
    }

    fn prepare(&self, plan: OwnedFd, files: Vec<OwnedFd>) -> Result<Ready, Event> {
        let plan = read(plan).map_err(|why| failed(format!("read the plan: {why}")))?;
        let process = self.process(&plan)?;
        let creds = process::credentials(&process);
        let cwd = self.working_directory(&process.cwd, &creds)?;
        let (streams, others) = import(&plan, files)?;
        let host = streams.iter().find_map(|stream| match stream {
            Stream::Terminal(host) => Some(host.try_clone()),
            Stream::File(_) => None,
        });
        let console = match (&self.devpts, host) {
            (Some(devpts), Some(host)) => {
                let host = host.map_err(|error| failed(format!("terminal: {error}")))?;
                let opened = Console::open(devpts, &self.tree, creds, host);
                Some(opened.map_err(|error| failed(error.to_string()))?)
            }
            _ => None,
        };
        let (console, slave) = console.unzip();
        let files = stdio::files(streams, slave.as_ref(), others);
        drop(slave);
        let identity = console.as_ref().map(Console::identity);
        let spec = process::spec(&process, &self.tree, cwd, files, identity);
        let spec = ProcessSpec {
            seccomp: self.filter.clone(),
            personality: self.personality,
            facts: TaskFacts { affinity: mask(&plan.cpus), ..spec.facts },
            ..spec
        };
        match self.kernel.prepare(spec) {
            Ok(prepared) => Ok(Ready { prepared, console }),
            Err(errno) => {
                let (failure, message) = guest::refusal(process.args.first(), errno);
                Err(Event::Failed { failure, message })
            }
        }
    }

    /// What is given, over what the container's own process has.
    fn process(&self, plan: &ExecPlan) -> Result<Process, Event> {
        let base = self.base.clone();
        let mut process = Process {
            args: plan.args.clone(),
            env: over(&plan.env, base.env, |base, more| base.into_iter().chain(more).collect()),
            cwd: plan.cwd.clone().unwrap_or(base.cwd),
            groups: over(&plan.groups, base.groups, |base, more| {
                base.into_iter().chain(more).collect()
            }),
            umask: plan.umask.unwrap_or(base.umask),
            capabilities: over(&plan.capabilities, base.capabilities, join),
            rlimits: plan.rlimits.clone().unwrap_or(base.rlimits),
            no_new_privileges: plan.no_new_privileges.unwrap_or(base.no_new_privileges),
            terminal: plan.terminal,
            oom_score_adj: plan.oom_score_adj.or(base.oom_score_adj),
            scheduling: Scheduling {
                io_priority: plan.io_priority.unwrap_or(base.scheduling.io_priority),
                ..plan.scheduling.unwrap_or(base.scheduling)
            },
            is_ordinary: true,
            ..base
        };
        match &plan.user {
            None => {}
            Some(UserChoice::Ids { uid, gid }) => (process.uid, process.gid) = (*uid, *gid),
            Some(UserChoice::Named { user, group }) => {
                let users = Users::of(&self.tree);
                let identity = users.identity(user, group.as_deref());
                let identity = identity.map_err(|error| failed(error.to_string()))?;
                process.uid = identity.uid;
                process.gid = identity.gid.unwrap_or(process.gid);
                process.groups.extend(identity.groups);
            }
        }
        process::complete(&mut process, &self.tree);
        Ok(process)
    }

    /// Unlike the first process's, it must be there, and be open to the user.
    fn working_directory(&self, path: &Bytes, creds: &Credentials) -> Result<Place, Event> {
        let root = self.tree.root();
        let cx = ResolveContext { start: root.clone(), root, creds: Arc::new(creds.clone()) };
        let found = resolve::walk(&cx, &path.0, Lookup::FOLLOW).and_then(|place| {
            let is_directory = place.inode().kind() == FileKind::Directory;
            if is_directory { Ok(place) } else { Err(Errno::ENOTDIR) }
        });
        found.map_err(|errno| {
            let why = guest::reason(errno);
            failed(format!("chdir to cwd ({path:?}) set in config.json failed: {why}"))
        })
    }
}

fn failed(message: String) -> Event {
    Event::Failed { failure: Failure::Other, message }
}

fn over<T: Clone>(choice: &Choice<T>, base: T, add: impl FnOnce(T, T) -> T) -> T {
    match choice {
        Choice::Container => base,
        Choice::Added(more) => add(base, more.clone()),
        Choice::Instead(other) => other.clone(),
    }
}

/// The processors as sched_setaffinity(2) takes them.
fn mask(cpus: &[usize]) -> Option<[u64; 16]> {
    let mut mask = [0; 16];
    for cpu in cpus {
        if let Some(word) = mask.get_mut(cpu / 64) {
            *word |= 1 << (cpu % 64);
        }
    }
    (!cpus.is_empty()).then_some(mask)
}

fn join(base: Capabilities, more: Capabilities) -> Capabilities {
    Capabilities {
        bounding: base.bounding | more.bounding,
        effective: base.effective | more.effective,
        permitted: base.permitted | more.permitted,
        inheritable: base.inheritable | more.inheritable,
        ambient: base.ambient | more.ambient,
    }
}

fn read(plan: OwnedFd) -> Result<ExecPlan, String> {
    let file = File::from(plan);
    let mut text = Vec::new();
    let mut room = vec![0; 64 * 1024];
    while text.len() <= LIMIT {
        let at = abi::num::to_u64(text.len());
        match file.read_at(&mut room, at).map_err(|error| error.to_string())? {
            0 => return serde_json::from_slice(&text).map_err(|error| error.to_string()),
            count => text.extend(room.iter().take(count)),
        }
    }
    Err("it is too long".into())
}

/// The standard streams, each one of the first files, and the files after those.
fn import(
    plan: &ExecPlan,
    files: Vec<OwnedFd>,
) -> Result<(Vec<Stream>, Vec<Arc<FileDescription>>), Event> {
    let count = plan.streams.iter().max().map_or(0, |last| last.saturating_add(1));
    let mut files = files.into_iter();
    let first: Vec<OwnedFd> = files.by_ref().take(count).collect();
    let streams = stdio::streams(first, &plan.streams, plan.terminal)
        .map_err(|error| failed(error.to_string()))?;
    let others = files.map(host_file::open).collect::<Result<_, _>>();
    let others =
        others.map_err(|errno| failed(format!("import a descriptor: {}", errno.message())))?;
    Ok((streams, others))
}

/// A process that may start.
struct Ready {
    prepared: Prepared,
    console: Option<Console>,
}

impl Ready {
    /// From its start to its end: the last event.
    fn run(self, kernel: &Arc<Kernel>, channel: &Arc<Channel>) -> Event {
        let Ready { prepared, console } = self;
        let pid = prepared.pid();
        if let Some(console) = &console {
            console.give_to(pid);
        }
        let waiter = Arc::clone(prepared.waiter());
        let listening = console.as_ref().map(Console::window).transpose().and_then(|window| {
            let running = guest::Running { kernel: Arc::clone(kernel), window, pid };
            let (channel, waiter) = (Arc::clone(channel), Arc::clone(&waiter));
            let thread = thread::Builder::new().name("exec-signals".into());
            thread.spawn(move || listen(&channel, &running, &waiter))
        });
        if listening.is_err() {
            // It begins only to end.
            let _ = kernel.signal(pid, libc::SIGKILL);
        }
        if let Err(errno) = prepared.start() {
            return failed(errno.message().into());
        }
        if let Err(error) = listening {
            return failed(format!("listen to runsc: {error}"));
        }
        if let Err(error) = channel.send(&Event::Joined { pid }) {
            // The other thread sees it too, and kills the process.
            debug!("runsc: {error}");
        }
        let status = waiter.wait();
        if let Some(console) = console {
            console.drain();
        }
        Event::Exited { status }
    }
}

/// Hands signals on until whoever stands for the process is gone. Then it goes too.
fn listen(channel: &Channel, running: &guest::Running, waiter: &ExitWaiter) {
    loop {
        let request = channel.receive::<Request>();
        // Its number may be another's by now.
        let has_ended = waiter.poll().is_some();
        match request {
            Ok(Request::Signal { signal, target }) if !has_ended => {
                if let Err(errno) = running.signal_one(signal, target) {
                    debug!("signal {signal} for process {}: {}", running.pid, errno.message());
                }
            }
            Ok(request) => debug!("{request:?} is out of place"),
            Err(error) => {
                debug!("runsc: {error}");
                if !has_ended {
                    // It may be on its way out.
                    let _ = running.signal_one(libc::SIGKILL, Target::Init);
                }
                return;
            }
        }
    }
}
