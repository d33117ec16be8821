// SPDX-License-Identifier: Apache-2.0
//! Mount namespaces: one tree of mounts, and its changes.
//!
//! All changes of all trees exclude each other, for events spread between mounts (mount_namespaces(7)): a
//! mount or an unmount on a shared mount happens on its peers and on their slaves too.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use abi::{Errno, cred::Capabilities};

use super::{FileKind, Mount, MountOptions, Place, Propagation};
use crate::{
    creds::Credentials,
    sync::{Mutex, MutexGuard, levels},
};

/// Changes of all trees exclude each other.
pub(super) static TREES: Mutex<Groups, levels::MountTree> =
    Mutex::new(Groups { members: Vec::new() });

/// Mounts that one namespace may have (`fs.mount-max`).
const MOST: usize = 100_000;

/// Mounts that share events, or hear them.
pub(super) struct Groups {
    members: Vec<Weak<Mount>>,
}

/// How mount(2) wants events to spread from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// `MS_SHARED`.
    Shared,
    /// `MS_PRIVATE`.
    Private,
    /// `MS_SLAVE`.
    Slave,
    /// `MS_UNBINDABLE`.
    Unbindable,
}

/// How umount2(2) is to go about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmount {
    /// Refuses what is in use.
    Idle,
    /// `MNT_DETACH`: out of the tree now, gone when unused.
    Detach,
    /// `MNT_EXPIRE`: marks first, goes the second time if unused between.
    Expire,
}

/// A tree of mounts, shared by tasks.
#[derive(Debug)]
pub struct MountNamespace {
    id: u64,
    root: Mutex<Arc<Mount>, levels::Leaf>,
    mounts: Mutex<BTreeMap<u32, Weak<Mount>>, levels::Leaf>,
}

impl Groups {
    fn alive(&mut self) -> Vec<Arc<Mount>> {
        self.members.retain(|member| member.strong_count() > 0);
        self.members.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn note(&mut self, mount: &Arc<Mount>) {
        let propagation = mount.propagation();
        if propagation.group.is_some() || propagation.master.is_some() {
            self.members.retain(|member| !std::ptr::eq(member.as_ptr(), Arc::as_ptr(mount)));
            self.members.push(Arc::downgrade(mount));
        }
    }

    /// `change_mnt_propagation()`.
    pub(super) fn spread(&mut self, mount: &Arc<Mount>, spread: Spread) {
        let old = mount.propagation();
        let new = match spread {
            Spread::Shared => Propagation {
                group: old.group.or_else(|| Some(next_group())),
                is_unbindable: false,
                ..old
            },
            Spread::Private => Propagation::default(),
            Spread::Unbindable => Propagation { is_unbindable: true, ..Propagation::default() },
            // Without a peer left there is nobody to hear.
            Spread::Slave if old.group.is_some() => {
                let has_peer = self.alive().iter().any(|other| {
                    !Arc::ptr_eq(other, mount) && other.propagation().group == old.group
                });
                let master = if has_peer { old.group } else { old.master };
                Propagation { group: None, master, is_unbindable: false }
            }
            Spread::Slave => old,
        };
        mount.set_propagation(new);
        self.note(mount);
    }

    /// Who hears of events on `mount`, with how the copies there are to spread: peers, slaves, and the
    /// slaves of slaves that share. `mount` itself is not among them.
    fn hearers(&mut self, mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
        let Some(group) = mount.propagation().group else { return Vec::new() };
        let alive = self.alive();
        let mut groups = vec![group];
        let mut found: Vec<Arc<Mount>> = Vec::new();
        let mut at = 0;
        while let Some(group) = groups.get(at).copied() {
            at += 1;
            for member in &alive {
                let propagation = member.propagation();
                let hears = propagation.group == Some(group) || propagation.master == Some(group);
                let is_new = !Arc::ptr_eq(member, mount)
                    && !found.iter().any(|known| Arc::ptr_eq(known, member));
                if hears && is_new {
                    found.push(member.clone());
                    if let Some(own) = propagation.group
                        && !groups.contains(&own)
                    {
                        groups.push(own);
                    }
                }
            }
        }
        found
    }
}

pub(super) fn next_group() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn is_directory(place: &Place) -> bool {
    place.inode().kind() == FileKind::Directory
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

    /// All mounts, by their numbers.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn adopt(self: &Arc<Self>, mount: &Arc<Mount>) {
        mount.set_namespace(Arc::downgrade(self));
        self.mounts.lock().insert(mount.id(), Arc::downgrade(mount));
    }

