// SPDX-License-Identifier: Apache-2.0
//! Starting a process in namespaces of its own, with as many of them as this host grants.

use std::{fs, io};

use nix::{libc, unistd};
use tracing::debug;

use super::plan::Isolation;
use crate::sys::{self, Child};

const OWN: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// What to try, the strongest first. Root needs no user namespace to make the others; in a container
/// without CAP_SYS_ADMIN it does, as any user, and with `--rootless` it acts as one.
pub(crate) fn choices(is_rootless: bool) -> Vec<Isolation> {
    let with = Isolation { has_namespaces: true, has_user_namespace: false };
    let with_user = Isolation { has_namespaces: true, has_user_namespace: true };
    let without = Isolation { has_namespaces: false, has_user_namespace: false };
    if unistd::geteuid().is_root() && !is_rootless {
        vec![with, with_user, without]
    } else {
        vec![with_user, without]
    }
}

/// Starts a process that runs `child`, isolated so.
///
/// In a user namespace of its own, the process is root there and its user outside.
pub(crate) fn spawn(isolation: Isolation, child: impl FnOnce() -> i32) -> io::Result<Child> {
    let mut flags = 0;
    if isolation.has_namespaces {
        flags |= OWN;
    }
    if isolation.has_user_namespace {
        flags |= libc::CLONE_NEWUSER;
    }
    let (uid, gid) = (unistd::geteuid(), unistd::getegid());
    sys::spawn(flags, || {
        if isolation.has_user_namespace
            && let Err(error) = map_user("0", &uid.to_string(), &gid.to_string())
        {
            // Seen as a lost capability by the jail, which names it; here is nobody to tell.
            debug!("user namespace without mappings: {error}");
        }
        child()
    })
}

/// Gives a fresh user namespace its one user and one group.
fn map_user(inside: &str, uid: &str, gid: &str) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{inside} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{inside} {gid} 1"))
}

/// Whether this failure means that the host does not grant these namespaces.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EINVAL | libc::ENOSPC | libc::EUSERS | libc::EACCES)
    )
}

/// Whether this process is in a user namespace that is not the host's first: root in there is no root.
pub(crate) fn is_in_users_own() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let all = u32::MAX.to_string();
    map.split_whitespace().ne(["0", "0", &all])
}
