// SPDX-License-Identifier: Apache-2.0
//! Trees that are made up: what proc, sys and devpts have in common.
//!
//! * **The types to know.** A [`PseudoFilesystem`] is one mount's worth of it; a [`Node`] is an inode
//!   whose body is a [`Tree`] (a directory), a [`Text`] (a file made when it is read), a [`Link`], a
//!   device, or something [special](Special) that opens itself.
//! * **Invariants.** A tree is asked anew at each look: nothing about tasks is kept here. A [`Life`] says
//!   when a node's subject is gone; the path walk asks it.
//! * **Lock levels.** `InodeState` for attributes, `Leaf` for the text of an open file.

mod directory;
mod file;
mod tree;

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use abi::{Errno, fcntl::OpenFlags, mount::StatFs};

pub use file::TextFile;
pub use tree::{Entries, Entry, StaticTree};

use crate::{
    creds::Credentials,
    sync::{Mutex, levels},
    vfs::{
        self, AttributeChange, Attributes, Directory, FileKind, FileOps, Filesystem, Inode,
        InodeCommon, LinkTarget, Timestamp, Trust,
    },
};

/// A directory that is made up at each look.
pub trait Tree: Send + Sync {
    /// The child of that name; `ENOENT` if there is none.
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno>;

    /// All children but `.` and `..`, in the order in which they are shown.
    fn entries(&self, filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno>;

    /// Subdirectories, for `st_nlink`.
    fn subdirectories(&self) -> u32 {
        0
    }
}

/// A file whose text is made when it is read.
pub trait Text: Send + Sync {
    /// The whole text now, for who opened it.
    fn read(&self, opener: &Credentials) -> Result<Vec<u8>, Errno>;

    /// A write of `bytes`, all of them at once.
    fn write(&self, _bytes: &[u8], _opener: &Credentials) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Whether it may be opened at all.
    fn check(&self, _opener: &Credentials) -> Result<(), Errno> {
        Ok(())
    }
}

impl<F: Fn() -> String + Send + Sync> Text for F {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        Ok(self().into_bytes())
    }
}

/// A symbolic link that is made up.
pub trait Link: Send + Sync {
    /// Where it leads, for who asks.
    fn target(&self, asker: &Credentials) -> Result<LinkTarget, Errno>;

    /// Whether something may be mounted on it.
    fn may_be_covered(&self) -> bool {
        true
    }
}

impl<F: Fn() -> Vec<u8> + Send + Sync> Link for F {
    fn target(&self, _asker: &Credentials) -> Result<LinkTarget, Errno> {
        Ok(LinkTarget::Text(self()))
    }
}

/// A file that opens itself.
pub trait Special: Send + Sync {
    /// What open(2) makes.
    fn open(&self, flags: OpenFlags, opener: &Credentials) -> Result<Box<dyn FileOps>, Errno>;
}

/// What a node is about, if that can go away or belongs to somebody.
pub trait Life: Send + Sync {
    /// Whether it is still there.
    fn is_alive(&self) -> bool;

    /// Who owns its nodes now.
    fn owner(&self) -> (u32, u32);
}

/// What a node is.
pub enum Body {
    /// A directory.
    Tree(Box<dyn Tree>),
    /// A text file.
    Text(Box<dyn Text>),
    /// A symbolic link.
    Link(Box<dyn Link>),
    /// A file that opens itself.
    Special(Box<dyn Special>),
    /// A character device with this number, opened by whoever drives it.
    Device(u64),
    /// A character device with this number that opens itself.
    OwnDevice(u64, Box<dyn Special>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl Body {
    fn kind(&self) -> FileKind {
        match self {
            Body::Tree(_) => FileKind::Directory,
            Body::Text(_) | Body::Special(_) => FileKind::Regular,
            Body::Link(_) => FileKind::Symlink,
            Body::Device(_) | Body::OwnDevice(..) => FileKind::CharDevice,
        }
    }
}

/// What a made-up file system says of itself.
#[derive(Debug, Clone)]
pub struct Description {
    /// `proc`, `sysfs`, `devpts`.
    pub name: &'static str,
    /// `f_type` of statfs(2).
    pub magic: i64,
    /// As [`Filesystem::options`].
    pub options: String,
    /// Whether names are believed for good, or never ([`Filesystem::trust`]).
    pub is_cacheable: bool,
}

/// One made-up file system.
pub struct PseudoFilesystem {
    description: Description,
    device: u64,
    next_number: AtomicU64,
    root: OnceLock<Arc<Node>>,
    made: Timestamp,
}

impl PseudoFilesystem {
    /// A file system whose root is `tree`.
    pub fn new(
        description: Description,
        permissions: u32,
        tree: Box<dyn Tree>,
    ) -> Arc<PseudoFilesystem> {
        let filesystem = Arc::new(PseudoFilesystem {
            description,
            device: vfs::anonymous_device(),
            next_number: AtomicU64::new(2),
            root: OnceLock::new(),
            made: vfs::now(),
        });
        let root = filesystem.node_numbered(1, permissions, Body::Tree(tree), None);
        filesystem.root.get_or_init(|| root);
        filesystem
    }

    /// A new node with the next free number.
    pub fn node(self: &Arc<Self>, permissions: u32, body: Body) -> Arc<Node> {
        self.node_numbered(self.next_number(), permissions, body, None)
    }

    /// A node about something that can go away. `number` tells it from others for stat(2).
    pub fn node_numbered(
        self: &Arc<Self>,
        number: u64,
        permissions: u32,
        body: Body,
        life: Option<Arc<dyn Life>>,
    ) -> Arc<Node> {
        Arc::new(Node {
            common: InodeCommon::new(),
            filesystem: Arc::downgrade(self),
            device: self.device,
            number,
            kind: body.kind(),
            body,
            life,
            state: Mutex::new(NodeState {
                permissions,
                uid: 0,
                gid: 0,
                accessed: self.made,
                modified: self.made,
                changed: self.made,
            }),
        })
    }

    /// Whether it is proc, whose directories refuse in their own way.
    pub(super) fn is_proc(&self) -> bool {
        self.description.name == "proc"
    }

    /// A number that no other node has.
    pub fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }
}

impl Filesystem for PseudoFilesystem {
    fn name(&self) -> &'static str {
        self.description.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::clone(self.root.get().expect("set before anybody sees the file system")) as _
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn statistics(&self) -> Result<StatFs, Errno> {
        Ok(StatFs {
            f_type: self.description.magic,
            f_bsize: 4096,
            f_namelen: 255,
            f_frsize: 4096,
            ..StatFs::default()
        })
    }

