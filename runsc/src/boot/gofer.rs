// SPDX-License-Identifier: Apache-2.0
//! The gofer's life: open what it serves, close the jail, serve.

use std::{
    ffi::CString,
    fs::File,
    io::Write as _,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};

use gofer::{protocol::Policy, server};
use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use tracing::debug;

use super::mountpoints;
use crate::{
    log::{self, Sink},
    oci::caps,
    sandbox::{
        jail,
        plan::{GoferPlan, GoferRoot, IdMaps, IdRange},
        spawn,
    },
    sys,
};

/// What a file server needs to act for any user, and nothing else.
const KEPT: u64 =
    caps::bit(0) | caps::bit(1) | caps::bit(2) | caps::bit(3) | caps::bit(4) | caps::bit(31);

type Failure = Box<dyn std::error::Error>;

/// Runs the gofer: its exit code. Until it serves, a failure is written to the status pipe.
pub(crate) fn main() -> u8 {
    let status = sys::inherited(spawn::CONTROL).map(File::from);
    let serve = match close_jail() {
        Ok(serve) => serve,
        Err(error) => {
            if let Some(mut status) = status {
                // Nobody else to tell if runsc has gone.
                let _ = write!(status, "gofer: {error}");
            }
            return 1;
        }
    };
    drop(status);
    match server::run(serve.connection, serve.roots, serve.proc) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("gofer: {error}");
            1
        }
    }
}

struct Serve {
    connection: OwnedFd,
    roots: Vec<server::Root>,
    proc: server::ProcFd,
}

fn close_jail() -> Result<Serve, Failure> {
    let plan: GoferPlan = spawn::read_plan()?;
    let logs = (spawn::GOFER_LOGS..).zip(&plan.logs);
    log::install(
        logs.filter_map(|(number, rule)| Some(Sink::new(sys::inherited(number)?, *rule))).collect(),
    );
    let connection = sys::inherited(spawn::CONNECTION).ok_or("no connection")?;
    jail::settle()?;
    jail::separate_mounts(plan.isolation)?;
    // Before anything covers /proc, and before the jail leaves it behind.
    let proc = server::ProcFd::open().map_err(|error| format!("open /proc/self/fd: {error}"))?;
    let mut roots = Vec::new();
    for root in &plan.roots {
        let directory = open_root(root, &plan)?;
        for (path, is_directory) in &root.mount_points {
            mountpoints::make(&directory, path, *is_directory)?;
        }
        roots.push(server::Root::new(directory, policy(root, &plan)).with_ids(ids(&root.ids)));
    }
    jail::enter_empty_root(plan.isolation)?;
    jail::bound_rights(KEPT);
    jail::drop_rights(KEPT)?;
    let calls = server::host_calls(plan.roots.iter().map(|root| policy(root, &plan)));
    debug!("the gofer's filter allows {} host calls", calls.len());
    gofer::jail::apply_filter(&calls)?;
    Ok(Serve { connection, roots, proc })
}

fn policy(root: &GoferRoot, plan: &GoferPlan) -> Policy {
    let mut policy = Policy::empty();
    policy.set(Policy::READ_ONLY, root.is_readonly);
    // A bundle's files may well have these bits: it is the guest's kernel that does not honour them.
    policy.set(Policy::SET_ID, true);
    policy.set(Policy::CONNECT_SOCKETS, matches!(&*plan.host_uds, "open" | "all"));
    policy.set(Policy::BIND_SOCKETS, matches!(&*plan.host_uds, "create" | "all"));
    policy.set(Policy::OPEN_FIFOS, plan.host_fifo);
    policy
}

fn ids(maps: &IdMaps) -> server::Ids {
    let map = |ranges: &[IdRange]| {
        let range =
            |it: &IdRange| server::IdRange { guest: it.guest, host: it.host, count: it.count };
        server::IdMap::new(ranges.iter().map(range))
    };
    server::Ids { users: map(&maps.uids), groups: map(&maps.gids) }
}

/// A directory or file that is served, as a copy of the host's mounts that outlives them here.
fn open_root(root: &GoferRoot, plan: &GoferPlan) -> Result<OwnedFd, Failure> {
    let name = || format!("open {}", root.path.display());
    if plan.isolation.has_namespaces {
        for hidden in &root.hidden {
            jail::cover(hidden)?;
        }
        let path = CString::new(root.path.as_os_str().as_bytes())?;
        let tree = match root.is_single.then(|| sys::open_mount(&path)) {
            Some(Ok(mount)) => Ok(mount),
            // In a user namespace what lies below may not be uncovered.
            Some(Err(error)) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
            _ => sys::open_tree(&path),
        };
        return tree.map_err(|error| format!("{}: {error}", name()).into());
    }
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    open(&root.path, flags, Mode::empty()).map_err(|error| format!("{}: {error}", name()).into())
}
