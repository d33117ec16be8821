// SPDX-License-Identifier: Apache-2.0
//! `linux.maskedPaths` and `linux.readonlyPaths`: parts of the tree that show nothing, or stay as they are.

use std::sync::Arc;

use abi::Errno;
use sentry::vfs::{FileKind, Lookup, Mount, MountNamespace, MountOptions, Place, resolve};

use super::vfs::{Sources, TreeError, context};
use crate::sandbox::plan::Bytes;

/// Covers and binds. What is not there needs neither.
pub(super) fn apply(
    tree: &Arc<MountNamespace>,
    sources: &impl Sources,
    masked: &[Bytes],
    readonly: &[Bytes],
) -> Result<(), TreeError> {
    // As runc has it: first what stays, then what shows nothing.
    for path in readonly {
        let fail = |source| TreeError::new("linux.readonlyPaths", path, source);
        if let Some(place) = find(tree, path).map_err(fail)? {
            keep(tree, &place).map_err(fail)?;
        }
    }
    let mut null = None;
    for path in masked {
        let fail = |source| TreeError::new("linux.maskedPaths", path, source);
        let Some(place) = find(tree, path).map_err(fail)? else { continue };
        let cover = if place.inode().kind() == FileKind::Directory {
            empty_directory(sources)
        } else {
            null_device(sources, &mut null)
        };
        cover.and_then(|cover| tree.mount(cover, &place)).map_err(fail)?;
    }
    Ok(())
}

fn find(tree: &Arc<MountNamespace>, path: &Bytes) -> Result<Option<Place>, Errno> {
    match resolve::walk(&context(tree), &path.0, Lookup::FOLLOW) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Shows it at its own place once more, and that for reading alone.
fn keep(tree: &Arc<MountNamespace>, place: &Place) -> Result<(), Errno> {
    tree.bind(place, place, true)?;
    let mount = place.clone().descend().mount;
    mount.set_options(mount.options() | MountOptions::RDONLY);
    Ok(())
}

fn empty_directory(sources: &impl Sources) -> Result<Arc<Mount>, Errno> {
    let empty = sources.own("tmpfs", "mode=755,nr_inodes=1,size=4k")?.ok_or(Errno::ENODEV)?;
    let options = MountOptions::RDONLY
        | MountOptions::NOSUID
        | MountOptions::NODEV
        | MountOptions::NOEXEC
        | MountOptions::RELATIME;
    Ok(Mount::new(empty, b"tmpfs", options))
}

/// null(4) of a `/dev` that nobody else sees, whatever the image has for one.
fn null_device(sources: &impl Sources, made: &mut Option<Arc<Mount>>) -> Result<Arc<Mount>, Errno> {
    let mount = match made {
        Some(mount) => Arc::clone(mount),
        None => {
            let dev = sources.own("devtmpfs", "mode=755")?.ok_or(Errno::ENODEV)?;
            let options = MountOptions::NOSUID | MountOptions::NOEXEC | MountOptions::RELATIME;
            Arc::clone(made.insert(Mount::new(dev, b"devtmpfs", options)))
        }
    };
    let dentry = resolve::lookup(mount.root(), b"null")?;
    Ok(Mount::bind(&Place { mount, dentry }))
}
