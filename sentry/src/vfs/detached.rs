// SPDX-License-Identifier: Apache-2.0
//! Trees of mounts that hang nowhere: what fsmount(2) and open_tree(2) make, and move_mount(2) moves.
//!
//! A floating tree is held by the descriptor it was made with. Whoever [claims](Mount::claim_floating) it
//! first decides what becomes of it: move_mount(2) hangs it into a namespace, the end of the descriptor
//! takes it apart.

use std::{any::Any, sync::Arc};

use abi::{Errno, fcntl::OpenFlags};

use super::{
    FileDescription, FileOps, Mount, MountNamespace, Place, Propagation,
    mount_namespace::{TREES, copy_tree, hangs_within, is_directory, take_down},
};
use crate::creds::Credentials;

/// What a descriptor of a floating tree has behind it, besides the place.
#[derive(Debug)]
struct Holder(Arc<Mount>);

impl FileOps for Holder {
    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if self.0.claim_floating() {
            take_down(&self.0);
        }
    }
}

/// Where move_mount(2) puts a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// On top of what is there.
    OnTop,
    /// `MOVE_MOUNT_BENEATH`: under the topmost mount there.
    Beneath,
}

/// A descriptor of a new mount that hangs nowhere, as of `O_PATH`; when the last of it is closed the
/// mount goes, unless it was moved.
pub fn float(mount: Arc<Mount>, creds: &Arc<Credentials>) -> Arc<FileDescription> {
    mount.set_floating();
    let place = Place::root_of(mount.clone());
    FileDescription::new(place, Box::new(Holder(mount)), OpenFlags::PATH, creds.clone())
}

impl MountNamespace {
    /// open_tree(2) with `OPEN_TREE_CLONE`: a floating copy of what lies at `from`.
    pub fn clone_tree(
        &self,
        from: &Place,
        is_recursive: bool,
        creds: &Arc<Credentials>,
    ) -> Result<Arc<FileDescription>, Errno> {
        let mut trees = TREES.lock();
        if from.mount.propagation().is_unbindable {
            return Err(Errno::EINVAL);
        }
        if !self.owns(&from.mount) && !from.mount.is_within_floating() {
            return Err(Errno::EINVAL);
        }
        let copy = copy_tree(&mut trees, from, is_recursive);
        drop(trees);
        Ok(float(copy, creds))
    }

    /// move_mount(2), and mount(2) with `MS_MOVE`. Checks stand in the order of `do_move_mount()`.
    pub fn move_mount(self: &Arc<Self>, from: &Place, to: &Place, put: Put) -> Result<(), Errno> {
        let mut trees = TREES.lock();
        let mount = &from.mount;
        let to = to.clone().descend();
        if to.dentry.is_gone() {
            return Err(Errno::ENOENT);
        }
        self.check_own(&to.mount)?;
        let old = mount.hangs_at();
        let is_ours = self.owns(mount) && old.is_some();
        if !is_ours && !mount.is_floating() {
            return Err(Errno::EINVAL);
        }
        if mount.is_locked() || !from.is_mount_root() || is_directory(from) != is_directory(&to) {
            return Err(Errno::EINVAL);
        }
        let is_shared = |mount: &Mount| mount.propagation().group.is_some();
        if old.as_ref().is_some_and(|old| is_shared(&old.mount)) {
            return Err(Errno::EINVAL);
        }
        let (point, top) = match put {
            Put::OnTop => (to, None),
            Put::Beneath => (point_beneath(&to)?, Some(to.mount)),
        };
        let has_unbindable = || mount.subtree().iter().any(|part| part.propagation().is_unbindable);
        if is_shared(&point.mount) && has_unbindable() {
            return Err(Errno::EINVAL);
        }
        let target = top.as_ref().unwrap_or(&point.mount);
        if hangs_within(target, mount) {
            return Err(Errno::ELOOP);
        }
        if top.as_ref().is_some_and(|top| hangs_within(mount, top)) {
            return Err(Errno::EINVAL);
        }
        if !is_ours && !mount.claim_floating() {
            return Err(Errno::EINVAL);
        }
        mount.detach();
        if let Some(top) = &top {
            top.detach();
        }
        let moved = self.graft(&mut trees, mount, &point);
        match (&moved, old) {
            (Ok(()), _) => {}
            (Err(_), Some(old)) => mount.attach(&old),
            (Err(_), None) => mount.set_floating(),
        }
        if let Some(top) = &top {
            let place = if moved.is_ok() { Place::root_of(mount.clone()).descend() } else { point };
            top.attach(&place);
        }
        moved
    }

    /// move_mount(2) with `MOVE_MOUNT_SET_GROUP`: the mount at `to` joins the groups of that at `from`.
    pub fn join_group(&self, from: &Place, to: &Place) -> Result<(), Errno> {
        let mut trees = TREES.lock();
        self.check_own(&from.mount)?;
        self.check_own(&to.mount)?;
        if !from.is_mount_root() || !to.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let is_same = Arc::ptr_eq(from.mount.filesystem(), to.mount.filesystem());
        if !is_same || !to.dentry.is_within(&from.dentry) {
            return Err(Errno::EINVAL);
        }
        let (source, target) = (from.mount.propagation(), to.mount.propagation());
        let is_private = |it: &Propagation| it.group.is_none() && it.master.is_none();
        if !is_private(&target) || is_private(&source) {
            return Err(Errno::EINVAL);
        }
        to.mount.set_propagation(Propagation { is_unbindable: false, ..source });
        trees.note(&to.mount);
        Ok(())
    }
}

/// `can_move_mount_beneath()`: the mountpoint that the mount at `to` covers.
fn point_beneath(to: &Place) -> Result<Place, Errno> {
    let point = to.mount.hangs_at().ok_or(Errno::EINVAL)?;
    // DIFFERS: Linux propagates mounts beneath others, too, where that covers nothing.
    let is_shared = point.mount.propagation().group.is_some();
    if !to.is_mount_root() || to.mount.is_locked() || is_shared {
        return Err(Errno::EINVAL);
    }
    Ok(point)
}
