// SPDX-License-Identifier: Apache-2.0
//! What a file system offers: inodes, directories, extended attributes.
//!
//! One trait per role, so that a pipe need not say what it does as a directory. Methods may call the
//! gofer, so they are never called under `InodeState` or below. They take `&self`: each file system
//! locks what it must.

use std::{any::Any, fmt, sync::Arc};

use abi::{Errno, fileattr::InodeFlags};

use super::{FileOps, Trust};
use crate::{creds::Credentials, mm::Mappable};

/// What a file is (`S_IFMT`). It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "inode(7)'s own words")]
pub enum FileKind {
    Regular,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
    /// Neither: eventfd and its like, whose `st_mode` has no type.
    Anonymous,
}

/// Seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[allow(missing_docs, reason = "says it")]
pub struct Timestamp {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// What stat(2) and statx(2) tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with set-id and sticky (`07777`).
    pub permissions: u32,
    /// `st_nlink`.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// `st_rdev`, for devices.
    pub special_device: u64,
    /// `st_size`.
    pub size: u64,
    /// `st_blksize`.
    pub block_size: u32,
    /// `st_blocks`, in 512-byte units.
    pub blocks: u64,
    /// Last read.
    pub accessed: Timestamp,
    /// Last change of contents.
    pub modified: Timestamp,
    /// Last change of metadata.
    pub changed: Timestamp,
    /// Birth, where known.
    pub created: Option<Timestamp>,
}

impl FileKind {
    /// The type's bits in `st_mode`.
    pub const fn mode_bits(self) -> u32 {
        match self {
            FileKind::Regular => 0o100_000,
            FileKind::Directory => 0o040_000,
            FileKind::Symlink => 0o120_000,
            FileKind::Fifo => 0o010_000,
            FileKind::Socket => 0o140_000,
            FileKind::CharDevice => 0o020_000,
            FileKind::BlockDevice => 0o060_000,
            FileKind::Anonymous => 0,
        }
    }

    /// `d_type` of a directory entry.
    pub const fn entry_type(self) -> u8 {
        // DT_x is the type's bits moved down (`S_DT`).
        (self.mode_bits() >> 12) as u8
    }
}

impl Attributes {
    /// `st_mode`: type and permissions.
    pub const fn mode(&self) -> u32 {
        self.kind.mode_bits() | self.permissions
    }
}

/// What a permission check needs of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Permission bits with set-id and sticky (`07777`).
    pub permissions: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Which reads move the access time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessTime {
    /// None (`noatime`, `O_NOATIME`).
    Never,
    /// Those that come after a change, and one a day (`relatime`).
    Relative,
    /// All (`strictatime`).
    Always,
}

/// What [`Directory::lookup_path`] found.
#[derive(Debug, Clone)]
pub struct Walked {
    /// The children, one after the other, as far as they are known.
    pub inodes: Vec<Arc<dyn Inode>>,
    /// Whether the name after the last of them is known not to exist.
    pub missing: bool,
}

/// How a timestamp is to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    /// `UTIME_NOW`.
    Now,
    /// To this.
    To(Timestamp),
}

impl TimeChange {
    /// The time to store, given the time it is now.
    pub fn or(self, now: Timestamp) -> Timestamp {
        match self {
            TimeChange::Now => now,
            TimeChange::To(time) => time,
        }
    }
}

/// A change of attributes, already permitted. Fields that are `None` stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttributeChange {
    /// New permission bits (`07777`).
    pub permissions: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New size: truncate or extend with a hole.
    pub size: Option<u64>,
    /// New access time.
    pub accessed: Option<TimeChange>,
    /// New modification time.
    pub modified: Option<TimeChange>,
}

/// Where a symbolic link leads.
#[derive(Debug, Clone)]
pub enum LinkTarget {
    /// A path to resolve.
    Text(Vec<u8>),
    /// Straight to a place, whatever the text says: `/proc/<pid>/{exe,cwd,root,fd/N}`.
    Magic(super::Place),
}

