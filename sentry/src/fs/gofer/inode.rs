// SPDX-License-Identifier: Apache-2.0
//! A file of the host: its node, what is known of it, the descriptors that are open on it.

use std::{
    any::Any,
    fmt,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, OnceLock, Weak},
};

use abi::{Errno, fcntl::OpenFlags};
use gofer::{client::Node, protocol::Attr};
use platform::hostio;

use super::{
    Access, GoferFilesystem, attributes, directory::OpenDirectory, regular::OpenFile, xattr,
};
use crate::{
    creds::Credentials,
    mm::Mappable,
    sync::{Mutex, levels},
    vfs::{
        AttributeChange, Attributes, Directory, FileKind, FileOps, Filesystem, Inode, InodeCommon,
        Learnt, LinkTarget, Owner, Xattrs,
    },
};

/// One file of the host.
pub(super) struct GoferInode {
    pub(super) filesystem: Arc<GoferFilesystem>,
    pub(super) node: Arc<Node>,
    kind: FileKind,
    pub(super) identity: (u64, u64),
    /// The device number that the guest sees.
    device: u64,
    common: InodeCommon,
    known: Mutex<Known, levels::InodeState>,
    /// By access mode: `O_RDONLY`, `O_WRONLY`, `O_RDWR`.
    open: Mutex<[Weak<OwnedFd>; 3], levels::Leaf>,
    /// A symbolic link's text never changes.
    link: OnceLock<Vec<u8>>,
}

struct Known {
    attr: Attr,
    /// When the host said so.
    learnt: Learnt,
    /// Whether something has happened that changes attributes.
    is_stale: bool,
    /// Whether they can change unseen: others may write, or a writable mapping exists.
    is_volatile: bool,
}

impl GoferInode {
    pub(super) fn new(filesystem: Arc<GoferFilesystem>, node: Arc<Node>, attr: Attr) -> GoferInode {
        let is_volatile = filesystem.access == Access::Shared;
        GoferInode {
            kind: attributes::kind(&attr),
            identity: attr.identity(),
            device: filesystem.shown_device(attr.device),
            filesystem,
            node,
            common: InodeCommon::new(),
            known: Mutex::new(Known { attr, learnt: Learnt::now(), is_stale: false, is_volatile }),
            open: Mutex::new([Weak::new(), Weak::new(), Weak::new()]),
            link: OnceLock::new(),
        }
    }

    /// The gofer has just said so.
    pub(super) fn learn(&self, attr: &Attr) {
        let mut known = self.known.lock();
        known.attr = *attr;
        known.learnt = Learnt::now();
        known.is_stale = false;
    }

    /// Whether the host said so recently, if that matters.
    pub(super) fn is_recent(&self) -> bool {
        self.is_young(&self.known.lock())
    }

    fn is_young(&self, known: &Known) -> bool {
        self.filesystem.access == Access::Exclusive || known.learnt.is_recent()
    }

    /// Something has changed it.
    pub(super) fn changed(&self) {
        self.known.lock().is_stale = true;
    }

    /// From now on it may change unseen: it is mapped for writing.
    pub(super) fn mapped_writable(&self) {
        self.known.lock().is_volatile = true;
    }

    pub(super) fn set_link(&self, text: Vec<u8>) {
        // Whoever came first said the same.
        let _ = self.link.set(text);
    }

    /// What is known, brought up to date first where it may have changed.
    fn attr(&self) -> Result<Attr, Errno> {
        {
            let known = self.known.lock();
            if !known.is_stale && !known.is_volatile && self.is_young(&known) {
                return Ok(known.attr);
            }
        }
        let attr = match self.any_open() {
            Some(file) => {
                let stat = hostio::status(file.as_fd())?;
                let mut known = self.known.lock();
                let owner = (known.attr.uid, known.attr.gid);
                attributes::refresh(&mut known.attr, &stat);
                if self.filesystem.maps_ids() {
                    (known.attr.uid, known.attr.gid) = owner;
                }
                known.learnt = Learnt::now();
                known.is_stale = false;
                known.attr
            }
            None => {
                let attr = self.node.attr()?;
                self.learn(&attr);
                attr
            }
        };
        Ok(attr)
    }

    fn any_open(&self) -> Option<Arc<OwnedFd>> {
        self.open.lock().iter().find_map(Weak::upgrade)
    }

    /// A descriptor with this access mode, shared with all who have the file open so: it has no position
    /// and no flags that matter.
    pub(super) fn descriptor(&self, flags: OpenFlags) -> Result<Arc<OwnedFd>, Errno> {
        let mode = flags & OpenFlags::ACCMODE;
        let open = self.open.lock();
        let [reading, writing, both] = &*open;
        let shared = match mode {
            OpenFlags::RDWR => both.upgrade(),
            // A file that was just made has a descriptor for both; nobody can read through an open
            // that is for writing.
            OpenFlags::WRONLY => writing.upgrade().or_else(|| both.upgrade()),
            _ => reading.upgrade(),
        };
        drop(open);
        if let Some(file) = shared {
            return Ok(file);
        }
        let file = Arc::new(self.node.open(mode)?);
        if mode != OpenFlags::RDONLY {
            self.forget_reading();
        }
        self.opened(mode, &file);
        if mode == OpenFlags::RDONLY && self.filesystem.access != Access::Shared {
            self.filesystem.keep(&file);
        }
        Ok(file)
    }

