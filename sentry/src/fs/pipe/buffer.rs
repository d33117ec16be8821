// SPDX-License-Identifier: Apache-2.0
//! What is in a pipe: a ring of slots of at most a page, filled and emptied as Linux does it.
//!
//! Linux counts a pipe's room in pages, not in bytes (`fs/pipe.c: pipe_write`): a write first tries to
//! merge its odd bytes into the last slot, then takes a fresh slot for each page. That is what makes
//! writes of up to `PIPE_BUF` atomic, and what poll(2) and `F_SETPIPE_SZ` can see; so the slots are kept.
//! The bytes of one large write lie in one chunk that its slots share: one copy in, one copy out.

use std::{collections::VecDeque, sync::Arc};

use abi::Errno;

use crate::io::{Sink, Source};

/// Bytes of one slot, and of an atomic write (`PIPE_BUF`).
pub(super) const PAGE: usize = 4096;

/// Emptied pages kept for the next writes.
const SPARES: usize = 2;

#[derive(Clone)]
struct Slot {
    chunk: Arc<Vec<u8>>,
    start: usize,
    len: usize,
    /// A packet of `O_DIRECT` mode: read alone, what is not read of it is lost.
    is_packet: bool,
}

impl Slot {
    fn bytes(&self) -> &[u8] {
        self.chunk.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// Room behind the bytes in the slot's page.
    fn room(&self) -> usize {
        (PAGE - self.start % PAGE).saturating_sub(self.len)
    }

    fn continues(&self, next: &Slot) -> bool {
        !self.is_packet
            && !next.is_packet
            && Arc::ptr_eq(&self.chunk, &next.chunk)
            && self.start + self.len == next.start
    }
}

/// The ring.
pub(super) struct Buffer {
    slots: VecDeque<Slot>,
    capacity: usize,
    spares: Vec<Vec<u8>>,
}

impl Buffer {
    /// An empty ring of `capacity` slots.
    pub(super) fn new(capacity: usize) -> Buffer {
        Buffer { slots: VecDeque::new(), capacity, spares: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.capacity
    }

    /// Bytes to read.
    pub(super) fn len(&self) -> usize {
        self.slots.iter().map(|slot| slot.len).sum()
    }

    /// Slots there are.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes the number of slots; `EBUSY` if more are in use.
    pub(super) fn set_capacity(&mut self, slots: usize) -> Result<(), Errno> {
        if slots < self.slots.len() {
            return Err(Errno::EBUSY);
        }
        self.capacity = slots;
        Ok(())
    }

    /// Takes as much of `source` as there is room for; 0 bytes when there is none.
    pub(super) fn push(
        &mut self,
        source: &mut dyn Source,
        is_packet: bool,
    ) -> Result<usize, Errno> {
        let mut done = if is_packet { 0 } else { self.merge(source)? };
        let limit = if is_packet { PAGE } else { usize::MAX };
        while source.remaining() > 0 && !self.is_full() {
            let room = (self.capacity - self.slots.len()).saturating_mul(PAGE);
            let want = source.remaining().min(room).min(limit);
            let mut chunk = self.fresh(want);
            let target = chunk.get_mut(..want).expect("the chunk was made this long");
            let mut taken = match source.read(target) {
                Ok(taken) => taken,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            };
            let has_faulted = taken < want;
            if has_faulted {
                // Linux copies page by page and keeps the pages that came whole.
                source.unread(taken % PAGE);
                taken -= taken % PAGE;
                if taken == 0 && done == 0 {
                    return Err(Errno::EFAULT);
                }
            }
            self.append(chunk, taken, is_packet);
            done += taken;
            if has_faulted {
                break;
            }
        }
        Ok(done)
    }

    /// Puts the odd bytes of a write behind those of the last slot if all of them fit there.
    fn merge(&mut self, source: &mut dyn Source) -> Result<usize, Errno> {
        let odd = source.remaining() % PAGE;
        let Some(last) = self.slots.back_mut() else { return Ok(0) };
        if odd == 0 || last.is_packet || last.room() < odd {
            return Ok(0);
        }
        let at = last.start + last.len;
        // A chunk that tee(2) shares is not written to.
        let Some(chunk) = Arc::get_mut(&mut last.chunk) else { return Ok(0) };
        if chunk.len() < at + odd {
            chunk.resize(at - at % PAGE + PAGE, 0);
        }
        let Some(target) = chunk.get_mut(at..at + odd) else { return Ok(0) };
        let taken = source.read(target)?;
        if taken < odd {
            source.unread(taken);
            return Err(Errno::EFAULT);
        }
        last.len += odd;
        Ok(odd)
    }

    fn append(&mut self, chunk: Vec<u8>, len: usize, is_packet: bool) {
        let chunk = Arc::new(chunk);
        let mut start = 0;
        while start < len {
            let len = (len - start).min(PAGE);
            self.slots.push_back(Slot { chunk: Arc::clone(&chunk), start, len, is_packet });
            start += len;
        }
    }

    fn fresh(&mut self, len: usize) -> Vec<u8> {
        if len <= PAGE { self.spares.pop().unwrap_or_else(|| vec![0; PAGE]) } else { vec![0; len] }
    }

    fn recycle(&mut self, slot: Slot) {
        if self.spares.len() < SPARES
            && let Ok(chunk) = Arc::try_unwrap(slot.chunk)
            && chunk.len() == PAGE
        {
            self.spares.push(chunk);
        }
    }

    /// Gives as much as `sink` wants; 0 bytes when there is nothing. One packet at most.
    pub(super) fn pull(&mut self, sink: &mut dyn Sink) -> Result<usize, Errno> {
        let mut done = 0;
        while sink.remaining() > 0 {
            let Some(front) = self.slots.front() else { break };
            let is_packet = front.is_packet;
            let run = self.run();
            let bytes = front.chunk.get(front.start..front.start + run).unwrap_or_default();
            let want = run.min(sink.remaining());
            let bytes = bytes.get(..want).unwrap_or_default();
            let put = match sink.write(bytes) {
                Ok(put) => put,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            };
            let kept = if put == want { put } else { self.whole_slots(put) };
            if is_packet && put == want {
                self.skip(front_len(&self.slots));
            } else {
                self.skip(kept);
            }
            done += kept;
            if put < want {
                // The bytes of the slot at which it faulted stay in the pipe.
                return if done == 0 { Err(Errno::EFAULT) } else { Ok(done) };
            }
            if is_packet {
                break;
            }
        }
        Ok(done)
    }

    /// Bytes from the front that lie in one piece.
    fn run(&self) -> usize {
        let mut run = 0;
        let mut previous: Option<&Slot> = None;
        for slot in &self.slots {
            if previous.is_some_and(|previous| !previous.continues(slot)) {
                break;
            }
            run += slot.len;
            previous = Some(slot);
        }
        run
    }

    /// How many of the first `bytes` belong to slots that end within them.
    fn whole_slots(&self, bytes: usize) -> usize {
        let mut whole = 0;
        for slot in &self.slots {
            if whole + slot.len > bytes {
                break;
            }
            whole += slot.len;
        }
        whole
    }

    /// Up to `most` bytes from the front, which stay.
    pub(super) fn peek(&self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(most.min(self.len()));
        for slot in &self.slots {
            let left = most - bytes.len();
            let piece = slot.bytes();
            bytes.extend_from_slice(piece.get(..left).unwrap_or(piece));
            if bytes.len() == most {
                break;
            }
        }
        bytes
    }

    /// Drops `bytes` from the front.
    pub(super) fn skip(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let Some(front) = self.slots.front_mut() else { break };
            if front.len > bytes {
                front.start += bytes;
                front.len -= bytes;
                break;
            }
            bytes -= front.len;
            if let Some(slot) = self.slots.pop_front() {
                self.recycle(slot);
            }
        }
    }

    /// Moves (`splice`) or shares (`tee`) up to `len` bytes with `to`, slot by slot.
    pub(super) fn pass(&mut self, to: &mut Buffer, len: usize, how: Pass) -> usize {
        let mut done = 0;
        let mut index = 0;
        while done < len && !to.is_full() {
            let at = if how == Pass::Tee { index } else { 0 };
            let Some(slot) = self.slots.get(at) else { break };
            let mut copy = slot.clone();
            copy.len = copy.len.min(len - done);
            done += copy.len;
            index += 1;
            if how == Pass::Splice {
                self.skip(copy.len);
            }
            to.slots.push_back(copy);
        }
        done
    }

    /// Shows the bytes in order without taking them (for tests and checkpoints).
    #[cfg(test)]
    pub(super) fn contents(&self) -> Vec<u8> {
        self.slots.iter().flat_map(|slot| slot.bytes().to_vec()).collect()
    }
}

fn front_len(slots: &VecDeque<Slot>) -> usize {
    slots.front().map_or(0, |slot| slot.bytes().len())
}

/// What becomes of bytes that pass from one pipe to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// They leave the first.
    Splice,
    /// They are in both.
    Tee,
}