/// What to make in a directory.
#[derive(Debug, Clone)]
pub enum NewNode<'a> {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link with this text.
    Symlink(&'a [u8]),
    /// A fifo.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    CharDevice(u64),
    /// A block device.
    BlockDevice(u64),
}

/// How rename(2) treats the new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces it.
    Replace,
    /// `RENAME_NOREPLACE`.
    NoReplace,
    /// `RENAME_EXCHANGE`.
    Exchange,
    /// `RENAME_WHITEOUT`.
    Whiteout,
}

/// A mounted file system's own state (Linux's superblock).
pub trait Filesystem: Send + Sync + fmt::Debug {
    /// The type, as `/proc/mounts` shows it.
    fn name(&self) -> &'static str;

    /// The root directory (or the file that a bind mount shows).
    fn root(&self) -> Arc<dyn Inode>;

    /// `st_dev` of its files.
    fn device(&self) -> u64;

    /// statfs(2).
    fn statistics(&self) -> Result<abi::mount::StatFs, Errno>;

    /// The options that `/proc/mounts` shows after `rw` or `ro`, each with its leading comma.
    fn options(&self) -> String {
        String::new()
    }

    /// syncfs(2).
    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether it is read-only as a whole, whatever its mounts say.
    fn is_read_only(&self) -> bool {
        false
    }

    /// mount(2) with `MS_REMOUNT`: read-only or not, and options as its text. `EINVAL` for what cannot change.
    fn reconfigure(&self, _read_only: bool, _options: &[u8]) -> Result<(), Errno> {
        Ok(())
    }

    /// How far names found once may be believed without asking again by [`Directory::confirm`] (host
    /// directories, `/proc/<pid>`).
    fn trust(&self) -> Trust {
        Trust::Always
    }
}

/// A file as its file system knows it.
pub trait Inode: Send + Sync + fmt::Debug + Any {
    /// What it is.
    fn kind(&self) -> FileKind;

    /// The file system it belongs to.
    fn filesystem(&self) -> Arc<dyn Filesystem>;

    /// What the VFS keeps with every inode: each implementation embeds one.
    fn common(&self) -> &super::InodeCommon;

    /// Its attributes now.
    fn attributes(&self) -> Result<Attributes, Errno>;

    /// Owner and permissions: what a path walk asks of every directory on its way. Override it where
    /// this is cheaper than all attributes.
    fn owner(&self) -> Result<Owner, Errno> {
        let all = self.attributes()?;
        Ok(Owner { permissions: all.permissions, uid: all.uid, gid: all.gid })
    }

    /// It was read. For file systems that keep access times themselves.
    fn touch(&self, _policy: AccessTime) {}

    /// Written to or truncated: set-id bits (unless `keeps_set_id`) and `security.capability` go. For
    /// file systems that keep them themselves.
    fn strip_privileges(&self, _keeps_set_id: bool) {}

    /// Whether a fifo, socket or device of this file system is opened by [`Inode::open`] rather than by
    /// the kernel's own drivers ([`super::devices`]).
    fn opens_itself(&self) -> bool {
        false
    }

    /// Changes attributes. `EPERM` where the file system has none to change, `EROFS` likewise.
    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno>;

    /// chattr(1)'s flags; `None` where the file system has none.
    fn inode_flags(&self) -> Option<InodeFlags> {
        None
    }

    /// Sets them, as permitted. `EOPNOTSUPP` for those that the file system does not know.
    fn set_inode_flags(&self, _flags: InodeFlags) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Opens it. `flags` are open(2)'s, already permitted; creation and truncation have been dealt with.
    /// `ENXIO` for sockets and for devices that nobody implements. Never blocks: a fifo's open that has
    /// to wait for its peer does so through [`FileOps::open_wait`].
    fn open(
        self: Arc<Self>,
        flags: abi::fcntl::OpenFlags,
        creds: &Credentials,
    ) -> Result<Box<dyn FileOps>, Errno>;

    /// Its role as a directory.
    fn as_directory(&self) -> Option<&dyn Directory> {
        None
    }

