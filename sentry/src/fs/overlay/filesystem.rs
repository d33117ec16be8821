// SPDX-License-Identifier: Apache-2.0
//! The two layers as one file system.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use abi::Errno;
use rustc_hash::FxHashMap;

use super::inode::{Layers, OverlayInode};
use crate::{
    sync::{Mutex, RwLock, levels},
    vfs::{self, Filesystem, Inode, Trust},
};

/// `OVERLAYFS_SUPER_MAGIC`.
const MAGIC: i64 = 0x794c_7630;

/// Above the numbers that lower file systems give: inodes born in the upper layer are counted from here.
const UPPER_NUMBERS: u64 = 1 << 52;

/// Which layer an inode is of, with its device and number there.
pub(super) type Key = (Layer, u64, u64);

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Layer {
    Upper,
    Lower,
}

/// An overlay.
pub struct OverlayFilesystem {
    me: Weak<OverlayFilesystem>,
    pub(super) upper: Arc<dyn Filesystem>,
    pub(super) lower: Arc<dyn Filesystem>,
    device: u64,
    lower_device: u64,
    /// Files move up, and directories of both layers change, one at a time.
    pub(super) changing: Mutex<(), levels::CopyUp>,
    inodes: RwLock<FxHashMap<Key, Weak<OverlayInode>>, levels::Leaf>,
    /// What has been copied up, by its key above: its number from below.
    origins: RwLock<FxHashMap<Key, (u64, u64)>, levels::Leaf>,
    /// Files with several names below, by their key there: where they are now.
    moved: RwLock<FxHashMap<Key, Arc<dyn Inode>>, levels::Leaf>,
}

impl OverlayFilesystem {
    /// Lays `upper` (writable, nobody else's) above `lower`.
    pub fn new(upper: Arc<dyn Filesystem>, lower: Arc<dyn Filesystem>) -> Arc<OverlayFilesystem> {
        Arc::new_cyclic(|me| OverlayFilesystem {
            me: me.clone(),
            device: vfs::anonymous_device(),
            lower_device: lower.device(),
            upper,
            lower,
            changing: Mutex::new(()),
            inodes: RwLock::new(FxHashMap::default()),
            origins: RwLock::new(FxHashMap::default()),
            moved: RwLock::new(FxHashMap::default()),
        })
    }

    fn me(&self) -> Arc<OverlayFilesystem> {
        self.me.upgrade().expect("whoever calls a method holds the file system")
    }

    /// The key of an inode of one layer.
    pub(super) fn key(layer: Layer, inode: &dyn Inode) -> Result<Key, Errno> {
        let attributes = inode.attributes()?;
        Ok((layer, attributes.device, attributes.inode))
    }

    /// The inode of what was found under `name` in `parent`: in the upper layer, the lower, or both.
    pub(super) fn wrap(
        &self,
        upper: Option<Arc<dyn Inode>>,
        lower: Option<Arc<dyn Inode>>,
        place: Option<(Arc<OverlayInode>, &[u8])>,
    ) -> Result<Arc<OverlayInode>, Errno> {
        let mut upper = upper;
        let lower_key = lower.as_ref().map(|it| Self::key(Layer::Lower, &**it)).transpose()?;
        if let (None, Some(key)) = (&upper, &lower_key) {
            // Another of its names was written to.
            upper = self.moved.read().get(key).cloned();
        }
        let upper_key = upper.as_ref().map(|it| Self::key(Layer::Upper, &**it)).transpose()?;
        let keys = [upper_key, lower_key];
        if let Some(known) = self.known(&keys) {
            if let Some((parent, name)) = place {
                known.found_at(parent, name);
            }
            return Ok(known);
        }
        let number = match (upper_key, lower_key) {
            (_, Some(key)) => self.number_below(key),
            (Some(key), None) => {
                let origin = self.origins.read().get(&key).copied();
                origin.unwrap_or((self.device, UPPER_NUMBERS | key.2))
            }
            (None, None) => return Err(Errno::ENOENT),
        };
        let new = OverlayInode::new(self.me(), Layers { upper, lower }, keys, number)?;
        if let Some((parent, name)) = place {
            new.found_at(parent, name);
        }
        let mut inodes = self.inodes.write();
        for key in keys.into_iter().flatten() {
            if let Some(faster) = inodes.get(&key).and_then(Weak::upgrade) {
                drop(inodes);
                return Ok(faster);
            }
        }
        for key in keys.into_iter().flatten() {
            inodes.insert(key, Arc::downgrade(&new));
        }
        Ok(new)
    }

    fn known(&self, keys: &[Option<Key>; 2]) -> Option<Arc<OverlayInode>> {
        let inodes = self.inodes.read();
        keys.iter().flatten().find_map(|key| inodes.get(key)?.upgrade())
    }

    /// The device and number that the guest sees for a file of the lower layer.
    fn number_below(&self, (_, device, number): Key) -> (u64, u64) {
        // What is mounted below the lower root keeps a device of its own: numbers may repeat there.
        (if device == self.lower_device { self.device } else { device }, number)
    }

    /// The number in a listing for an entry of one layer.
    pub(super) fn listed_number(&self, layer: Layer, number: u64) -> u64 {
        match layer {
            Layer::Lower => number,
            Layer::Upper => {
                let key = (Layer::Upper, self.upper.device(), number);
                let origin = self.origins.read().get(&key).copied();
                origin.map_or(UPPER_NUMBERS | number, |(_, number)| number)
            }
        }
    }

    /// `inode` has moved to the upper layer, where it is `upper`.
    pub(super) fn moved_up(
        &self,
        inode: &Arc<OverlayInode>,
        upper: &Arc<dyn Inode>,
        below: Key,
        has_other_names: bool,
    ) -> Result<Key, Errno> {
        let key = Self::key(Layer::Upper, &**upper)?;
        self.origins.write().insert(key, self.number_below(below));
        self.inodes.write().insert(key, Arc::downgrade(inode));
        if has_other_names {
            self.moved.write().insert(below, upper.clone());
        }
        Ok(key)
    }

    /// An inode is gone: so are its entries, unless another has taken them.
    pub(super) fn forget(&self, keys: [Option<Key>; 2], is_deleted: bool) {
        let mut inodes = self.inodes.write();
        for key in keys.iter().flatten() {
            if inodes.get(key).is_some_and(|inode| inode.strong_count() == 0) {
                inodes.remove(key);
            }
        }
        drop(inodes);
        if is_deleted && let [Some(upper), _] = keys {
            self.origins.write().remove(&upper);
        }
    }
}

impl Filesystem for OverlayFilesystem {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn root(&self) -> Arc<dyn Inode> {
        let (upper, lower) = (self.upper.root(), self.lower.root());
        self.wrap(Some(upper), Some(lower), None)
            .expect("the attributes of roots were asked for when the layers were laid")
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn statistics(&self) -> Result<abi::mount::StatFs, Errno> {
        Ok(abi::mount::StatFs { f_type: MAGIC, ..self.upper.statistics()? })
    }

    fn sync(&self) -> Result<(), Errno> {
        self.upper.sync()
    }

    fn trust(&self) -> Trust {
        self.lower.trust()
    }
}

impl fmt::Debug for OverlayFilesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayFilesystem").field("lower", &self.lower).finish_non_exhaustive()
    }
}
