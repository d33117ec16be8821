// SPDX-License-Identifier: Apache-2.0
//! Drivers: who opens fifos, sockets and device nodes, wherever in the tree they lie.
//!
//! Drivers are code, not state: they register once when the kernel is built, for all kernels of the process.

use std::{fmt, ops::RangeInclusive, sync::Arc};

use abi::{DevId, Errno, fcntl::OpenFlags};

use super::{Caller, FileKind, FileOps, Place};
use crate::sync::{RwLock, levels};

/// Opens special files of one kind or one range of device numbers.
pub trait Driver: Send + Sync + fmt::Debug {
    /// Opens the special file at `place`. Permission has been checked. Never blocks; see
    /// [`FileOps::open_wait`].
    fn open(
        &self,
        place: &Place,
        device: DevId,
        flags: OpenFlags,
        caller: &mut dyn Caller,
    ) -> Result<Box<dyn FileOps>, Errno>;
}

struct Entry {
    kind: FileKind,
    major: u32,
    minors: RangeInclusive<u32>,
    driver: Arc<dyn Driver>,
}

static DRIVERS: RwLock<Vec<Entry>, levels::Leaf> = RwLock::new(Vec::new());

/// Puts `driver` in charge of device files of `kind` with these numbers, in place of whoever was.
pub fn register(kind: FileKind, major: u32, minors: RangeInclusive<u32>, driver: Arc<dyn Driver>) {
    let mut drivers = DRIVERS.write();
    drivers.retain(|entry| !(entry.kind == kind && entry.major == major && entry.minors == minors));
    drivers.push(Entry { kind, major, minors, driver });
}

/// Puts `driver` in charge of fifos ([`FileKind::Fifo`]).
pub fn register_kind(kind: FileKind, driver: Arc<dyn Driver>) {
    register(kind, 0, 0..=u32::MAX, driver);
}

/// Who opens device files of `kind` with this number; `ENXIO` if nobody does.
pub fn driver(kind: FileKind, device: DevId) -> Result<Arc<dyn Driver>, Errno> {
    let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    let (major, minor) = if is_device { (device.major(), device.minor()) } else { (0, 0) };
    let drivers = DRIVERS.read();
    let found = drivers
        .iter()
        .rev()
        .find(|entry| entry.kind == kind && entry.major == major && entry.minors.contains(&minor));
    found.map(|entry| entry.driver.clone()).ok_or(Errno::ENXIO)
}
