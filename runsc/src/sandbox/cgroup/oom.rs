// SPDX-License-Identifier: Apache-2.0
//! Hearing of it when a container runs out of memory.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    os::fd::{AsFd as _, AsRawFd as _},
};

use nix::{
    poll::{PollFd, PollFlags},
    sys::eventfd::{EfdFlags, EventFd},
};

use super::{Cgroup, CgroupError, Version};

/// A watch on a container's memory.
#[derive(Debug)]
pub(crate) struct OutOfMemory {
    told: Told,
    kills: u64,
}

/// How the kernel tells.
#[derive(Debug)]
enum Told {
    /// Version 1: a counter that it adds to.
    Counter(EventFd),
    /// Version 2: a file that becomes worth another look.
    File(File),
}

impl OutOfMemory {
    /// Begins to watch; nothing if the container has no memory controller.
    pub(crate) fn watch(cgroup: &Cgroup) -> Result<Option<OutOfMemory>, CgroupError> {
        let Some(directory) = cgroup.directory("memory") else { return Ok(None) };
        let fail =
            |source: io::Error| CgroupError::Host { step: "watch", path: directory.into(), source };
        let told = match cgroup.version {
            Version::V1 => {
                let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
                let counter = EventFd::from_flags(flags).map_err(|errno| fail(errno.into()))?;
                let file = File::open(directory.join("memory.oom_control")).map_err(fail)?;
                let order = format!("{} {}", counter.as_raw_fd(), file.as_raw_fd());
                fs::write(directory.join("cgroup.event_control"), order).map_err(fail)?;
                Told::Counter(counter)
            }
            Version::V2 => match File::open(directory.join("memory.events")) {
                Ok(mut file) => {
                    read(&mut file).map_err(fail)?;
                    Told::File(file)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(fail(error)),
            },
        };
        Ok(Some(OutOfMemory { told, kills: cgroup.oom_kills().unwrap_or(0) }))
    }

    /// What to poll.
    pub(crate) fn poll_fd(&self) -> PollFd<'_> {
        match &self.told {
            Told::Counter(counter) => PollFd::new(counter.as_fd(), PollFlags::POLLIN),
            Told::File(file) => PollFd::new(file.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// After the poll said so: whether the container has run out of memory since.
    pub(crate) fn happened(&mut self, cgroup: &Cgroup) -> bool {
        match &mut self.told {
            // The kernel adds at the end of the group, too; then the files are gone.
            Told::Counter(counter) => {
                counter.read().is_ok() && cgroup.read("memory", "memory.oom_control").is_some()
            }
            Told::File(file) => {
                // Reading is what makes the next change told; what it says, the counter below knows.
                let _ = read(file);
                let kills = cgroup.oom_kills().unwrap_or(0);
                std::mem::replace(&mut self.kills, kills) < kills
            }
        }
    }
}

fn read(file: &mut File) -> io::Result<()> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text).map(drop)
}
