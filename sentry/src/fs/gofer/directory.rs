// SPDX-License-Identifier: Apache-2.0
//! Directories: names looked up, made, moved, taken away, and listed.

use std::{any::Any, sync::Arc};

use abi::{Errno, fcntl::OpenFlags};
use gofer::{
    client::{NewFile, RenameFlags},
    protocol::{attr, message::DirectoryEntry},
};

use super::{Access, ahead::Guess, attributes, inode::GoferInode};
use crate::{
    sync::{Mutex, levels},
    vfs::{DirSink, Directory, FileKind, FileOps, Inode, NewNode, RenameMode, Walked},
};

impl Directory for GoferInode {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let mut walked = self.lookup_path(&[name])?;
        walked.inodes.pop().ok_or(Errno::ENOENT)
    }

    fn lookup_path(&self, names: &[&[u8]]) -> Result<Walked, Errno> {
        if let Some(inode) = self.look_ahead(names) {
            return Ok(Walked { inodes: vec![inode], missing: false });
        }
        let walk = self.node.walk(names)?;
        if walk.steps.is_empty() && walk.stop != Some(Errno::ENOENT) {
            return Err(walk.stop.unwrap_or(Errno::EIO));
        }
        let missing = walk.stop == Some(Errno::ENOENT);
        let mut found: Vec<Arc<GoferInode>> = Vec::with_capacity(walk.steps.len());
        found
            .extend(walk.steps.into_iter().zip(names).map(|(step, _)| self.filesystem.adopt(step)));
        if let (Some(text), Some(last)) = (walk.link, found.last()) {
            last.set_link(text);
        }
        let inodes = found.into_iter().map(|inode| inode as Arc<dyn Inode>).collect();
        Ok(Walked { inodes, missing })
    }

    fn confirm(&self, known: &[(&[u8], Arc<dyn Inode>)]) -> usize {
        let mut inodes = Vec::with_capacity(known.len());
        for (name, inode) in known {
            let Ok(inode) = self.sibling(inode) else { break };
            inodes.push((*name, inode));
        }
        let nodes: Vec<_> = inodes.iter().map(|(name, inode)| (*name, &*inode.node)).collect();
        // Whatever fails is looked up anew, which tells why.
        let attrs = self.node.revalidate(&nodes).unwrap_or_default();
        for ((_, inode), attr) in inodes.iter().zip(&attrs) {
            inode.learn(attr);
        }
        attrs.len().min(inodes.len())
    }

    fn create(
        &self,
        name: &[u8],
        node: NewNode<'_>,
        permissions: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Arc<dyn Inode>, Errno> {
        let new = NewFile { mode: permissions, uid, gid };
        let step = match node {
            NewNode::Regular => return self.create_regular(name, new),
            NewNode::Directory => self.node.make_directory(name, new),
            NewNode::Symlink(text) => self.node.make_symlink(name, text, uid, gid),
            NewNode::Fifo => self.node.make_node(name, attr::FIFO, 0, new),
            NewNode::Socket => self.node.make_node(name, attr::SOCKET, 0, new),
            NewNode::CharDevice(device) => {
                self.node.make_node(name, attr::CHAR_DEVICE, device, new)
            }
            NewNode::BlockDevice(device) => {
                self.node.make_node(name, attr::BLOCK_DEVICE, device, new)
            }
        }?;
        self.names_changed();
        let inode = self.filesystem.adopt(step);
        if let NewNode::Symlink(text) = node {
            inode.set_link(text.to_vec());
        }
        Ok(inode)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let inode = self.sibling(inode)?;
        let attr = self.node.link(name, &inode.node)?;
        inode.learn(&attr);
        self.names_changed();
        Ok(())
    }

    fn unlink(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.node.unlink(name)?;
        self.names_changed();
        self.sibling(inode)?.unlinked();
        Ok(())
    }

    fn remove_directory(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.node.remove_directory(name)?;
        self.names_changed();
        self.sibling(inode)?.changed();
        Ok(())
    }

    fn rename(
        &self,
        name: &[u8],
        inode: &Arc<dyn Inode>,
        new_parent: &Arc<dyn Inode>,
        new_name: &[u8],
        replaced: Option<&Arc<dyn Inode>>,
        mode: RenameMode,
    ) -> Result<(), Errno> {
        let to = self.sibling(new_parent)?;
        let flags = match mode {
            RenameMode::Replace => RenameFlags::empty(),
            RenameMode::NoReplace => RenameFlags::NOREPLACE,
            RenameMode::Exchange => RenameFlags::EXCHANGE,
            RenameMode::Whiteout => RenameFlags::WHITEOUT,
        };
        self.node.rename(name, &to.node, new_name, flags)?;
        self.names_changed();
        to.names_changed();
        let moved = self.sibling(inode)?;
        moved.changed();
        if let Some(replaced) = replaced {
            let replaced = self.sibling(replaced)?;
            if mode == RenameMode::Exchange {
                replaced.changed();
            } else {
                replaced.unlinked();
            }
        }
        Ok(())
    }

    fn create_unnamed(
        &self,
        permissions: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Arc<dyn Inode>, Errno> {
        let new = NewFile { mode: permissions, uid, gid };
        let (step, file) = self.node.create_unnamed(OpenFlags::RDWR, new)?;
        let inode = self.filesystem.adopt(step);
        self.remember(&inode, file);
        Ok(inode)
    }
}

impl GoferInode {
    /// A name in this directory was made or taken away.
    fn names_changed(&self) {
        self.changed();
        self.filesystem.ahead.forget(self.identity);
    }

    /// The child that is named first, if it was asked for ahead or is now, with others.
    fn look_ahead(&self, names: &[&[u8]]) -> Option<Arc<dyn Inode>> {
        if self.filesystem.access == Access::Shared {
            return None;
        }
        let filesystem = &self.filesystem;
        let (entries, at, count) = match filesystem.ahead.guess(self.identity, names.first()?) {
            Guess::Found(inode) => return inode.is_recent().then_some(inode as Arc<dyn Inode>),
            Guess::Ask(entries, at, count) => (entries, at, count),
            Guess::None => return None,
        };
        let asked = || entries.iter().skip(at).take(count).map(|entry| &*entry.name);
        // Whatever fails here is asked for alone, which tells why.
        let mut steps = self.node.siblings(&asked().collect::<Vec<_>>()).ok()?.into_iter();
        let first = steps.next().flatten().map(|step| filesystem.adopt(step));
        let found = asked().skip(1).zip(steps).filter_map(|(name, step)| {
            let inode = filesystem.adopt_ahead(step?);
            Some((Box::from(name), inode))
        });
        filesystem.ahead.keep(&entries, found.collect());
        Some(first?)
    }

    fn create_regular(&self, name: &[u8], new: NewFile) -> Result<Arc<dyn Inode>, Errno> {
        let (step, file) = self.node.create(name, OpenFlags::RDWR, new)?;
        self.names_changed();
        let inode = self.filesystem.adopt(step);
        self.remember(&inode, file);
        Ok(inode)
    }

    /// Whoever made a file most often opens it next: the descriptor that came along is kept for that.
    fn remember(&self, inode: &Arc<GoferInode>, file: std::os::fd::OwnedFd) {
        let file = Arc::new(file);
        inode.opened(OpenFlags::RDWR, &file);
        self.filesystem.keep(&file);
    }
}

/// Entries that one listing holds at most: a directory with more is cut off, loudly.
const MAX_LISTED: usize = 1 << 22;

/// Bytes of entries asked of the gofer at once.
const BATCH: u32 = 56 * 1024;

/// An open directory. It lists what was there when reading began, as gVisor does and POSIX allows; a
/// rewind looks again. So positions are plain numbers, whatever the host's are.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    inode: Arc<GoferInode>,
    listing: Mutex<Option<Arc<[Listed]>>, levels::Leaf>,
}

