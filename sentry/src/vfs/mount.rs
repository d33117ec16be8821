// SPDX-License-Identifier: Apache-2.0
//! Mounts: a file system (or a part of one) at a place of the tree.
//!
//! A mount knows where it hangs and what hangs on it; so a path walk needs no namespace. Changes of the
//! tree are made by [`super::MountNamespace`], one at a time under `MountTree`.

use std::{
    fmt, ptr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use abi::{Errno, mount::UNIQUE_MOUNT_ID_OFFSET};
use bitflags::bitflags;
use rustc_hash::FxHashMap;

use super::{AccessTime, Dentry, DentryCache, FileKind, Filesystem, MountNamespace, Place};
use crate::sync::{RwLock, levels};

bitflags! {
    /// What a mount forbids or leaves out. Bits are mount(2)'s where it has them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct MountOptions: u32 {
        /// Nothing changes through this mount.
        const RDONLY = 1;
        /// Set-id bits and file capabilities mean nothing.
        const NOSUID = 2;
        /// Device files cannot be opened.
        const NODEV = 4;
        /// Programs cannot be run.
        const NOEXEC = 8;
        /// Symbolic links are not followed.
        const NOSYMFOLLOW = 0x100;
        /// Access times stay.
        const NOATIME = 0x400;
        /// Access times of directories stay.
        const NODIRATIME = 0x800;
        /// Access times move as `relatime` says.
        const RELATIME = 0x20_0000;
    }
}

/// How mounts below spread to other mounts (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Propagation {
    /// The peer group it shares events with.
    pub group: Option<u64>,
    /// The peer group it hears events from.
    pub master: Option<u64>,
    /// Whether it may not be bind-mounted.
    pub is_unbindable: bool,
}

/// A file system (or a part of one) at a place of the tree.
pub struct Mount {
    id: u32,
    filesystem: Arc<dyn Filesystem>,
    root: Arc<Dentry>,
    cache: Arc<DentryCache>,
    source: Box<[u8]>,
    options: AtomicU32,
    links: RwLock<Links, levels::MountLinks>,
    /// umount2(2)'s `MNT_EXPIRE` came by and nobody used the mount since.
    is_expiring: AtomicBool,
    /// Cannot be unmounted or moved alone: it came with its namespace.
    is_locked: AtomicBool,
    /// The root of a tree that no namespace has yet: fsmount(2), open_tree(2).
    is_floating: AtomicBool,
    /// Files open for writing through it.
    writers: AtomicU32,
}

#[derive(Default)]
struct Links {
    hangs_at: Option<Place>,
    /// By the address of the dentry that they cover, which they keep alive.
    children: FxHashMap<usize, Arc<Mount>>,
    propagation: Propagation,
    namespace: Weak<MountNamespace>,
}

static NEXT_ID: AtomicU32 = AtomicU32::new(21);

fn key(dentry: &Arc<Dentry>) -> usize {
    ptr::from_ref::<Dentry>(dentry).addr()
}

impl Mount {
    /// A mount of a whole file system, not yet in any tree. One call for each file system: further
    /// mounts of it are made by [`Mount::bind`], so that they share its dentries.
    pub fn new(
        filesystem: Arc<dyn Filesystem>,
        source: &[u8],
        options: MountOptions,
    ) -> Arc<Mount> {
        let (root, cache) = Dentry::root(&*filesystem);
        Mount::build(filesystem, root, cache, source, options)
    }

    /// A mount that shows what lies at `place`, with that place's options.
    pub fn bind(place: &Place) -> Arc<Mount> {
        let of = &place.mount;
        Mount::build(
            of.filesystem.clone(),
            place.dentry.clone(),
            of.cache.clone(),
            &of.source,
            of.options(),
        )
    }

    fn build(
        filesystem: Arc<dyn Filesystem>,
        root: Arc<Dentry>,
        cache: Arc<DentryCache>,
        source: &[u8],
        options: MountOptions,
    ) -> Arc<Mount> {
        Arc::new(Mount {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            filesystem,
            root,
            cache,
            source: Box::from(source),
            options: AtomicU32::new(options.bits()),
            links: RwLock::default(),
            is_expiring: AtomicBool::new(false),
            is_locked: AtomicBool::new(false),
            is_floating: AtomicBool::new(false),
            writers: AtomicU32::new(0),
        })
    }

    /// The number in `/proc/<pid>/mountinfo` and in `stx_mnt_id`.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The number that statmount(2) and listmount(2) know it by.
    pub fn unique_id(&self) -> u64 {
        UNIQUE_MOUNT_ID_OFFSET + u64::from(self.id)
    }

    /// The file system.
    pub fn filesystem(&self) -> &Arc<dyn Filesystem> {
        &self.filesystem
    }

    /// The dentry that the mount shows at its place.
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    pub(super) fn cache(&self) -> Weak<DentryCache> {
        Arc::downgrade(&self.cache)
    }

    /// What was given as mount(2)'s source.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// What it forbids.
    pub fn options(&self) -> MountOptions {
        MountOptions::from_bits_retain(self.options.load(Ordering::Relaxed))
    }

    /// Changes what it forbids.
    pub fn set_options(&self, options: MountOptions) {
        self.options.store(options.bits(), Ordering::Relaxed);
    }

