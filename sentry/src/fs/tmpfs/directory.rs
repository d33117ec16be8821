// SPDX-License-Identifier: Apache-2.0
//! tmpfs directories: a table by name, and the order of readdir(3).

use std::{collections::BTreeMap, sync::Arc};

use abi::Errno;
use rustc_hash::FxHashMap;

use super::node::{Body, Node};
use crate::{
    sync::{RwLock, levels},
    vfs::{DirSink, Directory, FileKind, Inode, NewNode, RenameMode, now},
};

/// What Linux's tmpfs says an entry takes of `st_size`.
const ENTRY_SIZE: u64 = 20;

/// A directory's entries.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_name: FxHashMap<Arc<[u8]>, Entry>,
    by_position: BTreeMap<u64, Arc<[u8]>>,
    next_position: u64,
    /// Taken away: nothing comes in any more.
    is_dead: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    position: u64,
    node: Arc<Node>,
}

impl Table {
    pub(super) fn size(&self) -> u64 {
        (self.by_name.len() as u64 + 2) * ENTRY_SIZE
    }

    fn get(&self, name: &[u8]) -> Option<&Arc<Node>> {
        self.by_name.get(name).map(|entry| &entry.node)
    }

    fn put(&mut self, name: &[u8], node: Arc<Node>) -> Option<Arc<Node>> {
        if let Some(entry) = self.by_name.get_mut(name) {
            return Some(std::mem::replace(&mut entry.node, node));
        }
        // 0 and 1 are `.` and `..`.
        let position = self.next_position.max(2);
        self.next_position = position + 1;
        let name: Arc<[u8]> = Arc::from(name);
        self.by_position.insert(position, name.clone());
        self.by_name.insert(name, Entry { position, node });
        None
    }

    fn take(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        let entry = self.by_name.remove(name)?;
        self.by_position.remove(&entry.position);
        Some(entry.node)
    }

    pub(super) fn take_all(&mut self) -> Vec<Arc<Node>> {
        self.by_position.clear();
        self.by_name.drain().map(|(_, entry)| entry.node).collect()
    }

    /// Offers entries from `position` on; returns where to go on.
    pub(super) fn read(&self, position: u64, to: &mut dyn DirSink) -> u64 {
        let mut next = position;
        for (at, name) in self.by_position.range(position.max(2)..) {
            let Some(entry) = self.by_name.get(name) else { continue };
            if !to.entry(name, entry.node.number(), entry.node.kind(), at + 1) {
                return next.max(*at);
            }
            next = at + 1;
        }
        next
    }
}

