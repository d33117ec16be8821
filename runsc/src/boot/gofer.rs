// SPDX-License-Identifier: Apache-2.0
//! The gofer's life: open what it serves, close the jail, serve.

use std::{
    ffi::CString,
    fs::File,
    io::Write as _,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};

use crate::{
    log::{self, Sink},
    oci::caps,
    sandbox::{
        jail,
        plan::{GoferPlan, GoferRoot},
        spawn,
    },
    sys,
};

/// What a file server needs to act for any user, and nothing else.
const KEPT: u64 =
    caps::bit(0) | caps::bit(1) | caps::bit(2) | caps::bit(3) | caps::bit(4) | caps::bit(31);

/// Runs the gofer: its exit code. A failure is written to the status pipe.
pub(crate) fn main() -> u8 {
    let status = sys::inherited(spawn::CONTROL).map(File::from);
    match serve(&status) {
        Ok(()) => 0,
        Err(error) => {
            if let Some(mut status) = status {
                // Nobody else to tell if runsc has gone.
                let _ = write!(status, "gofer: {error}");
            }
            1
        }
    }
}

fn serve(_: &Option<File>) -> Result<(), Box<dyn std::error::Error>> {
    let plan: GoferPlan = spawn::read_plan()?;
    let logs = (spawn::GOFER_LOGS..).zip(&plan.logs);
    log::install(
        logs.filter_map(|(number, rule)| Some(Sink::new(sys::inherited(number)?, *rule))).collect(),
    );
    let connection = sys::inherited(spawn::CONNECTION).ok_or("no connection")?;
    jail::settle()?;
    jail::separate_mounts(plan.isolation)?;
    let mut roots = Vec::new();
    for root in &plan.roots {
        roots.push((open_root(root, &plan)?, root.is_readonly));
    }
    jail::enter_empty_root(plan.isolation)?;
    jail::drop_rights(KEPT)?;
    drop((connection, roots));
    Ok(())
}

/// A directory or file that is served, as a copy of the host's mounts that outlives them here.
fn open_root(root: &GoferRoot, plan: &GoferPlan) -> Result<OwnedFd, Box<dyn std::error::Error>> {
    let name = || format!("open {}", root.path.display());
    if plan.isolation.has_namespaces {
        for hidden in &root.hidden {
            jail::cover(hidden)?;
        }
        let path = CString::new(root.path.as_os_str().as_bytes())?;
        return sys::open_tree(&path).map_err(|error| format!("{}: {error}", name()).into());
    }
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC;
    nix::fcntl::open(&root.path, flags, nix::sys::stat::Mode::empty())
        .map_err(|error| format!("{}: {error}", name()).into())
}
