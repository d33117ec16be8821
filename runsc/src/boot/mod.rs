// SPDX-License-Identifier: Apache-2.0
//! What runs inside a sandbox before, around and after its kernel.
//!
//! The order is the point: settle, empty root, nobody, no rights; then the platform, whose zygote must
//! be forked before the filter; then the kernel with its mounts and its first task; then the filter;
//! then the guest's first instruction.

mod control;
mod filters;
pub(crate) mod gofer;
mod mountpoints;
mod process;
mod stdio;

use std::sync::Arc;

use nix::sys::prctl;
use platform::Platform;

use crate::{
    config::PlatformKind,
    log::{self, Sink},
    sandbox::{
        control::{Channel, Event, Failure},
        jail,
        plan::BootPlan,
        spawn,
    },
    sys,
};

/// Each thread of a guest has one of ours, and most of them sleep.
const ARENAS: i32 = 8;

/// Runs the sentry: its exit code. A failure is told to runsc.
pub(crate) fn main() -> u8 {
    let Some(control) = sys::inherited(spawn::CONTROL).map(Channel::new) else { return 128 };
    match live(&control) {
        Ok(()) => 0,
        Err(error) => {
            let message = error.to_string();
            // Nobody else to tell if runsc has gone.
            let _ = control.send(&Event::Failed { failure: Failure::Other, message });
            1
        }
    }
}

fn live(control: &Channel) -> Result<(), Box<dyn std::error::Error>> {
    let plan: BootPlan = spawn::read_plan()?;
    let logs = (spawn::BOOT_LOGS..).zip(&plan.logs);
    log::install(
        logs.filter_map(|(number, rule)| Some(Sink::new(sys::inherited(number)?, *rule))).collect(),
    );
    platform::prepare();
    jail::settle()?;
    jail::separate_mounts(plan.isolation)?;
    jail::enter_empty_root(plan.isolation)?;
    jail::become_nobody(plan.isolation)?;
    jail::drop_rights(0)?;
    if plan.is_foreground {
        jail::die_with_parent()?;
    }
    // A change of user made this process undumpable, and with it the stubs it is going to fork, whose
    // memory it must read.
    prctl::set_dumpable(true)?;
    sys::limit_arenas(ARENAS);
    let platform = start_platform(plan.platform)?;
    prctl::set_dumpable(false)?;
    let of_platform =
        platform::host_calls(platform.name()).iter().map(|it| filters::call(it.number));
    let of_host_files = sentry::fs::host::host_calls().into_iter().map(filters::call);
    let connection = sys::inherited(spawn::CONNECTION).ok_or("no connection to the gofer")?;
    let connection = ::gofer::client::Connection::new(connection);
    let of_gofer = ::gofer::client::host_calls().iter().map(|it| filters::call(it.number));
    filters::install(&filters::calls(of_platform.chain(of_host_files).chain(of_gofer)))?;
    drop(connection);
    control.send(&Event::Exited { status: 0 })?;
    Ok(())
}

fn start_platform(kind: PlatformKind) -> Result<Arc<dyn Platform>, platform::Error> {
    match kind {
        PlatformKind::Systrap => platform::systrap::Systrap::new(),
        PlatformKind::Ptrace => Err(platform::Error::Unsupported {
            feature: "ptrace platform",
            hint: "use --platform=systrap",
        }),
    }
}
