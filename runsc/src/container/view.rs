// SPDX-License-Identifier: Apache-2.0
//! The files that a monitor stands among: its container's, and not the host's.
//!
//! Engines enter the mount namespace of the process in the pid file: `podman cp` writes there, and
//! `podman top` reads `/proc` there. So the monitor's root is the container's root file system, with the
//! bundle's bind mounts on it, and a `/proc` that shows the monitor alone, as process 1. Whatever else the
//! guest has mounted exists in the sandbox only.
//!
//! The root file system is an image's: no step follows a link out of it.

use std::{
    ffi::{CString, OsStr},
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode, SFlag, mkdirat, mknodat},
    unistd,
};
use tracing::debug;

use crate::{
    oci::mounts,
    sandbox::plan::{BootPlan, GoferPlan, MountKind},
    sys,
};

/// What the monitor will see.
#[derive(Debug, Clone)]
pub(super) struct View {
    root: PathBuf,
    is_readonly: bool,
    binds: Vec<Bind>,
}

/// One of the bundle's bind mounts.
#[derive(Debug, Clone)]
struct Bind {
    source: PathBuf,
    destination: PathBuf,
    is_readonly: bool,
}

impl View {
    /// The view that belongs to a plan. `None` if it has no root.
    pub(super) fn of(boot: &BootPlan, gofer: &GoferPlan) -> Option<View> {
        let root = gofer.roots.first()?.path.clone();
        let bind = |it: &crate::sandbox::plan::Mount| match &it.kind {
            MountKind::Gofer { root, .. } => {
                let root = gofer.roots.get(usize::try_from(*root).ok()?)?;
                Some(Bind {
                    source: root.path.clone(),
                    destination: OsStr::from_bytes(&it.destination.0).into(),
                    is_readonly: root.is_readonly || it.flags & mounts::READONLY != 0,
                })
            }
            MountKind::Own(_) => None,
        };
        let binds = boot.mounts.iter().filter_map(bind).collect();
        Some(View { root, is_readonly: boot.root.is_readonly, binds })
    }

    /// Moves this process there. Who may not make mounts stays where it is: nobody without the right to can
    /// enter its namespace either.
    pub(super) fn enter(&self) -> Result<(), String> {
        match unshare(CloneFlags::CLONE_NEWNS) {
            Err(Errno::EPERM) => {
                debug!(
                    "the monitor stays among the host's files: the host refuses a mount namespace"
                );
                return Ok(());
            }
            other => other.map_err(|error| format!("make a mount namespace: {error}"))?,
        }
        self.build().map_err(|error| format!("show {} to the host: {error}", self.root.display()))
    }

    fn build(&self) -> io::Result<()> {
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        // Copied before anything is put over the places that they are found at.
        let root = sys::open_tree(&c_path(&self.root)?)?;
        let copies: Vec<(&Bind, io::Result<OwnedFd>)> = self
            .binds
            .iter()
            .map(|bind| (bind, c_path(&bind.source).and_then(|path| sys::open_tree(&path))))
            .collect();
        let process = sys::open_tree(&c_path(Path::new("/proc/self"))?)?;
        let facts: Vec<(&str, OwnedFd)> = ["stat", "uptime", "meminfo"]
            .into_iter()
            .filter_map(|name| {
                let path = c_path(&Path::new("/proc").join(name)).ok()?;
                Some((name, sys::open_tree(&path).ok()?))
            })
            .collect();
        attach_somewhere(&root)?;
        unistd::fchdir(&root)?;
        unistd::pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        unistd::chdir("/")?;
        let root = File::open("/")?;
        // What is mounted on it may be written to all the same.
        if self.is_readonly {
            sys::make_readonly(root.as_fd())?;
        }
        for (bind, copy) in copies {
            // A place that the guest cannot reach either is not shown.
            if let Err(error) = copy.and_then(|copy| place(&root, bind, &copy)) {
                debug!("mount {} is not shown: {error}", bind.destination.display());
            }
        }
        if let Err(error) = show_process(&root, &process, &facts) {
            debug!("/proc is not shown: {error}");
        }
        Ok(())
    }
}

/// Gives this process a copy of the host's mounts: what is mounted in it is seen by what it starts, and by
/// whoever enters its namespace, but not by the host. The host's later mounts do appear in it.
pub(super) fn separate_mounts() -> Result<(), String> {
    let none = None::<&str>;
    let made = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none));
    match made {
        // Whoever runs us may mount nothing, and neither may the hooks.
        Err(Errno::EPERM) => {
            debug!("hooks see the host's mounts: the host refuses a mount namespace");
            Ok(())
        }
        other => other.map_err(|error| format!("make a mount namespace: {error}")),
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Any directory serves: the old root goes away with what is below it.
fn attach_somewhere(root: &OwnedFd) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for place in [c"/proc", c"/tmp", c"/usr", c"/dev"] {
        match sys::attach_tree(root.as_fd(), place) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Opens a place of the image, whatever links it has: none leads out of it, none is the kernel's.
fn open_in(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(openat2(root, path, how)?)
}

fn place(root: &File, bind: &Bind, copy: &OwnedFd) -> io::Result<()> {
    if bind.is_readonly {
        sys::make_readonly(copy.as_fd())?;
    }
    let at = open_in(root, &bind.destination)?;
    sys::attach_tree_at(copy.as_fd(), at.as_fd())
}

/// A `/proc` with this process as number 1, and a few facts about the host that readers need.
fn show_process(root: &File, process: &OwnedFd, facts: &[(&str, OwnedFd)]) -> io::Result<()> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let at = openat2(root, "proc", how)?;
    let tmpfs = sys::new_tmpfs(c"64k")?;
    mkdirat(&tmpfs, "1", Mode::from_bits_truncate(0o555))?;
    for (name, _) in facts {
        mknodat(&tmpfs, *name, SFlag::S_IFREG, Mode::from_bits_truncate(0o444), 0)?;
    }
    sys::attach_tree_at(tmpfs.as_fd(), at.as_fd())?;
    sys::attach_tree_at(process.as_fd(), open_in(&tmpfs, Path::new("1"))?.as_fd())?;
    for (name, fact) in facts {
        sys::attach_tree_at(fact.as_fd(), open_in(&tmpfs, Path::new(name))?.as_fd())?;
    }
    debug!("the container's files are shown by process {}", std::process::id());
    // Nothing is to be written there by whoever comes in.
    sys::make_readonly(tmpfs.as_fd())
}
