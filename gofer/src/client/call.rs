// SPDX-License-Identifier: Apache-2.0
//! The calls, one method for each request.

use std::os::fd::OwnedFd;

use abi::{Errno, fcntl::OpenFlags, mount::StatFs};

use super::{Connection, Directory, NewFile, Node, RenameFlags, Step, Walk, XattrFlags};
use crate::protocol::{
    Attr, Bytes, MAX_WALK, Name, NodeId, Policy, SetAttr, VERSION, code,
    message::{self, DirectoryEntry, Entry},
};

impl Connection {
    /// The root of attach point number `root`, its attributes and what it allows.
    pub fn attach(&self, root: u32) -> Result<(Step, Policy), Errno> {
        let reply = self.call(&message::Attach { version: VERSION, root })?;
        let step = self.step(Entry { node: reply.node, attr: reply.attr });
        Ok((step, Policy::from_bits_truncate(reply.policy)))
    }

    fn node(&self, id: NodeId) -> Node {
        Node { id, connection: self.clone() }
    }

    fn step(&self, entry: Entry) -> Step {
        Step { node: self.node(entry.node), attr: entry.attr }
    }
}

impl Node {
    /// The connection it came by.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Walks along `names`, of which only the first [`MAX_WALK`] are looked at. No symbolic link is
    /// followed: one ends the walk and is its last step.
    pub fn walk(&self, names: &[&[u8]]) -> Result<Walk, Errno> {
        let names: Vec<Name> =
            names.iter().take(MAX_WALK).map(|name| Name::new(name)).collect::<Result<_, _>>()?;
        let wanted = names.len();
        let reply = self.connection.call(&message::Walk { directory: self.id, names })?;
        let steps: Vec<Step> =
            reply.steps.into_iter().take(wanted).map(|entry| self.connection.step(entry)).collect();
        let stop = match code::from_wire(reply.stop) {
            // Neither the end nor a reason: then there is no answer.
            None if steps.len() < wanted => Some(Errno::EIO),
            stop => stop,
        };
        let ends_in_link = steps.last().is_some_and(|step| step.attr.is_symlink());
        let link = reply.link.filter(|_| ends_in_link).map(|text| text.0);
        Ok(Walk { steps, stop, link })
    }

    /// The child of that name.
    pub fn child(&self, name: &[u8]) -> Result<Step, Errno> {
        let mut walk = self.walk(&[name])?;
        walk.steps.pop().ok_or(walk.stop.unwrap_or(Errno::EIO))
    }

    /// Children of this directory, in the order of `names`, of which only the first [`MAX_WALK`] are
    /// looked at: `None` for what is not there or cannot be had.
    pub fn siblings(&self, names: &[&[u8]]) -> Result<Vec<Option<Step>>, Errno> {
        let names: Vec<Name> =
            names.iter().take(MAX_WALK).map(|name| Name::new(name)).collect::<Result<_, _>>()?;
        let wanted = names.len();
        let mut reply =
            self.connection.call(&message::WalkSiblings { directory: self.id, names })?;
        reply.entries.truncate(wanted);
        let step = |entry: Option<Entry>| entry.map(|entry| self.connection.step(entry));
        Ok(reply.entries.into_iter().map(step).collect())
    }

    /// How many of the names, each looked up in what the one before it is known to lead to, still lead
    /// to the nodes they led to: the present attributes of those, in order.
    pub fn revalidate(&self, known: &[(&[u8], &Node)]) -> Result<Vec<Attr>, Errno> {
        let wanted = known.len().min(MAX_WALK);
        let known = known
            .iter()
            .take(wanted)
            .map(|(name, node)| Ok(message::Known { name: Name::new(name)?, node: node.id }))
            .collect::<Result<_, Errno>>()?;
        let mut reply = self.connection.call(&message::Revalidate { directory: self.id, known })?;
        reply.attrs.truncate(wanted);
        Ok(reply.attrs)
    }

    /// Attributes now.
    pub fn attr(&self) -> Result<Attr, Errno> {
        self.connection.call(&message::GetAttr { node: self.id })
    }

