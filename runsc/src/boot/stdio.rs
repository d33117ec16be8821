// SPDX-License-Identifier: Apache-2.0
//! The guest's standard streams: open files of the host that came with the process.

use std::{
    io::IsTerminal,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use abi::{Errno, Fd};
use sentry::{fs::host as host_file, vfs::FileDescription};

use crate::{sandbox::spawn, sys};

/// Why there are no streams.
#[derive(Debug, thiserror::Error)]
pub(super) enum StdioError {
    /// runsc has not handed it over.
    #[error("descriptor {0} is missing")]
    Missing(i32),
    /// The host's file cannot be taken over.
    #[error("import descriptor {number}: {source}")]
    Import {
        /// Which.
        number: i32,
        /// Why.
        source: Errno,
    },
}

/// A standard stream.
#[derive(Debug)]
pub(super) enum Stream {
    /// The host's file itself.
    File(Arc<FileDescription>),
    /// A terminal of the host, for which the guest gets one of its own.
    Terminal(OwnedFd),
}

/// Streams 0, 1 and 2 of the first process, as they lie from `spawn::STDIO` on. Streams that are one
/// open file outside are one inside.
pub(super) fn import(has_terminal: bool) -> Result<Vec<Stream>, StdioError> {
    let mut distinct: Vec<OwnedFd> = Vec::new();
    let mut which = [0; 3];
    for (number, index) in (0..).zip(&mut which) {
        let host = sys::inherited(spawn::STDIO + number).ok_or(StdioError::Missing(number))?;
        let same = distinct.iter().position(|other| sys::is_same_file(other, &host));
        *index = same.unwrap_or(distinct.len());
        if same.is_none() {
            distinct.push(host);
        }
    }
    streams(distinct, &which, has_terminal)
}

/// The three streams, of which each is one of `files`.
pub(super) fn streams(
    files: Vec<OwnedFd>,
    which: &[usize; 3],
    has_terminal: bool,
) -> Result<Vec<Stream>, StdioError> {
    let mut imported: Vec<Stream> = Vec::new();
    for (number, host) in (0..).zip(files) {
        imported.push(if has_terminal && host.as_fd().is_terminal() {
            Stream::Terminal(host)
        } else {
            let file = host_file::open(host);
            Stream::File(file.map_err(|source| StdioError::Import { number, source })?)
        });
    }
    let stream = |(number, index): (i32, &usize)| {
        let missing = StdioError::Missing(number);
        match imported.get(*index) {
            Some(Stream::File(file)) => Ok(Stream::File(Arc::clone(file))),
            Some(Stream::Terminal(host)) => {
                host.try_clone().map(Stream::Terminal).map_err(|_| missing)
            }
            None => Err(missing),
        }
    };
    (0..).zip(which).map(stream).collect()
}

/// Further descriptors of the first process, from `first` on.
pub(super) fn preserved(first: i32, count: i32) -> Result<Vec<Arc<FileDescription>>, StdioError> {
    let import = |number| {
        let host = sys::inherited(first + number).ok_or(StdioError::Missing(3 + number))?;
        host_file::open(host).map_err(|source| StdioError::Import { number: 3 + number, source })
    };
    (0..count).map(import).collect()
}

/// The guest's descriptors: its streams, with `terminal` where the host's is, and others after them.
pub(super) fn files(
    streams: Vec<Stream>,
    terminal: Option<&Arc<FileDescription>>,
    others: Vec<Arc<FileDescription>>,
) -> Vec<(Fd, Arc<FileDescription>)> {
    let numbered = (0..).zip(streams);
    let file = |(number, stream)| match stream {
        Stream::File(file) => Some((Fd(number), file)),
        Stream::Terminal(_) => Some((Fd(number), Arc::clone(terminal?))),
    };
    let others = (3..).map(Fd).zip(others);
    numbered.filter_map(file).chain(others).collect()
}
