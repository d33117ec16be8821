// SPDX-License-Identifier: Apache-2.0
//! Dentries: names in the tree, cached.
//!
//! A dentry is one (parent, name) pair with the inode found there; while anybody holds it there is no
//! other for the same pair. Parents know their children weakly, children hold their parents; what keeps
//! unused dentries alive is the cache of their file system, which is bounded and forgets those not seen
//! for longest. Names known to be missing live in the parent's table alone.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{
        Arc, LazyLock, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;

use super::{
    Filesystem, Inode,
    trust::{Learnt, Renewed, Trust},
};
use crate::sync::{Mutex, RwLock, levels};

/// Dentries that a file system keeps without anybody using them.
const CACHED: usize = 16 * 1024;
/// Missing names that one directory remembers.
const MISSING: usize = 256;

/// A name in the tree and the inode found there.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    link: ArcSwap<Link>,
    children: RwLock<Children, levels::Dentry>,
    /// Changes of the directory's names so far: a lookup that saw another number must not be cached.
    generation: AtomicU64,
    /// Mounts that hang here, in any namespace.
    mounted: AtomicU32,
    /// Seen since the cache last looked.
    used: AtomicBool,
    trust: Trust,
    /// When the file system said last that this name leads to this inode.
    seen: Renewed,
    cache: Weak<DentryCache>,
}

/// Where a dentry hangs.
#[derive(Debug)]
struct Link {
    parent: Option<Arc<Dentry>>,
    name: Box<[u8]>,
    /// The name was taken away (or never was one): " (deleted)".
    is_gone: bool,
}

static NOWHERE: LazyLock<Arc<Link>> =
    LazyLock::new(|| Arc::new(Link { parent: None, name: Box::default(), is_gone: true }));

#[derive(Default)]
struct Children {
    table: FxHashMap<Box<[u8]>, Child>,
    missing: usize,
    /// Size at which dead entries are swept out.
    sweep_at: usize,
}

enum Child {
    There(Weak<Dentry>),
    /// It was not there at this time.
    Missing(Learnt),
}

/// What the cache knows of a name.
#[derive(Debug)]
pub(super) enum Cached {
    There(Arc<Dentry>),
    Missing,
    Unknown,
}

/// The unused dentries of one mounted file system.
#[derive(Default)]
pub struct DentryCache {
    kept: Mutex<Kept, levels::Leaf>,
    /// Files of the file system that are open for writing.
    writers: AtomicU32,
}

#[derive(Default)]
struct Kept {
    /// By their addresses, which nobody else can have while they are here.
    dentries: FxHashMap<usize, Arc<Dentry>>,
    /// In the order of coming; addresses of those that left early are passed over.
    queue: VecDeque<usize>,
}

impl Dentry {
    /// The root of a file system, with the cache that its mounts hold.
    pub fn root(filesystem: &dyn Filesystem) -> (Arc<Dentry>, Arc<DentryCache>) {
        let cache = Arc::new(DentryCache::default());
        let link = Link { parent: None, name: Box::from(*b"/"), is_gone: false };
        (Dentry::build(filesystem.root(), link, filesystem.trust(), Arc::downgrade(&cache)), cache)
    }