    fn disown(&self, mount: &Arc<Mount>) {
        mount.set_namespace(Weak::new());
        self.mounts.lock().remove(&mount.id());
    }

    pub(super) fn owns(&self, mount: &Mount) -> bool {
        mount.namespace().is_some_and(|namespace| std::ptr::eq(&*namespace, self))
    }

    /// `EINVAL` unless the mount is in this very tree.
    pub(super) fn check_own(&self, mount: &Mount) -> Result<(), Errno> {
        if self.owns(mount) { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Hangs `mount` at `place`, over what is there.
    pub fn mount(self: &Arc<Self>, mount: Arc<Mount>, place: &Place) -> Result<(), Errno> {
        let mut trees = TREES.lock();
        self.graft(&mut trees, &mount, place)
    }

    /// `attach_recursive_mnt()`: hangs a tree of new mounts at `place`, and copies of it wherever events
    /// on that mount are heard.
    pub(super) fn graft(
        self: &Arc<Self>,
        trees: &mut MutexGuard<'_, Groups, levels::MountTree>,
        mount: &Arc<Mount>,
        place: &Place,
    ) -> Result<(), Errno> {
        let place = place.clone().descend();
        self.check_own(&place.mount)?;
        if place.dentry.is_gone() || !place.inode().may_be_covered() {
            return Err(Errno::ENOENT);
        }
        if is_directory(&place) != is_directory(&Place::root_of(mount.clone())) {
            return Err(Errno::ENOTDIR);
        }
        let tree = mount.subtree();
        let hearers = trees.hearers(&place.mount);
        let coming = tree.len() * (hearers.len() + 1);
        if self.mounts.lock().len() + coming > MOST {
            return Err(Errno::ENOSPC);
        }
        let is_shared = place.mount.propagation().group.is_some();
        if is_shared {
            for part in &tree {
                let mut propagation = part.propagation();
                propagation.group.get_or_insert_with(next_group);
                part.set_propagation(propagation);
                trees.note(part);
            }
        }
        for hearer in hearers {
            hear_mount(trees, mount, &place, &hearer);
        }
        mount.attach(&place);
        for part in &tree {
            self.adopt(part);
        }
        Ok(())
    }

    /// mount(2) with `MS_BIND`: shows what lies at `from` at `to` as well.
    pub fn bind(
        self: &Arc<Self>,
        from: &Place,
        to: &Place,
        is_recursive: bool,
    ) -> Result<(), Errno> {
        let mut trees = TREES.lock();
        if from.mount.propagation().is_unbindable {
            return Err(Errno::EINVAL);
        }
        // A file of no tree (a pipe, a memfd) cannot be shown in one.
        self.check_own(&from.mount)?;
        if from.dentry.is_gone() {
            return Err(Errno::ENOENT);
        }
        let mount = copy_tree(&mut trees, from, is_recursive);
        self.graft(&mut trees, &mount, to)
    }

    /// umount2(2) of the mount whose root `place` is.
    pub fn unmount(self: &Arc<Self>, place: Place, how: Unmount) -> Result<(), Errno> {
        let mut trees = TREES.lock();
        if !place.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let mount = place.mount.clone();
        self.check_own(&mount)?;
        if mount.is_locked() {
            return Err(Errno::EINVAL);
        }
        drop(place);
        let Some(point) = mount.hangs_at() else {
            // The root of the tree stays where it is.
            return Err(if how == Unmount::Expire { Errno::EINVAL } else { Errno::EBUSY });
        };
        if how != Unmount::Detach {
            // Held by its parent's table and by us.
            let is_used = Arc::strong_count(&mount) > 2 || !mount.children().is_empty();
            if is_used {
                return Err(Errno::EBUSY);
            }
            if how == Unmount::Expire && !mount.mark_expiring() {
                return Err(Errno::EAGAIN);
            }
        }
        for hearer in trees.hearers(&point.mount) {
            hear_unmount(&point, &hearer);
        }
        drop(point);
        take_down(&mount);
        Ok(())
    }

    /// mount(2) with `MS_REMOUNT | MS_BIND`: other options for one mount.
    pub fn change_options(&self, place: &Place, options: MountOptions) -> Result<(), Errno> {
        let _trees = TREES.lock();
        self.check_own(&place.mount)?;
        if !place.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let becomes_read_only = options.difference(place.mount.options());
        if becomes_read_only.contains(MountOptions::RDONLY) && place.mount.is_written() {
            return Err(Errno::EBUSY);
        }
        place.mount.set_options(options);
        Ok(())
    }

    /// mount(2) with `MS_SHARED` and its kin.
    pub fn change_spread(
        &self,
        place: &Place,
        spread: Spread,
        is_recursive: bool,
    ) -> Result<(), Errno> {
        let mut trees = TREES.lock();
        self.check_own(&place.mount)?;
        if !place.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let tree = match is_recursive {
            true => place.mount.subtree(),
            false => vec![place.mount.clone()],
        };
        for mount in &tree {
            trees.spread(mount, spread);
        }
        Ok(())
    }

    /// pivot_root(2): `new` becomes the root of the tree, and what was goes to `old`. `root` is the
    /// caller's root directory. The tasks' own roots and working directories are the caller's to move.
    pub fn pivot_root(
        self: &Arc<Self>,
        new: &Place,
        old: &Place,
        root: &Place,
    ) -> Result<(), Errno> {
        let _trees = TREES.lock();
        let (new, old) = (new.clone(), old.clone().descend());
        let is_shared = |place: &Place| place.mount.propagation().group.is_some();
        let parent_is_shared =
            |mount: &Mount| mount.hangs_at().is_some_and(|place| is_shared(&place));
        if is_shared(&old) || parent_is_shared(&new.mount) || parent_is_shared(&root.mount) {
            return Err(Errno::EINVAL);
        }
        self.check_own(&root.mount)?;
        self.check_own(&new.mount)?;
        if new.mount.is_locked() {
            return Err(Errno::EINVAL);
        }
        if new.dentry.is_gone() {
            return Err(Errno::ENOENT);
        }
        if Arc::ptr_eq(&new.mount, &root.mount) || Arc::ptr_eq(&old.mount, &root.mount) {
            return Err(Errno::EBUSY);
        }
        if !root.is_mount_root() || !new.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        let Some(new_point) = new.mount.hangs_at() else { return Err(Errno::EINVAL) };
        if !is_below(&old, &new) || !is_below(&new, root) {
            return Err(Errno::EINVAL);
        }
        new.mount.detach();
        let root_point = root.mount.detach();
        match root_point {
            Some(point) => new.mount.attach(&point),
            None => *self.root.lock() = new.mount.clone(),
        }
        root.mount.attach(&old);
        drop(new_point);
        Ok(())
    }

    /// unshare(2) with `CLONE_NEWNS`: a copy of the tree, and where a place of the old one is in it.
    pub fn copy(self: &Arc<Self>) -> (Arc<MountNamespace>, impl Fn(&Place) -> Place + use<>) {
        let mut trees = TREES.lock();
        let root = self.root_mount();
        let mut pairs = Vec::new();
        let new_root = copy_with(&mut trees, &Place::root_of(root), true, true, &mut |old, new| {
            pairs.push((Arc::downgrade(old), Arc::downgrade(new)));
        });
        let namespace = MountNamespace::new(new_root.clone());
        for mount in new_root.subtree() {
            namespace.adopt(&mount);
        }
        let translate = move |place: &Place| {
            let mut matching = pairs.iter().filter_map(|(old, new)| {
                std::ptr::eq(old.as_ptr(), Arc::as_ptr(&place.mount)).then(|| new.upgrade())?
            });
            match matching.next() {
                Some(mount) => Place { mount, dentry: place.dentry.clone() },
                None => place.clone(),
            }
        };
        (namespace, translate)
    }

    /// Whether `creds` may change the tree.
    pub fn check_admin(creds: &Credentials) -> Result<(), Errno> {
        if creds.has(Capabilities::SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        // Parents and children hold each other: somebody has to let go.
        let root = self.root.get_mut().clone();
        for mount in root.subtree().iter().rev() {
            mount.detach();
        }
    }
}

/// Whether `mount` is `ancestor` or hangs below it.
pub(super) fn hangs_within(mount: &Arc<Mount>, ancestor: &Arc<Mount>) -> bool {
    let mut at = Some(mount.clone());
    while let Some(mount) = at {
        if Arc::ptr_eq(&mount, ancestor) {
            return true;
        }
        at = mount.hangs_at().map(|place| place.mount);
    }
    false
}

/// Whether `place` lies at or below `top` (`is_path_reachable()`).
pub fn is_below(place: &Place, top: &Place) -> bool {
    let mut at = place.clone();
    while !Arc::ptr_eq(&at.mount, &top.mount) {
        match at.mount.hangs_at() {
            Some(point) => at = point,
            None => return false,
        }
    }
    at.dentry.is_within(&top.dentry)
}

/// A copy of the mounts at and below `from`, in no tree yet.
pub(super) fn copy_tree(
    trees: &mut MutexGuard<'_, Groups, levels::MountTree>,
    from: &Place,
    is_recursive: bool,
) -> Arc<Mount> {
    copy_with(trees, from, is_recursive, false, &mut |_, _| {})
}

fn copy_with(
    trees: &mut MutexGuard<'_, Groups, levels::MountTree>,
    from: &Place,
    is_recursive: bool,
    copies_unbindable: bool,
    told: &mut dyn FnMut(&Arc<Mount>, &Arc<Mount>),
) -> Arc<Mount> {
    let copy_one = |trees: &mut MutexGuard<'_, Groups, levels::MountTree>, place: &Place| {
        let copy = Mount::bind(place);
        copy.set_propagation(place.mount.propagation());
        trees.note(&copy);
        copy
    };
    let top = copy_one(trees, from);
    told(&from.mount, &top);
    if !is_recursive {
        return top;
    }
    let mut left = vec![(from.mount.clone(), top.clone())];
    while let Some((old, new)) = left.pop() {
        for child in old.children() {
            let Some(point) = child.hangs_at() else { continue };
            let is_outside =
                Arc::ptr_eq(&old, &from.mount) && !point.dentry.is_within(&from.dentry);
            if is_outside || (child.propagation().is_unbindable && !copies_unbindable) {
                continue;
            }
            let copy = copy_one(trees, &Place::root_of(child.clone()));
            told(&child, &copy);
            copy.attach(&Place { mount: new.clone(), dentry: point.dentry });
            left.push((child, copy));
        }
    }
    top
}

/// A mount event at `place` reaches `hearer`: a copy of the new tree hangs there too.
fn hear_mount(
    trees: &mut MutexGuard<'_, Groups, levels::MountTree>,
    mount: &Arc<Mount>,
    place: &Place,
    hearer: &Arc<Mount>,
) {
    if !place.dentry.is_within(hearer.root()) {
        return;
    }
    let Some(namespace) = hearer.namespace() else { return };
    let is_peer = hearer.propagation().group == place.mount.propagation().group;
    let copy = copy_tree(trees, &Place::root_of(mount.clone()), true);
    for part in copy.subtree() {
        if !is_peer {
            // A slave's copy hears from ours and does not tell; shared if the slave shares.
            let master = part.propagation().group;
            let group = hearer.propagation().group.map(|_| next_group());
            part.set_propagation(Propagation { group, master, is_unbindable: false });
            trees.note(&part);
        }
        namespace.adopt(&part);
    }
    // What hangs there already comes to cover the copy.
    let there = Place { mount: hearer.clone(), dentry: place.dentry.clone() };
    let cover = hearer.mounted_at(&place.dentry);
    if let Some(cover) = &cover {
        cover.detach();
    }
    copy.attach(&there);
    if let Some(cover) = &cover {
        cover.attach(&Place::root_of(copy).descend());
    }
}

/// An unmount at `point` reaches `hearer`: what hangs there goes, unless something hangs on it. What only
/// covers it comes to hang there instead.
fn hear_unmount(point: &Place, hearer: &Arc<Mount>) {
    let Some(mount) = hearer.mounted_at(&point.dentry) else { return };
    let cover = mount.mounted_at(mount.root());
    if mount.children().len() > usize::from(cover.is_some()) {
        return;
    }
    if let Some(cover) = &cover {
        cover.detach();
    }
    take_down(&mount);
    if let Some(cover) = &cover {
        cover.attach(&Place { mount: hearer.clone(), dentry: point.dentry.clone() });
    }
}

/// Takes a mount and all below it out of their trees.
pub(super) fn take_down(mount: &Arc<Mount>) {
    for part in mount.subtree().iter().rev() {
        if let Some(namespace) = part.namespace() {
            namespace.disown(part);
        }
        part.detach();
        part.set_propagation(Propagation::default());
    }
}
