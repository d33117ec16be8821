// SPDX-License-Identifier: Apache-2.0
//! From a node to the nodes below it.

use std::{os::fd::AsFd, sync::Arc};

use abi::Errno;

use super::{Server, connection::Work, node::Node};
use crate::{
    host::stat,
    protocol::{
        Bytes, MAX_WALK, NodeId, VERSION,
        message::{
            Attach, Attached, Entry, Revalidate, Revalidated, Siblings, Walk, WalkSiblings, Walked,
        },
    },
};

/// The root node of an attach point.
pub(super) fn attach(
    server: &Server,
    work: &mut Work,
    request: &Attach,
) -> Result<Attached, Errno> {
    if request.version != VERSION {
        return Err(Errno::EOPNOTSUPP);
    }
    let index = usize::try_from(request.root).map_err(|_| Errno::ENOENT)?;
    let root = server.roots.get(index).ok_or(Errno::ENOENT)?;
    let fd = root.fd.try_clone().map_err(|_| Errno::ENFILE)?;
    let attr = stat::attr(fd.as_fd())?;
    let node = work.add(server, Arc::new(Node::new(fd, root, &attr)))?;
    Ok(Attached { node, policy: root.policy.bits(), attr: root.ids.shown(attr) })
}

/// Nodes along a path, until a component is missing or is no directory.
pub(super) fn walk(server: &Server, work: &mut Work, request: &Walk) -> Result<Walked, Errno> {
    let mut at = server.nodes.directory(request.directory)?;
    if request.names.is_empty() || request.names.len() > MAX_WALK {
        return Err(Errno::EINVAL);
    }
    let mut walked = Walked { steps: Vec::new(), stop: 0, link: None };
    for name in &request.names {
        if !at.is_directory() {
            walked.stop = wire(Errno::ENOTDIR);
            break;
        }
        let step = server.resolver.child(at.as_fd(), name).and_then(|fd| {
            let attr = stat::attr(fd.as_fd())?;
            let node = Arc::new(Node::new(fd, &at.root, &attr));
            Ok((work.add(server, node.clone())?, at.root.ids.shown(attr), node))
        });
        match step {
            Ok((node, attr, next)) => {
                walked.steps.push(Entry { node, attr });
                at = next;
                if attr.is_symlink() {
                    walked.link = stat::link_text(at.as_fd()).ok().map(Bytes);
                    if walked.steps.len() < request.names.len() {
                        walked.stop = wire(Errno::ELOOP);
                    }
                    break;
                }
            }
            Err(errno) => {
                walked.stop = wire(errno);
                break;
            }
        }
    }
    Ok(walked)
}

/// Several children of one directory.
pub(super) fn siblings(
    server: &Server,
    work: &mut Work,
    request: &WalkSiblings,
) -> Result<Siblings, Errno> {
    let directory = server.nodes.directory(request.directory)?;
    if request.names.is_empty() || request.names.len() > MAX_WALK {
        return Err(Errno::EINVAL);
    }
    let entries = request.names.iter().map(|name| {
        let fd = server.resolver.child(directory.as_fd(), name).ok()?;
        let attr = stat::attr(fd.as_fd()).ok()?;
        let node = work.add(server, Arc::new(Node::new(fd, &directory.root, &attr))).ok()?;
        Some(Entry { node, attr: directory.root.ids.shown(attr) })
    });
    Ok(Siblings { entries: entries.collect() })
}

/// How many of the known names still lead to the known files.
pub(super) fn revalidate(server: &Server, request: &Revalidate) -> Result<Revalidated, Errno> {
    if request.known.len() > MAX_WALK {
        return Err(Errno::EINVAL);
    }
    let mut at = server.nodes.directory(request.directory)?;
    let mut attrs = Vec::new();
    for known in &request.known {
        let next = server.nodes.node(known.node)?;
        if !at.is_directory() {
            break;
        }
        let Ok(fd) = server.resolver.child(at.as_fd(), &known.name) else { break };
        let Ok(attr) = stat::attr(fd.as_fd()) else { break };
        // The known node keeps its inode alive, so its number cannot mean another file by now.
        if attr.identity() != next.identity {
            break;
        }
        attrs.push(at.root.ids.shown(attr));
        at = next;
    }
    Ok(Revalidated { attrs })
}

/// An errno inside a reply's body.
fn wire(errno: Errno) -> u16 {
    let errno = crate::protocol::code::expected(errno).unwrap_or(Errno::EIO);
    u16::try_from(errno.raw()).unwrap_or(u16::MAX)
}

impl Work {
    /// Gives the sentry a node; taken back if the reply is never sent.
    pub(super) fn add(&mut self, server: &Server, node: Arc<Node>) -> Result<NodeId, Errno> {
        let id = server.nodes.add_node(node)?;
        self.fresh.push(id);
        Ok(id)
    }
}
