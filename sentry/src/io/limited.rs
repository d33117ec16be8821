// SPDX-License-Identifier: Apache-2.0
//! A part of a source or of a sink.

use abi::Errno;

use super::{Sink, Source};

/// The first bytes of a source.
pub struct LimitedSource<'a> {
    inner: &'a mut dyn Source,
    left: usize,
}

impl<'a> LimitedSource<'a> {
    /// The next `limit` bytes of `inner` at most.
    pub fn new(inner: &'a mut dyn Source, limit: u64) -> Self {
        let left = inner.remaining().min(usize::try_from(limit).unwrap_or(usize::MAX));
        LimitedSource { inner, left }
    }
}

impl Source for LimitedSource<'_> {
    fn remaining(&self) -> usize {
        self.left
    }

    fn read(&mut self, to: &mut [u8]) -> Result<usize, Errno> {
        let want = to.len().min(self.left);
        let got = self.inner.read(to.get_mut(..want).unwrap_or_default())?;
        self.left -= got.min(self.left);
        Ok(got)
    }

    fn unread(&mut self, bytes: usize) {
        self.inner.unread(bytes);
        self.left += bytes;
    }
}

impl std::fmt::Debug for LimitedSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LimitedSource({})", self.left)
    }
}

/// The first bytes of room of a sink.
pub struct LimitedSink<'a> {
    inner: &'a mut dyn Sink,
    left: usize,
}

impl<'a> LimitedSink<'a> {
    /// The next `limit` bytes of room of `inner` at most.
    pub fn new(inner: &'a mut dyn Sink, limit: u64) -> Self {
        let left = inner.remaining().min(usize::try_from(limit).unwrap_or(usize::MAX));
        LimitedSink { inner, left }
    }
}

impl Sink for LimitedSink<'_> {
    fn remaining(&self) -> usize {
        self.left
    }

    fn write(&mut self, from: &[u8]) -> Result<usize, Errno> {
        let want = from.len().min(self.left);
        let put = self.inner.write(from.get(..want).unwrap_or_default())?;
        self.left -= put.min(self.left);
        Ok(put)
    }
}

impl std::fmt::Debug for LimitedSink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LimitedSink({})", self.left)
    }
}