    /// Changes attributes; returns them as they are then.
    pub fn set_attr(&self, change: SetAttr) -> Result<Attr, Errno> {
        self.connection.call(&message::ChangeAttr { node: self.id, change })
    }

    /// A descriptor with exactly this access mode. `flags` are the access mode and status flags; for
    /// fifos and devices the descriptor does not block.
    pub fn open(&self, flags: OpenFlags) -> Result<OwnedFd, Errno> {
        let request = message::Open { node: self.id, flags: flags.bits() };
        self.connection.call_for_fd(&request).map(|(_, fd)| fd)
    }

    /// A new regular file, opened with these flags: `EEXIST` if the name is taken.
    pub fn create(
        &self,
        name: &[u8],
        flags: OpenFlags,
        new: NewFile,
    ) -> Result<(Step, OwnedFd), Errno> {
        let (entry, fd) = self.connection.call_for_fd(&message::Create {
            directory: self.id,
            name: Name::new(name)?,
            flags: flags.bits(),
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
        })?;
        Ok((self.connection.step(entry), fd))
    }

    /// A new regular file without a name (`O_TMPFILE`), opened with these flags.
    pub fn create_unnamed(&self, flags: OpenFlags, new: NewFile) -> Result<(Step, OwnedFd), Errno> {
        let (entry, fd) = self.connection.call_for_fd(&message::CreateUnnamed {
            directory: self.id,
            flags: flags.bits(),
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
        })?;
        Ok((self.connection.step(entry), fd))
    }

    /// A new directory.
    pub fn make_directory(&self, name: &[u8], new: NewFile) -> Result<Step, Errno> {
        let entry = self.connection.call(&message::MakeDirectory {
            directory: self.id,
            name: Name::new(name)?,
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
        })?;
        Ok(self.connection.step(entry))
    }

    /// A new regular file, fifo or socket's name (`file_type` is `S_IFMT`'s), or a whiteout (a character
    /// device with the number zero). Other devices are refused with `EPERM`.
    pub fn make_node(
        &self,
        name: &[u8],
        file_type: u32,
        device: u64,
        new: NewFile,
    ) -> Result<Step, Errno> {
        let entry = self.connection.call(&message::MakeNode {
            directory: self.id,
            name: Name::new(name)?,
            mode: file_type | new.mode,
            device,
            uid: new.uid,
            gid: new.gid,
        })?;
        Ok(self.connection.step(entry))
    }

    /// A new symbolic link with this text.
    pub fn make_symlink(
        &self,
        name: &[u8],
        target: &[u8],
        uid: u32,
        gid: u32,
    ) -> Result<Step, Errno> {
        let entry = self.connection.call(&message::MakeSymlink {
            directory: self.id,
            name: Name::new(name)?,
            target: Bytes(target.to_vec()),
            uid,
            gid,
        })?;
        Ok(self.connection.step(entry))
    }

    /// Gives `node` a name in this directory; returns its attributes then.
    pub fn link(&self, name: &[u8], node: &Node) -> Result<Attr, Errno> {
        self.same_gofer(node)?;
        let name = Name::new(name)?;
        self.connection.call(&message::Link { directory: self.id, name, node: node.id })
    }

    /// Takes the name of a non-directory away.
    pub fn unlink(&self, name: &[u8]) -> Result<(), Errno> {
        let name = Name::new(name)?;
        let request = message::Unlink { directory: self.id, name, is_directory: 0 };
        self.connection.call(&request).map(drop)
    }

    /// Takes an empty directory away.
    pub fn remove_directory(&self, name: &[u8]) -> Result<(), Errno> {
        let name = Name::new(name)?;
        let request = message::Unlink { directory: self.id, name, is_directory: 1 };
        self.connection.call(&request).map(drop)
    }

    /// Moves `name` of this directory to `new_name` in `new_directory`.
    pub fn rename(
        &self,
        name: &[u8],
        new_directory: &Node,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        self.same_gofer(new_directory)?;
        let request = message::Rename {
            directory: self.id,
            name: Name::new(name)?,
            new_directory: new_directory.id,
            new_name: Name::new(new_name)?,
            flags: flags.bits(),
        };
        self.connection.call(&request).map(drop)
    }

