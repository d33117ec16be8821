// SPDX-License-Identifier: Apache-2.0
//! The file systems that can be mounted by name: by runsc for the container, by the guest with mount(2).

use std::sync::Arc;

use abi::Errno;

use super::{Kernel, cgroup::Group, jobs::Jobs, view::System};
use crate::{
    creds::Credentials,
    fs::{cgroup, dev, devpts, proc, sys, tmpfs},
    ipc::mq,
    task::calling,
    vfs::{FileOps, Filesystem, Inode, Mount, MountOptions},
};

/// Names in the order of `/proc/filesystems`, and whether they want a device.
pub(super) const NAMES: &[(&str, bool)] = &[
    ("sysfs", false),
    ("tmpfs", false),
    ("proc", false),
    ("cgroup2", false),
    ("devtmpfs", false),
    ("devpts", false),
    ("mqueue", false),
    ("ramfs", false),
    ("overlay", false),
];

impl Kernel {
    /// A new file system of type `name`, made by `creds`, with mount(2)'s `data`; `ENODEV` for types that are not there.
    pub fn new_filesystem(
        &self,
        name: &[u8],
        data: &[u8],
        creds: &Credentials,
    ) -> Result<Arc<dyn Filesystem>, Errno> {
        match name {
            b"tmpfs" | b"ramfs" => {
                Ok(tmpfs::Tmpfs::new(tmpfs::Options::parse(data, creds.fsuid, creds.fsgid)?))
            }
            b"mqueue" => Ok(Arc::clone(self.message_queues().filesystem())),
            b"proc" => Ok(proc::new(Arc::new(System(self.weak())))),
            b"sysfs" => Ok(sys::new(self.limits().cpus)),
            // A group of version 1 has version 2's files, too: there is one hierarchy inside.
            b"cgroup" | b"cgroup2" => Ok(cgroup::new(Arc::new(Group(self.weak())))),
            b"devpts" => {
                let text = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
                Ok(self.new_devpts(devpts::Options::parse(text)?).filesystem())
            }
            b"devtmpfs" => {
                let filesystem = tmpfs::Tmpfs::named(
                    "devtmpfs",
                    tmpfs::Options::parse(data, creds.fsuid, creds.fsgid)?,
                );
                let root = filesystem.root();
                dev::populate(root.as_directory().ok_or(Errno::ENOTDIR)?)?;
                Ok(filesystem)
            }
            _ => Err(Errno::ENODEV),
        }
    }

    /// Whether there is a type `name`.
    pub fn has_filesystem(&self, name: &[u8]) -> bool {
        NAMES.iter().any(|(known, _)| known.as_bytes() == name)
    }

    /// Whether a file system of type `name` takes this one of mount(2)'s options.
    pub fn check_filesystem_option(&self, name: &[u8], option: &[u8]) -> Result<(), Errno> {
        match name {
            b"tmpfs" | b"ramfs" | b"devtmpfs" => tmpfs::Options::parse(option, 0, 0).map(drop),
            b"devpts" => {
                let text = std::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
                devpts::Options::parse(text).map(drop)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// What mq_open(2) looks in. One file system, however often it is mounted.
    pub fn message_queues(&self) -> Arc<Mount> {
        self.ipc().mq.mount(|| {
            let options = tmpfs::Options { mode: 0o1777, ..tmpfs::Options::default() };
            let filesystem = tmpfs::Tmpfs::with_opener("mqueue", options, open_queue);
            Mount::new(filesystem, b"mqueue", MountOptions::empty())
        })
    }

    /// A new instance of devpts: what [`Kernel::new_filesystem`] mounts, for those who want its masters.
    pub fn new_devpts(&self, options: devpts::Options) -> Arc<devpts::Devpts> {
        devpts::Devpts::new(Arc::new(Jobs(self.weak())), options)
    }
}

/// A queue that is opened, or made, by its name in a mounted file system.
fn open_queue(inode: &Arc<dyn Inode>, creds: &Credentials) -> Result<Box<dyn FileOps>, Errno> {
    let queue = match mq::queue_of(inode) {
        Some(queue) => queue,
        None => {
            let task = calling::task().ok_or(Errno::ENXIO)?;
            let kernel = task.kernel().ok_or(Errno::ENXIO)?;
            let queue = kernel.ipc().mq.make(mq::Size::default(), task.queue_maker(creds))?;
            inode.common().set_endpoint(Some(Arc::clone(&queue) as _));
            queue
        }
    };
    Ok(Box::new(mq::QueueFile::new(queue)))
}
