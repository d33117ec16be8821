// SPDX-License-Identifier: Apache-2.0
//! Requests that make files.
//!
//! A new file gets its owner and mode from the request, not from the gofer's own credentials; if that
//! cannot be, it is taken away again.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use abi::Errno;
use nix::{fcntl::OFlag, sys::stat::Mode};

use super::{Root, Server, change::check_set_id, connection::Work, node::Node, read};
use crate::{
    host::{change, make, stat, unix},
    protocol::{
        Attr, MAX_LINK, Name, NodeId, Policy, attr,
        message::{Bind, Create, CreateUnnamed, Entry, MakeDirectory, MakeNode, MakeSymlink},
    },
};

/// What a new file is to be.
struct Wanted {
    /// `None` for what has no permissions of its own: a symbolic link.
    mode: Option<u32>,
    uid: u32,
    gid: u32,
}

/// A directory in which something may be made.
fn parent(server: &Server, id: NodeId) -> Result<Arc<Node>, Errno> {
    let parent = server.nodes.directory(id)?;
    parent.check_writable()?;
    Ok(parent)
}

fn check_mode(mode: u32) -> Result<Mode, Errno> {
    if mode & !0o7777 != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Mode::from_bits_truncate(mode))
}

/// Gives what `fd` refers to the owner and mode wanted, where it has others.
fn settle(
    server: &Server,
    root: &Root,
    fd: BorrowedFd<'_>,
    wanted: &Wanted,
) -> Result<Attr, Errno> {
    let mut attr = stat::attr(fd)?;
    let (uid, gid) = root.ids.owner(wanted.uid, wanted.gid)?;
    if (attr.uid, attr.gid) != (uid, gid) {
        // EINVAL: an id that our user namespace does not map. To the guest, an owner it may not give.
        change::owner(fd, Some(uid), Some(gid)).map_err(|errno| match errno {
            Errno::EINVAL => Errno::EPERM,
            other => other,
        })?;
        attr = stat::attr(fd)?;
    }
    if let Some(mode) = wanted.mode.filter(|mode| *mode != attr.mode & 0o7777) {
        change::mode(&server.proc, fd, mode)?;
        attr = stat::attr(fd)?;
    }
    Ok(root.ids.shown(attr))
}

/// Makes the node of a file that was just made as `name`; undoes the making if that fails.
fn adopt(
    server: &Server,
    work: &mut Work,
    parent: &Node,
    name: &Name,
    wanted: &Wanted,
    file_type: u32,
) -> Result<Entry, Errno> {
    let adopted = server.resolver.child(parent.as_fd(), name).and_then(|fd| {
        // On a shared directory somebody else may have put another file in its place meanwhile:
        // that one is not ours to change.
        if stat::attr(fd.as_fd())?.file_type() != file_type {
            return Err(Errno::ESTALE);
        }
        let attr = settle(server, &parent.root, fd.as_fd(), wanted)?;
        let node = work.add(server, Arc::new(Node::new(fd, &parent.root, &attr)))?;
        Ok(Entry { node, attr })
    });
    adopted.inspect_err(|_| undo(parent, name, file_type))
}

/// Takes a file away that could not be made as wanted. Best effort: the error that led here is told.
fn undo(parent: &Node, name: &Name, file_type: u32) {
    let undone = if file_type == attr::DIRECTORY {
        make::remove_directory(parent.as_fd(), name)
    } else {
        make::unlink(parent.as_fd(), name)
    };
    if let Err(errno) = undone {
        tracing::warn!(%errno, "a half-made file stays behind");
    }
}

/// The node of an open new file, with its descriptor to be donated.
fn adopt_open(
    server: &Server,
    work: &mut Work,
    parent: &Node,
    file: OwnedFd,
    wanted: &Wanted,
) -> Result<Entry, Errno> {
    let attr = settle(server, &parent.root, file.as_fd(), wanted)?;
    let path = server.proc.reopen(file.as_fd(), OFlag::O_PATH)?;
    let node = work.add(server, Arc::new(Node::new(path, &parent.root, &attr)))?;
    work.donation = Some(file);
    Ok(Entry { node, attr })
}

