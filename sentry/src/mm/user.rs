// SPDX-License-Identifier: Apache-2.0
//! The one door to guest memory.
//!
//! Values, slices and strings pass through the [`Context`] of the calling task, which knows the cheapest
//! way; [`UserSource`] and [`UserSink`] own a handle on the address space instead, so that they do not
//! borrow the task. Nothing is checked early: whether a page is there only the host knows, and it may
//! change until the very moment of the copy. A structure is read once, into a copy: there is no second
//! look that a sibling thread could betray. Addresses outside what the guest may use are unreadable and
//! unwritable by the platform's contract.

use std::{fmt, sync::Arc};

use abi::{
    Errno, PAGE_SIZE, UserAddr, UserCStr, UserIn, UserOut,
    limits::{MAX_RW_COUNT, PATH_MAX, UIO_MAXIOV},
    num::{to_u64, to_usize},
    uio::Iovec,
};
use platform::{AddressSpace, Context};
use smallvec::SmallVec;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::io::{CHUNK, Sink, Source};

/// Reads exactly `to.len()` bytes; `EFAULT` otherwise.
pub fn read_bytes(cx: &mut dyn Context, addr: UserAddr, to: &mut [u8]) -> Result<(), Errno> {
    if to.is_empty() || cx.read(addr, to) == to.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Writes exactly `from.len()` bytes; `EFAULT` otherwise (and then some may be written, as on Linux).
pub fn write_bytes(cx: &mut dyn Context, addr: UserAddr, from: &[u8]) -> Result<(), Errno> {
    if from.is_empty() || cx.write(addr, from) == from.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Reads one value.
pub fn read<T: FromBytes>(cx: &mut dyn Context, ptr: UserIn<T>) -> Result<T, Errno> {
    let mut bytes: SmallVec<[u8; 256]> = SmallVec::from_elem(0, size_of::<T>());
    read_bytes(cx, ptr.addr(), &mut bytes)?;
    T::read_from_bytes(&bytes).map_err(|_| Errno::EFAULT)
}

/// Writes one value.
pub fn write<T: IntoBytes + Immutable>(
    cx: &mut dyn Context,
    ptr: UserOut<T>,
    value: &T,
) -> Result<(), Errno> {
    write_bytes(cx, ptr.addr(), value.as_bytes())
}

/// Reads `count` values, which the caller has capped. Memory is taken as it is read, so a count that
/// lies costs nothing.
pub fn read_slice<T: FromBytes>(
    cx: &mut dyn Context,
    ptr: UserIn<T>,
    count: usize,
) -> Result<Vec<T>, Errno> {
    let size = size_of::<T>();
    let per_chunk = (CHUNK / size.max(1)).max(1);
    let mut values = Vec::new();
    let mut buffer = Vec::new();
    while values.len() < count {
        let now = (count - values.len()).min(per_chunk);
        buffer.resize(now * size, 0);
        read_bytes(cx, ptr.element(values.len())?.addr(), &mut buffer)?;
        if size == 0 {
            break;
        }
        for bytes in buffer.chunks_exact(size) {
            values.push(T::read_from_bytes(bytes).map_err(|_| Errno::EFAULT)?);
        }
    }
    Ok(values)
}

/// Writes all of `values`.
pub fn write_slice<T: IntoBytes + Immutable>(
    cx: &mut dyn Context,
    ptr: UserOut<T>,
    values: &[T],
) -> Result<(), Errno> {
    write_bytes(cx, ptr.addr(), values.as_bytes())
}

/// Reads a string of less than `max` bytes without its NUL: `Ok(None)` if it is longer.
///
/// Page by page, so that what lies behind the NUL is never touched.
pub fn read_string_limited(
    cx: &mut dyn Context,
    ptr: UserCStr,
    max: usize,
) -> Result<Option<Vec<u8>>, Errno> {
    /// Most strings are paths: one look is enough for them, and a platform may have had it already.
    const FIRST: usize = 128;
    let mut string = Vec::new();
    let mut step = FIRST;
    while string.len() < max {
        let at = ptr.addr().checked_add(to_u64(string.len()))?;
        let to_page_end = to_usize(PAGE_SIZE - at.raw() % PAGE_SIZE);
        let want = to_page_end.min(step).min(max - string.len());
        step = to_usize(PAGE_SIZE);
        let start = string.len();
        string.resize(start + want, 0);
        let Some(room) = string.get_mut(start..) else { return Err(Errno::EFAULT) };
        let got = cx.read(at, room);
        let seen = room.get(..got).unwrap_or_default();
        if let Some(nul) = seen.iter().position(|&byte| byte == 0) {
            string.truncate(start + nul);
            return Ok(Some(string));
        }
        if got < want {
            return Err(Errno::EFAULT);
        }
    }
    Ok(None)
}

/// Reads a string; `ENAMETOOLONG` unless it is shorter than `max` bytes.
pub fn read_string(cx: &mut dyn Context, ptr: UserCStr, max: usize) -> Result<Vec<u8>, Errno> {
    read_string_limited(cx, ptr, max)?.ok_or(Errno::ENAMETOOLONG)
}

/// Reads a path (getname() of Linux's `fs/namei.c`, but an empty one is the caller's business).
pub fn read_path(cx: &mut dyn Context, ptr: UserCStr) -> Result<Vec<u8>, Errno> {
    read_string(cx, ptr, PATH_MAX)
}

/// Reads a NULL-terminated vector of string pointers (argv, envp); `E2BIG` beyond `max` of them. NULL
/// itself counts as empty, as Linux has it.
pub fn read_pointers(
    cx: &mut dyn Context,
    vector: UserIn<UserAddr>,
    max: usize,
) -> Result<Vec<UserAddr>, Errno> {
    let mut pointers = Vec::new();
    if vector.addr().is_null() {
        return Ok(pointers);
    }
    loop {
        // As many as the page surely holds; one at a time only where a pointer spans two pages.
        let at = vector.element(pointers.len())?.addr();
        let in_page = to_usize((PAGE_SIZE - at.raw() % PAGE_SIZE) / 8).clamp(1, 64);
        let mut bytes = vec![0; in_page * 8];
        let got = cx.read(at, &mut bytes);
        for pointer in bytes.get(..got).unwrap_or_default().chunks_exact(8) {
            let pointer = u64::read_from_bytes(pointer).map_err(|_| Errno::EFAULT)?;
            if pointer == 0 {
                return Ok(pointers);
            }
            if pointers.len() >= max {
                return Err(Errno::E2BIG);
            }
            pointers.push(UserAddr(pointer));
        }
        if got < in_page * 8 {
            return Err(Errno::EFAULT);
        }
    }
}

/// A piece of guest memory.
#[derive(Debug, Clone, Copy)]
struct Piece {
    addr: UserAddr,
    len: usize,
}

/// Pieces of guest memory with a position in them.
#[derive(Clone)]
struct Pieces {
    space: Arc<dyn AddressSpace>,
    pieces: SmallVec<[Piece; 4]>,
    /// The piece at the position, and how far into it.
    at: usize,
    within: usize,
    remaining: usize,
}

impl Pieces {
    fn one(space: Arc<dyn AddressSpace>, addr: UserAddr, len: usize) -> Pieces {
        let len = len.min(MAX_RW_COUNT);
        let pieces = SmallVec::from_slice(&[Piece { addr, len }]);
        Pieces { space, pieces, at: 0, within: 0, remaining: len }
    }

    /// import_iovec() of Linux's `lib/iov_iter.c`: lengths are checked before anything is moved, and the
    /// total is cut to `MAX_RW_COUNT`.
    fn import(cx: &mut dyn Context, iov: UserIn<Iovec>, count: usize) -> Result<Pieces, Errno> {
        if count > UIO_MAXIOV {
            return Err(Errno::EINVAL);
        }
        let mut pieces: SmallVec<[Piece; 4]> = SmallVec::new();
        let mut total = 0;
        let iovecs = read_slice(cx, iov, count)?;
        if iovecs.iter().any(|iovec| i64::try_from(iovec.iov_len).is_err()) {
            return Err(Errno::EINVAL);
        }
        for iovec in iovecs {
            let wanted = to_usize(iovec.iov_len);
            let addr = UserAddr(iovec.iov_base);
            // access_ok(): the only check that comes early, and it knows addresses alone.
            if wanted > 0
                && iovec.iov_base.checked_add(iovec.iov_len).is_none_or(|end| end >> 47 != 0)
            {
                return Err(Errno::EFAULT);
            }
            let len = wanted.min(MAX_RW_COUNT - total);
            total += len;
            pieces.push(Piece { addr, len });
        }
        let space = Arc::clone(cx.space());
        Ok(Pieces { space, pieces, at: 0, within: 0, remaining: total })
    }

    /// The memory that iovecs name which were read and checked.
    fn of(space: Arc<dyn AddressSpace>, iovecs: &[Iovec]) -> Pieces {
        let mut total = 0;
        let mut pieces: SmallVec<[Piece; 4]> = SmallVec::new();
        for iovec in iovecs {
            let len = to_usize(iovec.iov_len).min(MAX_RW_COUNT - total);
            total += len;
            pieces.push(Piece { addr: UserAddr(iovec.iov_base), len });
        }
        Pieces { space, pieces, at: 0, within: 0, remaining: total }
    }

    /// Where the next bytes are, and how many lie there in one piece.
    fn here(&mut self) -> Option<(UserAddr, usize)> {
        loop {
            let piece = self.pieces.get(self.at)?;
            let left = piece.len.saturating_sub(self.within);
            if left > 0 {
                let addr = UserAddr(piece.addr.raw().checked_add(to_u64(self.within))?);
                return Some((addr, left));
            }
            self.at += 1;
            self.within = 0;
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.within += bytes;
        self.remaining = self.remaining.saturating_sub(bytes);
    }

    fn go_back(&mut self, mut bytes: usize) {
        loop {
            let here = bytes.min(self.within);
            self.within -= here;
            self.remaining += here;
            bytes -= here;
            if bytes == 0 || self.at == 0 {
                return;
            }
            self.at -= 1;
            self.within = self.pieces.get(self.at).map_or(0, |piece| piece.len);
        }
    }

    /// Moves `len` bytes by `copy`, which is given the place, an offset and a length.
    fn transfer(
        &mut self,
        len: usize,
        mut copy: impl FnMut(&dyn AddressSpace, UserAddr, usize, usize) -> usize,
    ) -> Result<usize, Errno> {
        let mut done = 0;
        while done < len {
            let Some((addr, left)) = self.here() else {
                // Pieces are left, but at addresses that do not exist.
                if done == 0 && self.remaining > 0 {
                    return Err(Errno::EFAULT);
                }
                break;
            };
            let want = left.min(len - done);
            let got = copy(&*self.space, addr, done, want).min(want);
            self.advance(got);
            done += got;
            if got < want {
                if done == 0 {
                    return Err(Errno::EFAULT);
                }
                break;
            }
        }
        Ok(done)
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} bytes left", self.pieces, self.remaining)
    }
}

/// Guest memory that a write-like call consumes.
#[derive(Debug, Clone)]
pub struct UserSource(Pieces);

impl UserSource {
    /// `len` bytes at `ptr`, cut to `MAX_RW_COUNT`.
    pub fn new(space: Arc<dyn AddressSpace>, ptr: UserIn<u8>, len: usize) -> UserSource {
        UserSource(Pieces::one(space, ptr.addr(), len))
    }

    /// The memory that an array of iovecs names.
    pub fn import(cx: &mut dyn Context, iov: UserIn<Iovec>, count: usize) -> Result<Self, Errno> {
        Ok(UserSource(Pieces::import(cx, iov, count)?))
    }

    /// Memory of another address space.
    pub fn pieces(space: Arc<dyn AddressSpace>, iovecs: &[Iovec]) -> UserSource {
        UserSource(Pieces::of(space, iovecs))
    }
}

impl Source for UserSource {
    fn remaining(&self) -> usize {
        self.0.remaining
    }

    fn read(&mut self, to: &mut [u8]) -> Result<usize, Errno> {
        self.0.transfer(to.len(), |space, addr, at, len| {
            to.get_mut(at..at + len).map_or(0, |room| space.read(addr, room))
        })
    }

    fn unread(&mut self, bytes: usize) {
        self.0.go_back(bytes);
    }
}

/// Guest memory that a read-like call fills.
#[derive(Debug, Clone)]
pub struct UserSink(Pieces);

impl UserSink {
    /// `len` bytes at `ptr`, cut to `MAX_RW_COUNT`.
    pub fn new(space: Arc<dyn AddressSpace>, ptr: UserOut<u8>, len: usize) -> UserSink {
        UserSink(Pieces::one(space, ptr.addr(), len))
    }

    /// The memory that an array of iovecs names.
    pub fn import(cx: &mut dyn Context, iov: UserIn<Iovec>, count: usize) -> Result<Self, Errno> {
        Ok(UserSink(Pieces::import(cx, iov, count)?))
    }

    /// Memory of another address space.
    pub fn pieces(space: Arc<dyn AddressSpace>, iovecs: &[Iovec]) -> UserSink {
        UserSink(Pieces::of(space, iovecs))
    }
}

impl Sink for UserSink {
    fn remaining(&self) -> usize {
        self.0.remaining
    }

    fn write(&mut self, from: &[u8]) -> Result<usize, Errno> {
        self.0.transfer(from.len(), |space, addr, at, len| {
            from.get(at..at + len).map_or(0, |bytes| space.write(addr, bytes))
        })
    }
}

#[cfg(test)]
#[path = "user_tests.rs"]
mod tests;
