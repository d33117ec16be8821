// SPDX-License-Identifier: Apache-2.0
//! Sources and sinks over the sentry's own memory.

use abi::Errno;

use super::{Sink, Source};

/// A source over a slice.
#[derive(Debug)]
pub struct SliceSource<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SliceSource<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        SliceSource { bytes, at: 0 }
    }
}

impl Source for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn read(&mut self, to: &mut [u8]) -> Result<usize, Errno> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.len().min(to.len());
        if let (Some(to), Some(from)) = (to.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }

    fn unread(&mut self, bytes: usize) {
        self.at = self.at.saturating_sub(bytes);
    }
}

/// A sink over a slice.
#[derive(Debug)]
pub struct SliceSink<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> SliceSink<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        SliceSink { bytes, at: 0 }
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.at
    }
}

impl Sink for SliceSink<'_> {
    fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn write(&mut self, from: &[u8]) -> Result<usize, Errno> {
        let room = self.bytes.get_mut(self.at..).unwrap_or_default();
        let count = room.len().min(from.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), from.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::{SliceSink, SliceSource};
    use crate::io::{drain, fill};

    #[test]
    fn bytes_pass_and_short_takers_leave_the_rest() {
        let mut source = SliceSource::new(b"hello");
        assert_eq!(drain(&mut source, |bytes| Ok(bytes.len().min(2))), Ok(2));
        let mut room = [0; 3];
        let mut sink = SliceSink::new(&mut room);
        let got = fill(&mut sink, |to| {
            to.copy_from_slice(b"llo");
            Ok(3)
        });
        assert_eq!((got, &room), (Ok(3), b"llo"));
    }
}
