// SPDX-License-Identifier: Apache-2.0
//! Starting the sentry and the gofer: this very binary, again, with exactly the descriptors it needs.
//!
//! The numbers are fixed: 0 to 2 are /dev/null, 3 is the conversation with runsc (for the gofer: where
//! it writes why it failed), 4 the plan, 5 the connection between the two. The sentry's 6 to 8 are the
//! guest's standard streams. Logs follow, and in the sentry what is handed on to the guest,
//! and the file of the host that tells how much memory is used.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open},
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::SigSet,
        socket::{AddressFamily, SockFlag, SockType, socketpair},
        stat::Mode,
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::{Pid, pipe2},
};
use serde::Serialize;
use tracing::debug;

use super::{
    cgroup::{CgroupError, Placement},
    control::Channel,
    namespaces,
    plan::{BootPlan, GoferPlan, Isolation},
};
use crate::{
    config::{Config, ConfigError},
    log::Sink,
    sys::{self, Child},
};

/// Where the plan lies.
pub(crate) const PLAN: i32 = 4;
/// Where runsc listens.
pub(crate) const CONTROL: i32 = 3;
/// Where the other process is.
pub(crate) const CONNECTION: i32 = 5;
/// The first of the guest's standard streams, in the sentry.
pub(crate) const STDIO: i32 = 6;
/// The first log of the sentry.
pub(crate) const BOOT_LOGS: i32 = 9;
/// The first log of the gofer.
pub(crate) const GOFER_LOGS: i32 = 6;

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// A host call failed.
    #[error("{step}: {source}")]
    Host {
        /// What for.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The cgroup cannot be entered.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A log cannot be opened.
    #[error(transparent)]
    Log(#[from] ConfigError),
}

trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, SpawnError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &'static str) -> Result<T, SpawnError> {
        self.map_err(|source| SpawnError::Host { step, source: source.into() })
    }
}

/// What a sandbox is made of.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// The global flags.
    pub(crate) config: &'a Config,
    /// For the sentry. Its isolation and logs are filled in.
    pub(crate) boot: BootPlan,
    /// For the gofer. Its isolation and logs are filled in.
    pub(crate) gofer: GoferPlan,
    /// The guest's standard streams.
    pub(crate) stdio: [OwnedFd; 3],
    /// Descriptors that it gets besides.
    pub(crate) preserved: Vec<OwnedFd>,
    /// Which cgroup of the host the caller is in, and all that it starts is to be in.
    pub(crate) cgroup: Option<Placement>,
}

/// The processes of a sandbox, as the process sees them that started it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// The sentry.
    pub(crate) boot: Child,
    /// The gofer.
    pub(crate) gofer: Child,
    /// The conversation with the sentry.
    pub(crate) control: Channel,
    gofer_status: OwnedFd,
}

