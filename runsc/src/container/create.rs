// SPDX-License-Identifier: Apache-2.0
//! Making a container, step by step, each written down before it is taken.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
};

use nix::{fcntl::OFlag, unistd};

use super::{
    end,
    files::{self, FilesError},
    hooks::{self, Moment},
    monitor::{Gate, Job, Monitor, News},
    namespaces::Namespaces,
    stdio::{self, StdioError, Streams},
};
use crate::{
    cli::Values,
    config::{Config, Network},
    log::Timestamp,
    oci::{
        affinity::Affinity,
        bundle::{Bundle, BundleError},
        convert,
        hooks::{HookError, HostHooks},
    },
    sandbox::{
        attend::{self, End, Signals},
        cgroup::{Cgroup, CgroupError, Placement, Resources},
        console,
        control::{Channel, ChannelError, Request},
        namespaces,
        plan::{BootPlan, Bytes, GoferPlan},
        spawn::Launch,
    },
    state::{
        record::{Record, Status},
        store::{Entry, StateError, Store},
    },
};

/// Why a container could not be made or run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// Its bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Its state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its streams.
    #[error(transparent)]
    Stdio(#[from] StdioError),
    /// Its descriptors, and files that were asked for.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Its cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A host call failed.
    #[error("{step}: {source}")]
    Host {
        /// What for.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The sandbox says why.
    #[error("unable to start container process: {0}")]
    Sandbox(String),
    /// The conversation with the sandbox.
    #[error("speak to the sandbox: {0}")]
    Channel(#[from] ChannelError),
    /// A hook that has a say in it failed.
    #[error("unable to start container process: error during container init: {0}")]
    Hook(HookError),
    /// A hook that was told of it failed.
    #[error(transparent)]
    Started(HookError),
    /// Its sandbox was lost, with this word.
    #[error("{0}")]
    Lost(String),
}

struct Made {
    entry: Entry,
    record: Record,
    boot: BootPlan,
    gofer: GoferPlan,
    streams: Streams,
    preserved: Vec<OwnedFd>,
    namespaces: Namespaces,
}

/// Reads the bundle and writes down that the container is being made.
fn prepare(
    config: &Config,
    flags: &Values,
    id: &str,
    is_detached: bool,
) -> Result<Made, CreateError> {
    super::id::check(id).map_err(StateError::from)?;
    // Said before anything of the other container is looked at; what decides is the directory below.
    if Store::new(&config.root).read(id).is_ok() {
        return Err(StateError::Exists.into());
    }
    let bundle = Bundle::open(&flags.path("bundle").unwrap_or_else(|| ".".into()))?;
    let (mut boot, gofer) = convert::plan(id, &bundle, config)?;
    let (cgroup, resources) = cgroup_of(&bundle.spec, id, config)?;
    boot.limits.tasks = resources.task_limit();
    let socket = flags.path("console-socket");
    if boot.process.terminal && !is_detached && socket.is_none() && !console::is_terminal() {
        tracing::warn!(
            "process.terminal: standard input and output are no terminal: used as they are"
        );
        boot.process.terminal = false;
    }
    let size = bundle.spec.process().as_ref().and_then(stdio::size);
    let affinity = bundle.spec.process().as_ref().map(Affinity::of).transpose()?;
    let exec_affinity = affinity.flatten().unwrap_or_default();
    let listening = files::listening();
    let mut preserved = files::preserved(files::FIRST, i64::from(listening))?;
    if listening > 0 {
        let variables = [format!("LISTEN_FDS={listening}"), "LISTEN_PID=1".into()];
        boot.process.env.extend(variables.map(Bytes::from));
    }
    preserved.extend(files::preserved(files::FIRST + listening, flags.number("preserve-fds"))?);
    let namespaces = Namespaces::of(&bundle.spec);
    if config.network != Network::None {
        tracing::warn!(
            "network: the guest has unix sockets and no others: there is no packet network yet \
             (--network=none says the same without this line)"
        );
    }
    let entry = Store::new(&config.root).create(id)?;
    let mut record = Record {
        id: id.into(),
        bundle: bundle.path.clone(),
        rootfs: bundle.rootfs.clone(),
        created: Timestamp::now().to_string(),
        annotations: bundle.spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        owner: unistd::getuid().as_raw(),
        status: Status::Creating,
        before_pause: None,
        cgroup,
        resources,
        oom_score_adj: boot.process.oom_score_adj,
        exec_affinity,
        hooks: HostHooks::of(&bundle.spec),
        monitor: None,
        sentry: None,
        gofer: None,
    };
    let made = entry.save(&record).map_err(CreateError::from);
    let made = made.and_then(|()| make_cgroup(&entry, &mut record));
    let streams = made.and_then(|()| {
        let is_terminal = boot.process.terminal;
        Ok(stdio::streams(is_terminal, is_detached, socket.as_deref(), size)?)
    });
    match streams {
        Ok(streams) => Ok(Made { entry, record, boot, gofer, streams, preserved, namespaces }),
        Err(error) => {
            end::destroy(entry, None)?;
            Err(error)
        }
    }
}

/// Where the container is to be in the host's cgroups, and what is asked of them.
fn cgroup_of(
    spec: &oci_spec::runtime::Spec,
    id: &str,
    config: &Config,
) -> Result<(Option<Cgroup>, Resources), CreateError> {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let resources = resources.map(Resources::of_spec).transpose()?.unwrap_or_default();
    if config.ignores_cgroups {
        return Ok((None, resources));
    }
    let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let cgroup = if config.uses_systemd_cgroups {
        let annotations = spec.annotations().clone().unwrap_or_default().into_iter().collect();
        let is_users = !unistd::geteuid().is_root() || namespaces::is_in_users_own();
        Cgroup::plan_unit(path, id, &annotations, is_users)?
    } else {
        Cgroup::plan(path, id)?
    };
    Ok((Some(cgroup), resources))
}

/// Makes what state.json names by now.
fn make_cgroup(entry: &Entry, record: &mut Record) -> Result<(), CreateError> {
    let mut tries = 0;
    loop {
        let Some(cgroup) = &mut record.cgroup else { return Ok(()) };
        match cgroup.make(&record.resources) {
            Err(error) if error.is_anothers() => {
                // It is not ours to remove. Where nobody asked for it, another place will do.
                let is_final = tries == 3 || !matches!(error, CgroupError::Taken(_));
                tries += 1;
                record.cgroup = if is_final { None } else { Some(Cgroup::plan(None, &record.id)?) };
                entry.save(record)?;
                if is_final {
                    return Err(error.into());
                }
            }
            other => return Ok(other?),
        }
    }
}

/// What the processes of the sandbox enter.
fn placement(record: &Record) -> Option<Placement> {
    let (cgroup, resources) = (record.cgroup.clone()?, record.resources.clone());
    Some(Placement { cgroup, resources })
}

/// Makes a container that a monitor stands for; it runs at once, or waits for `start`.
pub(crate) fn detached(
    config: &Config,
    flags: &Values,
    id: &str,
    waits_for_start: bool,
) -> Result<(), CreateError> {
    let mut made = prepare(config, flags, id, true)?;
    made.boot.waits_for_start = waits_for_start;
    let status = if waits_for_start { Status::Created } else { Status::Running };
    let (entry, record, _) = finish(config, flags, made, status, None, None)?;
    entry.unlock();
    if waits_for_start { Ok(()) } else { announce(config, &record, None) }
}

/// Makes and runs a container whose end this process waits for: its status.
pub(crate) fn foreground(config: &Config, flags: &Values, id: &str) -> Result<i32, CreateError> {
    let mut made = prepare(config, flags, id, false)?;
    let host = |step| move |source: io::Error| CreateError::Host { step, source };
    let is_terminal = made.boot.process.terminal;
    let is_ours = is_terminal && !made.streams.is_new_terminal;
    // While a hook may hang, keys that signal are for us, and the guest waits for its terminal.
    let has_hooks =
        made.record.hooks.has_any_at_create() || !made.boot.extras.start_hooks.is_empty();
    made.boot.waits_for_terminal = is_ours && has_hooks;
    let saved = console::Saved::of_stdin();
    let signals = match Signals::hold() {
        Ok(signals) => signals,
        Err(errno) => {
            end::destroy(made.entry, None)?;
            return Err(host("hold signals")(errno.into()));
        }
    };
    let outcome = (|| {
        let set_up =
            || saved.make_raw().map_err(io::Error::from).map_err(host("set the terminal up"));
        if is_ours && !has_hooks {
            set_up()?;
        }
        let (channel, other) = Channel::pair().map_err(host("make a socket"))?;
        let owner = Some(Channel::new(other));
        let (entry, record, monitor) =
            finish(config, flags, made, Status::Running, owner, Some(&signals))?;
        entry.unlock();
        if is_ours && has_hooks {
            set_up()?;
            match channel.ask(&Request::Start) {
                // How it ended, the monitor says below.
                Err(ChannelError::Closed) => {}
                asked => asked?,
            }
            channel.await_start();
        }
        announce(config, &record, Some(&signals))?;
        // An owner is told of the end unasked, which may have come already.
        match attend::attend(&channel, &signals, is_terminal) {
            End::Exited(status) => {
                // It ends likewise, and has nothing more to say.
                monitor.wait().map_err(CreateError::Sandbox)?;
                Ok(status)
            }
            // The container was made: its sandbox died, as far as whoever waits for it can see.
            End::Failed(..) | End::Lost => monitor.wait().map_err(CreateError::Lost),
        }
    })();
    drop(saved);
    let has_run = matches!(outcome, Ok(_) | Err(CreateError::Lost(_)));
    if !(flags.is_on("keep") && has_run) {
        forget(config, id, Some(&signals))?;
    }
    outcome
}

/// Tells the hooks for it that the container runs. One that fails is the end of the container.
fn announce(
    config: &Config,
    record: &Record,
    signals: Option<&Signals>,
) -> Result<(), CreateError> {
    hooks::poststart(record, signals).map_err(CreateError::Started).or_else(|error| {
        forget(config, &record.id, signals)?;
        Err(error)
    })
}

/// Starts the monitor and waits until the container is made. What fails is undone.
fn finish(
    config: &Config,
    flags: &Values,
    made: Made,
    status: Status,
    owner: Option<Channel>,
    signals: Option<&Signals>,
) -> Result<(Entry, Record, Monitor), CreateError> {
    let Made { entry, mut record, boot, gofer, streams, preserved, namespaces } = made;
    let config = if owner.is_none() { &config.in_background() } else { config };
    let (cgroup, stdio) = (placement(&record), streams.files);
    let launch = Launch { config, boot, gofer, stdio, preserved, cgroup };
    let finished = entry.listen().map_err(CreateError::from).and_then(|listener| {
        let is_new_terminal = streams.is_new_terminal;
        let lock = entry.lock_number();
        let exit_note = entry.exit_note();
        let (gate, go) = gate(&record)?.unzip();
        let job =
            Job { exit_note, launch, listener, is_new_terminal, namespaces, gate, lock, owner };
        let monitor = monitored(&entry, &mut record, job, go, signals)?;
        record.status = status;
        entry.save(&record)?;
        files::write_pid(flags, "pid-file", monitor.process.pid)?;
        Ok(monitor)
    });
    match finished {
        Ok(monitor) => Ok((entry, record, monitor)),
        Err(error) => {
            end::destroy(entry, signals)?;
            Err(error)
        }
    }
}

/// Where the monitor is to wait for hooks, and what lets it go on.
fn gate(record: &Record) -> Result<Option<(Gate, File)>, CreateError> {
    if !record.hooks.has_any_at_create() {
        return Ok(None);
    }
    let (go, opener) = unistd::pipe2(OFlag::O_CLOEXEC)
        .map_err(|errno| CreateError::Host { step: "make a pipe", source: errno.into() })?;
    Ok(Some((Gate { go, record: record.clone() }, opener.into())))
}

fn monitored(
    entry: &Entry,
    record: &mut Record,
    job: Job<'_>,
    go: Option<File>,
    signals: Option<&Signals>,
) -> Result<Monitor, CreateError> {
    let host = |step| move |source| CreateError::Host { step, source };
    let has_start_hooks = !job.launch.boot.extras.start_hooks.is_empty();
    let mut monitor = Monitor::start(job).map_err(host("start the monitor"))?;
    record.monitor = Some(monitor.process);
    entry.save(record)?;
    let mut runs_hooks = false;
    loop {
        if let (true, Some(signals)) = (runs_hooks, signals) {
            monitor.await_news(signals).map_err(host("wait for the monitor"))?;
        }
        match monitor.next().map_err(CreateError::Sandbox)? {
            News::Placed => {
                let moment = Moment::of(record, Status::Creating, signals);
                hooks::run(&record.hooks.prestart, &moment).map_err(CreateError::Hook)?;
                hooks::run(&record.hooks.create_runtime, &moment).map_err(CreateError::Hook)?;
                if let Some(mut go) = go.as_ref() {
                    go.write_all(&[1]).map_err(host("let the monitor go on"))?;
                }
                runs_hooks = true;
            }
            News::Processes { sentry, gofer } => {
                runs_hooks = has_start_hooks;
                record.sentry = Some(sentry);
                record.gofer = Some(gofer);
                entry.save(record)?;
            }
            News::Created | News::Joined(_) => return Ok(monitor),
            News::Failed(message) => return Err(CreateError::Sandbox(message)),
        }
    }
}

/// Ends a container of ours, of which nothing may be left but its state; somebody may have done so before.
fn forget(config: &Config, id: &str, signals: Option<&Signals>) -> Result<(), CreateError> {
    match Store::new(&config.root).open(id) {
        Ok(entry) => Ok(end::destroy(entry, signals)?),
        Err(StateError::Missing) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
