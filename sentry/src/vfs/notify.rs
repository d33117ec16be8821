// SPDX-License-Identifier: Apache-2.0
//! File events, fanned out to those who watch an inode. What inotify(7) makes of them is its own matter.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use bitflags::bitflags;

use super::{Dentry, Inode};
use crate::sync::{Mutex, levels};

bitflags! {
    /// What happened, in inotify(7)'s bits, which explains each.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Event: u32 {
        /// `IN_ACCESS`.
        const ACCESS = 0x1;
        /// `IN_MODIFY`.
        const MODIFY = 0x2;
        /// `IN_ATTRIB`.
        const ATTRIB = 0x4;
        /// `IN_CLOSE_WRITE`.
        const CLOSE_WRITE = 0x8;
        /// `IN_CLOSE_NOWRITE`.
        const CLOSE_NOWRITE = 0x10;
        /// `IN_OPEN`.
        const OPEN = 0x20;
        /// `IN_MOVED_FROM`.
        const MOVED_FROM = 0x40;
        /// `IN_MOVED_TO`.
        const MOVED_TO = 0x80;
        /// `IN_CREATE`.
        const CREATE = 0x100;
        /// `IN_DELETE`.
        const DELETE = 0x200;
        /// `IN_DELETE_SELF`.
        const DELETE_SELF = 0x400;
        /// `IN_MOVE_SELF`.
        const MOVE_SELF = 0x800;
        /// `IN_UNMOUNT`.
        const UNMOUNT = 0x2000;
        /// Of a watch: nothing of what happens to files whose names are gone.
        const EXCL_UNLINK = 0x400_0000;
        /// `IN_ISDIR`.
        const ISDIR = 0x4000_0000;
    }
}

/// Somebody who watches inodes.
pub trait Watcher: Send + Sync {
    /// `watch` is the number given to [`Watchers::add`]; `name` is the child it happened to, for events
    /// that a directory hears of its children. `cookie` ties the two halves of a rename.
    fn event(&self, watch: u32, event: Event, cookie: u32, name: Option<&[u8]>);
}

struct Entry {
    watcher: Weak<dyn Watcher>,
    watch: u32,
    mask: Event,
}

/// Who watches one inode.
#[derive(Default)]
pub struct Watchers {
    list: Mutex<Vec<Entry>, levels::FileLocks>,
}

/// Watches in the whole sandbox: while there is none, nothing is looked up.
static WATCHES: AtomicUsize = AtomicUsize::new(0);
static NEXT_COOKIE: AtomicU32 = AtomicU32::new(1);

impl Watchers {
    /// `watcher` wants to hear of `mask`, under the number `watch`. A second call changes the mask.
    pub fn add(&self, watcher: &Arc<dyn Watcher>, watch: u32, mask: Event) {
        let weak = Arc::downgrade(watcher);
        let mut list = self.list.lock();
        if let Some(entry) =
            list.iter_mut().find(|entry| entry.watch == watch && entry.watcher.ptr_eq(&weak))
        {
            entry.mask = mask;
            return;
        }
        list.push(Entry { watcher: weak, watch, mask });
        WATCHES.fetch_add(1, Ordering::AcqRel);
    }

    /// `watcher` wants to hear no more under the number `watch`.
    pub fn remove(&self, watcher: &Weak<dyn Watcher>, watch: u32) {
        let mut list = self.list.lock();
        let before = list.len();
        list.retain(|entry| !(entry.watch == watch && entry.watcher.ptr_eq(watcher)));
        WATCHES.fetch_sub(before - list.len(), Ordering::AcqRel);
    }

    fn tell(&self, event: Event, cookie: u32, name: Option<&[u8]>) {
        self.tell_but(Event::empty(), event, cookie, name);
    }

    /// As [`Watchers::tell`], but not those whose mask has one of `unless`.
    fn tell_but(&self, unless: Event, event: Event, cookie: u32, name: Option<&[u8]>) {
        // Watchers take their queue's lock; called outside ours.
        let told: Vec<(Arc<dyn Watcher>, u32)> = {
            let list = self.list.lock();
            let wants = |mask: Event| mask.intersects(event) && !mask.intersects(unless);
            let interested = list.iter().filter(|entry| wants(entry.mask));
            interested.filter_map(|entry| Some((entry.watcher.upgrade()?, entry.watch))).collect()
        };
        for (watcher, watch) in told {
            watcher.event(watch, event, cookie, name);
        }
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        WATCHES.fetch_sub(self.list.get_mut().len(), Ordering::AcqRel);
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watchers")
    }
}

/// Whether anybody watches anything.
#[inline]
pub fn is_watched() -> bool {
    WATCHES.load(Ordering::Relaxed) > 0
}

/// Something happened to the file at `dentry`: its watchers and its directory's hear of it.
pub fn event(dentry: &Arc<Dentry>, event: Event) {
    if !is_watched() {
        return;
    }
    let event = with_kind(&**dentry.inode(), event);
    // A directory hears of files that were in it even when their names are gone.
    let (parent, name, is_gone) = dentry.place_in_tree();
    let unless = if is_gone { Event::EXCL_UNLINK } else { Event::empty() };
    if let Some(parent) = parent
        && let Some(watchers) = parent.inode().common().existing_watchers()
    {
        watchers.tell_but(unless, event, 0, Some(&name));
    }
    if let Some(watchers) = dentry.inode().common().existing_watchers() {
        watchers.tell_but(unless, event, 0, None);
    }
}

/// Something happened to the inode itself (`DELETE_SELF`, `MOVE_SELF`).
pub fn inode_event(inode: &Arc<dyn Inode>, event: Event) {
    if !is_watched() {
        return;
    }
    if let Some(watchers) = inode.common().existing_watchers() {
        watchers.tell(event, 0, None);
    }
}

/// A name in `directory` came, went or changed: `child` says what it is or was.
pub fn name_event(
    directory: &Arc<dyn Inode>,
    name: &[u8],
    child: &dyn Inode,
    event: Event,
    cookie: u32,
) {
    if !is_watched() {
        return;
    }
    if let Some(watchers) = directory.common().existing_watchers() {
        watchers.tell(with_kind(child, event), cookie, Some(name));
    }
}

/// A number that ties `MOVED_FROM` and `MOVED_TO`.
pub fn next_cookie() -> u32 {
    NEXT_COOKIE.fetch_add(1, Ordering::Relaxed)
}

fn with_kind(inode: &dyn Inode, event: Event) -> Event {
    match inode.kind() {
        super::FileKind::Directory => event | Event::ISDIR,
        _ => event,
    }
}
