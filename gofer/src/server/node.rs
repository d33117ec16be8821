// SPDX-License-Identifier: Apache-2.0
//! What the sentry holds by number.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use abi::Errno;
use parking_lot::{Mutex, RwLock};

use super::Root;
use crate::{
    host::stat,
    protocol::{Attr, NodeId, Policy, attr},
};

/// The most nodes at one time, should the limit of descriptors not come first.
const MAX_NODES: usize = 1 << 20;

/// A file of the host, as a path descriptor.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) fd: OwnedFd,
    pub(super) root: Arc<Root>,
    /// `S_IFMT`: it never changes for an inode, and this descriptor keeps the inode.
    pub(super) file_type: u32,
    /// Device and inode number.
    pub(super) identity: (u64, u64),
}

impl Node {
    pub(super) fn new(fd: OwnedFd, root: &Arc<Root>, attr: &Attr) -> Node {
        Node { fd, root: root.clone(), file_type: attr.file_type(), identity: attr.identity() }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.file_type == attr::DIRECTORY
    }

    /// `EROFS` if its root may not be changed.
    pub(super) fn check_writable(&self) -> Result<(), Errno> {
        if self.root.policy.contains(Policy::READ_ONLY) { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// Its attributes, as the guest sees them.
    pub(super) fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.root.ids.shown(stat::attr(self.as_fd())?))
    }

    /// Whether its root allows all of this.
    pub(super) fn allows(&self, policy: Policy) -> bool {
        self.root.policy.contains(policy)
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A directory that is being read.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    pub(super) fd: OwnedFd,
    /// Where the descriptor stands.
    pub(super) position: Mutex<u64>,
}

#[derive(Debug, Clone)]
enum Object {
    Node(Arc<Node>),
    Directory(Arc<OpenDirectory>),
}

/// All that the sentry holds. Numbers are never used twice.
#[derive(Debug, Default)]
pub(super) struct Table {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    objects: HashMap<u64, Object, BuildHasherDefault<IdHasher>>,
}

/// Hashes numbers that we count up ourselves: nobody can choose them to collide.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The table looks at the top bits and at the low ones: spread the counter over both.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

impl Table {
    fn add(&self, object: Object) -> Result<NodeId, Errno> {
        let mut inner = self.inner.write();
        if inner.objects.len() >= MAX_NODES {
            return Err(Errno::ENFILE);
        }
        // A 64-bit counter does not come round.
        inner.last += 1;
        let id = inner.last;
        inner.objects.insert(id, object);
        Ok(NodeId(id))
    }

    pub(super) fn add_node(&self, node: Arc<Node>) -> Result<NodeId, Errno> {
        self.add(Object::Node(node))
    }

    pub(super) fn add_directory(&self, directory: OpenDirectory) -> Result<NodeId, Errno> {
        self.add(Object::Directory(Arc::new(directory)))
    }

    fn get(&self, id: NodeId) -> Result<Object, Errno> {
        self.inner.read().objects.get(&id.0).cloned().ok_or(Errno::EBADF)
    }

    /// The node: `EBADF` if the sentry has none of that number.
    pub(super) fn node(&self, id: NodeId) -> Result<Arc<Node>, Errno> {
        match self.get(id)? {
            Object::Node(node) => Ok(node),
            Object::Directory(_) => Err(Errno::EBADF),
        }
    }

    /// A node that is a directory: `ENOTDIR` otherwise.
    pub(super) fn directory(&self, id: NodeId) -> Result<Arc<Node>, Errno> {
        let node = self.node(id)?;
        if node.is_directory() { Ok(node) } else { Err(Errno::ENOTDIR) }
    }

    /// A directory that is open for reading.
    pub(super) fn open_directory(&self, id: NodeId) -> Result<Arc<OpenDirectory>, Errno> {
        match self.get(id)? {
            Object::Directory(directory) => Ok(directory),
            Object::Node(_) => Err(Errno::EBADF),
        }
    }

    /// Forgets these; numbers that mean nothing are passed over.
    pub(super) fn release(&self, ids: &[NodeId]) {
        if ids.is_empty() {
            return;
        }
        let mut gone = Vec::with_capacity(ids.len());
        let mut inner = self.inner.write();
        for id in ids {
            gone.extend(inner.objects.remove(&id.0));
        }
        drop(inner);
        // Closed here, outside the lock: the last close of a file can take long.
        drop(gone);
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inner.read().objects.len()
    }
}
