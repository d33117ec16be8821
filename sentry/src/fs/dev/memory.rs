// SPDX-License-Identifier: Apache-2.0
//! The memory devices: major number 1.

use std::{any::Any, sync::Arc};

use abi::{DevId, Errno, fcntl::OpenFlags, ioctl};

use crate::{
    io::{self, Sink, Source},
    mm::{HostRange, Mappable},
    vfs::{Caller, FileOps, Place, SeekFrom, devices},
    wait::Try,
};

/// What a memory device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Zero,
    Full,
    Random,
}

/// Minor numbers.
pub(super) const KINDS: &[(u32, Kind)] =
    &[(3, Kind::Null), (5, Kind::Zero), (7, Kind::Full), (8, Kind::Random), (9, Kind::Random)];

#[derive(Debug)]
pub(super) struct Driver {
    pub(super) kind: Kind,
}

impl devices::Driver for Driver {
    fn open(
        &self,
        _place: &Place,
        _device: DevId,
        _flags: OpenFlags,
        _caller: &mut dyn Caller,
    ) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(Device { kind: self.kind }))
    }
}

#[derive(Debug)]
struct Device {
    kind: Kind,
}

/// `/dev/zero`, mapped.
#[derive(Debug)]
struct Zeroes;

impl Mappable for Zeroes {
    fn host_range(&self, _offset: u64, _len: u64) -> Result<HostRange, Errno> {
        Err(Errno::ENODEV)
    }

    fn is_zeroes(&self) -> bool {
        true
    }

    fn identity(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// Bytes from the host's own generator.
pub(crate) fn random(to: &mut [u8]) -> Result<(), Errno> {
    let mut done = 0;
    while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
        done += platform::hostio::random(rest)?;
    }
    Ok(())
}

impl FileOps for Device {
    fn read_at(&self, sink: &mut dyn Sink, _offset: u64) -> Result<Try<usize>, Errno> {
        let done = match self.kind {
            Kind::Null => 0,
            Kind::Zero | Kind::Full => io::fill(sink, |to| {
                to.fill(0);
                Ok(to.len())
            })?,
            Kind::Random => io::fill(sink, |to| random(to).map(|()| to.len()))?,
        };
        Ok(Try::Done(done))
    }

    fn write_at(&self, source: &mut dyn Source, _offset: u64) -> Result<Try<usize>, Errno> {
        match self.kind {
            Kind::Full => Err(Errno::ENOSPC),
            // What is written is not even looked at (`write_null()`).
            Kind::Null | Kind::Zero => Ok(Try::Done(source.remaining())),
            Kind::Random => io::drain(source, |bytes| Ok(bytes.len())).map(Try::Done),
        }
    }

    fn append(&self, source: &mut dyn Source) -> Result<Try<(usize, u64)>, Errno> {
        Ok(self.write_at(source, 0)?.map(|done| (done, 0)))
    }

    fn seeks_itself(&self) -> bool {
        true
    }

    fn seek(&self, _from: SeekFrom, _current: u64) -> Result<u64, Errno> {
        // `null_lseek()`: every position is 0.
        Ok(0)
    }

    fn ioctl(&self, caller: &mut dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        match (self.kind, command) {
            (Kind::Random, ioctl::RNDGETENTCNT) => {
                caller.write_memory(abi::UserAddr(argument), &256i32.to_ne_bytes())?;
                Ok(0)
            }
            (Kind::Random, ioctl::RNDADDTOENTCNT | ioctl::RNDADDENTROPY) => Err(Errno::EPERM),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn mappable(&self) -> Result<Arc<dyn Mappable>, Errno> {
        if self.kind == Kind::Zero { Ok(Arc::new(Zeroes)) } else { Err(Errno::ENODEV) }
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
