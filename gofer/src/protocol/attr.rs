// SPDX-License-Identifier: Apache-2.0
//! Attributes of nodes, and changes to them.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A point in time, as statx(2) has it.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds; below a thousand million, or the peer is to be doubted.
    pub nanoseconds: u32,
    /// Zero.
    pub reserved: u32,
}

/// Everything that statx(2) tells of a node.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Attr {
    /// The host's device number of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// The host's mount id; zero where the host does not tell.
    pub mount: u64,
    /// Bytes.
    pub size: u64,
    /// Allocated, in 512-byte units.
    pub blocks: u64,
    /// Device number of a device node.
    pub special_device: u64,
    /// `STATX_ATTR_*` that are set (append-only, immutable, …).
    pub attributes: u64,
    /// Last access.
    pub accessed: Time,
    /// Last modification of contents.
    pub modified: Time,
    /// Last change of metadata.
    pub changed: Time,
    /// Birth, if `has_birth` is not zero.
    pub created: Time,
    /// Type and permissions: `st_mode`.
    pub mode: u32,
    /// Names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Preferred transfer size.
    pub block_size: u32,
    /// Whether `created` is known.
    pub has_birth: u32,
}

const _: () = assert!(size_of::<Attr>() == 144);

/// `S_IFMT`.
pub const TYPE_MASK: u32 = 0o170000;
/// `S_IFREG`.
pub const REGULAR: u32 = 0o100000;
/// `S_IFDIR`.
pub const DIRECTORY: u32 = 0o040000;
/// `S_IFLNK`.
pub const SYMLINK: u32 = 0o120000;
/// `S_IFIFO`.
pub const FIFO: u32 = 0o010000;
/// `S_IFSOCK`.
pub const SOCKET: u32 = 0o140000;
/// `S_IFCHR`.
pub const CHAR_DEVICE: u32 = 0o020000;
/// `S_IFBLK`.
pub const BLOCK_DEVICE: u32 = 0o060000;
/// Set-user-id.
pub const SET_UID: u32 = 0o4000;
/// Set-group-id.
pub const SET_GID: u32 = 0o2000;

impl Attr {
    /// The file type's bits of [`Attr::mode`].
    pub const fn file_type(&self) -> u32 {
        self.mode & TYPE_MASK
    }

    /// Whether it is a directory.
    pub const fn is_directory(&self) -> bool {
        self.file_type() == DIRECTORY
    }

    /// Whether it is a symbolic link.
    pub const fn is_symlink(&self) -> bool {
        self.file_type() == SYMLINK
    }

    /// Which file of the host it is: what decides whether two nodes are the same file.
    pub const fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// How a timestamp is to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUpdate {
    /// To the host's present time.
    Now,
    /// To this.
    To(Time),
}

/// A change of attributes; what is `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits (`07777`).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size.
    pub size: Option<u64>,
    /// Access time.
    pub accessed: Option<TimeUpdate>,
    /// Modification time.
    pub modified: Option<TimeUpdate>,
}

bitflags! {
    /// What a root allows beyond plain files, directories and links.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Policy: u32 {
        /// Nothing may be changed: `EROFS`.
        const READ_ONLY = 1 << 0;
        /// Set-user-id and set-group-id bits may be set on files.
        const SET_ID = 1 << 1;
        /// Device nodes may be opened.
        const OPEN_DEVICES = 1 << 2;
        /// Unix sockets of the host may be connected to (`--host-uds=open`).
        const CONNECT_SOCKETS = 1 << 3;
        /// Unix sockets may be bound that the host can connect to (`--host-uds=create`).
        const BIND_SOCKETS = 1 << 4;
        /// Fifos may be opened (`--host-fifo=open`).
        const OPEN_FIFOS = 1 << 5;
        /// The guest's ids are not the host's: what fstat(2) says of an owner is for the gofer to
        /// translate.
        const MAPS_IDS = 1 << 6;
    }
}