impl Sandbox {
    /// Why the gofer failed, if it has. Waits until the gofer has either closed its jail or ended.
    pub(crate) fn gofer_failure(&self) -> Option<String> {
        let mut text = String::new();
        let status = self.gofer_status.try_clone().ok()?;
        File::from(status).take(4096).read_to_string(&mut text).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// Whether the gofer has ended.
    pub(crate) fn is_gofer_lost(&self) -> bool {
        let mut fds = [PollFd::new(self.gofer.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Whether the gofer has ended, and not by itself: what the guest does from then on means nothing.
    pub(crate) fn was_gofer_killed(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let status = waitid(Id::PIDFd(self.gofer.pidfd.as_fd()), flags);
        matches!(status, Ok(WaitStatus::Signaled(..)))
    }

    /// Lets a sandbox that has said its last word write down what it has to, for a while.
    pub(crate) fn await_end(&self) {
        let mut fds = [PollFd::new(self.boot.pidfd.as_fd(), PollFlags::POLLIN)];
        // What comes of it, `end` sees.
        let _ = poll(&mut fds, PollTimeout::from(2000u16));
    }

    /// Ends whatever is left of the sandbox and waits for that: its status, as wait(2) has it.
    pub(crate) fn end(self) -> Option<WaitStatus> {
        drop(self.control);
        // The processes may be gone already, which is what we want.
        let _ = sys::send_signal(self.gofer.pidfd.as_fd(), libc::SIGKILL);
        let _ = sys::send_signal(self.boot.pidfd.as_fd(), libc::SIGKILL);
        let status = reap(self.boot.pid);
        reap(self.gofer.pid);
        status
    }
}

/// Waits for a child.
pub(crate) fn reap(pid: i32) -> Option<WaitStatus> {
    loop {
        match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::empty())) {
            Err(nix::errno::Errno::EINTR) => {}
            result => return result.ok(),
        }
    }
}

/// Starts the processes. The caller is single-threaded.
pub(crate) fn start(launch: Launch<'_>) -> Result<Sandbox, SpawnError> {
    let Launch { config, mut boot, mut gofer, stdio, preserved, cgroup } = launch;
    let mut usage = None;
    if let Some(Placement { cgroup, resources }) = &cgroup {
        boot.limits = cgroup.limits(resources).as_seen(config);
        usage = cgroup.memory_usage();
    }
    let program = open("/proc/self/exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .step("open /proc/self/exe")?;
    let flags = SockFlag::SOCK_CLOEXEC;
    let (client, server) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
        .step("make the gofer's socket")?;
    let (control, boot_control) = Channel::pair().step("make the control socket")?;
    let (gofer_status, status_writer) =
        pipe2(OFlag::O_CLOEXEC).step("make the gofer's status pipe")?;

    let gofer_logs = config.open_logs("gofer", &boot.id)?;
    gofer.logs = gofer_logs.iter().map(|sink| sink.rule).collect();
    let id = boot.id.clone();
    let gofer_child = isolated("gofer", config, |isolation| {
        gofer.isolation = isolation;
        let mut files = vec![clone(&status_writer)?, plan_file(&gofer)?, clone(&server)?];
        add_logs(&mut files, &gofer_logs)?;
        launch_one(&program, "gofer", &id, isolation, files)
    })?;
    drop((status_writer, server, gofer_logs));

    let boot_logs = config.open_logs("boot", &boot.id)?;
    boot.logs = boot_logs.iter().map(|sink| sink.rule).collect();
    boot.preserved = i32::try_from(preserved.len()).unwrap_or(i32::MAX);
    boot.has_memory_usage = usage.is_some();
    let boot_child = isolated("boot", config, |isolation| {
        boot.isolation = isolation;
        let mut files = vec![clone(&boot_control)?, plan_file(&boot)?, clone(&client)?];
        for stream in &stdio {
            files.push(clone(stream)?);
        }
        add_logs(&mut files, &boot_logs)?;
        for file in preserved.iter().chain(&usage) {
            files.push(clone(file)?);
        }
        launch_one(&program, "boot", &id, isolation, files)
    });
    let boot_child = match boot_child {
        Ok(child) => child,
        Err(error) => {
            // The gofer ends by itself when nobody holds the other end of its connection.
            drop(client);
            reap(gofer_child.pid);
            return Err(error);
        }
    };
    debug!("sandbox {id}: sentry {} and gofer {}", boot_child.pid, gofer_child.pid);
    let sandbox = Sandbox { boot: boot_child, gofer: gofer_child, control, gofer_status };
    if let Some(Placement { cgroup, .. }) = &cgroup
        && let Err(error) = cgroup.be_counted()
    {
        sandbox.end();
        return Err(error.into());
    }
    Ok(sandbox)
}

/// Tries the isolations that this host may grant, the strongest first.
fn isolated(
    name: &str,
    config: &Config,
    mut attempt: impl FnMut(Isolation) -> Result<Child, SpawnError>,
) -> Result<Child, SpawnError> {
    let mut choices = namespaces::choices(config.is_rootless).into_iter().peekable();
    loop {
        let Some(isolation) = choices.next() else {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied)).step("start a process");
        };
        match attempt(isolation) {
            Err(SpawnError::Host { source, .. })
                if choices.peek().is_some() && namespaces::is_refusal(&source) =>
            {
                tracing::warn!(
                    "{name}: the host refuses {}: {source}; continuing with less isolation \
                     (allow user namespaces, or run as root with CAP_SYS_ADMIN)",
                    if isolation.has_user_namespace { "user namespaces" } else { "namespaces" }
                );
            }
            result => return result,
        }
    }
}

fn launch_one(
    program: &OwnedFd,
    role: &str,
    id: &str,
    isolation: Isolation,
    files: Vec<OwnedFd>,
) -> Result<Child, SpawnError> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .step("open /dev/null")?;
    let mut all = vec![clone(&null)?, clone(&null)?, null];
    all.extend(files);
    let args = ["runsc", role, id].map(|text| CString::new(text).unwrap_or_default());
    namespaces::spawn(isolation, || become_it(program, &args, all)).step("start a process")
}

/// In the child: lays out the descriptors and becomes the program. Returns when that fails.
fn become_it(program: &OwnedFd, args: &[CString], files: Vec<OwnedFd>) -> i32 {
    let ready = SigSet::empty()
        .thread_set_mask()
        .map_err(io::Error::from)
        .and_then(|()| sys::place_fds(files, 0, program.as_fd()));
    let error = match ready {
        Ok(program) => sys::exec(program.as_fd(), args, &[]),
        Err(error) => error,
    };
    // Standard error may be the null device by now; the exit code says the rest.
    let _ = writeln!(io::stderr(), "runsc: execute /proc/self/exe: {error}");
    127
}

fn clone(file: &impl AsFd) -> Result<OwnedFd, SpawnError> {
    file.as_fd().try_clone_to_owned().step("duplicate a descriptor")
}

fn add_logs(files: &mut Vec<OwnedFd>, sinks: &[Sink]) -> Result<(), SpawnError> {
    for sink in sinks {
        files.push(clone(&sink.file)?);
    }
    Ok(())
}

/// The plan as a sealed file without a name.
pub(crate) fn plan_file(plan: &impl Serialize) -> Result<OwnedFd, SpawnError> {
    let text = serde_json::to_vec(plan).map_err(io::Error::from).step("write the plan")?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = memfd_create("plan", flags).step("make the plan's file")?;
    let mut file = File::from(file);
    file.write_all(&text).step("write the plan")?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).step("seal the plan")?;
    Ok(file.into())
}

/// Reads the plan in the process that it is for.
pub(crate) fn read_plan<T: serde::de::DeserializeOwned>() -> Result<T, SpawnError> {
    use std::os::unix::fs::FileExt as _;
    let file = sys::inherited(PLAN).ok_or(io::ErrorKind::NotFound).map_err(io::Error::from);
    let file = File::from(file.step("find the plan: this command is started by runsc alone")?);
    let length = file.metadata().step("read the plan")?.len();
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut text, 0).step("read the plan")?;
    serde_json::from_slice(&text).map_err(io::Error::from).step("read the plan")
}
