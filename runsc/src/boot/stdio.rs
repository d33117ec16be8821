// SPDX-License-Identifier: Apache-2.0
//! The guest's standard streams: open files of the host that came with the process.

use std::{os::fd::OwnedFd, sync::Arc};

use abi::{Errno, Fd};
use sentry::{
    fs::host::HostFile,
    vfs::{FileDescription, FileKind, anon::AnonInode},
};

use crate::{sandbox::spawn, sys};

/// Why there are no streams.
#[derive(Debug, thiserror::Error)]
pub(super) enum StdioError {
    /// runsc has not handed it over.
    #[error("standard stream {0} is missing")]
    Missing(i32),
    /// The host's file cannot be taken over.
    #[error("import standard stream {number}: {source}")]
    Import {
        /// Which.
        number: i32,
        /// Why.
        source: Errno,
    },
}

/// Descriptors 0, 1 and 2 of the guest. Streams that are one open file outside are one inside.
pub(super) fn import() -> Result<Vec<(Fd, Arc<FileDescription>)>, StdioError> {
    let mut files: Vec<(Fd, Arc<FileDescription>)> = Vec::new();
    let mut hosts: Vec<OwnedFd> = Vec::new();
    for number in 0..3 {
        let host = sys::inherited(spawn::STDIO + number).ok_or(StdioError::Missing(number))?;
        let same = hosts.iter().position(|other| sys::is_same_file(other, &host));
        let file = match same.and_then(|index| files.get(index)) {
            Some((_, file)) => Arc::clone(file),
            None => {
                let copy = host.try_clone().map_err(|_| StdioError::Missing(number))?;
                describe(copy).map_err(|source| StdioError::Import { number, source })?
            }
        };
        files.push((Fd(number), file));
        hosts.push(host);
    }
    Ok(files)
}

fn describe(host: OwnedFd) -> Result<Arc<FileDescription>, Errno> {
    let file = HostFile::import(host)?;
    let (flags, kind) = (file.open_flags(), file.kind());
    let name = match kind {
        FileKind::Fifo => "pipe",
        FileKind::Socket => "socket",
        _ => "host",
    };
    let inode = Arc::new(AnonInode::new(kind, 0o600, 0, 0));
    let name = format!("{name}:[{}]", inode.number());
    Ok(FileDescription::pseudo(Box::new(file), inode, name.as_bytes(), flags))
}
