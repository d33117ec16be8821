// SPDX-License-Identifier: Apache-2.0
//! Extended attributes, as far as they are the guest's business.
//!
//! `user.*` is the guest's. `security.capability` is a program's power: readable, and writable where
//! set-id bits are. `trusted.*` and everything else belong to the host (overlay marks, labels) and are
//! answered as Linux answers somebody without the right.

use std::{ffi::CString, os::fd::AsFd, sync::Arc};

use abi::Errno;

use super::{Server, node::Node};
use crate::{
    host::xattr,
    protocol::{
        Bytes, MAX_NAME, MAX_XATTR, NodeId, Policy, attr,
        message::{GetXattr, ListXattr, Nothing, RemoveXattr, SetXattr},
    },
};

/// The one name of its namespace that is served.
const CAPABILITY: &[u8] = b"security.capability";

/// Whether the guest may see it at all.
fn is_visible(name: &[u8]) -> bool {
    name == CAPABILITY || name.strip_prefix(b"user.").is_some_and(|rest| !rest.is_empty())
}

fn host_name(name: &[u8]) -> Result<CString, Errno> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Errno::ERANGE);
    }
    CString::new(name).map_err(|_| Errno::EINVAL)
}

/// Only files and directories have attributes; the host says so for `user.*` and is not asked.
fn has_attributes(node: &Node) -> bool {
    matches!(node.file_type, attr::REGULAR | attr::DIRECTORY)
}

/// The value.
pub(super) fn get(server: &Server, request: &GetXattr) -> Result<Bytes, Errno> {
    let node = server.nodes.node(request.node)?;
    let name = host_name(&request.name.0)?;
    if request.name.0.starts_with(b"system.") {
        return Err(Errno::EOPNOTSUPP);
    }
    if !is_visible(&request.name.0) || !has_attributes(&node) {
        return Err(Errno::ENODATA);
    }
    xattr::get(node.as_fd(), &name).map(Bytes)
}

/// All names that the guest may see.
pub(super) fn list(server: &Server, request: &ListXattr) -> Result<Bytes, Errno> {
    let node = server.nodes.node(request.node)?;
    if !has_attributes(&node) {
        return Ok(Bytes::default());
    }
    let all = xattr::list(node.as_fd())?;
    let mut visible = Vec::new();
    for name in all.split(|&byte| byte == 0).filter(|name| is_visible(name)) {
        visible.extend_from_slice(name);
        visible.push(0);
    }
    Ok(Bytes(visible))
}

/// The node and the host's name of an attribute that may be changed.
fn changeable(server: &Server, id: NodeId, name: &[u8]) -> Result<(Arc<Node>, CString), Errno> {
    let node = server.nodes.node(id)?;
    node.check_writable()?;
    let host = host_name(name)?;
    if name.starts_with(b"system.") {
        return Err(Errno::EOPNOTSUPP);
    }
    let is_allowed = is_visible(name)
        && has_attributes(&node)
        && (name != CAPABILITY || node.allows(Policy::SET_ID));
    if is_allowed { Ok((node, host)) } else { Err(Errno::EPERM) }
}

/// Sets it.
pub(super) fn set(server: &Server, request: &SetXattr) -> Result<Nothing, Errno> {
    let (node, name) = changeable(server, request.node, &request.name.0)?;
    let create_or_replace = 3;
    let flags = i32::try_from(request.flags).map_err(|_| Errno::EINVAL)?;
    if flags & !create_or_replace != 0 {
        return Err(Errno::EINVAL);
    }
    if request.value.0.len() > MAX_XATTR {
        return Err(Errno::E2BIG);
    }
    xattr::set(node.as_fd(), &name, &request.value.0, flags)?;
    Ok(Nothing {})
}

/// Takes it away.
pub(super) fn remove(server: &Server, request: &RemoveXattr) -> Result<Nothing, Errno> {
    let (node, name) = changeable(server, request.node, &request.name.0)?;
    xattr::remove(node.as_fd(), &name)?;
    Ok(Nothing {})
}
