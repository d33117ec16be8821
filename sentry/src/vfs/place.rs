// SPDX-License-Identifier: Apache-2.0
//! Places: a dentry seen through a mount, and the text of its path.

use std::sync::Arc;

use super::{Dentry, Inode, Mount};

/// A dentry in a mount (Linux's `struct path`).
#[derive(Debug, Clone)]
pub struct Place {
    /// The mount through which it is seen.
    pub mount: Arc<Mount>,
    /// The name in the tree.
    pub dentry: Arc<Dentry>,
}

/// A path as text, with what Linux adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathText {
    /// The path from the root asked for (or from as far up as it could be followed).
    pub bytes: Vec<u8>,
    /// Whether that root was met on the way up.
    pub is_reachable: bool,
    /// Whether the name is gone.
    pub is_gone: bool,
}

impl Place {
    /// The root of a mount.
    pub fn root_of(mount: Arc<Mount>) -> Place {
        let dentry = mount.root().clone();
        Place { mount, dentry }
    }

    /// The file.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// Whether both are the same dentry in the same mount.
    pub fn is_same(&self, other: &Place) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }

    /// Whether this is the root of its mount.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, self.mount.root())
    }

    /// What is mounted on top of this place, and on top of that; else the place itself.
    #[must_use]
    pub fn descend(self) -> Place {
        let mut place = self;
        while place.dentry.is_mountpoint()
            && let Some(mount) = place.mount.mounted_at(&place.dentry)
        {
            place = Place::root_of(mount);
        }
        place
    }

    /// The place of `..`: never above `root`, and out of as many mounts as begin here.
    #[must_use]
    pub fn up(&self, root: &Place) -> Place {
        let mut place = self.clone();
        loop {
            if place.is_same(root) {
                return place;
            }
            if !place.is_mount_root() {
                break;
            }
            match place.mount.hangs_at() {
                Some(point) => place = point,
                None => return place,
            }
        }
        if let Some(parent) = place.dentry.parent() {
            place.dentry = parent;
            return place.descend();
        }
        place
    }

    /// The path as seen from `root`, in d_path()'s way.
    pub fn path_from(&self, root: &Place) -> PathText {
        let is_gone = self.dentry.is_gone();
        let mut parts: Vec<Box<[u8]>> = Vec::new();
        let mut at = self.clone();
        let is_reachable = loop {
            if at.is_same(root) {
                break true;
            }
            if at.is_mount_root() {
                match at.mount.hangs_at() {
                    Some(point) => at = point,
                    None => break false,
                }
                continue;
            }
            let (parent, name, _) = at.dentry.place_in_tree();
            match parent {
                Some(parent) => {
                    parts.push(name);
                    at.dentry = parent;
                }
                // Anonymous inodes: the name is the whole text.
                None => {
                    return PathText { bytes: name.into_vec(), is_reachable: false, is_gone };
                }
            }
        };
        let mut bytes = Vec::new();
        for part in parts.iter().rev() {
            bytes.push(b'/');
            bytes.extend_from_slice(part);
        }
        if bytes.is_empty() {
            bytes.push(b'/');
        }
        PathText { bytes, is_reachable, is_gone }
    }

    /// The text that `/proc/<pid>/fd/N`, `/proc/<pid>/maps` and their like show.
    pub fn display_from(&self, root: &Place) -> Vec<u8> {
        let mut text = self.path_from(root);
        if text.is_gone {
            text.bytes.extend_from_slice(b" (deleted)");
        }
        text.bytes
    }
}