    /// A dentry outside every tree: an anonymous inode's (`anon_inode:[eventfd]`), or an unnamed file's.
    pub fn unattached(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Dentry> {
        let link = Link { parent: None, name: Box::from(name), is_gone: false };
        Dentry::build(inode, link, Trust::Always, Weak::new())
    }

    fn build(
        inode: Arc<dyn Inode>,
        link: Link,
        trust: Trust,
        cache: Weak<DentryCache>,
    ) -> Arc<Dentry> {
        Arc::new(Dentry {
            inode,
            link: ArcSwap::from_pointee(link),
            children: RwLock::new(Children::default()),
            generation: AtomicU64::new(0),
            mounted: AtomicU32::new(0),
            used: AtomicBool::new(false),
            trust,
            seen: Renewed::now(),
            cache,
        })
    }

    /// A file that has no name yet (`O_TMPFILE`), shown as `#number (deleted)` in `parent`.
    pub(super) fn unnamed(parent: &Arc<Dentry>, inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Dentry> {
        let link = Link { parent: Some(parent.clone()), name: Box::from(name), is_gone: true };
        Dentry::build(inode, link, Trust::Always, Weak::new())
    }

    /// The file.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// How far names found here may be believed later.
    pub(super) fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether its name needs not be asked for again.
    pub(super) fn is_believed(&self) -> bool {
        match self.trust {
            Trust::Always => true,
            Trust::Recent => self.seen.is_recent(),
            Trust::Never => false,
        }
    }

    /// The file system has said again that it is there.
    pub(super) fn confirmed(&self) {
        self.seen.renew();
    }

    /// The directory it is in; `None` for roots.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.link.load().parent.clone()
    }

    /// The last component of its path.
    pub fn name(&self) -> Box<[u8]> {
        self.link.load().name.clone()
    }

    /// Whether the name is gone (or never was).
    pub fn is_gone(&self) -> bool {
        self.link.load().is_gone
    }

    /// Parent, name and whether the name is gone, of one moment.
    pub(super) fn place_in_tree(&self) -> (Option<Arc<Dentry>>, Box<[u8]>, bool) {
        let link = self.link.load();
        (link.parent.clone(), link.name.clone(), link.is_gone)
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub fn is_within(self: &Arc<Self>, ancestor: &Arc<Dentry>) -> bool {
        let mut at = Some(self.clone());
        while let Some(dentry) = at {
            if Arc::ptr_eq(&dentry, ancestor) {
                return true;
            }
            at = dentry.parent();
        }
        false
    }

    /// Whether anything is mounted here, in any namespace.
    pub fn is_mountpoint(&self) -> bool {
        self.mounted.load(Ordering::Acquire) > 0
    }

    pub(super) fn count_mount(&self) {
        self.mounted.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn uncount_mount(&self) {
        self.mounted.fetch_sub(1, Ordering::AcqRel);
    }

    /// The number to hand to [`Dentry::insert`] and [`Dentry::insert_missing`], taken before the file
    /// system is asked.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What is known of `name`, without asking the file system.
    pub(super) fn cached(&self, name: &[u8]) -> Cached {
        let children = self.children.read();
        match children.table.get(name) {
            Some(Child::There(weak)) => match weak.upgrade() {
                Some(dentry) => {
                    // A plain store only when needed: the line is shared between CPUs.
                    if !dentry.used.load(Ordering::Relaxed) {
                        dentry.used.store(true, Ordering::Relaxed);
                    }
                    Cached::There(dentry)
                }
                None => Cached::Unknown,
            },
            Some(Child::Missing(seen)) if seen.is_recent() => Cached::Missing,
            Some(Child::Missing(_)) => Cached::Unknown,
            None => Cached::Unknown,
        }
    }

    /// The dentry of `name`, which the file system says is `inode`. `None` if names here have changed
    /// since `generation`: ask again.
    pub(super) fn insert(
        self: &Arc<Self>,
        name: &[u8],
        inode: Arc<dyn Inode>,
        generation: u64,
    ) -> Option<Arc<Dentry>> {
        let dentry;
        {
            let mut children = self.children.write();
            if self.generation() != generation {
                return None;
            }
            if let Some(Child::There(weak)) = children.table.get(name)
                && let Some(old) = weak.upgrade()
                && (self.trust == Trust::Always || Arc::ptr_eq(&old.inode, &inode))
            {
                old.confirmed();
                return Some(old);
            }
            let link = Link { parent: Some(self.clone()), name: Box::from(name), is_gone: false };
            dentry = Dentry::build(inode, link, self.trust, self.cache.clone());
            children.put(name, Child::There(Arc::downgrade(&dentry)));
        }
        self.keep(&dentry);
        Some(dentry)
    }

    /// Remembers that `name` does not exist, unless names have changed since `generation`.
    pub(super) fn insert_missing(&self, name: &[u8], generation: u64) {
        if self.trust == Trust::Never {
            return;
        }
        let mut children = self.children.write();
        if self.generation() == generation
            && !matches!(children.table.get(name), Some(Child::There(weak)) if weak.strong_count() > 0)
        {
            children.put(name, Child::Missing(Learnt::now()));
        }
    }

    /// `name` now is `inode`, made under the directory's lock.
    pub(super) fn created(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
        let link = Link { parent: Some(self.clone()), name: Box::from(name), is_gone: false };
        let dentry = Dentry::build(inode, link, self.trust, self.cache.clone());
        {
            let mut children = self.children.write();
            self.generation.fetch_add(1, Ordering::AcqRel);
            children.put(name, Child::There(Arc::downgrade(&dentry)));
        }
        self.keep(&dentry);
        dentry
    }

    /// `child` has lost its name here.
    pub(super) fn removed(self: &Arc<Self>, child: &Arc<Dentry>) {
        let name = child.name();
        {
            let mut children = self.children.write();
            self.generation.fetch_add(1, Ordering::AcqRel);
            if self.trust != Trust::Never {
                children.put(&name, Child::Missing(Learnt::now()));
            } else {
                children.take(&name);
            }
        }
        child.link.store(Arc::new(Link { parent: Some(self.clone()), name, is_gone: true }));
        if let Some(cache) = self.cache.upgrade() {
            cache.discard(child);
        }
    }

    /// Forgets what is known of `name`: the next walk asks the file system. The dentry that was there,
    /// if any, is gone from the tree.
    pub fn invalidate(self: &Arc<Self>, name: &[u8]) {
        let old = {
            let mut children = self.children.write();
            self.generation.fetch_add(1, Ordering::AcqRel);
            children.take(name)
        };
        if let Some(Child::There(weak)) = old
            && let Some(dentry) = weak.upgrade()
        {
            let link = Link { parent: Some(self.clone()), name: Box::from(name), is_gone: true };
            dentry.link.store(Arc::new(link));
            if let Some(cache) = self.cache.upgrade() {
                cache.discard(&dentry);
            }
        }
    }

    /// `child` is not here any more, says the file system: as [`Dentry::invalidate`], unless its name leads
    /// to another by now.
    pub(super) fn disbelieve(self: &Arc<Self>, child: &Arc<Dentry>) {
        let name = child.name();
        {
            let mut children = self.children.write();
            let is_it = |there: &Weak<Dentry>| there.as_ptr() == Arc::as_ptr(child);
            if !matches!(children.table.get(&name), Some(Child::There(there)) if is_it(there)) {
                return;
            }
            self.generation.fetch_add(1, Ordering::AcqRel);
            children.take(&name);
        }
        child.link.store(Arc::new(Link { parent: Some(self.clone()), name, is_gone: true }));
        if let Some(cache) = self.cache.upgrade() {
            cache.discard(child);
        }
    }

    /// `child` moves from `self` to `name` in `to`; `replaced` was there.
    pub(super) fn moved(
        self: &Arc<Self>,
        child: &Arc<Dentry>,
        to: &Arc<Dentry>,
        name: &[u8],
        replaced: Option<&Arc<Dentry>>,
    ) {
        if let Some(replaced) = replaced {
            to.removed(replaced);
        }
        self.removed(child);
        to.enter(child, name);
    }

    /// `a` of `self` and `b` of `other` change places.
    pub(super) fn exchanged(
        self: &Arc<Self>,
        a: &Arc<Dentry>,
        other: &Arc<Dentry>,
        b: &Arc<Dentry>,
    ) {
        let (a_name, b_name) = (a.name(), b.name());
        other.enter(a, &b_name);
        self.enter(b, &a_name);
    }

    fn enter(self: &Arc<Self>, child: &Arc<Dentry>, name: &[u8]) {
        {
            let mut children = self.children.write();
            self.generation.fetch_add(1, Ordering::AcqRel);
            children.put(name, Child::There(Arc::downgrade(child)));
        }
        let link = Link { parent: Some(self.clone()), name: Box::from(name), is_gone: false };
        child.link.store(Arc::new(link));
        self.keep(child);
    }

    /// Names in the table, dead ones too.
    #[cfg(test)]
    pub(crate) fn cached_names(&self) -> usize {
        self.children.read().table.len()
    }

    fn keep(&self, dentry: &Arc<Dentry>) {
        if let Some(cache) = self.cache.upgrade() {
            cache.keep(dentry.clone());
        }
    }

    /// Takes the name out of the parent's table if nobody else uses the dentry.
    fn forget(dentry: Arc<Dentry>) {
        if Arc::strong_count(&dentry) > 1 {
            return;
        }
        let (Some(parent), name, false) = dentry.place_in_tree() else { return };
        drop(dentry);
        let mut children = parent.children.write();
        if matches!(children.table.get(&name), Some(Child::There(weak)) if weak.strong_count() == 0)
        {
            children.take(&name);
        }
    }
}

impl Children {
    fn put(&mut self, name: &[u8], child: Child) {
        if matches!(child, Child::Missing(_)) {
            if self.missing >= MISSING {
                self.table.retain(|_, child| matches!(child, Child::There(_)));
                self.missing = 0;
            }
            self.missing += 1;
        }
        if let Some(Child::Missing(_)) = self.table.insert(Box::from(name), child) {
            self.missing -= 1;
        }
        if self.table.len() > self.sweep_at.max(64) {
            self.table.retain(|_, child| match child {
                Child::There(weak) => weak.strong_count() > 0,
                Child::Missing(_) => true,
            });
            self.sweep_at = self.table.len() * 2;
        }
    }

    fn take(&mut self, name: &[u8]) -> Option<Child> {
        let child = self.table.remove(name);
        if let Some(Child::Missing(_)) = child {
            self.missing -= 1;
        }
        child
    }
}

impl DentryCache {
    /// A file of the file system was opened for writing.
    pub(super) fn count_writer(&self) {
        self.writers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn uncount_writer(&self) {
        self.writers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn is_written(&self) -> bool {
        self.writers.load(Ordering::Relaxed) > 0
    }

    /// Takes a dentry in, and lets go of one that nobody looked at lately.
    fn keep(&self, dentry: Arc<Dentry>) {
        let out = {
            let mut kept = self.kept.lock();
            let key = Arc::as_ptr(&dentry).addr();
            if kept.dentries.insert(key, dentry).is_none() {
                kept.queue.push_back(key);
            }
            kept.overflow()
        };
        if let Some(out) = out {
            Dentry::forget(out);
        }
    }

    /// Lets go of a dentry whose name is gone: nobody will look for it.
    fn discard(&self, dentry: &Arc<Dentry>) {
        let gone = {
            let mut kept = self.kept.lock();
            let gone = kept.dentries.remove(&Arc::as_ptr(dentry).addr());
            if kept.queue.len() > 2 * kept.dentries.len() + 64 {
                let Kept { dentries, queue } = &mut *kept;
                queue.retain(|key| dentries.contains_key(key));
            }
            gone
        };
        drop(gone);
    }

    /// Lets go of all dentries: nobody's cache any more.
    pub fn clear(&self) {
        let all = mem::take(&mut *self.kept.lock());
        drop(all);
    }

    /// Dentries in the cache.
    pub fn len(&self) -> usize {
        self.kept.lock().dentries.len()
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Kept {
    /// What must leave, if there are too many.
    fn overflow(&mut self) -> Option<Arc<Dentry>> {
        // One came in, so letting one go keeps the bound. Second chances are bounded too.
        let mut chances = 8;
        while self.dentries.len() > CACHED {
            let key = self.queue.pop_front()?;
            let Some(oldest) = self.dentries.get(&key) else { continue };
            if chances > 0 && oldest.used.swap(false, Ordering::Relaxed) {
                chances -= 1;
                self.queue.push_back(key);
                continue;
            }
            return self.dentries.remove(&key);
        }
        None
    }
}

impl Drop for Dentry {
    /// The chain of parents is as deep as the guest likes: no recursion.
    fn drop(&mut self) {
        let mut parent = parent_taken(self);
        while let Some(next) = parent.and_then(Arc::into_inner) {
            let mut dentry = next;
            parent = parent_taken(&mut dentry);
        }
    }
}

fn parent_taken(dentry: &mut Dentry) -> Option<Arc<Dentry>> {
    let link = dentry.link.swap(NOWHERE.clone());
    Arc::into_inner(link).and_then(|link| link.parent)
}

impl fmt::Debug for Dentry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dentry({})", String::from_utf8_lossy(&self.link.load().name))
    }
}

impl fmt::Debug for DentryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DentryCache")
    }
}
