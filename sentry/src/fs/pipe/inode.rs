// SPDX-License-Identifier: Apache-2.0
//! The inodes of pipes: without a name, and behind the names of fifos.

use std::{any::Any, sync::Arc};

use abi::{DevId, Errno, fcntl::OpenFlags};

use super::{Fifo, PipeEnd, pair};
use crate::{
    creds::Credentials,
    sync::{Mutex, levels},
    vfs::{
        AttributeChange, Attributes, Caller, FileDescription, FileKind, FileOps, Filesystem, Inode,
        InodeCommon, Place,
        anon::AnonInode,
        devices::{self, Driver},
    },
};

/// The inode of a pipe without a name. It can be opened again through `/proc/<pid>/fd`.
#[derive(Debug)]
struct PipeInode {
    anonymous: Arc<AnonInode>,
    ends: Fifo,
}

impl Inode for PipeInode {
    fn kind(&self) -> FileKind {
        FileKind::Fifo
    }

    fn filesystem(&self) -> Arc<dyn Filesystem> {
        self.anonymous.filesystem()
    }

    fn common(&self) -> &InodeCommon {
        self.anonymous.common()
    }

    fn attributes(&self) -> Result<Attributes, Errno> {
        self.anonymous.attributes()
    }

    fn set_attributes(&self, change: &AttributeChange) -> Result<(), Errno> {
        self.anonymous.set_attributes(change)
    }

    fn opens_itself(&self) -> bool {
        true
    }

    fn open(
        self: Arc<Self>,
        flags: OpenFlags,
        _creds: &Credentials,
    ) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(self.ends.open(flags)?))
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// pipe2(2): the open files of a new pipe's two ends. `flags` are `O_NONBLOCK` and `O_DIRECT`.
pub fn open_pair(
    flags: OpenFlags,
    creds: &Credentials,
) -> (Arc<FileDescription>, Arc<FileDescription>) {
    let (reader, writer) = pair(flags);
    let anonymous = Arc::new(AnonInode::new(FileKind::Fifo, 0o600, creds.fsuid, creds.fsgid));
    let name = format!("pipe:[{}]", anonymous.number());
    let ends = Fifo::of(reader.pipe());
    let inode: Arc<dyn Inode> = Arc::new(PipeInode { anonymous, ends });
    let open = |end: PipeEnd, access: OpenFlags| {
        let inode = Arc::clone(&inode);
        FileDescription::pseudo(Box::new(end), inode, name.as_bytes(), access | flags)
    };
    (open(reader, OpenFlags::RDONLY), open(writer, OpenFlags::WRONLY))
}

/// Opens fifos wherever they lie.
#[derive(Debug, Default)]
struct FifoDriver {
    /// One fifo at a time gets its pipe.
    making: Mutex<(), levels::FileLocks>,
}

impl Driver for FifoDriver {
    fn open(
        &self,
        place: &Place,
        _device: DevId,
        flags: OpenFlags,
        _caller: &mut dyn Caller,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let common = place.inode().common();
        let fifo = {
            let _making = self.making.lock();
            match common.endpoint().and_then(|endpoint| endpoint.downcast::<Fifo>().ok()) {
                Some(fifo) => fifo,
                None => {
                    let fifo = Arc::new(Fifo::new());
                    common.set_endpoint(Some(Arc::clone(&fifo) as Arc<dyn Any + Send + Sync>));
                    fifo
                }
            }
        };
        Ok(Box::new(fifo.open(flags)?))
    }
}

/// Puts pipes behind all fifos. Called once when a kernel is built.
pub fn register() {
    devices::register_kind(FileKind::Fifo, Arc::new(FifoDriver::default()));
}
