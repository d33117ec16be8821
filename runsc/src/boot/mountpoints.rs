// SPDX-License-Identifier: Apache-2.0
//! Places to mount on that a root file system lacks, made by the gofer before its jail closes.
//!
//! The root file system is an image's: any part of it may be a symbolic link, a fifo, or be changed by
//! somebody while we look. So every step is taken below a descriptor of the root, which no link and no
//! `..` can leave (`openat2` with `RESOLVE_IN_ROOT`), and only what is missing is made.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{Mode, SFlag, mkdirat, mknodat},
};

/// A place that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("make the mount point {path}: {source}")]
pub(super) struct MountPointError {
    path: PathBuf,
    source: Errno,
}

/// Makes `path` below `root` if it is missing: a directory, or an empty file.
pub(super) fn make(
    root: impl AsFd,
    path: &Path,
    is_directory: bool,
) -> Result<(), MountPointError> {
    let fail = |source| MountPointError { path: path.into(), source };
    let mut at = open(root.as_fd(), OsStr::new(".")).map_err(fail)?;
    let mut walked = PathBuf::new();
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    for (index, name) in names.iter().enumerate() {
        walked.push(name);
        let is_last = index + 1 == names.len();
        at = match open(root.as_fd(), walked.as_os_str()) {
            Ok(next) => next,
            Err(Errno::ENOENT) => {
                make_one(&at, name, is_directory || !is_last).map_err(fail)?;
                // A dangling link in the image leads to a name that was not made: the same error again.
                open(root.as_fd(), walked.as_os_str()).map_err(fail)?
            }
            Err(error) => return Err(fail(error)),
        };
    }
    Ok(())
}

fn open(root: std::os::fd::BorrowedFd<'_>, path: &OsStr) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        // EAGAIN: somebody moved a directory while the kernel walked.
        match openat2(root, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
}

fn make_one(parent: &OwnedFd, name: &OsStr, is_directory: bool) -> Result<(), Errno> {
    let made = if is_directory {
        mkdirat(parent, name, Mode::from_bits_truncate(0o755))
    } else {
        // Unlike open(2) this never follows what is there.
        mknodat(parent, name, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0)
    };
    match made {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn missing_places_are_made_inside_only() {
        let place = tempfile::tempdir().unwrap();
        let (root, outside) = (place.path().join("root"), place.path().join("outside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../outside", root.join("relative")).unwrap();
        symlink("/real", root.join("inner")).unwrap();
        fs::create_dir(root.join("real")).unwrap();
        let directory = fs::File::open(&root).unwrap();
        let make = |path: &str, is_directory| make(&directory, Path::new(path), is_directory);
        make("/a/b/c", true).unwrap();
        make("/a/b/c", true).unwrap();
        make("/a/file", false).unwrap();
        make("/inner/x", true).unwrap();
        make("/../../y", true).unwrap();
        assert!(root.join("a/b/c").is_dir() && root.join("a/file").is_file());
        assert!(root.join("real/x").is_dir() && root.join("y").is_dir());
        assert!(make("/absolute/x", true).is_err());
        assert!(make("/relative/x", true).is_err());
        assert!(make("/a/file/x", true).is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