/// An entry of a listing.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: Box<[u8]>,
    pub(super) inode: u64,
    pub(super) kind: FileKind,
}

impl OpenDirectory {
    pub(super) fn new(inode: Arc<GoferInode>) -> OpenDirectory {
        OpenDirectory { inode, listing: Mutex::new(None) }
    }

    fn list(&self) -> Result<Arc<[Listed]>, Errno> {
        let (mut entries, rest) = self.inode.node.open_directory()?;
        if let Some(directory) = rest {
            while let Some(last) = entries.last() {
                let more = directory.read(last.next, BATCH)?;
                if more.is_empty() {
                    break;
                }
                entries.extend(more);
                if entries.len() > MAX_LISTED {
                    tracing::warn!(
                        limit = MAX_LISTED,
                        "a directory is too long to be listed whole"
                    );
                    break;
                }
            }
        }
        let listed = |entry: DirectoryEntry| {
            let name = entry.name.0;
            (name != b"." && name != b"..").then(|| Listed {
                name: name.into(),
                inode: entry.inode,
                kind: attributes::entry_kind(entry.kind),
            })
        };
        Ok(entries.into_iter().filter_map(listed).collect())
    }
}

/// Where the VFS has us begin: behind `.` and `..`.
const FIRST: u64 = 2;

impl FileOps for OpenDirectory {
    fn read_entries(&self, position: u64, to: &mut dyn DirSink) -> Result<u64, Errno> {
        let known = self.listing.lock().clone().filter(|_| position > FIRST);
        let listing = match known {
            Some(listing) => listing,
            None => {
                let listing = self.list()?;
                let old = self.listing.lock().replace(listing.clone());
                drop(old);
                self.inode.changed();
                if self.inode.filesystem.access != Access::Shared {
                    self.inode.filesystem.ahead.listed(self.inode.identity, &listing);
                }
                listing
            }
        };
        let begin = usize::try_from(position.saturating_sub(FIRST)).unwrap_or(usize::MAX);
        let mut at = position.max(FIRST);
        for listed in listing.get(begin..).unwrap_or_default() {
            if !to.entry(&listed.name, listed.inode, listed.kind, at + 1) {
                break;
            }
            at += 1;
        }
        Ok(at)
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        self.inode.node.sync()
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
