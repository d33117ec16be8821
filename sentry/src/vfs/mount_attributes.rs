// SPDX-License-Identifier: Apache-2.0
//! mount_setattr(2): changes of mounts, of one or of a whole tree, all or none.

use std::sync::Arc;

use abi::Errno;

use super::{Mount, MountNamespace, MountOptions, Place, Spread, mount_namespace::TREES};

/// What becomes of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountChange {
    /// Options that go, before the others come.
    pub clear: MountOptions,
    /// Options that come.
    pub set: MountOptions,
    /// How events are to spread from now on.
    pub spread: Option<Spread>,
}

impl MountChange {
    fn of(&self, mount: &Mount) -> MountOptions {
        (mount.options() - self.clear) | self.set
    }
}

impl MountNamespace {
    /// `do_mount_setattr()`: changes the mount whose root `place` is, and with `is_recursive` all below it.
    pub fn change_attributes(
        &self,
        place: &Place,
        change: &MountChange,
        is_recursive: bool,
    ) -> Result<(), Errno> {
        let mut trees = TREES.lock();
        if !place.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        if !self.owns(&place.mount) && !place.mount.is_floating() {
            return Err(Errno::EINVAL);
        }
        let tree: Vec<Arc<Mount>> = match is_recursive {
            true => place.mount.subtree(),
            false => vec![place.mount.clone()],
        };
        let is_busy = |mount: &Arc<Mount>| {
            let new = change.of(mount).difference(mount.options());
            new.contains(MountOptions::RDONLY) && mount.is_written()
        };
        if tree.iter().any(is_busy) {
            return Err(Errno::EBUSY);
        }
        for mount in &tree {
            mount.set_options(change.of(mount));
            if let Some(spread) = change.spread {
                trees.spread(mount, spread);
            }
        }
        Ok(())
    }
}