    /// Its extended attributes, where it can have some.
    fn as_xattrs(&self) -> Option<&dyn Xattrs> {
        None
    }

    /// Where a symbolic link leads; `EINVAL` for anything else.
    fn read_link(&self, _creds: &Credentials) -> Result<LinkTarget, Errno> {
        Err(Errno::EINVAL)
    }

    /// Its contents for mmap(2); `ENODEV` where there are none.
    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        Err(Errno::ENODEV)
    }

    /// Whether it is there at all. Only for file systems whose names are not believed for good.
    fn revalidate(&self) -> bool {
        true
    }

    /// Whether something may be mounted on it (Linux's `DCACHE_CANT_MOUNT`).
    fn may_be_covered(&self) -> bool {
        true
    }

    /// For downcasts within one file system.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A directory's side of an inode. Names are checked: no slash, no NUL, not `.` or `..`, at most 255 bytes.
pub trait Directory: Send + Sync {
    /// The child of that name; `ENOENT` if there is none.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, Errno>;

    /// The chain of children named by `names`, as far as they are directories that one request can walk:
    /// at least the first, or an error that is not `ENOENT`. For file systems behind a gofer.
    fn lookup_path(&self, names: &[&[u8]]) -> Result<Walked, Errno> {
        let first = names.first().ok_or(Errno::ENOENT)?;
        match self.lookup(first) {
            Ok(inode) => Ok(Walked { inodes: vec![inode], missing: false }),
            Err(Errno::ENOENT) => Ok(Walked { inodes: Vec::new(), missing: true }),
            Err(errno) => Err(errno),
        }
    }

    /// How many of the `known` names, each in the directory that the one before it led to, still lead to
    /// these inodes, which are brought up to date. It is enough to look at the first.
    fn confirm(&self, known: &[(&[u8], Arc<dyn Inode>)]) -> usize {
        known.iter().take(1).filter(|(_, inode)| inode.revalidate()).count()
    }

    /// Makes a child; `EEXIST` if the name is taken. The owner is `uid`, `gid` (set-group-id directories
    /// have been considered); `permissions` have seen the umask.
    fn create(
        &self,
        name: &[u8],
        node: NewNode<'_>,
        permissions: u32,
        uid: u32,
        gid: u32,
    ) -> Result<Arc<dyn Inode>, Errno>;

    /// Gives `inode` (of the same file system, not a directory) another name here.
    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno>;

    /// Takes the name of a non-directory away. `inode` is what the caller found there.
    fn unlink(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno>;

    /// Takes an empty directory away; `ENOTEMPTY` otherwise.
    fn remove_directory(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<(), Errno>;

    /// Moves `inode` from `name` here to `new_name` in `new_parent` (of the same file system). Kinds and
    /// ancestry have been checked; emptiness of a replaced directory has not (`ENOTEMPTY`).
    fn rename(
        &self,
        name: &[u8],
        inode: &Arc<dyn Inode>,
        new_parent: &Arc<dyn Inode>,
        new_name: &[u8],
        replaced: Option<&Arc<dyn Inode>>,
        mode: RenameMode,
    ) -> Result<(), Errno>;

    /// An unnamed regular file (`O_TMPFILE`).
    fn create_unnamed(
        &self,
        _permissions: u32,
        _uid: u32,
        _gid: u32,
    ) -> Result<Arc<dyn Inode>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}

/// xattr(7). Namespaces and permission are checked by the VFS; the file system says what it stores.
pub trait Xattrs: Send + Sync {
    /// The value; `ENODATA` if there is none.
    fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno>;

    /// Sets it; `create` and `replace` as `XATTR_CREATE` and `XATTR_REPLACE`.
    fn set(&self, name: &[u8], value: &[u8], create: bool, replace: bool) -> Result<(), Errno>;

    /// All names.
    fn list(&self) -> Result<Vec<Vec<u8>>, Errno>;

    /// Takes one away; `ENODATA` if there is none.
    fn remove(&self, name: &[u8]) -> Result<(), Errno>;
}
