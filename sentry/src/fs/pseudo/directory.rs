// SPDX-License-Identifier: Apache-2.0
//! The directory role of a made-up node, and the open directory.

use std::{any::Any, sync::Arc};

use abi::Errno;

use super::{Body, Node};
use crate::vfs::{DirSink, Directory, FileKind, FileOps, Inode, NewNode, RenameMode, SeekFrom};

impl Directory for Node {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        match &self.body {
            Body::Tree(tree) => tree.lookup(&self.pseudo(), name),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn create(
        &self,
        _name: &[u8],
        node: NewNode<'_>,
        _permissions: u32,
        _uid: u32,
        _gid: u32,
    ) -> Result<Arc<dyn Inode>, Errno> {
        // proc's lookup fails before anything is made; kernfs has no operations to make files with.
        Err(match node {
            _ if self.pseudo().is_proc() => Errno::ENOENT,
            NewNode::Regular => Errno::EACCES,
            _ => Errno::EPERM,
        })
    }

    fn link(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    fn unlink(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    fn remove_directory(&self, _name: &[u8], _inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    fn rename(
        &self,
        _name: &[u8],
        _inode: &Arc<dyn Inode>,
        _new_parent: &Arc<dyn Inode>,
        _new_name: &[u8],
        replaced: Option<&Arc<dyn Inode>>,
        _mode: RenameMode,
    ) -> Result<(), Errno> {
        Err(if replaced.is_none() && self.is_proc() { Errno::ENOENT } else { Errno::EPERM })
    }
}

impl Node {
    fn is_proc(&self) -> bool {
        self.filesystem().name() == "proc"
    }
}

/// An open directory: its names as they were when reading began at the start.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    node: Arc<Node>,
}

impl OpenDirectory {
    pub(super) fn new(node: Arc<Node>) -> OpenDirectory {
        OpenDirectory { node }
    }
}

impl FileOps for OpenDirectory {
    fn read_entries(&self, position: u64, to: &mut dyn DirSink) -> Result<u64, Errno> {
        let Body::Tree(tree) = &self.node.body else { return Err(Errno::ENOTDIR) };
        if !self.node.revalidate() {
            return Err(Errno::ENOENT);
        }
        let entries = tree.entries(&self.node.pseudo())?;
        let dots = [(b".".as_slice(), self.node.number), (b"..".as_slice(), self.node.number)];
        let names = dots
            .into_iter()
            .map(|(name, number)| (name, number, FileKind::Directory))
            .chain(entries.iter().map(|entry| (entry.name.as_slice(), entry.number, entry.kind)));
        let mut at = position;
        let skip = usize::try_from(position).unwrap_or(usize::MAX);
        for (name, number, kind) in names.skip(skip) {
            if !to.entry(name, number, kind, at + 1) {
                break;
            }
            at += 1;
        }
        Ok(at)
    }

    fn seek(&self, from: SeekFrom, _current: u64) -> Result<u64, Errno> {
        match from {
            SeekFrom::End(_) => Err(Errno::EINVAL),
            _ => Err(Errno::ENXIO),
        }
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
