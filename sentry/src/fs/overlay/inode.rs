// SPDX-License-Identifier: Apache-2.0
//! A file of one layer, or a directory of both.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
};

use abi::{Errno, fcntl::OpenFlags, fileattr::InodeFlags};

use super::{
    OverlayFilesystem,
    directory::OpenDirectory,
    file::OpenFile,
    filesystem::{Key, Layer},
    xattr,
};
use crate::{
    creds::Credentials,
    mm::Mappable,
    sync::{Mutex, RwLock, levels},
    vfs::{
        AccessTime, AttributeChange, Attributes, Directory, FileKind, FileOps, Filesystem, Inode,
        InodeCommon, LinkTarget, Owner, Xattrs,
    },
};

/// Where a file is. At least one is there; both only for directories, and for a file whose lower self is
/// hidden by the upper one.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    pub(super) upper: Option<Arc<dyn Inode>>,
    pub(super) lower: Option<Arc<dyn Inode>>,
}

impl Layers {
    /// The one that counts.
    pub(super) fn top(&self) -> Result<&Arc<dyn Inode>, Errno> {
        self.upper.as_ref().or(self.lower.as_ref()).ok_or(Errno::EIO)
    }
}

/// One file of the overlay.
pub(super) struct OverlayInode {
    me: Weak<OverlayInode>,
    pub(super) filesystem: Arc<OverlayFilesystem>,
    kind: FileKind,
    /// Device and number, as the guest sees them: they stay when the file moves up.
    pub(super) number: (u64, u64),
    common: InodeCommon,
    layers: RwLock<Layers, levels::Leaf>,
    keys: Mutex<[Option<Key>; 2], levels::Leaf>,
    /// A name of it, where it is to be copied up to. None once that is gone.
    place: Mutex<Option<(Arc<OverlayInode>, Box<[u8]>)>, levels::Leaf>,
}

impl OverlayInode {
    pub(super) fn new(
        filesystem: Arc<OverlayFilesystem>,
        layers: Layers,
        keys: [Option<Key>; 2],
        number: (u64, u64),
    ) -> Result<Arc<OverlayInode>, Errno> {
        let kind = layers.top()?.kind();
        Ok(Arc::new_cyclic(|me| OverlayInode {
            me: me.clone(),
            kind,
            filesystem,
            number,
            common: InodeCommon::new(),
            layers: RwLock::new(layers),
            keys: Mutex::new(keys),
            place: Mutex::new(None),
        }))
    }

    /// The layers as they are now.
    pub(super) fn layers(&self) -> Layers {
        self.layers.read().clone()
    }

    pub(super) fn top(&self) -> Result<Arc<dyn Inode>, Errno> {
        self.layers.read().top().cloned()
    }

    pub(super) fn upper(&self) -> Option<Arc<dyn Inode>> {
        self.layers.read().upper.clone()
    }

    /// It has a place in the upper layer now.
    pub(super) fn set_upper(&self, upper: Arc<dyn Inode>, key: Key) {
        self.layers.write().upper = Some(upper);
        let [above, _] = &mut *self.keys.lock();
        *above = Some(key);
    }

    /// The upper directory hides what is below it, for good.
    pub(super) fn drop_lower(&self) {
        let old = self.layers.write().lower.take();
        drop(old);
    }

    pub(super) fn key_below(&self) -> Option<Key> {
        let [_, below] = *self.keys.lock();
        below
    }

    /// It was found there.
    pub(super) fn found_at(&self, parent: Arc<OverlayInode>, name: &[u8]) {
        let old = self.place.lock().replace((parent, Box::from(name)));
        drop(old);
    }

    /// That name is gone.
    pub(super) fn lost(&self, parent: &OverlayInode, name: &[u8]) {
        let mut place = self.place.lock();
        let is_this = |(at, known): &(Arc<OverlayInode>, Box<[u8]>)| {
            std::ptr::eq(&**at, parent) && **known == *name
        };
        let old = if place.as_ref().is_some_and(is_this) { place.take() } else { None };
        drop(place);
        drop(old);
    }