/// A new regular file, opened.
pub(super) fn file(server: &Server, work: &mut Work, request: &Create) -> Result<Entry, Errno> {
    let parent = parent(server, request.directory)?;
    let (_, flags) = read::host_flags(request.flags)?;
    let mode = check_mode(request.mode)?;
    check_set_id(&parent, attr::REGULAR, request.mode)?;
    let file = server.resolver.create(parent.as_fd(), &request.name, flags, mode)?;
    let wanted = Wanted { mode: Some(request.mode), uid: request.uid, gid: request.gid };
    adopt_open(server, work, &parent, file, &wanted)
        .inspect_err(|_| undo(&parent, &request.name, attr::REGULAR))
}

/// A new regular file without a name, opened.
pub(super) fn unnamed(
    server: &Server,
    work: &mut Work,
    request: &CreateUnnamed,
) -> Result<Entry, Errno> {
    let parent = parent(server, request.directory)?;
    let (flags, host) = read::host_flags(request.flags)?;
    if !read::can_write(flags) {
        return Err(Errno::EINVAL);
    }
    let mode = check_mode(request.mode)?;
    check_set_id(&parent, attr::REGULAR, request.mode)?;
    let file = server.proc.make_unnamed(parent.as_fd(), host, mode)?;
    let wanted = Wanted { mode: Some(request.mode), uid: request.uid, gid: request.gid };
    adopt_open(server, work, &parent, file, &wanted)
}

/// A new directory.
pub(super) fn directory(
    server: &Server,
    work: &mut Work,
    request: &MakeDirectory,
) -> Result<Entry, Errno> {
    let parent = parent(server, request.directory)?;
    check_mode(request.mode)?;
    make::directory(parent.as_fd(), &request.name, request.mode)?;
    let wanted = Wanted { mode: Some(request.mode), uid: request.uid, gid: request.gid };
    adopt(server, work, &parent, &request.name, &wanted, attr::DIRECTORY)
}

/// A new fifo, socket's name, regular file or whiteout. Device nodes are refused: the sentry has its
/// own, and on the host they would be real.
pub(super) fn node(server: &Server, work: &mut Work, request: &MakeNode) -> Result<Entry, Errno> {
    let parent = parent(server, request.directory)?;
    let file_type = request.mode & attr::TYPE_MASK;
    let permissions = request.mode & !attr::TYPE_MASK;
    check_mode(permissions)?;
    check_set_id(&parent, file_type, permissions)?;
    match file_type {
        attr::REGULAR | attr::FIFO | attr::SOCKET => {}
        attr::CHAR_DEVICE if request.device == 0 => {}
        attr::CHAR_DEVICE | attr::BLOCK_DEVICE => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    }
    make::node(parent.as_fd(), &request.name, request.mode, 0)?;
    let wanted = Wanted { mode: Some(permissions), uid: request.uid, gid: request.gid };
    adopt(server, work, &parent, &request.name, &wanted, file_type)
}

/// A new symbolic link.
pub(super) fn symlink(
    server: &Server,
    work: &mut Work,
    request: &MakeSymlink,
) -> Result<Entry, Errno> {
    let parent = parent(server, request.directory)?;
    let target = request.target.0.as_slice();
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    if target.len() >= MAX_LINK {
        return Err(Errno::ENAMETOOLONG);
    }
    make::symlink(parent.as_fd(), &request.name, target)?;
    let wanted = Wanted { mode: None, uid: request.uid, gid: request.gid };
    adopt(server, work, &parent, &request.name, &wanted, attr::SYMLINK)
}

/// A new socket of the host, bound to a name.
pub(super) fn bind(server: &Server, work: &mut Work, request: &Bind) -> Result<Entry, Errno> {
    let parent = parent(server, request.directory)?;
    if !parent.allows(Policy::BIND_SOCKETS) {
        return Err(Errno::EACCES);
    }
    check_mode(request.mode)?;
    check_set_id(&parent, attr::SOCKET, request.mode)?;
    let socket = unix::bound(parent.as_fd(), &request.name, request.socket_type)?;
    let wanted = Wanted { mode: Some(request.mode), uid: request.uid, gid: request.gid };
    let entry = adopt(server, work, &parent, &request.name, &wanted, attr::SOCKET)?;
    work.donation = Some(socket);
    Ok(entry)
}
