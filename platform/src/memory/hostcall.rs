// SPDX-License-Identifier: Apache-2.0
//! Changes to guest memory, as host calls that a stub thread carries out.
//!
//! One memory design for every platform: each supplies a [`Caller`], the calls are the same.

use std::os::fd::BorrowedFd;

use abi::{Errno, PAGE_SIZE, UserRange};

use crate::{Backing, Error, FutexCall, HostCallError, MapOptions, Protection};

/// Makes host calls in the stub's address space.
pub(crate) trait Caller {
    /// Makes one call and returns what it returned: a value or a negated errno.
    fn call(&mut self, number: i64, args: [u64; 6]) -> Result<i64, Error>;

    /// As [`Caller::call`], with `file` (duplicated into the stub for the length of the call) as the
    /// fifth argument.
    fn call_with_file(
        &mut self,
        number: i64,
        args: [u64; 6],
        file: BorrowedFd<'_>,
    ) -> Result<i64, Error>;

    /// Makes a call that writes at most `to.len()` bytes to its argument number `index`.
    fn call_into(
        &mut self,
        number: i64,
        args: [u64; 6],
        index: usize,
        to: &mut [u8],
    ) -> Result<i64, Error>;

    /// What the guest may use.
    fn user_range(&self) -> UserRange;
}

/// mmap(2) at a fixed place.
pub(crate) fn map(
    caller: &mut impl Caller,
    range: UserRange,
    protection: Protection,
    backing: Backing<'_>,
    options: MapOptions,
) -> Result<(), HostCallError> {
    check(caller, range)?;
    let mut flags = libc::MAP_FIXED;
    for (option, flag) in [
        (MapOptions::POPULATE, libc::MAP_POPULATE),
        (MapOptions::NORESERVE, libc::MAP_NORESERVE),
        (MapOptions::GROWS_DOWN, libc::MAP_GROWSDOWN),
        (MapOptions::LOCKED, libc::MAP_LOCKED),
    ] {
        if options.contains(option) {
            flags |= flag;
        }
    }
    let (kind, file) = match backing {
        Backing::Anonymous => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None),
        Backing::Private { file, offset } => (libc::MAP_PRIVATE, Some((file, offset))),
        Backing::Shared { file, offset } => (libc::MAP_SHARED, Some((file, offset))),
    };
    flags |= kind;
    let (start, len, bits) = (range.start.raw(), range.len(), bits(protection));
    let result = match file {
        None => {
            let args = [start, len, bits, word(flags), u64::MAX, 0];
            caller.call(libc::SYS_mmap, args)?
        }
        Some((file, offset)) => {
            let args = [start, len, bits, word(flags), u64::MAX, offset];
            caller.call_with_file(libc::SYS_mmap, args, file)?
        }
    };
    done(result)
}

/// munmap(2).
pub(crate) fn unmap(caller: &mut impl Caller, range: UserRange) -> Result<(), HostCallError> {
    check(caller, range)?;
    done(caller.call(libc::SYS_munmap, [range.start.raw(), range.len(), 0, 0, 0, 0])?)
}

/// mprotect(2).
pub(crate) fn protect(
    caller: &mut impl Caller,
    range: UserRange,
    protection: Protection,
) -> Result<(), HostCallError> {
    check(caller, range)?;
    let args = [range.start.raw(), range.len(), bits(protection), 0, 0, 0];
    done(caller.call(libc::SYS_mprotect, args)?)
}

/// mremap(2).
pub(crate) fn remap(
    caller: &mut impl Caller,
    from: UserRange,
    to: UserRange,
    keep: bool,
) -> Result<(), HostCallError> {
    check(caller, from)?;
    check(caller, to)?;
    let mut flags = 0;
    if keep || from.start != to.start {
        flags |= libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    }
    if keep {
        flags |= libc::MREMAP_DONTUNMAP;
    }
    let args = [from.start.raw(), from.len(), to.len(), word(flags), to.start.raw(), 0];
    done(caller.call(libc::SYS_mremap, args)?)
}

