// SPDX-License-Identifier: Apache-2.0
//! What the sentry and the gofer put on before they meet anything hostile.
//!
//! An empty, read-only root; no capabilities but those named; the user nobody where we have the
//! right to become it; no new privileges. The seccomp filter follows when all is set up.

use std::io;

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{prctl, resource, signal::Signal, stat},
    unistd::{self, Gid, Uid},
};
use tracing::debug;

use super::plan::Isolation;
use crate::sys;

/// A part of the jail that would not close.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub(crate) struct JailError {
    step: &'static str,
    source: io::Error,
}

trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, JailError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &'static str) -> Result<T, JailError> {
        self.map_err(|source| JailError { step, source: source.into() })
    }
}

/// Descriptors for which there is room from the start.
const FILES: u64 = 4096;
/// The user and group without rights.
const NOBODY: u32 = 65_534;

/// Makes every mount private to this process's mount namespace.
pub(crate) fn separate_mounts(isolation: Isolation) -> Result<(), JailError> {
    if !isolation.has_namespaces {
        return Ok(());
    }
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).step("make mounts private")
}

/// Covers a directory by an empty one. One that does not exist needs no cover.
pub(crate) fn cover(directory: &std::path::Path) -> Result<(), JailError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    match mount(Some("none"), directory, Some("tmpfs"), flags, Some("mode=555,nr_inodes=2")) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
        Err(error) => Err(error).step("cover a directory of the host"),
    }
}

/// Leaves the host's file systems for an empty one that cannot be written to.
pub(crate) fn enter_empty_root(isolation: Isolation) -> Result<(), JailError> {
    if !isolation.has_namespaces {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mut last = Errno::ENOENT;
    // Any directory serves: the old root goes away with what is below it.
    for place in ["/proc", "/tmp", "/usr", "/dev"] {
        match mount(Some("none"), place, Some("tmpfs"), flags, Some("mode=555,nr_inodes=1")) {
            Ok(()) => {
                unistd::chdir(place).step("enter the empty root")?;
                unistd::pivot_root(".", ".").step("change to the empty root")?;
                umount2(".", MntFlags::MNT_DETACH).step("detach the host's root")?;
                unistd::chdir("/").step("enter the empty root")?;
                let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
                return mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
                    .step("make the empty root read-only");
            }
            Err(error) => last = error,
        }
    }
    Err(last).step("mount an empty root")
}

/// Puts what is not in `keep` out of reach for good. Comes before the change of user that takes the right
/// to do so away.
pub(crate) fn bound_rights(keep: u64) {
    sys::bound_capabilities(keep);
}

/// Becomes nobody where that is possible: root of the host, or of a namespace that has such a user.
pub(crate) fn become_nobody(isolation: Isolation) -> Result<(), JailError> {
    if isolation.has_user_namespace || !unistd::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let changed = unistd::setgroups(&[])
        .and_then(|()| unistd::setresgid(gid, gid, gid))
        .and_then(|()| unistd::setresuid(uid, uid, uid));
    match changed {
        Ok(()) => Ok(()),
        Err(error @ (Errno::EINVAL | Errno::EPERM)) => {
            debug!("the sandbox stays uid 0 of its namespace: become nobody: {error}");
            Ok(())
        }
        Err(error) => Err(error).step("become nobody"),
    }
}

/// Drops what is left of root's rights and every way to get them back.
pub(crate) fn drop_rights(keep: u64) -> Result<(), JailError> {
    sys::keep_capabilities(keep).step("drop capabilities")?;
    prctl::set_no_new_privs().step("set no_new_privs")
}

/// Ends this process with the thread that started it. Changes of user clear it, so it comes late.
pub(crate) fn die_with_parent() -> Result<(), JailError> {
    prctl::set_pdeathsig(Signal::SIGKILL).step("set the parent-death signal")
}

/// The first thing that a process of ours does: a session, a umask and limits of its own.
pub(crate) fn settle() -> Result<(), JailError> {
    unistd::setsid().step("start a session")?;
    stat::umask(stat::Mode::empty());
    resource::setrlimit(resource::Resource::RLIMIT_CORE, 0, 0).step("forbid core dumps")?;
    let (_, hard) =
        resource::getrlimit(resource::Resource::RLIMIT_NOFILE).step("read the file limit")?;
    resource::setrlimit(resource::Resource::RLIMIT_NOFILE, hard, hard)
        .step("raise the file limit")?;
    make_room_for_files(hard);
    Ok(())
}

/// Grows the table of descriptors while there is one thread. Later, with several, the kernel would wait
/// each time it doubles, at 64 descriptors, 128, 256 and so on, for all CPUs to be past a moment of rest
/// (`expand_fdtable()`): 5 to 15 ms in the middle of a guest's open(2).
fn make_room_for_files(limit: u64) {
    let last = limit.min(FILES).saturating_sub(1);
    let Ok(last) = i32::try_from(last) else { return };
    // Without it everything works as well.
    if let Ok(copy) = fcntl(io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(last)) {
        let _ = unistd::close(copy);
    }
}