    fn options(&self) -> String {
        self.description.options.clone()
    }

    fn trust(&self) -> Trust {
        if self.description.is_cacheable { Trust::Always } else { Trust::Never }
    }
}

impl fmt::Debug for PseudoFilesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PseudoFilesystem({})", self.description.name)
    }
}

#[derive(Debug, Clone, Copy)]
struct NodeState {
    permissions: u32,
    uid: u32,
    gid: u32,
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
}

/// An inode of a made-up file system.
pub struct Node {
    common: InodeCommon,
    filesystem: Weak<PseudoFilesystem>,
    device: u64,
    number: u64,
    kind: FileKind,
    body: Body,
    life: Option<Arc<dyn Life>>,
    state: Mutex<NodeState, levels::InodeState>,
}

impl Node {
    /// Gives the node to somebody: for devices that belong to who made them.
    pub fn own(&self, uid: u32, gid: u32) {
        let mut state = self.state.lock();
        (state.uid, state.gid) = (uid, gid);
    }

    /// What it is.
    pub fn body(&self) -> &Body {
        &self.body
    }

    fn pseudo(&self) -> Arc<PseudoFilesystem> {
        self.filesystem.upgrade().expect("a mount or an open file keeps the file system")
    }
}

impl Inode for Node {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn filesystem(&self) -> Arc<dyn Filesystem> {
        self.pseudo()
    }

    fn may_be_covered(&self) -> bool {
        !matches!(&self.body, Body::Link(link) if !link.may_be_covered())
    }

    fn common(&self) -> &InodeCommon {
        &self.common
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        let state = *self.state.lock();
        let (uid, gid) = self.life.as_ref().map_or((state.uid, state.gid), |life| life.owner());
        let (links, special_device) = match &self.body {
            Body::Tree(tree) => (2 + tree.subdirectories(), 0),
            Body::Device(number) | Body::OwnDevice(number, _) => (1, *number),
            _ => (1, 0),
        };
        Ok(Attributes {
            device: self.device,
            inode: self.number,
            kind: self.kind,
            permissions: state.permissions,
            links,
            uid,
            gid,
            special_device,
            size: 0,
            block_size: 1024,
            blocks: 0,
            accessed: state.accessed,
            modified: state.modified,
            changed: state.changed,
            created: None,
        })
    }

    fn opens_itself(&self) -> bool {
        matches!(self.body, Body::OwnDevice(..))
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        if self.life.is_some() {
            // A task's files are not to be given away (`proc_setattr()`): only a truncation passes.
            let only_size = AttributeChange { size: change.size, ..AttributeChange::default() };
            return if *change == only_size { Ok(()) } else { Err(Errno::EPERM) };
        }
        let now = vfs::now();
        let mut state = self.state.lock();
        state.permissions = change.permissions.unwrap_or(state.permissions);
        state.uid = change.uid.unwrap_or(state.uid);
        state.gid = change.gid.unwrap_or(state.gid);
        if let Some(time) = change.accessed {
            state.accessed = time.or(now);
        }
        if let Some(time) = change.modified {
            state.modified = time.or(now);
        }
        state.changed = now;
        Ok(())
    }

    fn open(
        self: Arc<Self>,
        flags: OpenFlags,
        creds: &Credentials,
    ) -> Result<Box<dyn FileOps>, Errno> {
        match &self.body {
            Body::Tree(_) => Ok(Box::new(directory::OpenDirectory::new(self))),
            Body::Text(text) => {
                text.check(creds)?;
                Ok(Box::new(TextFile::new(self, creds.clone())))
            }
            Body::Special(special) | Body::OwnDevice(_, special) => special.open(flags, creds),
            Body::Link(_) => Err(Errno::ELOOP),
            Body::Device(_) => Err(Errno::ENXIO),
        }
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        matches!(self.body, Body::Tree(_)).then_some(self as &dyn Directory)
    }

    fn read_link(&self, creds: &Credentials) -> Result<LinkTarget, Errno> {
        match &self.body {
            Body::Link(link) => link.target(creds),
            _ => Err(Errno::EINVAL),
        }
    }

    fn revalidate(&self) -> bool {
        self.life.as_ref().is_none_or(|life| life.is_alive())
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({:?} {})", self.kind, self.number)
    }
}
