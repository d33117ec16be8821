// SPDX-License-Identifier: Apache-2.0
//! The devices that every container has: null(4), zero, full, random(4), tty(4), and their names in `/dev`.
//!
//! Device nodes are ordinary inodes of whatever file system they lie in; [`register`] says once who
//! opens which number.

mod memory;

use std::sync::Arc;

use abi::{DevId, Errno, fcntl::OpenFlags};

pub(crate) use memory::random;

use super::devpts;
use crate::vfs::{Caller, Directory, FileKind, FileOps, Inode, NewNode, Place, devices};

/// Puts the drivers in charge of their numbers.
pub fn register() {
    for (minor, kind) in memory::KINDS {
        let driver = Arc::new(memory::Driver { kind: *kind });
        devices::register(FileKind::CharDevice, 1, *minor..=*minor, driver);
    }
    devices::register(FileKind::CharDevice, 5, 0..=0, Arc::new(ControllingTerminal));
    devices::register(FileKind::CharDevice, 5, 1..=1, Arc::new(ControllingTerminal));
    devices::register(FileKind::CharDevice, 5, 2..=2, Arc::new(Multiplexer));
    devices::register(FileKind::CharDevice, 136, 0..=0xf_ffff, Arc::new(SlaveByNumber));
}

/// Names and numbers of the devices in a container's `/dev`.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes the usual names in a fresh `/dev`; those that are there stay.
pub fn populate(dev: &dyn Directory) -> Result<(), Errno> {
    let fresh = |made: Result<Arc<dyn Inode>, Errno>| match made {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    };
    for (name, major, minor) in NODES {
        let node = NewNode::CharDevice(DevId::new(major, minor).0);
        fresh(dev.create(name.as_bytes(), node, 0o666, 0, 0))?;
    }
    for (name, target) in LINKS {
        fresh(dev.create(name.as_bytes(), NewNode::Symlink(target.as_bytes()), 0o777, 0, 0))?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
        fresh(dev.create(name.as_bytes(), NewNode::Directory, mode, 0, 0))?;
    }
    Ok(())
}

/// `/dev/tty` and `/dev/console`: the terminal of the caller's session.
#[derive(Debug)]
struct ControllingTerminal;

impl devices::Driver for ControllingTerminal {
    fn open(
        &self,
        _place: &Place,
        _device: DevId,
        _flags: OpenFlags,
        caller: &mut dyn Caller,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let identity = caller.controlling_terminal().ok_or(Errno::ENXIO)?;
        let terminal = devpts::find(identity).ok_or(Errno::ENXIO)?;
        Ok(Box::new(devpts::Slave::open(&terminal, true)?))
    }
}

/// A `ptmx` node outside of devpts.
#[derive(Debug)]
struct Multiplexer;

impl devices::Driver for Multiplexer {
    fn open(
        &self,
        place: &Place,
        _device: DevId,
        flags: OpenFlags,
        caller: &mut dyn Caller,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let pts = devpts::beside(place)?;
        let ptmx = pts.inode().as_directory().ok_or(Errno::ENODEV)?.lookup(b"ptmx")?;
        ptmx.open(flags, &caller.credentials())
    }
}

/// A slave's node outside of devpts: nothing says whose number it is (`pts_unix98_lookup()`).
#[derive(Debug)]
struct SlaveByNumber;

impl devices::Driver for SlaveByNumber {
    fn open(
        &self,
        _place: &Place,
        _device: DevId,
        _flags: OpenFlags,
        _caller: &mut dyn Caller,
    ) -> Result<Box<dyn FileOps>, Errno> {
        Err(Errno::EIO)
    }
}
