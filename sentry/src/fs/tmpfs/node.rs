// SPDX-License-Identifier: Apache-2.0
//! tmpfs inodes.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use abi::{
    Errno, PAGE_SIZE,
    fcntl::{OpenFlags, Seals},
    fileattr::InodeFlags,
};

use super::{
    content::Content,
    directory::Table,
    file::{DirectoryFile, RegularFile},
    filesystem::Volume,
};
use crate::{
    creds::Credentials,
    mm::{HostRange, Mappable},
    sync::{Mutex, RwLock, levels},
    vfs::{
        AccessTime, AttributeChange, Attributes, Directory, FileKind, FileOps, Filesystem, Inode,
        InodeCommon, LinkTarget, Owner, Timestamp, Xattrs, now,
    },
};

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const GROUP_RUN: u32 = 0o010;
const CAPABILITY: &[u8] = b"security.capability";
/// Names and values that one inode may hold.
const XATTR_ROOM: usize = 256 * 1024;

/// A tmpfs inode.
#[derive(Debug)]
pub(super) struct Node {
    common: InodeCommon,
    pub(super) filesystem: Arc<Volume>,
    number: u64,
    kind: FileKind,
    created: Timestamp,
    pub(super) meta: Mutex<Meta, levels::InodeState>,
    pub(super) body: Body,
}

/// What the kinds hold.
#[derive(Debug)]
pub(super) enum Body {
    Regular {
        content: RwLock<Content, levels::FileContent>,
        /// Pages of it that the file system counts. Changed with the content locked.
        charged: AtomicU64,
        seals: AtomicU32,
        /// Held once more by each mapping that may write.
        writable_maps: Arc<()>,
    },
    Directory(RwLock<Table, levels::InodeState>),
    Symlink(Box<[u8]>),
    /// A device's number; 0 for fifos and sockets.
    Special(u64),
}

#[derive(Debug)]
pub(super) struct Meta {
    pub(super) permissions: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    pub(super) accessed: Timestamp,
    pub(super) modified: Timestamp,
    pub(super) changed: Timestamp,
    flags: InodeFlags,
    /// Unnamed, but may get a name (`O_TMPFILE` without `O_EXCL`).
    pub(super) is_linkable: bool,
    xattrs: Option<Box<BTreeMap<Box<[u8]>, Box<[u8]>>>>,
}

impl Body {
    pub(super) fn directory() -> Body {
        Body::Directory(RwLock::new(Table::default()))
    }

    pub(super) fn regular() -> Body {
        Body::Regular {
            content: RwLock::new(Content::new()),
            charged: AtomicU64::new(0),
            seals: AtomicU32::new(Seals::SEAL.bits()),
            writable_maps: Arc::new(()),
        }
    }
}

impl Node {
    /// A new inode; its place in the limits has been charged.
    pub(super) fn new(
        filesystem: Arc<Volume>,
        kind: FileKind,
        body: Body,
        permissions: u32,
        uid: u32,
        gid: u32,
    ) -> Arc<Node> {
        let now = now();
        let links = if kind == FileKind::Directory { 2 } else { 1 };
        Arc::new(Node {
            common: InodeCommon::new(),
            number: filesystem.next_number(),
            filesystem,
            kind,
            created: now,
            meta: Mutex::new(Meta {
                permissions,
                uid,
                gid,
                links,
                accessed: now,
                modified: now,
                changed: now,
                flags: InodeFlags::empty(),
                is_linkable: false,
                xattrs: None,
            }),
            body,
        })
    }

