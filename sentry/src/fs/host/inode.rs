// SPDX-License-Identifier: Apache-2.0
//! The inode of an imported host file: what fstat(2) and `/proc/<pid>/fd` see of it.

use std::{any::Any, os::fd::OwnedFd, sync::Arc};

use abi::{Errno, fcntl::OpenFlags};

use super::HostFile;
use crate::{
    creds::Credentials,
    vfs::{
        AttributeChange, Attributes, FileDescription, FileKind, FileOps, Filesystem, Inode,
        InodeCommon, Timestamp, anon::AnonInode,
    },
};

/// An imported host file. Size, times and permissions are the host's; number, device and owner are ours.
#[derive(Debug)]
struct HostInode {
    anonymous: Arc<AnonInode>,
    file: HostFile,
}

fn timestamp(seconds: i64, nanoseconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) }
}

impl Inode for HostInode {
    fn kind(&self) -> FileKind {
        self.file.kind()
    }

    fn filesystem(&self) -> Arc<dyn Filesystem> {
        self.anonymous.filesystem()
    }

    fn common(&self) -> &InodeCommon {
        self.anonymous.common()
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        let stat = self.file.stat()?;
        let own = self.anonymous.attributes()?;
        Ok(Attributes {
            permissions: stat.st_mode & 0o7777,
            special_device: stat.st_rdev,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            block_size: u32::try_from(stat.st_blksize).unwrap_or(4096),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
            accessed: timestamp(stat.st_atime, stat.st_atime_nsec),
            modified: timestamp(stat.st_mtime, stat.st_mtime_nsec),
            changed: timestamp(stat.st_ctime, stat.st_ctime_nsec),
            created: None,
            ..own
        })
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        match change.size {
            Some(size) if self.file.kind() == FileKind::Regular => self.file.resize(size),
            Some(_) => Err(Errno::EINVAL),
            // Owner, permissions and times of the host's file are not the guest's to change.
            None => Err(Errno::EPERM),
        }
    }

    fn opens_itself(&self) -> bool {
        true
    }

    /// Opened again through `/proc/<pid>/fd`: the same host file, with rights no wider than it has.
    fn open(
        self: Arc<Self>,
        flags: OpenFlags,
        _creds: &Credentials,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let (has, wants) =
            (self.file.open_flags() & OpenFlags::ACCMODE, flags & OpenFlags::ACCMODE);
        if has != OpenFlags::RDWR && has != wants {
            return Err(Errno::EACCES);
        }
        Ok(Box::new(self.file.clone()))
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Takes a host file over as an open file of the guest.
pub fn open(file: OwnedFd) -> Result<Arc<FileDescription>, Errno> {
    let file = HostFile::import(file)?;
    let (flags, kind) = (file.open_flags(), file.kind());
    let anonymous = Arc::new(AnonInode::new(kind, 0o600, 0, 0));
    let name = match kind {
        FileKind::Fifo => format!("pipe:[{}]", anonymous.number()),
        FileKind::Socket => format!("socket:[{}]", anonymous.number()),
        _ => format!("host:[{}]", anonymous.number()),
    };
    let inode = Arc::new(HostInode { anonymous, file: file.clone() });
    Ok(FileDescription::pseudo(Box::new(file), inode, name.as_bytes(), flags))
}
