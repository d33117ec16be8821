// SPDX-License-Identifier: Apache-2.0
//! Making a container, step by step, each written down before it is taken.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::unistd;

use super::{
    monitor::{Monitor, News},
    stdio::{self, StdioError, Streams},
};
use crate::{
    cli::Values,
    config::Config,
    log::Timestamp,
    oci::{
        bundle::{Bundle, BundleError},
        convert,
    },
    sandbox::{
        cgroup::{Cgroup, CgroupError, Placement, Resources},
        console,
        control::{Event, Failure},
        plan::{BootPlan, GoferPlan},
        spawn::{self, Launch, SpawnError},
        supervise::{self, Outcome, Signals, Watch},
    },
    state::{
        process::ProcessId,
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
    /// Its processes.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// Its cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A file that was asked for.
    #[error("--pid-file {path}: {source}")]
    PidFile {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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
    /// systemd cannot make it.
    #[error("--systemd-cgroup: {0}")]
    Systemd(&'static str),
    /// A flag that this build does not act on.
    #[error("--{0}: not supported yet")]
    Unsupported(&'static str),
}

struct Made {
    entry: Entry,
    record: Record,
    boot: BootPlan,
    gofer: GoferPlan,
    streams: Streams,
}

/// Reads the bundle and writes down that the container is being made.
fn prepare(
    config: &Config,
    flags: &Values,
    id: &str,
    is_detached: bool,
) -> Result<Made, CreateError> {
    if flags.number("preserve-fds") != 0 {
        return Err(CreateError::Unsupported("preserve-fds"));
    }
    super::id::check(id).map_err(StateError::from)?;
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
    let process = bundle.spec.process().as_ref();
    let size = process.and_then(|process| process.console_size()).and_then(|size| {
        Some((u16::try_from(size.height()).ok()?, u16::try_from(size.width()).ok()?))
    });
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
        Ok(streams) => Ok(Made { entry, record, boot, gofer, streams }),
        Err(error) => {
            entry.remove()?;
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
    if config.uses_systemd_cgroups {
        return Err(CreateError::Systemd(if Path::new("/run/systemd/system").is_dir() {
            "systemd's cgroup driver is not supported yet: use the cgroupfs driver"
        } else {
            "systemd cgroup flag passed, but systemd support for managing cgroups is not available"
        }));
    }
    let path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    Ok((Some(Cgroup::plan(path, id)?), resources))
}

/// Makes what state.json names by now.
fn make_cgroup(entry: &Entry, record: &mut Record) -> Result<(), CreateError> {
    let mut tries = 0;
    loop {
        let Some(cgroup) = &mut record.cgroup else { return Ok(()) };
        match cgroup.make() {
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
            other => {
                other?;
                return Ok(cgroup.apply(&record.resources)?);
            }
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
    let Made { entry, mut record, mut boot, gofer, streams } = prepare(config, flags, id, true)?;
    boot.waits_for_start = waits_for_start;
    let made = monitored(config, &entry, &mut record, boot, gofer, streams).and_then(|()| {
        record.status = if waits_for_start { Status::Created } else { Status::Running };
        entry.save(&record)?;
        write_pid_file(flags, record.monitor)
    });
    if made.is_err() {
        entry.destroy()?;
    }
    made
}

fn monitored(
    config: &Config,
    entry: &Entry,
    record: &mut Record,
    boot: BootPlan,
    gofer: GoferPlan,
    streams: Streams,
) -> Result<(), CreateError> {
    let cgroup = placement(record);
    let launch = Launch { config, boot, gofer, stdio: streams.files, cgroup };
    let listener = entry.listen()?;
    let mut monitor = Monitor::start(launch, listener, streams.is_new_terminal)
        .map_err(|source| CreateError::Host { step: "start the monitor", source })?;
    record.monitor = Some(monitor.process);
    entry.save(record)?;
    loop {
        match monitor.next().map_err(CreateError::Sandbox)? {
            News::Processes { sentry, gofer } => {
                record.sentry = Some(sentry);
                record.gofer = Some(gofer);
                entry.save(record)?;
            }
            News::Created => return Ok(()),
            News::Failed(message) => return Err(CreateError::Sandbox(message)),
        }
    }
}

/// Makes and runs a container whose monitor is this process: its status.
pub(crate) fn foreground(config: &Config, flags: &Values, id: &str) -> Result<i32, CreateError> {
    let Made { entry, mut record, boot, gofer, streams } = prepare(config, flags, id, false)?;
    let host = |step| move |source: io::Error| CreateError::Host { step, source };
    let is_terminal = boot.process.terminal;
    let saved = console::Saved::of_stdin();
    let outcome: Result<Outcome, CreateError> = (|| {
        let signals = Signals::hold().map_err(io::Error::from).map_err(host("hold signals"))?;
        let listener = entry.listen()?;
        let stdio = streams.files;
        if is_terminal && !streams.is_new_terminal {
            saved.make_raw().map_err(io::Error::from).map_err(host("set the terminal up"))?;
        }
        let sandbox =
            spawn::start(Launch { config, boot, gofer, stdio, cgroup: placement(&record) })?;
        let me = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
        let process = |pid| ProcessId::of(pid).map_err(host("look at the sandbox"));
        record.monitor = Some(process(me)?);
        record.sentry = process(sandbox.boot.pid).ok();
        record.gofer = process(sandbox.gofer.pid).ok();
        record.status = Status::Running;
        entry.save(&record)?;
        write_pid_file(flags, record.monitor)?;
        entry.unlock();
        let watch = Watch {
            signals: &signals,
            is_terminal,
            listener: Some(listener),
            on_event: &mut |_: &Event| {},
        };
        Ok(supervise::supervise(sandbox, watch))
    })();
    drop(saved);
    if !flags.is_on("keep") || outcome.is_err() {
        forget(config, id)?;
    }
    match outcome? {
        Outcome::Exited(status) => Ok(status),
        Outcome::Failed(Failure::NotFound | Failure::NotExecutable | Failure::Other, message) => {
            Err(CreateError::Sandbox(message))
        }
    }
}

/// Removes the state of a container of ours that has ended; somebody may have done so before.
fn forget(config: &Config, id: &str) -> Result<(), CreateError> {
    match Store::new(&config.root).open(id) {
        Ok(entry) => Ok(entry.remove()?),
        Err(StateError::Missing) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the monitor's number where the engine looks for it: whole, and without a newline.
fn write_pid_file(flags: &Values, monitor: Option<ProcessId>) -> Result<(), CreateError> {
    let (Some(path), Some(monitor)) = (flags.path("pid-file"), monitor) else { return Ok(()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.parent().unwrap_or(Path::new("")).join(format!(".{name}"));
    fs::write(&temporary, monitor.pid.to_string())
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|source| CreateError::PidFile { path, source })
}
