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

/// A standard stream.
#[derive(Debug)]
pub(super) enum Stream {
    /// The host's file itself.
    File(Arc<FileDescription>),
    /// A terminal of the host, for which the guest gets one of its own.
    Terminal(OwnedFd),
}

/// Streams 0, 1 and 2. Streams that are one open file outside are one inside.
pub(super) fn import(has_terminal: bool) -> Result<Vec<Stream>, StdioError> {
    let mut streams: Vec<Stream> = Vec::new();
    let mut hosts: Vec<OwnedFd> = Vec::new();
    for number in 0..3 {
        let host = sys::inherited(spawn::STDIO + number).ok_or(StdioError::Missing(number))?;
        let copy = host.try_clone().map_err(|_| StdioError::Missing(number))?;
        let same = hosts.iter().position(|other| sys::is_same_file(other, &host));
        let stream = match same.and_then(|index| streams.get(index)) {
            _ if has_terminal && host.as_fd().is_terminal() => Stream::Terminal(copy),
            Some(Stream::File(file)) => Stream::File(Arc::clone(file)),
            _ => {
                let file = host_file::open(copy);
                Stream::File(file.map_err(|source| StdioError::Import { number, source })?)
            }
        };
        streams.push(stream);
        hosts.push(host);
    }
    Ok(streams)
}

/// Descriptors 0, 1 and 2 of the guest, with `terminal` where the host's is.
pub(super) fn files(
    streams: Vec<Stream>,
    terminal: Option<&Arc<FileDescription>>,
) -> Vec<(Fd, Arc<FileDescription>)> {
    let numbered = (0..).zip(streams);
    let file = |(number, stream)| match stream {
        Stream::File(file) => Some((Fd(number), file)),
        Stream::Terminal(_) => Some((Fd(number), Arc::clone(terminal?))),
    };
    numbered.filter_map(file).collect()
}