    /// Makes it a file that never had a name.
    pub(super) fn set_unlinked(&self, initial_seals: Seals) {
        self.meta.lock().links = 0;
        if let Body::Regular { seals, .. } = &self.body {
            seals.store(initial_seals.bits(), Ordering::Relaxed);
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// A change of contents: times move.
    pub(super) fn stamp_modified(&self) {
        let now = now();
        let mut meta = self.meta.lock();
        meta.modified = now;
        meta.changed = now;
    }

    pub(super) fn content(&self) -> Result<&RwLock<Content, levels::FileContent>, Errno> {
        match &self.body {
            Body::Regular { content, .. } => Ok(content),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Seals of the file.
    pub(super) fn seals(&self) -> Seals {
        match &self.body {
            Body::Regular { seals, .. } => Seals::from_bits_retain(seals.load(Ordering::Relaxed)),
            _ => Seals::empty(),
        }
    }

    /// `F_ADD_SEALS`.
    pub(super) fn add_seals(&self, new: Seals) -> Result<(), Errno> {
        let Body::Regular { content, seals, writable_maps, .. } = &self.body else {
            return Err(Errno::EINVAL);
        };
        // Writers hold the content: none is half-way when the seal comes.
        let _content = content.write();
        let old = Seals::from_bits_retain(seals.load(Ordering::Relaxed));
        if old.contains(Seals::SEAL) {
            return Err(Errno::EPERM);
        }
        if new.contains(Seals::WRITE)
            && !old.contains(Seals::WRITE)
            && Arc::strong_count(writable_maps) > 1
        {
            return Err(Errno::EBUSY);
        }
        seals.store((old | new).bits(), Ordering::Relaxed);
        Ok(())
    }

    /// Changes the contents under their lock and keeps the account of pages.
    pub(super) fn with_content<T>(
        &self,
        change: impl FnOnce(&mut Content) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let Body::Regular { content, charged, .. } = &self.body else {
            return Err(Errno::EINVAL);
        };
        let mut content = content.write();
        let result = change(&mut content);
        let after = content.pages();
        // Stores through a mapping fill pages, too: what was charged is known here alone.
        let before = charged.swap(after, Ordering::Relaxed);
        drop(content);
        self.filesystem.account(before, after);
        result
    }

    fn resize(&self, length: u64) -> Result<(), Errno> {
        if length > i64::MAX.unsigned_abs() {
            return Err(Errno::EFBIG);
        }
        self.with_content(|content| {
            let (seals, size) = (self.seals(), content.size());
            if (length < size && seals.contains(Seals::SHRINK))
                || (length > size && seals.contains(Seals::GROW))
            {
                return Err(Errno::EPERM);
            }
            content.resize(length)
        })
    }
}

impl Inode for Node {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn filesystem(&self) -> Arc<dyn Filesystem> {
        self.filesystem.clone()
    }

    fn common(&self) -> &InodeCommon {
        &self.common
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        let (size, blocks, special_device) = match &self.body {
            Body::Regular { content, .. } => {
                let content = content.read();
                (content.size(), content.pages() * (PAGE_SIZE / 512), 0)
            }
            Body::Directory(table) => (table.read().size(), 0, 0),
            Body::Symlink(text) => (text.len() as u64, 0, 0),
            Body::Special(device) => (0, 0, *device),
        };
        let meta = self.meta.lock();
        Ok(Attributes {
            device: self.filesystem.device(),
            inode: self.number,
            kind: self.kind,
            permissions: meta.permissions,
            links: meta.links,
            uid: meta.uid,
            gid: meta.gid,
            special_device,
            size,
            block_size: 4096,
            blocks,
            accessed: meta.accessed,
            modified: meta.modified,
            changed: meta.changed,
            created: Some(self.created),
        })
    }

    fn owner(&self) -> Result<Owner, Errno> {
        let meta = self.meta.lock();
        Ok(Owner { permissions: meta.permissions, uid: meta.uid, gid: meta.gid })
    }

    fn touch(&self, policy: AccessTime) {
        const DAY: i64 = 24 * 60 * 60;
        let now = now();
        let mut meta = self.meta.lock();
        let is_due = match policy {
            _ if meta.flags.contains(InodeFlags::NOATIME_FL) => false,
            AccessTime::Never => false,
            AccessTime::Always => true,
            AccessTime::Relative => {
                meta.accessed <= meta.modified
                    || meta.accessed <= meta.changed
                    || now.seconds - meta.accessed.seconds >= DAY
            }
        };
        if is_due {
            meta.accessed = now;
        }
    }

    fn strip_privileges(&self, keeps_set_id: bool) {
        if self.kind != FileKind::Regular {
            return;
        }
        let mut meta = self.meta.lock();
        if let Some(xattrs) = &mut meta.xattrs {
            xattrs.remove(CAPABILITY);
        }
        if keeps_set_id || meta.permissions & (SET_UID | SET_GID) == 0 {
            return;
        }
        meta.permissions &= !SET_UID;
        if meta.permissions & GROUP_RUN != 0 {
            meta.permissions &= !SET_GID;
        }
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        if let Some(length) = change.size {
            self.resize(length)?;
        }
        let now = now();
        let mut meta = self.meta.lock();
        if change.size.is_some() {
            meta.modified = now;
        }
        meta.permissions = change.permissions.map_or(meta.permissions, |new| new & 0o7777);
        meta.uid = change.uid.unwrap_or(meta.uid);
        meta.gid = change.gid.unwrap_or(meta.gid);
        meta.accessed = change.accessed.map_or(meta.accessed, |time| time.or(now));
        meta.modified = change.modified.map_or(meta.modified, |time| time.or(now));
        meta.changed = now;
        Ok(())
    }

    fn inode_flags(&self) -> Option<InodeFlags> {
        Some(self.meta.lock().flags)
    }

    fn set_inode_flags(&self, flags: InodeFlags) -> Result<(), Errno> {
        let known = InodeFlags::IMMUTABLE_FL
            | InodeFlags::APPEND_FL
            | InodeFlags::NODUMP_FL
            | InodeFlags::NOATIME_FL;
        if !known.contains(flags) {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut meta = self.meta.lock();
        meta.flags = flags;
        meta.changed = now();
        Ok(())
    }

    fn open(
        self: Arc<Self>,
        _flags: OpenFlags,
        creds: &Credentials,
    ) -> Result<Box<dyn FileOps>, Errno> {
        match &self.body {
            Body::Regular { .. } if let Some(open) = self.filesystem.opener() => {
                let inode: Arc<dyn Inode> = self;
                open(&inode, creds)
            }
            Body::Regular { .. } => Ok(Box::new(RegularFile { node: self })),
            Body::Directory(_) => Ok(Box::new(DirectoryFile { node: self })),
            // Fifos and devices are opened by their drivers.
            Body::Special(_) => Err(Errno::ENXIO),
            Body::Symlink(_) => Err(Errno::ELOOP),
        }
    }

    fn revalidate(&self) -> bool {
        self.meta.lock().links > 0
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        match self.body {
            Body::Directory(_) => Some(self),
            _ => None,
        }
    }

    fn as_xattrs(&self) -> Option<&dyn Xattrs> {
        Some(self)
    }

    fn read_link(&self, _creds: &Credentials) -> Result<LinkTarget, Errno> {
        match &self.body {
            Body::Symlink(text) => Ok(LinkTarget::Text(text.to_vec())),
            _ => Err(Errno::EINVAL),
        }
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The contents of one file, to be mapped.
#[derive(Debug)]
pub(super) struct Contents {
    node: Arc<Node>,
    claim: OnceLock<Arc<()>>,
}

impl Contents {
    pub(super) fn new(node: Arc<Node>) -> Contents {
        Contents { node, claim: OnceLock::new() }
    }
}

impl Mappable for Contents {
    fn host_range(&self, offset: u64, _len: u64) -> Result<HostRange, Errno> {
        let file = self.node.with_content(Content::host_file)?;
        Ok(HostRange { file, offset })
    }

    fn claim_write(&self) -> Result<(), Errno> {
        let Body::Regular { content, writable_maps, .. } = &self.node.body else {
            return Err(Errno::ENODEV);
        };
        // Seals are added under the lock for writing.
        let _content = content.read();
        if self.node.seals().intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
            return Err(Errno::EPERM);
        }
        self.claim.get_or_init(|| writable_maps.clone());
        Ok(())
    }

    fn identity(&self) -> (u64, u64) {
        (self.node.filesystem.device(), self.node.number)
    }
}

impl Xattrs for Node {
    fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let meta = self.meta.lock();
        let value = meta.xattrs.as_ref().and_then(|xattrs| xattrs.get(name));
        value.map(|value| value.to_vec()).ok_or(Errno::ENODATA)
    }

    fn set(&self, name: &[u8], value: &[u8], create: bool, replace: bool) -> Result<(), Errno> {
        let mut meta = self.meta.lock();
        let xattrs = meta.xattrs.get_or_insert_default();
        let is_there = xattrs.contains_key(name);
        if create && is_there {
            return Err(Errno::EEXIST);
        }
        if replace && !is_there {
            return Err(Errno::ENODATA);
        }
        let used: usize = xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if used + name.len() + value.len() > XATTR_ROOM {
            return Err(Errno::ENOSPC);
        }
        xattrs.insert(Box::from(name), Box::from(value));
        meta.changed = now();
        Ok(())
    }

    fn list(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let meta = self.meta.lock();
        let names = meta.xattrs.iter().flat_map(|xattrs| xattrs.keys());
        Ok(names.map(|name| name.to_vec()).collect())
    }

    fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        let mut meta = self.meta.lock();
        let removed = meta.xattrs.as_mut().and_then(|xattrs| xattrs.remove(name));
        removed.ok_or(Errno::ENODATA)?;
        meta.changed = now();
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Body::Regular { charged, .. } = &self.body {
            self.filesystem.account(charged.load(Ordering::Relaxed), 0);
        }
        if let Body::Directory(table) = &self.body {
            // A tree is as deep as the guest likes: no recursion.
            let mut left = table.write().take_all();
            while let Some(node) = left.pop() {
                if let Some(node) = Arc::into_inner(node)
                    && let Body::Directory(table) = &node.body
                {
                    left.extend(table.write().take_all());
                }
            }
        }
        self.filesystem.release_inode();
    }
}
