// SPDX-License-Identifier: Apache-2.0
//! Copying a file from the lower to the upper layer.

use std::sync::Arc;

use abi::{Errno, cred::Capabilities, fcntl::OpenFlags};

use super::{inode::OverlayInode, layers};
use crate::{
    creds::Credentials,
    io::{CHUNK, SliceSink, SliceSource},
    vfs::{AttributeChange, FileKind, Inode, LinkTarget, NewNode, TimeChange},
    wait::Try,
};

/// Directories deeper than this are not copied up: the guest's paths are no longer.
const MAX_DEPTH: usize = 4096;

impl OverlayInode {
    /// The file in the upper layer, copied there first if it is not.
    pub(super) fn copy_up(&self) -> Result<Arc<dyn Inode>, Errno> {
        self.copy_up_to(u64::MAX)
    }

    /// As [`OverlayInode::copy_up`], with no more of the contents than `size`: it is about to be truncated.
    pub(super) fn copy_up_to(&self, size: u64) -> Result<Arc<dyn Inode>, Errno> {
        if let Some(upper) = self.upper() {
            return Ok(upper);
        }
        let _one_at_a_time = self.filesystem.changing.lock();
        self.counted().copy_up_held(size)
    }

    /// The same for whoever holds the lock of changes.
    pub(super) fn copy_up_held(self: &Arc<Self>, size: u64) -> Result<Arc<dyn Inode>, Errno> {
        // Its directories first, the outermost before the others.
        let mut chain = vec![self.clone()];
        while let Some(last) = chain.last().filter(|last| last.upper().is_none()) {
            match last.place() {
                Some((parent, _)) if chain.len() < MAX_DEPTH => chain.push(parent),
                Some(_) => return Err(Errno::ENAMETOOLONG),
                None => break,
            }
        }
        while let Some(inode) = chain.pop() {
            if inode.upper().is_none() {
                inode.copy_one(size)?;
            }
        }
        self.upper().ok_or(Errno::EIO)
    }

    /// Copies this one; its directory is up.
    fn copy_one(self: &Arc<Self>, size: u64) -> Result<(), Errno> {
        let lower = self.layers().lower.ok_or(Errno::EIO)?;
        let below = self.key_below().ok_or(Errno::EIO)?;
        let place = self.place();
        let (parent, name) = match &place {
            Some((parent, name)) => (parent.upper().ok_or(Errno::EIO)?, Some(&**name)),
            // It has no name any more, or never had one here.
            None => (self.filesystem.upper.root(), None),
        };
        let attributes = lower.attributes()?;
        let new = make(&parent, name, &*lower)?;
        let filled = fill(&lower, &new, size).and_then(|()| {
            let has_other_names = self.kind() != FileKind::Directory && attributes.links > 1;
            self.filesystem.moved_up(self, &new, below, has_other_names)
        });
        match filled {
            Ok(key) => {
                self.set_upper(new, key);
                Ok(())
            }
            Err(errno) => {
                undo(&parent, name, &new);
                Err(errno)
            }
        }
    }

    /// Copies a directory up with all that is in it, and cuts it off from the lower layer: it is about
    /// to move.
    pub(super) fn copy_tree_held(self: &Arc<Self>) -> Result<(), Errno> {
        self.copy_up_held(u64::MAX)?;
        let mut waiting = vec![self.clone()];
        let mut whole = Vec::new();
        while let Some(inode) = waiting.pop() {
            if inode.kind() == FileKind::Directory && inode.layers().lower.is_some() {
                for name in inode.names()? {
                    let child = inode.lookup_one(&name)?;
                    child.copy_up_held(u64::MAX)?;
                    waiting.push(child);
                }
                whole.push(inode);
            }
        }
        for inode in whole {
            layers::make_opaque(&inode.upper().ok_or(Errno::EIO)?)?;
            inode.drop_lower();
        }
        Ok(())
    }
}

