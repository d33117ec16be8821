// SPDX-License-Identifier: Apache-2.0
//! Mount namespaces: one tree of mounts, and its changes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use abi::Errno;

use super::{FileKind, Mount, Place};
use crate::sync::{Mutex, levels};

/// Changes of all trees exclude each other: events spread between namespaces.
static TREES: Mutex<(), levels::MountTree> = Mutex::new(());

/// Mounts that one namespace may have (`fs.mount-max`).
const MOST: usize = 100_000;

/// A tree of mounts, shared by tasks.
#[derive(Debug)]
pub struct MountNamespace {
    id: u64,
    root: Mutex<Arc<Mount>, levels::Leaf>,
    mounts: Mutex<BTreeMap<u32, Weak<Mount>>, levels::Leaf>,
}

impl MountNamespace {
    /// A namespace whose root is `root`.
    pub fn new(root: Arc<Mount>) -> Arc<MountNamespace> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0xf000_0000);
        let namespace = Arc::new(MountNamespace {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            root: Mutex::new(root.clone()),
            mounts: Mutex::default(),
        });
        namespace.adopt(&root);
        namespace
    }

    /// The number in `/proc/<pid>/ns/mnt`.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The mount at the top.
    pub fn root_mount(&self) -> Arc<Mount> {
        self.root.lock().clone()
    }

    /// The root directory, with what is mounted over it.
    pub fn root(&self) -> Place {
        Place::root_of(self.root_mount()).descend()
    }

    fn adopt(self: &Arc<Self>, mount: &Arc<Mount>) {
        mount.set_namespace(Arc::downgrade(self));
        self.mounts.lock().insert(mount.id(), Arc::downgrade(mount));
    }

    /// All mounts, by their numbers.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Hangs `mount` at `place`, over what is there.
    pub fn mount(self: &Arc<Self>, mount: Arc<Mount>, place: &Place) -> Result<(), Errno> {
        let _trees = TREES.lock();
        let place = place.clone().descend();
        if place.dentry.is_gone() {
            return Err(Errno::ENOENT);
        }
        let is_directory = |place: &Place| place.inode().kind() == FileKind::Directory;
        if is_directory(&place) != is_directory(&Place::root_of(mount.clone())) {
            return Err(Errno::ENOTDIR);
        }
        if self.mounts.lock().len() >= MOST {
            return Err(Errno::ENOSPC);
        }
        mount.attach(&place);
        self.adopt(&mount);
        Ok(())
    }
}