    pub(super) fn place(&self) -> Option<(Arc<OverlayInode>, Box<[u8]>)> {
        self.place.lock().clone()
    }

    /// Another inode of this overlay: `EXDEV` for any other.
    pub(super) fn sibling(&self, inode: &Arc<dyn Inode>) -> Result<Arc<OverlayInode>, Errno> {
        let other = inode.clone().as_any().downcast::<OverlayInode>().map_err(|_| Errno::EXDEV)?;
        if Arc::ptr_eq(&other.filesystem, &self.filesystem) { Ok(other) } else { Err(Errno::EXDEV) }
    }

    /// This very inode as a counted one.
    pub(super) fn counted(&self) -> Arc<OverlayInode> {
        self.me.upgrade().expect("whoever calls a method holds the inode")
    }
}

impl Inode for OverlayInode {
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
        let layers = self.layers();
        let mut attributes = layers.top()?.attributes()?;
        (attributes.device, attributes.inode) = self.number;
        if layers.upper.is_some() && layers.lower.is_some() && self.kind == FileKind::Directory {
            // Nobody has counted: one, which tells find(1) not to rely on it.
            attributes.links = 1;
        }
        Ok(attributes)
    }

    fn owner(&self) -> Result<Owner, Errno> {
        self.top()?.owner()
    }

    fn touch(&self, policy: AccessTime) {
        if let Some(upper) = self.upper() {
            upper.touch(policy);
        }
    }

    fn strip_privileges(&self, keeps_set_id: bool) {
        // Whoever writes has copied it up.
        if let Some(upper) = self.upper() {
            upper.strip_privileges(keeps_set_id);
        }
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        let upper = match change.size {
            Some(size) => self.copy_up_to(size)?,
            None => self.copy_up()?,
        };
        upper.set_attributes(change)
    }

    fn inode_flags(&self) -> Option<InodeFlags> {
        match self.upper() {
            Some(upper) => upper.inode_flags(),
            // As what it will be once it is changed.
            None => self.filesystem.upper.root().inode_flags().map(|_| InodeFlags::empty()),
        }
    }

    fn set_inode_flags(&self, flags: InodeFlags) -> Result<(), Errno> {
        self.copy_up()?.set_inode_flags(flags)
    }

    fn open(
        self: Arc<Self>,
        flags: OpenFlags,
        creds: &Credentials,
    ) -> Result<Box<dyn FileOps>, Errno> {
        match self.kind {
            FileKind::Regular => Ok(Box::new(OpenFile::open(self, flags, creds)?)),
            FileKind::Directory => Ok(Box::new(OpenDirectory::new(self))),
            FileKind::Symlink => Err(Errno::ELOOP),
            _ => Err(Errno::ENXIO),
        }
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        (self.kind == FileKind::Directory).then_some(self)
    }

    fn as_xattrs(&self) -> Option<&dyn Xattrs> {
        xattr::role(self)
    }

    fn read_link(&self, creds: &Credentials) -> Result<LinkTarget, Errno> {
        self.top()?.read_link(creds)
    }

    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        let inner = self.top()?.mappable()?;
        Ok(Arc::new(super::file::Mapping { inner, identity: self.number }))
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Drop for OverlayInode {
    fn drop(&mut self) {
        let is_deleted = self
            .upper()
            .is_some_and(|upper| upper.attributes().is_ok_and(|attributes| attributes.links == 0));
        let keys = *self.keys.lock();
        self.filesystem.forget(keys, is_deleted);
    }
}

impl fmt::Debug for OverlayInode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = if self.upper().is_some() { Layer::Upper } else { Layer::Lower };
        write!(f, "OverlayInode({:?} {:?} {layer:?})", self.kind, self.number)
    }
}