/// Makes an empty file of the same kind.
fn make(
    parent: &Arc<dyn Inode>,
    name: Option<&[u8]>,
    lower: &dyn Inode,
) -> Result<Arc<dyn Inode>, Errno> {
    let attributes = lower.attributes()?;
    let (mode, uid, gid) = (attributes.permissions, attributes.uid, attributes.gid);
    let parent = layers::directory(parent)?;
    let Some(name) = name else {
        return match lower.kind() {
            FileKind::Regular => parent.create_unnamed(mode, uid, gid),
            _ => Err(Errno::ENOENT),
        };
    };
    let text;
    let node = match lower.kind() {
        FileKind::Regular => NewNode::Regular,
        FileKind::Directory => NewNode::Directory,
        FileKind::Symlink => {
            match lower.read_link(&Credentials::root(Capabilities::all()))? {
                LinkTarget::Text(target) => text = target,
                LinkTarget::Magic(_) => return Err(Errno::EIO),
            }
            NewNode::Symlink(&text)
        }
        FileKind::Fifo => NewNode::Fifo,
        FileKind::Socket => NewNode::Socket,
        FileKind::CharDevice => NewNode::CharDevice(attributes.special_device),
        FileKind::BlockDevice => NewNode::BlockDevice(attributes.special_device),
        FileKind::Anonymous => return Err(Errno::EIO),
    };
    parent.create(name, node, mode, uid, gid)
}

/// Gives the new file contents, extended attributes and times of the old one.
fn fill(lower: &Arc<dyn Inode>, new: &Arc<dyn Inode>, size: u64) -> Result<(), Errno> {
    let attributes = lower.attributes()?;
    if lower.kind() == FileKind::Regular {
        copy_contents(lower, new, attributes.size.min(size))?;
    }
    if let (Some(from), Some(to)) = (lower.as_xattrs(), new.as_xattrs()) {
        let names = match from.list() {
            Err(Errno::EOPNOTSUPP) => Vec::new(),
            names => names?,
        };
        for name in names.iter().filter(|name| !layers::is_mark(name)) {
            to.set(name, &from.get(name)?, false, false)?;
        }
    }
    // A link's own times are what lstat(2) shows; its permissions are nobody's.
    let is_link = lower.kind() == FileKind::Symlink;
    new.set_attributes(&AttributeChange {
        permissions: (!is_link).then_some(attributes.permissions),
        accessed: Some(TimeChange::To(attributes.accessed)),
        modified: Some(TimeChange::To(attributes.modified)),
        ..AttributeChange::default()
    })
}

fn copy_contents(lower: &Arc<dyn Inode>, new: &Arc<dyn Inode>, size: u64) -> Result<(), Errno> {
    let creds = Credentials::root(Capabilities::all());
    let from = lower.clone().open(OpenFlags::RDONLY, &creds)?;
    let to = new.clone().open(OpenFlags::WRONLY, &creds)?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
        let room = buffer.get_mut(..want).ok_or(Errno::EIO)?;
        let Try::Done(got) = from.read_at(&mut SliceSink::new(room), at)? else {
            return Err(Errno::EIO);
        };
        // Shorter than it said: somebody truncated it.
        let Some(bytes) = room.get(..got).filter(|bytes| !bytes.is_empty()) else { break };
        // Holes stay holes.
        if bytes.iter().any(|byte| *byte != 0) {
            let mut source = SliceSource::new(bytes);
            match to.write_at(&mut source, at)? {
                Try::Done(put) if put == got => {}
                Try::Done(_) => return Err(Errno::ENOSPC),
                Try::WouldBlock => return Err(Errno::EIO),
            }
        }
        at += u64::try_from(got).unwrap_or(0);
    }
    new.set_attributes(&AttributeChange { size: Some(at), ..AttributeChange::default() })
}

/// Takes a half-made copy away. Best effort: the error that led here is told.
fn undo(parent: &Arc<dyn Inode>, name: Option<&[u8]>, new: &Arc<dyn Inode>) {
    let (Some(name), Some(parent)) = (name, parent.as_directory()) else { return };
    let undone = match new.kind() {
        FileKind::Directory => parent.remove_directory(name, new),
        _ => parent.unlink(name, new),
    };
    if let Err(errno) = undone {
        tracing::warn!(%errno, "a half-made copy stays in the upper layer");
    }
}
