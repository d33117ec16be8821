// SPDX-License-Identifier: Apache-2.0
//! Opening: a child of a directory as a path descriptor, and a path descriptor for use.

use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use abi::Errno;
use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2},
    sys::stat::Mode,
};

use super::{fault, retry};
use crate::{protocol::Name, sys};

/// Opens children of directories without following links.
#[derive(Debug)]
pub struct Resolver {
    has_openat2: AtomicBool,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver { has_openat2: AtomicBool::new(true) }
    }
}

impl Resolver {
    /// The child `name` of `directory` as a path descriptor; a symbolic link is opened itself.
    ///
    /// Where the host (or a filter above us) has no openat2, openat with `O_NOFOLLOW` gives the same
    /// answer, because the name is one component and not `..`: openat2 is the second lock on this door.
    pub fn child(&self, directory: BorrowedFd<'_>, name: &Name) -> Result<OwnedFd, Errno> {
        self.open(directory, name, OFlag::O_PATH, Mode::empty())
    }

    /// Makes and opens a regular file; `EEXIST` if the name is taken, by a symbolic link too.
    pub fn create(
        &self,
        directory: BorrowedFd<'_>,
        name: &Name,
        flags: OFlag,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        self.open(directory, name, flags | OFlag::O_CREAT | OFlag::O_EXCL, mode)
    }

    fn open(
        &self,
        directory: BorrowedFd<'_>,
        name: &Name,
        flags: OFlag,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        if self.has_openat2.load(Ordering::Relaxed) {
            let how = OpenHow::new().flags(flags).mode(mode).resolve(
                ResolveFlag::RESOLVE_BENEATH
                    | ResolveFlag::RESOLVE_NO_SYMLINKS
                    | ResolveFlag::RESOLVE_NO_MAGICLINKS,
            );
            // EAGAIN: something was renamed or mounted meanwhile and the kernel cannot tell whether
            // this lookup stayed beneath. A bounded number of fresh tries, then the plain call.
            for _ in 0..16 {
                match retry(|| openat2(directory, name.as_bytes(), how)) {
                    Err(Errno::ENOSYS) => {
                        self.has_openat2.store(false, Ordering::Relaxed);
                        break;
                    }
                    Err(Errno::EAGAIN) => {}
                    result => return result,
                }
            }
        }
        retry(|| openat(directory, name.as_bytes(), flags, mode))
    }
}

/// The gofer's private `/proc/self/fd`: the only way to use an `O_PATH` descriptor again.
///
/// Why following its magic links is safe: the directory was opened before the jail closed and is checked
/// to be procfs (no image can have put its own there); the name looked up is the number of a descriptor
/// of our own table, formed here; a magic link leads to the open file itself and not to a path, so no
/// rename or symbolic link can lead it elsewhere; and what the descriptor is (its type) was asked before
/// and never changes.
#[derive(Debug)]
pub struct ProcFd {
    directory: OwnedFd,
}

/// `PROC_SUPER_MAGIC`.
const PROC_MAGIC: i64 = 0x9fa0;

/// The number of a descriptor as a name below `/proc/self/fd`.
pub(crate) fn number(fd: BorrowedFd<'_>) -> CString {
    CString::new(fd.as_raw_fd().to_string()).expect("digits hold no NUL")
}

impl ProcFd {
    /// Opens `/proc/self/fd` by its path: to be done before the jail closes.
    pub fn open() -> Result<ProcFd, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = retry(|| nix::fcntl::open("/proc/self/fd", flags, Mode::empty()))?;
        ProcFd::new(directory)
    }

    /// Takes an open `/proc/self/fd` of this very process: `EINVAL` if it is not on procfs, or does not
    /// show this process's descriptors.
    pub fn new(directory: OwnedFd) -> Result<ProcFd, Errno> {
        if sys::fstatfs(directory.as_fd())?.f_type != PROC_MAGIC {
            return Err(Errno::EINVAL);
        }
        let proc = ProcFd { directory };
        // The directory's own number must lead back to it.
        let again = proc.reopen(proc.directory.as_fd(), OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let (one, other) = (sys::statx(proc.directory.as_fd())?, sys::statx(again.as_fd())?);
        if one.stx_ino != other.stx_ino || one.stx_dev_minor != other.stx_dev_minor {
            return Err(Errno::EINVAL);
        }
        Ok(proc)
    }

    /// Opens what `fd` refers to again, with these flags.
    pub fn reopen(&self, fd: BorrowedFd<'_>, flags: OFlag) -> Result<OwnedFd, Errno> {
        let name = number(fd);
        retry(|| {
            openat(
                &self.directory,
                name.as_c_str(),
                flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY,
                Mode::empty(),
            )
        })
    }

    /// Makes a regular file without a name in the file system of `directory` (`O_TMPFILE`).
    pub fn make_unnamed(
        &self,
        directory: BorrowedFd<'_>,
        flags: OFlag,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags.difference(OFlag::O_TRUNC) | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
        retry(|| openat(directory, c".", flags, mode))
    }

    /// Makes the calling thread's working directory this one, for the few calls that know only paths
    /// (xattrs, truncate, unix sockets). The thread stops sharing its working directory first.
    pub fn enter(&self) -> Result<(), Errno> {
        fault::point()?;
        retry(|| nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS))?;
        retry(|| nix::unistd::fchdir(&self.directory))
    }
}

impl AsFd for ProcFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}
