// SPDX-License-Identifier: Apache-2.0
//! What runs inside a sandbox before, around and after its kernel.
//!
//! The order is the point: settle, empty root, nobody, no rights; then the platform, whose zygote must
//! be forked before the filter; then the kernel with its mounts and its first task; then the filter;
//! then the guest's first instruction.

mod control;
mod copy_up;
mod devices;
mod exec;
mod filters;
pub(crate) mod gofer;
mod guest;
mod hooks;
mod masks;
mod mountpoints;
mod oom;
mod process;
mod settings;
mod stdio;
mod systems;
mod terminal;
mod users;
mod vfs;

use exec::Executor;
use std::{backtrace::Backtrace, fs::File, sync::Arc};
use systems::Systems;

use nix::{libc, sys::prctl};
use platform::Platform;
use sentry::{
    fs::devpts::Options,
    kernel::{Kernel, ProcessSpec},
};
use stdio::Stream;
use terminal::Console;

use crate::{
    config::PlatformKind,
    log::{self, Sink},
    sandbox::{
        control::{Channel, Event, Failure},
        jail,
        plan::{BootPlan, MountKind, SeccompFilter},
        spawn,
    },
    sys,
};

/// Each thread of a guest has one of ours, and most of them sleep. One arena, for glibc opens
/// `/proc/sys/vm/overcommit_memory` before it shrinks a further one, and the sentry may open nothing.
const ARENAS: i32 = 1;

type Error = Box<dyn std::error::Error>;

/// Runs the sentry: its exit code. A failure is told to runsc.
pub(crate) fn main() -> u8 {
    let Some(control) = sys::inherited(spawn::CONTROL).map(Channel::new) else { return 128 };
    let control = Arc::new(control);
    tell_of_panics(&control);
    let last = match live(&control) {
        Ok(last) => last,
        Err(error) => Event::Failed { failure: Failure::Other, message: error.to_string() },
    };
    // Nobody else to tell if runsc has gone.
    let _ = control.send(&last);
    0
}

/// A panic anywhere ends the sandbox, and its cause is the last thing that runsc hears.
fn tell_of_panics(control: &Arc<Channel>) {
    let control = Arc::clone(control);
    std::panic::set_hook(Box::new(move |panic| {
        let message = format!("the sentry panicked: {panic}");
        tracing::error!("{message}");
        let _ = control.send(&Event::Failed { failure: Failure::Other, message });
        tell_where();
        sys::exit_now(1)
    }));
}

/// With `--debug`: the way to a panic, a line each.
fn tell_where() {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for line in Backtrace::force_capture().to_string().lines() {
        tracing::debug!("{line}");
    }
}

/// With `--debug`: has the names of functions loaded, for which files are opened, while that may be done.
fn prepare_backtraces() {
    if tracing::enabled!(tracing::Level::DEBUG) {
        let _ = Backtrace::force_capture().to_string();
    }
}

/// The whole life of the sandbox: the last event.
fn live(control: &Arc<Channel>) -> Result<Event, Error> {
    let mut plan: BootPlan = spawn::read_plan()?;
    let logs = (spawn::BOOT_LOGS..).zip(&plan.logs);
    log::install(
        logs.filter_map(|(number, rule)| Some(Sink::new(sys::inherited(number)?, *rule))).collect(),
    );
    prepare_backtraces();
    let score = oom::Score::find();
    close_jail(&plan)?;
    // A change of user made this process undumpable, and with it the stubs it is going to fork, whose
    // memory it must read.
    prctl::set_dumpable(true)?;
    sys::limit_arenas(ARENAS);
    let machine = guest::machine();
    let memory = plan.limits.memory_total.unwrap_or(machine.memory_total);
    let platform = oom::Score::raised(score, memory, || start_platform(plan.platform))?;
    prctl::set_dumpable(false)?;
    let connection = sys::inherited(spawn::CONNECTION).ok_or("no connection to the gofer")?;
    let gofer = ::gofer::client::Connection::new(connection);
    let streams = stdio::import(plan.process.terminal)?;
    let first = spawn::BOOT_LOGS + i32::try_from(plan.logs.len())?;
    let preserved = stdio::preserved(first, plan.preserved)?;
    let after = first.saturating_add(plan.preserved);
    let usage = plan.has_memory_usage.then(|| sys::inherited(after)).flatten().map(File::from);
    let config = guest::config(&plan, Arc::clone(&platform), &machine, usage);
    install_filter(&*platform)?;

    let filter = plan.extras.seccomp.as_ref().map(SeccompFilter::checked).transpose();
    let filter = filter.map_err(|errno| format!("linux.seccomp: {}", errno.message()))?;
    let kernel = Kernel::new(config);
    sentry::fs::dev::register();
    sentry::fs::pipe::register();
    let devpts = terminal_options(&plan).map(|options| kernel.new_devpts(options));
    let systems = Systems { gofer, kernel: Arc::clone(&kernel), devpts: devpts.clone() };
    settings::apply(&kernel, &plan.extras.sysctls)?;
    let tree = vfs::tree(&plan, &systems)?;
    process::complete(&mut plan.process, &tree);
    let cwd = vfs::working_directory(&tree, &plan.process.cwd)?;
    let host_terminal = streams.iter().find_map(|stream| match stream {
        Stream::Terminal(host) => Some(host.try_clone()),
        Stream::File(_) => None,
    });
    let (console, file) = match (&devpts, host_terminal) {
        (Some(devpts), Some(host)) => {
            let creds = process::credentials(&plan.process);
            let (console, file) = Console::open(devpts, &tree, creds, host?)?;
            vfs::show_console(&tree, &file)?;
            console.give_to(guest::INIT);
            (Some(console), Some(file))
        }
        _ => (None, None),
    };
    let files = stdio::files(streams, file.as_ref(), preserved);
    drop(file);
    let identity = console.as_ref().map(Console::identity);
    let like_init = || ProcessSpec {
        seccomp: filter.clone(),
        personality: plan.extras.personality,
        ..process::spec(&plan.process, &tree, cwd.clone(), Vec::new(), None)
    };
    let init = ProcessSpec { files, terminal: identity, ..like_init() };
    let prepared = match kernel.prepare(init) {
        Ok(prepared) => prepared,
        Err(errno) => {
            let (failure, message) = guest::refusal(plan.process.args.first(), errno);
            return Ok(Event::Failed { failure, message });
        }
    };
    let window = console.as_ref().map(Console::window).transpose()?;
    let init = guest::Running { kernel: Arc::clone(&kernel), window, pid: guest::INIT };
    let base = plan.process.clone();
    let executor = Executor {
        kernel: Arc::clone(&kernel),
        tree: Arc::clone(&tree),
        devpts,
        base,
        filter: filter.clone(),
        personality: plan.extras.personality,
    };
    let whole = guest::Whole { init, machine, executor: Arc::new(executor) };
    let start = control::serve(Arc::clone(control), whole)?;
    if plan.waits_for_start {
        control.send(&Event::Created)?;
        start.wait();
    }
    hooks::run(&kernel, &plan.extras.start_hooks, &plan.extras.start_state, like_init)?;
    if plan.waits_for_terminal {
        control.send(&Event::Created)?;
        start.wait();
    }
    let (_, waiter) = prepared.start().map_err(|errno| errno.message())?;
    control.send(&Event::Started)?;
    let status = waiter.wait();
    if let Some(console) = console {
        console.drain();
    }
    if plan.report {
        control.send(&Event::Report { text: guest::report(&kernel) })?;
    }
    Ok(Event::Exited { status })
}

