// SPDX-License-Identifier: Apache-2.0
//! Requests that change nothing (save by the descriptor that they donate).

use std::os::fd::AsFd;

use abi::{Errno, fcntl::OpenFlags};
use nix::fcntl::OFlag;
use parking_lot::Mutex;

use super::{
    Server,
    connection::Work,
    node::{Node, OpenDirectory},
};
use crate::{
    host::{dir, stat, unix},
    protocol::{
        Attr, Bytes, MAX_ENTRIES, Policy, attr,
        message::{
            Connect, DirectoryOpened, Entries, GetAttr, GetStatFs, Nothing, Open,
            OpenDirectory as OpenDirectoryRequest, ReadDirectory, ReadLink,
        },
    },
};

/// Bytes of entries asked of the host at once when a directory is opened, twice over.
const FIRST_ENTRIES: usize = MAX_ENTRIES / 2;

/// Attributes.
pub(super) fn attr(server: &Server, request: &GetAttr) -> Result<Attr, Errno> {
    server.nodes.node(request.node)?.attr()
}

/// Statistics of a file system.
pub(super) fn filesystem(
    server: &Server,
    request: &GetStatFs,
) -> Result<abi::mount::StatFs, Errno> {
    stat::filesystem(server.nodes.node(request.node)?.as_fd())
}

/// A symbolic link's text.
pub(super) fn link(server: &Server, request: &ReadLink) -> Result<Bytes, Errno> {
    let node = server.nodes.node(request.node)?;
    if node.file_type != attr::SYMLINK {
        return Err(Errno::EINVAL);
    }
    stat::link_text(node.as_fd()).map(Bytes)
}

/// open(2)'s flags that the sentry may ask for, as the host's: exactly the access mode asked.
pub(super) fn host_flags(flags: u32) -> Result<(OpenFlags, OFlag), Errno> {
    let flags = OpenFlags::from_bits_retain(flags).difference(OpenFlags::LARGEFILE);
    let known = OpenFlags::ACCMODE
        | OpenFlags::TRUNC
        | OpenFlags::APPEND
        | OpenFlags::NONBLOCK
        | OpenFlags::SYNC
        | OpenFlags::DSYNC
        | OpenFlags::DIRECT
        | OpenFlags::NOATIME;
    if !known.contains(flags) || flags.contains(OpenFlags::ACCMODE) {
        return Err(Errno::EINVAL);
    }
    let bits = i32::try_from(flags.bits()).map_err(|_| Errno::EINVAL)?;
    Ok((flags, OFlag::from_bits_retain(bits)))
}

/// Whether a descriptor with these flags can change a file.
pub(super) fn can_write(flags: OpenFlags) -> bool {
    flags.intersects(OpenFlags::ACCMODE | OpenFlags::TRUNC)
}

/// What may be opened, and how. `EROFS` concerns regular files only, as on Linux.
fn check_open(node: &Node, flags: OpenFlags) -> Result<OFlag, Errno> {
    let special =
        |policy| if node.allows(policy) { Ok(OFlag::O_NONBLOCK) } else { Err(Errno::EACCES) };
    match node.file_type {
        attr::REGULAR => {
            if can_write(flags) {
                node.check_writable()?;
            }
            Ok(OFlag::empty())
        }
        // Read through `OpenDirectory`: the sentry never holds a directory of the host.
        attr::DIRECTORY => Err(Errno::EISDIR),
        attr::SYMLINK => Err(Errno::ELOOP),
        attr::FIFO => special(Policy::OPEN_FIFOS),
        attr::CHAR_DEVICE | attr::BLOCK_DEVICE => special(Policy::OPEN_DEVICES),
        _ => Err(Errno::ENXIO),
    }
}

/// Donates a descriptor.
pub(super) fn open(server: &Server, work: &mut Work, request: &Open) -> Result<Nothing, Errno> {
    let node = server.nodes.node(request.node)?;
    let (flags, host) = host_flags(request.flags)?;
    let more = check_open(&node, flags)?;
    work.donation = Some(server.proc.reopen(node.as_fd(), host | more)?);
    Ok(Nothing {})
}

/// A directory's first entries. Most directories are no longer than that, and are closed again at once.
pub(super) fn open_directory(
    server: &Server,
    work: &mut Work,
    request: &OpenDirectoryRequest,
) -> Result<DirectoryOpened, Errno> {
    let node = server.nodes.directory(request.node)?;
    let fd = server.proc.reopen(node.as_fd(), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let mut entries = dir::entries(fd.as_fd(), None, FIRST_ENTRIES)?;
    // The next call tells whether these are all; what it gives still fits in the same reply.
    let more = dir::entries(fd.as_fd(), None, FIRST_ENTRIES)?;
    let is_all = more.is_empty();
    entries.extend(more);
    if is_all {
        return Ok(DirectoryOpened { directory: None, entries });
    }
    let position = Mutex::new(entries.last().map_or(0, |entry| entry.next));
    let directory = server.nodes.add_directory(OpenDirectory { fd, position })?;
    work.fresh.push(directory);
    Ok(DirectoryOpened { directory: Some(directory), entries })
}

/// Some entries of an open directory.
pub(super) fn directory(server: &Server, request: &ReadDirectory) -> Result<Entries, Errno> {
    let open = server.nodes.open_directory(request.directory)?;
    // No less than the longest entry, no more than fits in a reply.
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).clamp(512, MAX_ENTRIES);
    let mut position = open.position.lock();
    let seek = (*position != request.position).then_some(request.position);
    // Should anything fail now, nobody knows where the descriptor stands.
    *position = u64::MAX;
    let entries = dir::entries(open.fd.as_fd(), seek, limit)?;
    *position = entries.last().map_or(request.position, |entry| entry.next);
    Ok(Entries { entries })
}

/// Donates a socket that is connected to a socket of the host.
pub(super) fn connect(
    server: &Server,
    work: &mut Work,
    request: &Connect,
) -> Result<Nothing, Errno> {
    let node = server.nodes.node(request.node)?;
    if node.file_type != attr::SOCKET || !node.allows(Policy::CONNECT_SOCKETS) {
        return Err(Errno::ECONNREFUSED);
    }
    work.donation = Some(unix::connected(node.as_fd(), request.socket_type)?);
    Ok(Nothing {})
}