impl Node {
    fn table(&self) -> Result<&RwLock<Table, levels::InodeState>, Errno> {
        match &self.body {
            Body::Directory(table) => Ok(table),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn same_kind(inode: &Arc<dyn Inode>) -> Result<Arc<Node>, Errno> {
        inode.clone().as_any().downcast().map_err(|_| Errno::EXDEV)
    }

    /// Names here have changed; `links` more (or fewer) children have a `..` to here.
    fn stamp_names(&self, links: i32) {
        let now = now();
        let mut meta = self.meta.lock();
        meta.modified = now;
        meta.changed = now;
        meta.links = meta.links.saturating_add_signed(links);
    }

    /// One name less (or more).
    fn count_links(&self, links: i32) {
        let mut meta = self.meta.lock();
        meta.links = meta.links.saturating_add_signed(links);
        meta.changed = now();
    }

    fn is_directory(&self) -> bool {
        self.kind() == FileKind::Directory
    }

    /// The last name of a directory is gone, if it is empty.
    fn kill(&self) -> Result<(), Errno> {
        let mut table = self.table()?.write();
        if !table.by_name.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        table.is_dead = true;
        drop(table);
        let mut meta = self.meta.lock();
        meta.links = 0;
        meta.changed = now();
        Ok(())
    }

    fn enter(&self, name: &[u8], node: Arc<Node>) -> Result<(), Errno> {
        let mut table = self.table()?.write();
        if table.is_dead {
            return Err(Errno::ENOENT);
        }
        if table.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        table.put(name, node);
        Ok(())
    }
}

impl Directory for Node {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
        let table = self.table()?.read();
        let node = table.get(name).ok_or(Errno::ENOENT)?;
        Ok(node.clone())
    }

    fn create(
        &self,
        name: &[u8],
        node: NewNode<'_>,
        permissions: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Arc<dyn Inode>, Errno> {
        let (kind, body, permissions) = match node {
            NewNode::Regular => (FileKind::Regular, Body::regular(), permissions),
            NewNode::Directory => (FileKind::Directory, Body::directory(), permissions),
            NewNode::Symlink(text) => (FileKind::Symlink, Body::Symlink(Box::from(text)), 0o777),
            NewNode::Fifo => (FileKind::Fifo, Body::Special(0), permissions),
            NewNode::Socket => (FileKind::Socket, Body::Special(0), permissions),
            NewNode::CharDevice(device) => {
                (FileKind::CharDevice, Body::Special(device), permissions)
            }
            NewNode::BlockDevice(device) => {
                (FileKind::BlockDevice, Body::Special(device), permissions)
            }
        };
        self.filesystem.charge_inode()?;
        let node = Node::new(self.filesystem.clone(), kind, body, permissions, uid, gid);
        self.enter(name, node.clone())?;
        self.stamp_names(i32::from(kind == FileKind::Directory));
        Ok(node)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let node = Node::same_kind(inode)?;
        {
            let mut meta = node.meta.lock();
            if meta.links == 0 && !meta.is_linkable {
                return Err(Errno::ENOENT);
            }
            meta.links = meta.links.checked_add(1).ok_or(Errno::EMLINK)?;
            meta.is_linkable = false;
            meta.changed = now();
        }
        if let Err(errno) = self.enter(name, node.clone()) {
            node.count_links(-1);
            return Err(errno);
        }
        self.stamp_names(0);
        Ok(())
    }

    fn unlink(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        let node = Node::same_kind(inode)?;
        self.table()?.write().take(name).ok_or(Errno::ENOENT)?;
        node.count_links(-1);
        self.stamp_names(0);
        Ok(())
    }

    fn remove_directory(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno> {
        Node::same_kind(inode)?.kill()?;
        let taken = self.table()?.write().take(name);
        self.stamp_names(-1);
        taken.map(drop).ok_or(Errno::ENOENT)
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
        let (node, to) = (Node::same_kind(inode)?, Node::same_kind(new_parent)?);
        let replaced = replaced.map(Node::same_kind).transpose()?;
        let dots = i32::from(node.is_directory());
        if mode == RenameMode::Exchange {
            let other = replaced.ok_or(Errno::ENOENT)?;
            let other_dots = i32::from(other.is_directory());
            to.table()?.write().put(new_name, node.clone());
            self.table()?.write().put(name, other.clone());
            self.stamp_names(other_dots - dots);
            to.stamp_names(dots - other_dots);
            node.count_links(0);
            other.count_links(0);
            return Ok(());
        }
        let mut gained = dots;
        if let Some(replaced) = &replaced {
            if replaced.is_directory() {
                replaced.kill()?;
                gained -= 1;
            } else {
                replaced.count_links(-1);
            }
        }
        let whiteout = match mode {
            RenameMode::Whiteout => {
                self.filesystem.charge_inode()?;
                let body = Body::Special(0);
                let kind = FileKind::CharDevice;
                Some(Node::new(self.filesystem.clone(), kind, body, 0, 0, 0))
            }
            _ => None,
        };
        // First in at the new name, then out at the old: a lookup between finds both, never none.
        to.table()?.write().put(new_name, node.clone());
        {
            let mut table = self.table()?.write();
            match whiteout {
                Some(whiteout) => drop(table.put(name, whiteout)),
                None => drop(table.take(name)),
            }
        }
        self.stamp_names(-dots);
        to.stamp_names(gained);
        node.count_links(0);
        Ok(())
    }

    fn create_unnamed(
        &self,
        permissions: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Arc<dyn Inode>, Errno> {
        self.filesystem.charge_inode()?;
        let filesystem = self.filesystem.clone();
        let node = Node::new(filesystem, FileKind::Regular, Body::regular(), permissions, uid, gid);
        let mut meta = node.meta.lock();
        meta.links = 0;
        meta.is_linkable = true;
        drop(meta);
        Ok(node)
    }
}