/// The options of the plan's own devpts, if it has one.
fn terminal_options(plan: &BootPlan) -> Option<Options> {
    let data = plan.mounts.iter().find_map(|mount| match &mount.kind {
        MountKind::Own(name) if name == "devpts" => Some(&*mount.data),
        _ => None,
    })?;
    Some(Options::parse(data).unwrap_or_default())
}

fn close_jail(plan: &BootPlan) -> Result<(), Error> {
    platform::prepare();
    jail::settle()?;
    jail::separate_mounts(plan.isolation)?;
    jail::enter_empty_root(plan.isolation)?;
    jail::bound_rights(0);
    jail::become_nobody(plan.isolation)?;
    jail::drop_rights(0)?;
    if plan.is_foreground {
        jail::die_with_parent()?;
    }
    Ok(())
}

fn install_filter(platform: &dyn Platform) -> Result<(), Error> {
    // The way to a panic is shown relative to the working directory.
    let of_backtraces = tracing::enabled!(tracing::Level::DEBUG).then_some(libc::SYS_getcwd);
    let calls = host_calls(platform.name(), of_backtraces);
    Ok(filters::install(&calls)?)
}

/// The host calls of a sentry with this platform, and `further` ones.
fn host_calls(platform: &str, further: Option<i64>) -> Vec<filters::Call> {
    let of_platform = platform::host_calls(platform).iter().map(|it| match it.one_of {
        Some((index, values)) => {
            filters::Call { number: it.number, when: filters::When::OneOf(index, values) }
        }
        None => filters::call(it.number),
    });
    let of_gofer = ::gofer::client::host_calls().iter().map(|it| it.number);
    let of_host_files = sentry::fs::host::host_calls();
    let of_gofer_files = sentry::fs::gofer::host_calls();
    let of_tmpfs = sentry::fs::tmpfs::host_calls();
    let of_files = of_host_files.into_iter().chain(of_gofer_files).chain(of_tmpfs);
    let of_others = of_gofer.chain(of_files).chain(further).map(filters::call);
    filters::calls(of_platform.chain(of_others))
}

fn start_platform(kind: PlatformKind) -> Result<Arc<dyn Platform>, platform::Error> {
    match kind {
        PlatformKind::Systrap => platform::systrap::Systrap::new(),
        PlatformKind::Ptrace => platform::ptrace::Ptrace::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use ::gofer::{protocol::Policy, server};

    use super::{filters, host_calls};

    /// Said past the test's capture: the log of a run shows what the two processes are left with.
    fn say(who: &str, names: &[String]) {
        let _ = writeln!(
            std::io::stderr(),
            "{who} may make {} host calls: {}",
            names.len(),
            names.join(" ")
        );
    }

    #[test]
    fn the_lists_of_host_calls_stay_short() {
        for platform in ["systrap", "ptrace"] {
            let names = filters::names(&host_calls(platform, None));
            say(&format!("the sentry on {platform}"), &names);
            assert!(names.len() <= 60, "{}", names.len());
        }
        // Sockets of the host are asked for by a flag, and take three more.
        let calls = server::host_calls([Policy::SET_ID]);
        let calls: Vec<_> = calls.iter().map(|it| filters::call(it.number)).collect();
        let names = filters::names(&calls);
        say("the gofer", &names);
        assert!(names.len() <= 50, "{}", names.len());
    }
}
