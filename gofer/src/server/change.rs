// SPDX-License-Identifier: Apache-2.0
//! Requests that change attributes or write to the disk.

use std::os::fd::AsFd;

use abi::Errno;

use super::{Server, node::Node};
use crate::{
    host::change::{self, Whole},
    protocol::{
        Attr, Policy, SetAttr, attr,
        message::{ChangeAttr, Nothing, Sync},
    },
};

/// `EPERM` for set-id bits on a file where the root does not allow them. On directories they mean
/// inheritance and give nobody anything.
pub(super) fn check_set_id(root: &Node, file_type: u32, mode: u32) -> Result<(), Errno> {
    let is_set_id = mode & (attr::SET_UID | attr::SET_GID) != 0;
    if is_set_id && file_type != attr::DIRECTORY && !root.allows(Policy::SET_ID) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Changes attributes.
pub(super) fn attr(server: &Server, request: &ChangeAttr) -> Result<Attr, Errno> {
    let node = server.nodes.node(request.node)?;
    node.check_writable()?;
    let change = &request.change;
    if let Some(mode) = change.mode {
        if node.file_type == attr::SYMLINK {
            return Err(Errno::EOPNOTSUPP);
        }
        if mode & !0o7777 != 0 {
            return Err(Errno::EINVAL);
        }
        check_set_id(&node, node.file_type, mode)?;
    }
    if change.size.is_some() && node.file_type != attr::REGULAR {
        return Err(if node.is_directory() { Errno::EISDIR } else { Errno::EINVAL });
    }
    if change.uid == Some(u32::MAX) || change.gid == Some(u32::MAX) {
        return Err(Errno::EINVAL);
    }
    let (uid, gid) = node.root.ids.change(change.uid, change.gid)?;
    change::all(&server.proc, node.as_fd(), &SetAttr { uid, gid, ..*change })?;
    node.attr()
}

/// Writes a node, or its file system, to the disk.
pub(super) fn sync(server: &Server, request: &Sync) -> Result<Nothing, Errno> {
    let node = server.nodes.node(request.node)?;
    if !matches!(node.file_type, attr::REGULAR | attr::DIRECTORY) {
        return Err(Errno::EINVAL);
    }
    let whole = if request.is_whole_filesystem == 0 { Whole::File } else { Whole::Filesystem };
    change::sync(&server.proc, node.as_fd(), whole)?;
    Ok(Nothing {})
}
