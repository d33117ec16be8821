// SPDX-License-Identifier: Apache-2.0
//! `/proc/<pid>/{mem,cmdline,environ,auxv}`: a task's memory as files.

use std::{any::Any, fmt, sync::Arc};

use abi::Errno;

use super::{process::Subject, view::MemoryView};
use crate::{
    io::{Sink, Source},
    vfs::{FileOps, SeekFrom},
    wait::Try,
};

/// The most that is shown of an argument area; Linux's own limit for execve(2).
const AREA_MAX: u64 = 6 << 20;

fn area(memory: &dyn MemoryView, (start, end): (u64, u64)) -> Vec<u8> {
    let len = end.saturating_sub(start).min(AREA_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let got = memory.read(start, &mut bytes);
    bytes.truncate(got);
    bytes
}

/// The arguments, or what setproctitle(3) made of them: a last byte that is no NUL means that the text
/// goes on into the environment up to its first NUL (`get_mm_cmdline()`).
pub(super) fn cmdline(subject: &Subject) -> Vec<u8> {
    let Some(memory) = subject.task.memory() else { return Vec::new() };
    let places = memory.places();
    let mut bytes = area(&*memory, places.arguments);
    if bytes.last().is_some_and(|last| *last != 0) {
        if places.environment.0 == places.arguments.1 {
            bytes.extend(area(&*memory, places.environment));
        }
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            bytes.truncate(end + 1);
        }
    }
    bytes
}

pub(super) fn environ(subject: &Subject) -> Vec<u8> {
    subject
        .task
        .memory()
        .map_or_else(Vec::new, |memory| area(&*memory, memory.places().environment))
}

pub(super) fn auxv(subject: &Subject) -> Vec<u8> {
    subject.task.memory().map_or_else(Vec::new, |memory| memory.auxv())
}

/// `mem`.
pub(super) struct Memory(pub(super) Subject);

pub(super) fn open(subject: &Subject) -> Result<Box<dyn FileOps>, Errno> {
    let memory = subject.task.memory().ok_or(Errno::ESRCH)?;
    Ok(Box::new(OpenMemory(memory)))
}

/// An open `mem`: of the address space that there was when it was opened.
struct OpenMemory(Arc<dyn MemoryView>);

impl FileOps for OpenMemory {
    fn read_at(&self, sink: &mut dyn Sink, offset: u64) -> Result<Try<usize>, Errno> {
        let mut at = offset;
        let done = crate::io::fill(sink, |to| {
            let got = self.0.read(at, to);
            at = at.saturating_add(u64::try_from(got).unwrap_or(0));
            if got == 0 { Err(Errno::EIO) } else { Ok(got) }
        })?;
        Ok(Try::Done(done))
    }

    fn write_at(&self, source: &mut dyn Source, offset: u64) -> Result<Try<usize>, Errno> {
        let mut at = offset;
        let done = crate::io::drain(source, |from| {
            let put = self.0.write(at, from);
            at = at.saturating_add(u64::try_from(put).unwrap_or(0));
            if put == 0 { Err(Errno::EIO) } else { Ok(put) }
        })?;
        Ok(Try::Done(done))
    }

    fn seek(&self, _from: SeekFrom, _current: u64) -> Result<u64, Errno> {
        Err(Errno::EINVAL)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for OpenMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenMemory")
    }
}
