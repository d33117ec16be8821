// SPDX-License-Identifier: Apache-2.0
//! Requests that give, take and move names.

use std::{os::fd::AsFd, sync::Arc};

use abi::Errno;
use nix::fcntl::RenameFlags;

use super::Server;
use crate::{
    host::make,
    protocol::{
        Attr,
        message::{Link, Nothing, Rename, Unlink},
    },
};

/// Gives a file another name. Between two roots it is `EXDEV`, whatever the host would allow: a file
/// must not move from a root into one with another policy.
pub(super) fn link(server: &Server, request: &Link) -> Result<Attr, Errno> {
    let directory = server.nodes.directory(request.directory)?;
    let node = server.nodes.node(request.node)?;
    if !Arc::ptr_eq(&directory.root, &node.root) {
        return Err(Errno::EXDEV);
    }
    directory.check_writable()?;
    if node.is_directory() {
        return Err(Errno::EPERM);
    }
    make::link(&server.proc, node.as_fd(), directory.as_fd(), &request.name)?;
    node.attr()
}

/// Takes a name away.
pub(super) fn unlink(server: &Server, request: &Unlink) -> Result<Nothing, Errno> {
    let directory = server.nodes.directory(request.directory)?;
    directory.check_writable()?;
    if request.is_directory == 0 {
        make::unlink(directory.as_fd(), &request.name)?;
    } else {
        make::remove_directory(directory.as_fd(), &request.name)?;
    }
    Ok(Nothing {})
}

/// Moves a name.
pub(super) fn rename(server: &Server, request: &Rename) -> Result<Nothing, Errno> {
    let from = server.nodes.directory(request.directory)?;
    let to = server.nodes.directory(request.new_directory)?;
    let flags = RenameFlags::from_bits(request.flags).ok_or(Errno::EINVAL)?;
    if !Arc::ptr_eq(&from.root, &to.root) {
        return Err(Errno::EXDEV);
    }
    from.check_writable()?;
    make::rename(from.as_fd(), &request.name, to.as_fd(), &request.new_name, flags)?;
    Ok(Nothing {})
}
