// SPDX-License-Identifier: Apache-2.0
//! Directories of made-up trees.

use std::{collections::BTreeMap, fmt, sync::Arc};

use abi::Errno;

use super::{Body, Node, PseudoFilesystem, Tree};
use crate::{
    sync::{Mutex, levels},
    vfs::{FileKind, Inode},
};

/// A name in a directory.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name.
    pub name: Vec<u8>,
    /// The inode's number.
    pub number: u64,
    /// What it is.
    pub kind: FileKind,
}

/// The names of a directory.
pub type Entries = Vec<Entry>;

type Maker = Box<dyn Fn() -> (u32, Body) + Send + Sync>;

/// A directory whose names never change. Its nodes are made when they are first looked at.
#[derive(Default)]
pub struct StaticTree {
    names: Vec<(String, FileKind, Maker)>,
    nodes: Mutex<BTreeMap<usize, Arc<Node>>, levels::Leaf>,
}

impl fmt::Debug for StaticTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names.iter().map(|(name, ..)| name)).finish()
    }
}

impl StaticTree {
    /// A directory without names.
    pub fn new() -> StaticTree {
        StaticTree::default()
    }

    /// Adds a text file that anybody may read.
    pub fn text(
        self,
        name: &str,
        text: impl Fn() -> String + Clone + Send + Sync + 'static,
    ) -> Self {
        self.with(name, FileKind::Regular, move || (0o444, Body::Text(Box::new(text.clone()))))
    }

    /// Adds a file with a fixed text.
    pub fn fixed(self, name: &str, text: &str) -> Self {
        let text = text.to_owned();
        self.text(name, move || text.clone())
    }

    /// Adds a symbolic link with a fixed text.
    pub fn link(self, name: &str, target: &str) -> Self {
        let target = target.as_bytes().to_vec();
        self.with(name, FileKind::Symlink, move || {
            let target = target.clone();
            (0o777, Body::Link(Box::new(move || target.clone())))
        })
    }

    /// Adds a directory.
    pub fn directory(
        self,
        name: &str,
        tree: impl Fn() -> Box<dyn Tree> + Send + Sync + 'static,
    ) -> Self {
        self.with(name, FileKind::Directory, move || (0o555, Body::Tree(tree())))
    }

    /// Adds a directory whose names never change.
    pub fn subtree(self, name: &str, tree: StaticTree) -> Self {
        let tree = Arc::new(tree);
        self.directory(name, move || Box::new(SharedTree(Arc::clone(&tree))))
    }

    /// Adds anything.
    pub fn with(
        mut self,
        name: &str,
        kind: FileKind,
        make: impl Fn() -> (u32, Body) + Send + Sync + 'static,
    ) -> Self {
        self.names.push((name.to_owned(), kind, Box::new(make)));
        self
    }

    fn node(&self, filesystem: &Arc<PseudoFilesystem>, index: usize) -> Option<Arc<Node>> {
        let (_, _, make) = self.names.get(index)?;
        if let Some(node) = self.nodes.lock().get(&index) {
            return Some(Arc::clone(node));
        }
        let (permissions, body) = make();
        let node = filesystem.node(permissions, body);
        Some(Arc::clone(self.nodes.lock().entry(index).or_insert(node)))
    }
}

impl Tree for StaticTree {
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        let index = self.names.iter().position(|(known, _, _)| known.as_bytes() == name);
        let node = index.and_then(|index| self.node(filesystem, index)).ok_or(Errno::ENOENT)?;
        Ok(node)
    }

    fn entries(&self, filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        let entry = |(index, (name, kind, _)): (usize, &(String, FileKind, Maker))| {
            let number = self.node(filesystem, index).map_or(0, |node| node.number);
            Entry { name: name.as_bytes().to_vec(), number, kind: *kind }
        };
        Ok(self.names.iter().enumerate().map(entry).collect())
    }

    fn subdirectories(&self) -> u32 {
        let count = self.names.iter().filter(|(_, kind, _)| *kind == FileKind::Directory).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// A tree seen from several nodes.
struct SharedTree(Arc<StaticTree>);

impl Tree for SharedTree {
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        self.0.lookup(filesystem, name)
    }

    fn entries(&self, filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        self.0.entries(filesystem)
    }

    fn subdirectories(&self) -> u32 {
        self.0.subdirectories()
    }
}