    /// Who opens it next for reading gets a new descriptor. On the host's overlay the first open for writing
    /// moves a file to the upper layer, and mappings through older descriptors show the lower one for ever.
    fn forget_reading(&self) {
        let mut open = self.open.lock();
        let [reading, ..] = &mut *open;
        let old = std::mem::take(reading).upgrade();
        drop(open);
        if let Some(file) = old {
            self.filesystem.let_go(&file);
        }
    }

    /// Remembers a donated descriptor.
    pub(super) fn opened(&self, mode: OpenFlags, file: &Arc<OwnedFd>) {
        let mut open = self.open.lock();
        let [reading, writing, both] = &mut *open;
        let slot = match mode {
            OpenFlags::RDWR => both,
            OpenFlags::WRONLY => writing,
            _ => reading,
        };
        *slot = Arc::downgrade(file);
    }

    /// It has lost a name: descriptors that nobody uses must not keep its contents.
    pub(super) fn unlinked(&self) {
        self.changed();
        let open: Vec<_> = self.open.lock().iter().filter_map(Weak::upgrade).collect();
        for file in open {
            self.filesystem.let_go(&file);
        }
    }
}

impl Inode for GoferInode {
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
        Ok(attributes::shown(&self.attr()?, self.device))
    }

    fn owner(&self) -> Result<Owner, Errno> {
        // Only the guest's own chmod and chown change these, or a walk has just asked for them.
        let known = self.known.lock();
        let attr = &known.attr;
        Ok(Owner { permissions: attr.mode & 0o7777, uid: attr.uid, gid: attr.gid })
    }

    fn strip_privileges(&self, keeps_set_id: bool) {
        const SET_UID: u32 = 0o4000;
        const SET_GID: u32 = 0o2000;
        const GROUP_EXECUTE: u32 = 0o010;
        let permissions = self.known.lock().attr.mode & 0o7777;
        let mut stripped = permissions & !SET_UID;
        if permissions & GROUP_EXECUTE != 0 {
            stripped &= !SET_GID;
        }
        // The host takes `security.capability` away at every write, and the bits too, for the sentry
        // has no right to keep them. DIFFERS: a guest with CAP_FSETID loses the bits by write(2) as
        // well, since the host does not know of it.
        if !keeps_set_id && stripped != permissions {
            let change =
                AttributeChange { permissions: Some(stripped), ..AttributeChange::default() };
            if let Err(errno) = self.set_attributes(&change) {
                tracing::warn!(%errno, "the set-id bits of a file that is written to stay");
            }
        }
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        let attr = self.node.set_attr(attributes::change(change))?;
        self.learn(&attr);
        Ok(())
    }

    fn open(
        self: Arc<Self>,
        flags: OpenFlags,
        _creds: &Credentials,
    ) -> Result<Box<dyn FileOps>, Errno> {
        match self.kind {
            FileKind::Regular => {
                let file = self.descriptor(flags)?;
                Ok(Box::new(OpenFile::new(self, file, flags)))
            }
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

    fn read_link(&self, _creds: &Credentials) -> Result<LinkTarget, Errno> {
        if self.kind != FileKind::Symlink {
            return Err(Errno::EINVAL);
        }
        if let Some(text) = self.link.get() {
            return Ok(LinkTarget::Text(text.clone()));
        }
        let text = self.node.read_link()?;
        self.set_link(text.clone());
        Ok(LinkTarget::Text(text))
    }

    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        if self.kind != FileKind::Regular {
            return Err(Errno::ENODEV);
        }
        let file = self.descriptor(OpenFlags::RDONLY)?;
        Ok(Arc::new(super::regular::Mapping { file, identity: (self.device, self.identity.1) }))
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl GoferInode {
    /// What a shared futex and `/proc/<pid>/maps` know it by.
    pub(super) fn shown_identity(&self) -> (u64, u64) {
        (self.device, self.identity.1)
    }

    /// Another inode of this file system: `EXDEV` for any other.
    pub(super) fn sibling(&self, inode: &Arc<dyn Inode>) -> Result<Arc<GoferInode>, Errno> {
        let other = inode.clone().as_any().downcast::<GoferInode>().map_err(|_| Errno::EXDEV)?;
        if Arc::ptr_eq(&other.filesystem, &self.filesystem) { Ok(other) } else { Err(Errno::EXDEV) }
    }
}

impl Drop for GoferInode {
    fn drop(&mut self) {
        self.filesystem.forget(self.identity);
    }
}

impl fmt::Debug for GoferInode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, number) = self.shown_identity();
        write!(f, "GoferInode({:?} {device:#x}:{number})", self.kind)
    }
}