    /// The path of its root in the file system.
    pub fn root_path(&self) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut at = self.root.clone();
        while let Some(parent) = at.parent() {
            parts.push(at.name());
            at = parent;
        }
        let mut path = Vec::new();
        for part in parts.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(part);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }

    /// A file is open for writing through it: it cannot become read-only.
    pub(super) fn count_writer(&self) {
        self.writers.fetch_add(1, Ordering::Relaxed);
        self.cache.count_writer();
    }

    pub(super) fn uncount_writer(&self) {
        self.writers.fetch_sub(1, Ordering::Relaxed);
        self.cache.uncount_writer();
    }

    /// Whether files are open for writing through it.
    pub fn is_written(&self) -> bool {
        self.writers.load(Ordering::Relaxed) > 0
    }

    /// Whether files of its file system are open for writing, through whichever mount.
    pub fn is_filesystem_written(&self) -> bool {
        self.cache.is_written()
    }

    /// `EROFS` if nothing may change through this mount.
    pub fn check_writable(&self) -> Result<(), Errno> {
        if self.options().contains(MountOptions::RDONLY) || self.filesystem.is_read_only() {
            return Err(Errno::EROFS);
        }
        Ok(())
    }

    /// Which reads of a file of `kind` move its access time.
    pub fn access_time(&self, kind: FileKind) -> AccessTime {
        let options = self.options();
        let none = options.contains(MountOptions::NOATIME)
            || options.contains(MountOptions::RDONLY)
            || (kind == FileKind::Directory && options.contains(MountOptions::NODIRATIME));
        match none {
            true => AccessTime::Never,
            false if options.contains(MountOptions::RELATIME) => AccessTime::Relative,
            false => AccessTime::Always,
        }
    }

    /// Where it hangs; `None` for the root of a namespace and for what is in no tree.
    pub fn hangs_at(&self) -> Option<Place> {
        self.links.read().hangs_at.clone()
    }

    /// What covers `dentry` of this mount.
    pub fn mounted_at(&self, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
        self.links.read().children.get(&key(dentry)).cloned()
    }

    /// What hangs on this mount.
    pub fn children(&self) -> Vec<Arc<Mount>> {
        let mut children: Vec<_> = self.links.read().children.values().cloned().collect();
        children.sort_by_key(|mount| mount.id);
        children
    }

    /// How events spread.
    pub fn propagation(&self) -> Propagation {
        self.links.read().propagation
    }

    pub(super) fn set_propagation(&self, propagation: Propagation) {
        self.links.write().propagation = propagation;
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> Option<Arc<MountNamespace>> {
        self.links.read().namespace.upgrade()
    }

    pub(super) fn set_namespace(&self, namespace: Weak<MountNamespace>) {
        self.links.write().namespace = namespace;
    }

    /// Whether it may not leave its place alone.
    pub fn is_locked(&self) -> bool {
        self.is_locked.load(Ordering::Relaxed)
    }

    /// Whether it is the root of a tree that no namespace has yet.
    pub fn is_floating(&self) -> bool {
        self.is_floating.load(Ordering::Acquire)
    }

    pub(super) fn set_floating(&self) {
        self.is_floating.store(true, Ordering::Release);
    }

    /// Takes the tree for oneself; `false` if somebody was faster.
    pub(super) fn claim_floating(&self) -> bool {
        self.is_floating.swap(false, Ordering::AcqRel)
    }

    /// Whether it is in a tree that no namespace has yet.
    pub(super) fn is_within_floating(self: &Arc<Self>) -> bool {
        let mut at = self.clone();
        while let Some(place) = at.hangs_at() {
            at = place.mount;
        }
        at.is_floating()
    }

    /// It is used: the mark of `MNT_EXPIRE` goes.
    pub fn unmark_expiring(&self) {
        if self.is_expiring.load(Ordering::Relaxed) {
            self.is_expiring.store(false, Ordering::Relaxed);
        }
    }

    /// Sets the mark of `MNT_EXPIRE` and returns whether it was there.
    pub(super) fn mark_expiring(&self) -> bool {
        self.is_expiring.swap(true, Ordering::Relaxed)
    }

    /// Hangs it at `place`. The caller holds `MountTree`; nothing is mounted there.
    pub(super) fn attach(self: &Arc<Self>, place: &Place) {
        place.dentry.count_mount();
        self.links.write().hangs_at = Some(place.clone());
        place.mount.links.write().children.insert(key(&place.dentry), self.clone());
    }

    /// Takes it from its place. The caller holds `MountTree`.
    pub(super) fn detach(&self) -> Option<Place> {
        let place = self.links.write().hangs_at.take()?;
        let this = place.mount.links.write().children.remove(&key(&place.dentry));
        place.dentry.uncount_mount();
        drop(this);
        Some(place)
    }

    /// This mount and all below it, parents first.
    pub fn subtree(self: &Arc<Self>) -> Vec<Arc<Mount>> {
        let mut all = vec![self.clone()];
        let mut at = 0;
        while let Some(mount) = all.get(at) {
            let children = mount.children();
            all.extend(children);
            at += 1;
        }
        all
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The last mount of a file system takes its unused dentries along.
        if Arc::strong_count(&self.cache) == 1 {
            self.cache.clear();
        }
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mount({} {})", self.id, self.filesystem.name())
    }
}