/// madvise(2).
pub(crate) fn advise(
    caller: &mut impl Caller,
    range: UserRange,
    advice: i32,
) -> Result<(), HostCallError> {
    check(caller, range)?;
    let args = [range.start.raw(), range.len(), word(advice), 0, 0, 0];
    done(caller.call(libc::SYS_madvise, args)?)
}

/// msync(2).
pub(crate) fn sync(
    caller: &mut impl Caller,
    range: UserRange,
    flags: i32,
) -> Result<(), HostCallError> {
    check(caller, range)?;
    let args = [range.start.raw(), range.len(), word(flags), 0, 0, 0];
    done(caller.call(libc::SYS_msync, args)?)
}

/// mincore(2), piece by piece.
pub(crate) fn residency(
    caller: &mut impl Caller,
    range: UserRange,
    to: &mut [u8],
) -> Result<(), HostCallError> {
    /// Pages asked for at a time: what every platform's scratch memory holds.
    const PIECE: usize = 2048;
    check(caller, range)?;
    if u64::try_from(to.len()) != Ok(range.len() / PAGE_SIZE) {
        return Err(HostCallError::Refused(Errno::EINVAL));
    }
    let mut start = range.start.raw();
    for piece in to.chunks_mut(PIECE) {
        let len = piece.len() as u64 * PAGE_SIZE;
        done(caller.call_into(libc::SYS_mincore, [start, len, 0, 0, 0, 0], 2, piece)?)?;
        start = start.saturating_add(len);
    }
    Ok(())
}

/// membarrier(2).
pub(crate) fn membarrier(
    caller: &mut impl Caller,
    command: i32,
    flags: u32,
) -> Result<i32, HostCallError> {
    let args = [word(command), u64::from(flags), 0, 0, 0, 0];
    let result = caller.call(libc::SYS_membarrier, args)?;
    done(result.min(0))?;
    Ok(i32::try_from(result).unwrap_or(i32::MAX))
}

/// futex(2) on private words: wakes, moves, changes; never waits.
pub(crate) fn futex(caller: &mut impl Caller, call: &FutexCall) -> Result<u32, HostCallError> {
    let FutexCall { addr, operation, value, value2, addr2, value3 } = *call;
    let is_known = matches!(
        operation,
        libc::FUTEX_WAKE_BITSET
            | libc::FUTEX_REQUEUE
            | libc::FUTEX_CMP_REQUEUE
            | libc::FUTEX_WAKE_OP
    );
    let user = caller.user_range();
    if !is_known || addr >= user.end || addr2 >= user.end {
        return Err(HostCallError::Refused(Errno::EFAULT));
    }
    let operation = word(operation | libc::FUTEX_PRIVATE_FLAG);
    let (value, value2) = (word(value), word(value2));
    let args = [addr.raw(), operation, value, value2, addr2.raw(), u64::from(value3)];
    let result = caller.call(libc::SYS_futex, args)?;
    done(result.min(0))?;
    Ok(u32::try_from(result).unwrap_or(u32::MAX))
}

fn check(caller: &impl Caller, range: UserRange) -> Result<(), HostCallError> {
    let whole = range.start.is_page_aligned() && range.end.is_page_aligned() && !range.is_empty();
    if whole && caller.user_range().contains_range(range) {
        Ok(())
    } else {
        Err(HostCallError::Refused(Errno::EINVAL))
    }
}

fn bits(protection: Protection) -> u64 {
    // The same three bits in the same places: PROT_READ, PROT_WRITE, PROT_EXEC.
    u64::from(protection.bits())
}

/// An `int` argument as the kernel gets it in a register.
pub(crate) fn word(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

fn done(result: i64) -> Result<(), HostCallError> {
    if result >= 0 {
        return Ok(());
    }
    let errno = i32::try_from(-result).ok().and_then(Errno::from_raw).unwrap_or(Errno::EIO);
    Err(HostCallError::Refused(errno))
}
