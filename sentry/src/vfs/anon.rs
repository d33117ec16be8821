// SPDX-License-Identifier: Apache-2.0
//! Inodes outside every file system: what eventfd, epoll, pipes and sockets have behind them.

use std::{
    any::Any,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use abi::{Errno, fcntl::OpenFlags, mount::StatFs};

use super::{
    AttributeChange, Attributes, FileKind, FileOps, Filesystem, Inode, InodeCommon, Mount,
    MountOptions, Timestamp, now,
};
use crate::{
    creds::Credentials,
    sync::{Mutex, levels},
};

/// The file system that anonymous inodes belong to; it has no tree.
#[derive(Debug)]
struct AnonFilesystem {
    device: u64,
}

impl Filesystem for AnonFilesystem {
    fn name(&self) -> &'static str {
        "anon_inodefs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(AnonInode::new(FileKind::Directory, 0o555, 0, 0))
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn statistics(&self) -> Result<StatFs, Errno> {
        Ok(StatFs {
            f_type: ANON_MAGIC,
            f_bsize: 4096,
            f_namelen: 255,
            f_frsize: 4096,
            ..StatFs::default()
        })
    }
}

const ANON_MAGIC: i64 = 0x0904_1934;

static FILESYSTEM: LazyLock<Arc<AnonFilesystem>> =
    LazyLock::new(|| Arc::new(AnonFilesystem { device: super::anonymous_device() }));
static MOUNT: LazyLock<Arc<Mount>> =
    LazyLock::new(|| Mount::new(FILESYSTEM.clone(), b"anon_inodefs", MountOptions::empty()));
static NEXT_INODE: AtomicU64 = AtomicU64::new(1);
/// Linux has one inode for all of eventfd, epoll, timerfd, ….
static SHARED: LazyLock<Arc<AnonInode>> =
    LazyLock::new(|| Arc::new(AnonInode::new(FileKind::Anonymous, 0o600, 0, 0)));

/// The mount that places of anonymous inodes are seen through.
pub fn mount() -> &'static Arc<Mount> {
    &MOUNT
}

/// The inode that all anonymous files share.
pub fn shared_inode() -> Arc<dyn Inode> {
    SHARED.clone()
}

/// A number for an inode outside every tree, as shown in `pipe:[N]` and `socket:[N]`.
pub fn next_inode_number() -> u64 {
    NEXT_INODE.fetch_add(1, Ordering::Relaxed)
}

/// An inode with attributes and nothing else. Pipes and sockets that can be opened again through
/// `/proc/<pid>/fd` have inodes of their own.
#[derive(Debug)]
pub struct AnonInode {
    common: InodeCommon,
    kind: FileKind,
    number: u64,
    created: Timestamp,
    state: Mutex<State, levels::InodeState>,
}

#[derive(Debug)]
struct State {
    permissions: u32,
    uid: u32,
    gid: u32,
    changed: Timestamp,
    modified: Timestamp,
    accessed: Timestamp,
}

impl AnonInode {
    /// A new one with the next number.
    pub fn new(kind: FileKind, permissions: u32, uid: u32, gid: u32) -> AnonInode {
        let now = now();
        AnonInode {
            common: InodeCommon::new(),
            kind,
            number: next_inode_number(),
            created: now,
            state: Mutex::new(State {
                permissions,
                uid,
                gid,
                changed: now,
                modified: now,
                accessed: now,
            }),
        }
    }

    /// `st_ino`.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Inode for AnonInode {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn filesystem(&self) -> Arc<dyn Filesystem> {
        FILESYSTEM.clone()
    }

    fn common(&self) -> &InodeCommon {
        &self.common
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        let state = self.state.lock();
        Ok(Attributes {
            device: FILESYSTEM.device,
            inode: self.number,
            kind: self.kind,
            permissions: state.permissions,
            links: 1,
            uid: state.uid,
            gid: state.gid,
            special_device: 0,
            size: 0,
            block_size: 4096,
            blocks: 0,
            accessed: state.accessed,
            modified: state.modified,
            changed: state.changed,
            created: Some(self.created),
        })
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        if self.kind == FileKind::Anonymous {
            // Linux: the shared inode has no `setattr` of its own but refuses size changes.
            return Err(Errno::EPERM);
        }
        let mut state = self.state.lock();
        if change.size.is_some() {
            return Err(Errno::EINVAL);
        }
        state.permissions = change.permissions.unwrap_or(state.permissions);
        state.uid = change.uid.unwrap_or(state.uid);
        state.gid = change.gid.unwrap_or(state.gid);
        let now = now();
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
        _flags: OpenFlags,
        _creds: &Credentials,
    ) -> Result<Box<dyn FileOps>, Errno> {
        Err(Errno::ENXIO)
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
