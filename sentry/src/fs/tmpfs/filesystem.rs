// SPDX-License-Identifier: Apache-2.0
//! A tmpfs as a whole: limits, numbers, its root.

use std::sync::{
    Arc, LazyLock, OnceLock, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use abi::{
    Errno, PAGE_SIZE,
    fcntl::Seals,
    mount::{StatFs, TMPFS_MAGIC},
};

use super::{
    Options,
    node::{Body, Node},
};
use crate::{
    creds::Credentials,
    sync::{Mutex, levels},
    vfs::{FileKind, FileOps, Filesystem, Inode, Trust, anon::AnonInode, anonymous_device},
};

/// A file system in memory: what a mount holds. It keeps the tree; inodes keep only the [`Volume`].
#[derive(Debug)]
pub struct Tmpfs {
    volume: Arc<Volume>,
    root: Arc<Node>,
}

/// How regular files are opened that are not what they seem: message queues.
type Opener = fn(&Arc<dyn Inode>, &Credentials) -> Result<Box<dyn FileOps>, Errno>;

/// What the inodes of one tmpfs have in common.
#[derive(Debug)]
pub(super) struct Volume {
    name: &'static str,
    device: u64,
    opener: Option<Opener>,
    options: Mutex<Options, levels::Leaf>,
    is_read_only: AtomicBool,
    /// Copies of the limits, to be asked without the lock; `u64::MAX` is none.
    max_pages: AtomicU64,
    max_inodes: AtomicU64,
    pages: AtomicU64,
    inodes: AtomicU64,
    next_inode: AtomicU64,
    root: OnceLock<Weak<Node>>,
}

impl Tmpfs {
    /// An empty one.
    pub fn new(options: Options) -> Arc<Tmpfs> {
        Tmpfs::named("tmpfs", options)
    }

    /// An empty one that says it is of type `name` (`devtmpfs`).
    pub fn named(name: &'static str, options: Options) -> Arc<Tmpfs> {
        Tmpfs::build(Volume::new(name, options, None), &options)
    }

    /// An empty one whose regular files `opener` opens. Names that are found in it are asked for anew each
    /// time: it may be mounted more than once.
    pub fn with_opener(name: &'static str, options: Options, opener: Opener) -> Arc<Tmpfs> {
        Tmpfs::build(Volume::new(name, options, Some(opener)), &options)
    }

    fn build(volume: Arc<Volume>, options: &Options) -> Arc<Tmpfs> {
        let root = volume.make_root(options);
        // Fresh, so nobody was faster.
        let _ = volume.root.set(Arc::downgrade(&root));
        Arc::new(Tmpfs { volume, root })
    }
}

impl Volume {
    fn new(name: &'static str, options: Options, opener: Option<Opener>) -> Arc<Volume> {
        Arc::new(Volume {
            name,
            device: anonymous_device(),
            opener,
            is_read_only: AtomicBool::new(options.is_read_only),
            max_pages: AtomicU64::new(options.max_pages.unwrap_or(u64::MAX)),
            max_inodes: AtomicU64::new(options.max_inodes.unwrap_or(u64::MAX)),
            options: Mutex::new(options),
            pages: AtomicU64::new(0),
            inodes: AtomicU64::new(0),
            next_inode: AtomicU64::new(1),
            root: OnceLock::new(),
        })
    }

    fn make_root(self: &Arc<Self>, options: &Options) -> Arc<Node> {
        self.inodes.fetch_add(1, Ordering::Relaxed);
        let (mode, uid, gid) = (options.mode, options.uid, options.gid);
        Node::new(self.clone(), FileKind::Directory, Body::directory(), mode, uid, gid)
    }

    pub(super) fn opener(&self) -> Option<Opener> {
        self.opener
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_inode.fetch_add(1, Ordering::Relaxed)
    }

    /// Room for one inode; `ENOSPC` if there is none.
    pub(super) fn charge_inode(&self) -> Result<(), Errno> {
        let max = self.max_inodes.load(Ordering::Relaxed);
        let step = |used: u64| (used < max).then_some(used + 1);
        match self.inodes.try_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::ENOSPC),
        }
    }

    pub(super) fn release_inode(&self) {
        self.inodes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Pages that may still be filled.
    pub(super) fn free_pages(&self) -> u64 {
        let max = self.max_pages.load(Ordering::Relaxed);
        max.saturating_sub(self.pages.load(Ordering::Relaxed))
    }

    /// A file that had `before` pages has `after` now.
    pub(super) fn account(&self, before: u64, after: u64) {
        if after >= before {
            self.pages.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.pages.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

impl Filesystem for Tmpfs {
    fn name(&self) -> &'static str {
        self.volume.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> u64 {
        self.volume.device
    }

    fn statistics(&self) -> Result<StatFs, Errno> {
        self.volume.statistics()
    }

    fn options(&self) -> String {
        Filesystem::options(&*self.volume)
    }

    fn trust(&self) -> Trust {
        if self.volume.opener.is_none() { Trust::Always } else { Trust::Never }
    }

    fn is_read_only(&self) -> bool {
        self.volume.is_read_only()
    }

    fn reconfigure(&self, read_only: bool, text: &[u8]) -> Result<(), Errno> {
        self.volume.reconfigure(read_only, text)
    }
}

impl Filesystem for Volume {
    fn name(&self) -> &'static str {
        self.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        match self.root.get().and_then(Weak::upgrade) {
            Some(root) => root,
            // Nobody has it mounted any more: an empty directory, as a detached one is.
            None => Arc::new(AnonInode::new(FileKind::Directory, 0o555, 0, 0)),
        }
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn statistics(&self) -> Result<StatFs, Errno> {
        let limit = |max: &AtomicU64| match max.load(Ordering::Relaxed) {
            u64::MAX => 0,
            max => max,
        };
        let (pages, inodes) = (limit(&self.max_pages), limit(&self.max_inodes));
        let free = pages.saturating_sub(self.pages.load(Ordering::Relaxed));
        let block = i64::try_from(PAGE_SIZE).unwrap_or(4096);
        Ok(StatFs {
            f_type: TMPFS_MAGIC,
            f_bsize: block,
            f_blocks: pages,
            f_bfree: free,
            f_bavail: free,
            f_files: inodes,
            f_ffree: inodes.saturating_sub(self.inodes.load(Ordering::Relaxed)),
            f_namelen: 255,
            f_frsize: block,
            ..StatFs::default()
        })
    }

    fn options(&self) -> String {
        self.options.lock().show()
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only.load(Ordering::Relaxed)
    }

    fn reconfigure(&self, read_only: bool, text: &[u8]) -> Result<(), Errno> {
        let mut options = *self.options.lock();
        options.apply(text)?;
        let too_small =
            options.max_pages.is_some_and(|max| max < self.pages.load(Ordering::Relaxed))
                || options.max_inodes.is_some_and(|max| max < self.inodes.load(Ordering::Relaxed));
        if too_small {
            return Err(Errno::EINVAL);
        }
        self.max_pages.store(options.max_pages.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.max_inodes.store(options.max_inodes.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.is_read_only.store(read_only, Ordering::Relaxed);
        *self.options.lock() = options;
        Ok(())
    }
}

/// The tmpfs that files without a place live in: memfd_create(2), System V segments.
static SHM: LazyLock<Arc<Volume>> = LazyLock::new(|| {
    let options = Options { max_pages: None, max_inodes: None, ..Options::default() };
    Volume::new("tmpfs", options, None)
});

/// A regular file without a name, as memfd_create(2) makes it. `seals` are the ones it starts with:
/// `F_SEAL_SEAL` for a file that takes no seals.
pub fn unlinked_file(
    permissions: u32,
    uid: u32,
    gid: u32,
    seals: Seals,
) -> Result<Arc<dyn Inode>, Errno> {
    SHM.charge_inode()?;
    let node = Node::new(SHM.clone(), FileKind::Regular, Body::regular(), permissions, uid, gid);
    node.set_unlinked(seals);
    Ok(node)
}
