// SPDX-License-Identifier: Apache-2.0
//! Adding a process to a container: what `exec` was asked, and the host process that stands for it.
//!
//! Detached, that is a monitor of its own, which the engine waits for; else it is this very process,
//! which stays where it was started: whoever ends the container must not end the command too.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::PathBuf,
};

use nix::libc;
use oci_spec::runtime as oci;

use super::{
    files::{self, FilesError},
    monitor::{self, Monitor, News},
    namespaces,
    stdio::{self, StdioError, Streams},
    title,
};
use crate::{
    cli::Values,
    oci::{affinity::Affinity, bundle::BundleError, caps, process},
    sandbox::{
        attend::{self, End, Signals},
        console,
        control::{Channel, ChannelError, Event, Request},
        plan::{Bytes, Capabilities, Choice, ExecPlan, UserChoice},
        spawn::{self, SpawnError},
    },
    state::{
        process::ProcessId,
        record::{Record, Status},
        store::{StateError, Store},
    },
    sys,
};

/// Why no process was added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// The container's state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The container is not in a state for it. The texts are runc's.
    #[error("cannot exec in a {0}")]
    Status(&'static str),
    /// The file of `--process`.
    #[error("--process {path}: {why}")]
    Process {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What it says.
    #[error(transparent)]
    Plan(#[from] BundleError),
    /// A flag whose value makes no sense.
    #[error("--{flag} {value}: {why}")]
    Flag {
        /// Which.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No program was named.
    #[error("process args cannot be empty")]
    NoArgs,
    /// Its streams.
    #[error(transparent)]
    Stdio(#[from] StdioError),
    /// Its descriptors, and files that were asked for.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The plan cannot be handed over.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The conversation with the sandbox.
    #[error("speak to the sandbox: {0}")]
    Channel(#[from] ChannelError),
    /// A host call failed.
    #[error("{step}: {source}")]
    Host {
        /// What for.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Somebody asked us to end before the process ran.
    #[error("{0} came before the process ran")]
    Interrupted(nix::sys::signal::Signal),
    /// The monitor says why.
    #[error("{0}")]
    Monitor(String),
    /// The sandbox says why.
    #[error("unable to start container process: {0}")]
    Sandbox(String),
}

/// A process that is about to join.
struct Joining {
    store: Store,
    record: Record,
    oom_score_adj: Option<i32>,
    affinity: Affinity,
    args: Vec<Bytes>,
    files: Vec<OwnedFd>,
    channel: Channel,
    is_terminal: bool,
    is_new_terminal: bool,
}

/// Adds a process to the container `id`. In the foreground: its wait status; detached: 0.
pub(crate) fn run(store: Store, flags: &Values, args: &[OsString]) -> Result<i32, ExecError> {
    let (id, args) = args.split_first().ok_or(ExecError::NoArgs)?;
    for flag in ["pass-fd", "exec-fd"] {
        if flags.is_given(flag) {
            let why = "not supported: use --preserve-fds";
            return Err(ExecError::Flag { flag, value: flags.text(flag), why });
        }
    }
    let record = store.read(&id.to_string_lossy())?;
    check(&record, flags)?;
    let Asked { mut plan, size, affinity } = asked(flags, args)?;
    let affinity = affinity.unwrap_or_else(|| record.exec_affinity.clone());
    plan.cpus = affinity.in_the_end().to_vec();
    plan.oom_score_adj = plan.oom_score_adj.or(record.oom_score_adj);
    let is_detached = flags.is_on("detach");
    let socket = flags.path("console-socket");
    if plan.terminal && !is_detached && socket.is_none() && !console::is_terminal() {
        tracing::warn!("--tty: standard input and output are no terminal: used as they are");
        plan.terminal = false;
    }
    let preserved = files::preserved(3, flags.number("preserve-fds"))?;
    let Streams { files: streams, is_new_terminal } =
        stdio::streams(plan.terminal, is_detached, socket.as_deref(), size)?;
    let distinct = distinct(streams, &mut plan);
    let host = |step| move |source: io::Error| ExecError::Host { step, source };
    let (channel, other) = Channel::pair().map_err(host("make a socket"))?;
    let mut all = vec![other, spawn::plan_file(&plan)?];
    all.extend(distinct);
    all.extend(preserved);
    let joining = Joining {
        store,
        record,
        oom_score_adj: plan.oom_score_adj,
        affinity,
        args: plan.args,
        files: all,
        channel,
        is_terminal: plan.terminal,
        is_new_terminal,
    };
    if is_detached { detached(joining, flags).map(|()| 0) } else { foreground(joining, flags) }
}

fn check(record: &Record, flags: &Values) -> Result<(), ExecError> {
    match record.status_now() {
        Status::Stopped => Err(ExecError::Status("stopped container")),
        Status::Creating => Err(ExecError::Status("container that is being created")),
        Status::Paused if !flags.is_on("ignore-paused") => {
            Err(ExecError::Status("paused container (use --ignore-paused to override)"))
        }
        Status::Created | Status::Running | Status::Paused => Ok(()),
    }
}

/// Streams that are one open file outside are one inside: each file once, and which one each stream is.
fn distinct(streams: [OwnedFd; 3], plan: &mut ExecPlan) -> Vec<OwnedFd> {
    let mut distinct: Vec<OwnedFd> = Vec::new();
    for (stream, index) in streams.into_iter().zip(&mut plan.streams) {
        let same = distinct.iter().position(|other| sys::is_same_file(other, &stream));
        *index = same.unwrap_or(distinct.len());
        if same.is_none() {
            distinct.push(stream);
        }
    }
    distinct
}

/// In the process that stands for the guest's: asks for it, and waits until it runs. Its number inside.
fn join(joining: &mut Joining, signals: &Signals) -> Result<i32, ExecError> {
    let me = ProcessId::of(std::process::id().cast_signed());
    let me = me.map_err(|source| ExecError::Host { step: "look at this process", source })?;
    let sandbox = joining.store.connect(&joining.record.id)?;
    joining.store.add_exec(&joining.record.id, me)?;
    let sent = sandbox.send_files(&Request::Exec, &joining.files);
    // From here on they are the sandbox's alone: their readers wait for the last writer.
    joining.files.clear();
    let told = sent.map(|()| attend::await_message(&joining.channel, signals));
    let answer = match told {
        Ok(Ok(())) => joining.channel.receive(),
        Ok(Err(signal)) => {
            joining.store.remove_exec(&joining.record.id, me.pid);
            return Err(ExecError::Interrupted(signal));
        }
        Err(error) => Err(error),
    };
    let failed = match answer {
        Ok(Event::Joined { pid }) => return Ok(pid),
        Ok(Event::Failed { message, .. }) => ExecError::Sandbox(message),
        Ok(other) => ExecError::Sandbox(format!("unexpected answer {other:?}")),
        // It ended while we asked.
        Err(ChannelError::Closed) => ExecError::Status("stopped container"),
        Err(error) => error.into(),
    };
    joining.store.remove_exec(&joining.record.id, me.pid);
    Err(failed)
}

/// Waits for the end of the process that has joined: its wait status.
fn wait(joining: &Joining, signals: &Signals) -> i32 {
    let end = attend::attend(&joining.channel, signals, joining.is_terminal);
    joining.store.remove_exec(&joining.record.id, std::process::id().cast_signed());
    match end {
        End::Exited(status) => status,
        // The end of the first process ends all others so.
        End::Failed(..) | End::Lost => libc::SIGKILL,
    }
}

fn foreground(mut joining: Joining, flags: &Values) -> Result<i32, ExecError> {
    let host = |step| move |source: io::Error| ExecError::Host { step, source };
    let affinity = &joining.affinity;
    affinity.take_initial().map_err(host("error setting initial CPU affinity"))?;
    affinity.take_last().map_err(host("error setting final CPU affinity"))?;
    monitor::adjust_oom_score(joining.oom_score_adj);
    let signals = Signals::hold().map_err(io::Error::from).map_err(host("hold signals"))?;
    let saved = console::Saved::of_stdin();
    if joining.is_terminal && !joining.is_new_terminal {
        saved.make_raw().map_err(io::Error::from).map_err(host("set the terminal up"))?;
    }
    let pid = join(&mut joining, &signals)?;
    files::write_pid(flags, "pid-file", std::process::id().cast_signed())?;
    files::write_pid(flags, "internal-pid-file", pid)?;
    Ok(wait(&joining, &signals))
}

fn detached(joining: Joining, flags: &Values) -> Result<(), ExecError> {
    let started = Monitor::fork(|news| live(joining, news));
    let mut monitor =
        started.map_err(|source| ExecError::Host { step: "start the monitor", source })?;
    let pid = match monitor.next().map_err(ExecError::Sandbox)? {
        News::Joined(pid) => pid,
        News::Failed(message) => return Err(ExecError::Monitor(message)),
        other => return Err(ExecError::Sandbox(format!("monitor: unexpected {other:?}"))),
    };
    let written = files::write_pid(flags, "pid-file", monitor.process.pid)
        .and_then(|()| files::write_pid(flags, "internal-pid-file", pid));
    if let Err(error) = written {
        // Nobody would know of it.
        monitor.process.kill(std::time::Instant::now() + std::time::Duration::from_secs(5));
        return Err(error.into());
    }
    Ok(())
}

/// In the monitor: the process's whole life. Its status, or why it never lived.
fn live(mut joining: Joining, news: &mut File) -> Result<i32, String> {
    let step = |step: &'static str| move |error: io::Error| format!("{step}: {error}");
    nix::unistd::setsid().map_err(|error| format!("setsid: {error}"))?;
    // The plan and the channel come before the streams.
    if let (true, Some(terminal)) = (joining.is_new_terminal, joining.files.get(2)) {
        sys::control_terminal(terminal.as_fd()).map_err(step("control the terminal"))?;
    }
    if let Some(monitor) = joining.record.monitor {
        namespaces::join_process(monitor);
    }
    let affinity = &joining.affinity;
    affinity.take_initial().map_err(step("error setting initial CPU affinity"))?;
    if let Some(cgroup) = &joining.record.cgroup
        && let Err(error) = cgroup.enter().and_then(|()| cgroup.be_counted())
    {
        // What the guest's process uses is counted all the same: it runs in the sandbox.
        tracing::warn!("{error}");
    }
    affinity.take_last().map_err(step("error setting final CPU affinity"))?;
    monitor::adjust_oom_score(joining.oom_score_adj);
    let signals = Signals::hold().map_err(|error| format!("hold signals: {error}"))?;
    monitor::let_go_of_streams()?;
    monitor::let_go_of_log()?;
    title::show(&joining.args);
    match join(&mut joining, &signals) {
        Ok(pid) => {
            monitor::outlive_starter();
            monitor::tell(news, &News::Joined(pid));
        }
        Err(error) => return Err(error.to_string()),
    }
    Ok(wait(&joining, &signals))
}

/// What is asked for.
struct Asked {
    plan: ExecPlan,
    /// How large a terminal should be.
    size: Option<(u16, u16)>,
    /// Where the process is to run.
    affinity: Option<Affinity>,
}

fn asked(flags: &Values, args: &[OsString]) -> Result<Asked, ExecError> {
    if let Some(path) = flags.path("process") {
        return given(flags, path);
    }
    if args.is_empty() {
        return Err(ExecError::NoArgs);
    }
    let bytes = |text: &OsString| Bytes::from(text.as_bytes());
    let words = |flag: &'static str| flags.all(flag).flat_map(split);
    let groups = words("additional-gids")
        .map(|word| {
            let why = "it is a number";
            word.parse().map_err(|_| ExecError::Flag { flag: "additional-gids", value: word, why })
        })
        .collect::<Result<Vec<u32>, _>>()?;
    let added: Vec<String> = words("cap").collect();
    let added = caps::bits(added.iter().map(|name| &**name));
    let user = flags.text("user");
    let user = (!user.is_empty()).then(|| match user.split_once(':') {
        Some((user, group)) => UserChoice::Named { user: user.into(), group: Some(group.into()) },
        None => UserChoice::Named { user, group: None },
    });
    let cwd = flags.path("cwd").map(|path| Bytes::from(path.as_os_str().as_bytes()));
    if cwd.as_ref().is_some_and(|cwd| cwd.0.first() != Some(&b'/')) {
        let why = "it must be an absolute path";
        return Err(ExecError::Flag { flag: "cwd", value: flags.text("cwd"), why });
    }
    let plan = ExecPlan {
        args: args.iter().map(bytes).collect(),
        env: Choice::Added(flags.all("env").map(|text| Bytes::from(text.as_bytes())).collect()),
        cwd,
        user,
        groups: Choice::Added(groups),
        umask: None,
        capabilities: Choice::Added(Capabilities {
            bounding: added,
            effective: added,
            permitted: added,
            inheritable: 0,
            ambient: added,
        }),
        rlimits: None,
        no_new_privileges: flags.is_given("no-new-privs").then(|| flags.is_on("no-new-privs")),
        terminal: flags.is_on("tty"),
        oom_score_adj: None,
        scheduling: None,
        io_priority: None,
        cpus: Vec::new(),
        streams: [0; 3],
    };
    Ok(Asked { plan, size: None, affinity: None })
}

fn split(text: &std::ffi::OsStr) -> Vec<String> {
    text.to_string_lossy().split(',').map(str::to_string).collect()
}

/// What the file of `--process` says. What it leaves out, the container's process has; but as runc has it, a
/// file that does not forbid the process to gain rights lets it.
fn given(flags: &Values, path: PathBuf) -> Result<Asked, ExecError> {
    let wrong = |why: String| ExecError::Process { path: path.clone(), why };
    let text = files::read_small(&path).map_err(|error| wrong(error.to_string()))?;
    let given: oci::Process =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let process = process::convert(&given)?;
    let plan = ExecPlan {
        args: process.args,
        env: Choice::Instead(process.env),
        cwd: Some(process.cwd),
        user: Some(UserChoice::Ids { uid: process.uid, gid: process.gid }),
        groups: Choice::Instead(process.groups),
        umask: given.user().umask().map(|umask| umask & 0o777),
        capabilities: match given.capabilities() {
            Some(_) => Choice::Instead(process.capabilities),
            None => Choice::Container,
        },
        rlimits: (!process.rlimits.is_empty()).then_some(process.rlimits),
        no_new_privileges: Some(process.no_new_privileges),
        terminal: process.terminal || flags.is_on("tty"),
        oom_score_adj: process.oom_score_adj,
        scheduling: given.scheduler().is_some().then_some(process.scheduling),
        io_priority: given.io_priority().is_some().then_some(process.scheduling.io_priority),
        cpus: Vec::new(),
        streams: [0; 3],
    };
    Ok(Asked { plan, size: stdio::size(&given), affinity: Affinity::of(&given)? })
}
