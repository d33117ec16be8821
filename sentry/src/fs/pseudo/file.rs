// SPDX-License-Identifier: Apache-2.0
//! An open text file: its text stays the same while it is read on (Linux's `seq_file`).

use std::{any::Any, fmt, sync::Arc};

use abi::Errno;

use super::{Body, Node};
use crate::{
    creds::Credentials,
    io::{Sink, Source},
    sync::{Mutex, levels},
    vfs::{FileOps, SeekFrom},
    wait::Try,
};

/// The most that one write to a made-up file may bring (`PAGE_SIZE` for most of Linux's).
const WRITE_MAX: usize = 64 * 1024;

/// An open [`super::Text`].
pub struct TextFile {
    node: Arc<Node>,
    opener: Credentials,
    text: Mutex<Option<Arc<[u8]>>, levels::Leaf>,
}

impl TextFile {
    pub(super) fn new(node: Arc<Node>, opener: Credentials) -> TextFile {
        TextFile { node, opener, text: Mutex::new(None) }
    }

    /// The text; made anew at the start of the file.
    fn text_at(&self, offset: u64) -> Result<Arc<[u8]>, Errno> {
        if offset != 0
            && let Some(text) = self.text.lock().clone()
        {
            return Ok(text);
        }
        let Body::Text(text) = &self.node.body else { return Err(Errno::EINVAL) };
        let text: Arc<[u8]> = text.read(&self.opener)?.into();
        *self.text.lock() = Some(Arc::clone(&text));
        Ok(text)
    }
}

impl FileOps for TextFile {
    fn read_at(&self, sink: &mut dyn Sink, offset: u64) -> Result<Try<usize>, Errno> {
        let text = self.text_at(offset)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = text.get(start..).unwrap_or_default();
        let count = rest.len().min(sink.remaining());
        match rest.get(..count) {
            Some(bytes) if !bytes.is_empty() => Ok(Try::Done(sink.write(bytes)?)),
            _ => Ok(Try::Done(0)),
        }
    }

    fn write_at(&self, source: &mut dyn Source, _offset: u64) -> Result<Try<usize>, Errno> {
        let Body::Text(text) = &self.node.body else { return Err(Errno::EINVAL) };
        let mut bytes = vec![0; source.remaining().min(WRITE_MAX)];
        let got = source.read(&mut bytes)?;
        bytes.truncate(got);
        text.write(&bytes, &self.opener)?;
        Ok(Try::Done(got))
    }

    fn append(&self, source: &mut dyn Source) -> Result<Try<(usize, u64)>, Errno> {
        Ok(self.write_at(source, 0)?.map(|done| (done, 0)))
    }

    fn seek(&self, _from: SeekFrom, _current: u64) -> Result<u64, Errno> {
        // `seq_lseek()` knows only SEEK_SET and SEEK_CUR.
        Err(Errno::EINVAL)
    }

    fn sync(&self, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for TextFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextFile({:?})", self.node)
    }
}