    /// A symbolic link's text.
    pub fn read_link(&self) -> Result<Vec<u8>, Errno> {
        self.connection.call(&message::ReadLink { node: self.id }).map(|text| text.0)
    }

    /// The first entries of this directory, and the directory to read on in if there are more. `.` and
    /// `..` are among them.
    pub fn open_directory(&self) -> Result<(Vec<DirectoryEntry>, Option<Directory>), Errno> {
        let reply = self.connection.call(&message::OpenDirectory { node: self.id })?;
        let connection = self.connection.clone();
        let rest = reply.directory.map(|id| Directory { id, connection });
        Ok((checked(reply.entries), rest))
    }

    /// Statistics of the file system it is on.
    pub fn statistics(&self) -> Result<StatFs, Errno> {
        self.connection.call(&message::GetStatFs { node: self.id })
    }

    /// An extended attribute's value.
    pub fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let name = Bytes(name.to_vec());
        self.connection.call(&message::GetXattr { node: self.id, name }).map(|value| value.0)
    }

    /// Sets an extended attribute.
    pub fn set_xattr(&self, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
        let request = message::SetXattr {
            node: self.id,
            name: Bytes(name.to_vec()),
            value: Bytes(value.to_vec()),
            flags: flags.bits(),
        };
        self.connection.call(&request).map(drop)
    }

    /// The names of extended attributes.
    pub fn list_xattrs(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let names = self.connection.call(&message::ListXattr { node: self.id })?;
        let names = names.0.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(<[u8]>::to_vec).collect())
    }

    /// Takes an extended attribute away.
    pub fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        let name = Bytes(name.to_vec());
        self.connection.call(&message::RemoveXattr { node: self.id, name }).map(drop)
    }

    /// Writes this file or directory to the disk. For open files, fsync the descriptor instead.
    pub fn sync(&self) -> Result<(), Errno> {
        self.connection.call(&message::Sync { node: self.id, is_whole_filesystem: 0 }).map(drop)
    }

    /// Writes the file system it is on to the disk.
    pub fn sync_filesystem(&self) -> Result<(), Errno> {
        self.connection.call(&message::Sync { node: self.id, is_whole_filesystem: 1 }).map(drop)
    }

    /// A socket connected to the host's socket that this names; it does not block. `ECONNREFUSED` unless
    /// the root's policy allows it.
    pub fn connect(&self, socket_type: u32) -> Result<OwnedFd, Errno> {
        let request = message::Connect { node: self.id, socket_type };
        self.connection.call_for_fd(&request).map(|(_, fd)| fd)
    }

    /// A socket of the host bound to a new name here; it does not block. `EACCES` unless the root's
    /// policy allows it.
    pub fn bind(
        &self,
        name: &[u8],
        socket_type: u32,
        new: NewFile,
    ) -> Result<(Step, OwnedFd), Errno> {
        let (entry, fd) = self.connection.call_for_fd(&message::Bind {
            directory: self.id,
            name: Name::new(name)?,
            socket_type,
            mode: new.mode,
            uid: new.uid,
            gid: new.gid,
        })?;
        Ok((self.connection.step(entry), fd))
    }

    /// Node numbers mean nothing to another gofer: `EXDEV`.
    fn same_gofer(&self, other: &Node) -> Result<(), Errno> {
        if self.connection.is_same(&other.connection) { Ok(()) } else { Err(Errno::EXDEV) }
    }
}

impl Directory {
    /// Entries from `position` (zero, or a `next` of an entry) on, no more than about `limit` bytes of
    /// them. None at the end. Names are as the host has them: `.` and `..` are among them, and a name
    /// that is none (with a slash, say) is left out.
    pub fn read(&self, position: u64, limit: u32) -> Result<Vec<DirectoryEntry>, Errno> {
        let request = message::ReadDirectory { directory: self.id, position, limit };
        Ok(checked(self.connection.call(&request)?.entries))
    }
}

/// Those entries whose names are some.
fn checked(mut entries: Vec<DirectoryEntry>) -> Vec<DirectoryEntry> {
    entries.retain(|entry| {
        matches!(entry.name.0.as_slice(), b"." | b"..") || Name::new(&entry.name.0).is_ok()
    });
    entries
}
