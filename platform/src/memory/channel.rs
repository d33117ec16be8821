// SPDX-License-Identifier: Apache-2.0
//! The hostile shared pages: the sentry's view of one stub thread's channel.
//!
//! Invariant: nothing here hands out a reference to shared bytes. Every access is one volatile or
//! atomic load or store, or a copy that the compiler cannot see into, at an offset that was checked
//! against the channel's size. What was read is believed by nobody.
#![allow(unsafe_code, reason = "maps and accesses memory that the guest writes at the same time")]

use std::{
    fmt, io,
    mem::offset_of,
    num::NonZero,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::AtomicU32,
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use parking_lot::Mutex;

use crate::{
    sys,
    systrap::shared::{BUFFER_OFFSET, BUFFER_SIZE, CHANNEL_SIZE, Control, OPS_MAX, OPS_OFFSET, Op},
};

/// One stub thread's channel.
pub(crate) struct Channel {
    base: NonNull<u8>,
    /// Where the stub maps it.
    stub_addr: u64,
    /// Until the stub has it.
    file: Mutex<Option<OwnedFd>>,
}

// SAFETY: all access is by volatile, atomic or opaque copies of shared memory.
unsafe impl Send for Channel {}
// SAFETY: as above.
unsafe impl Sync for Channel {}

/// A field of [`Control`] that is not the futex word.
#[derive(Clone, Copy)]
pub(crate) struct Field<T>(usize, std::marker::PhantomData<T>);

macro_rules! fields {
    ($($name:ident: $type:ty = $field:ident;)*) => {
        $(pub(crate) const $name: Field<$type> =
            Field(offset_of!(Control, $field), std::marker::PhantomData);)*
    };
}

/// The fields by name.
pub(crate) mod field {
    use super::{Control, Field, offset_of};
    fields! {
        SPINS: u32 = spins;
        COMMAND: u32 = command;
        SET_BASES: u32 = set_bases;
        OP_COUNT: u32 = op_count;
        FEATURES: u32 = features;
        EVENT: u32 = event;
        SIGNAL: u32 = signal;
        CONTEXT: u64 = context;
        INFO: u64 = info;
        FS_BASE: u64 = fs_base;
        GS_BASE: u64 = gs_base;
        PEEK_ADDR: u64 = peek_addr;
        PEEK_LEN: u32 = peek_len;
        COPY_ADDR: u64 = copy_addr;
        COPY_LEN: u64 = copy_len;
        COPY_LEFT: u64 = copy_left;
        CPU: u32 = cpu;
        FUTEX_END: u64 = futex_end;
        HELD: u32 = held;
        WAITING: u32 = waiting;
        CUT: u32 = cut;
        WAITING_SINCE: u64 = waiting_since;
        WAITED: u64 = waited;
        WAITS: u64 = waits;
        DEADLINE: [u64; 2] = deadline;
    }
}

impl Channel {
    /// A new channel, which the stub will map at `stub_addr`.
    pub(crate) fn new(stub_addr: u64) -> io::Result<Channel> {
        let file = sys::memfd(c"channel", CHANNEL_SIZE as u64)?;
        let len = NonZero::new(CHANNEL_SIZE).expect("a constant");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, &file, 0) }?;
        let base: NonNull<u8> = base.cast();
        // SAFETY: fork(2) need not copy what the child unmaps first.
        unsafe { libc::madvise(base.as_ptr().cast(), CHANNEL_SIZE, libc::MADV_DONTFORK) };
        Ok(Channel { base, stub_addr, file: Mutex::new(Some(file)) })
    }

    /// Where it lies in the stub.
    pub(crate) fn stub_addr(&self) -> u64 {
        self.stub_addr
    }

    /// Has the host find memory for what every stub thread uses: its operations and its first frame.
    pub(crate) fn warm(&self) {
        const PAGE: usize = 4096;
        for offset in [OPS_OFFSET, CHANNEL_SIZE - 2 * PAGE, CHANNEL_SIZE - PAGE] {
            self.write(offset, &[0]);
        }
    }

    /// Runs `give` with the file, which is closed afterwards: a stub gets it once.
    pub(crate) fn give_file<T>(&self, give: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
        let file = self.file.lock().take()?;
        Some(give(file.as_fd()))
    }

    /// The futex word.
    pub(crate) fn turn(&self) -> &AtomicU32 {
        // SAFETY: the word is aligned, mapped as long as `self`, and only accessed atomically.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset_of!(Control, turn)).cast()) }
    }

    /// The futex word that ends the stub's wait in a futex.
    pub(crate) fn interrupt_word(&self) -> &AtomicU32 {
        let offset = offset_of!(Control, interrupt);
        // SAFETY: the word is aligned, mapped as long as `self`, and only accessed atomically.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// Reads a field, once.
    pub(crate) fn get<T: Copy>(&self, field: Field<T>) -> T {
        // SAFETY: the offset is one of `Control`'s fields, whose types take any bits.
        unsafe { self.base.as_ptr().add(field.0).cast::<T>().read_volatile() }
    }

    /// Writes a field.
    pub(crate) fn set<T: Copy>(&self, field: Field<T>, value: T) {
        // SAFETY: as in `get`.
        unsafe { self.base.as_ptr().add(field.0).cast::<T>().write_volatile(value) }
    }

    /// Writes operation number `index`; nothing when there is no such.
    pub(crate) fn set_op(&self, index: usize, op: Op) {
        if index < OPS_MAX {
            // SAFETY: below `OPS_MAX`, so inside the channel; aligned by the layout.
            unsafe {
                let ops = self.base.as_ptr().add(OPS_OFFSET).cast::<Op>();
                ops.add(index).write_volatile(op);
            }
        }
    }

    /// Reads what operation number `index` returned.
    pub(crate) fn op_result(&self, index: usize) -> i64 {
        if index >= OPS_MAX {
            return -i64::from(libc::EINVAL);
        }
        // SAFETY: as in `set_op`.
        unsafe {
            let op = self.base.as_ptr().add(OPS_OFFSET).cast::<Op>().add(index);
            (&raw const (*op).result).read_volatile()
        }
    }

    /// Copies out of the channel; `false` (and nothing done) when that is not all inside.
    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        if !inside(offset, to.len()) {
            return false;
        }
        // SAFETY: inside the channel, which no reference covers.
        unsafe { sys::copy_shared(to.as_mut_ptr(), self.base.as_ptr().add(offset), to.len()) };
        true
    }

    /// Copies into the channel; as [`Channel::read`].
    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> bool {
        if !inside(offset, from.len()) {
            return false;
        }
        // SAFETY: inside the channel, which no reference covers.
        unsafe { sys::copy_shared(self.base.as_ptr().add(offset), from.as_ptr(), from.len()) };
        true
    }

    /// The offset that the stub's address `addr` has, when `len` bytes there are inside.
    pub(crate) fn offset_of(&self, addr: u64, len: usize) -> Option<usize> {
        let offset = usize::try_from(addr.checked_sub(self.stub_addr)?).ok()?;
        inside(offset, len).then_some(offset)
    }

    /// Copies out of the buffer.
    pub(crate) fn read_buffer(&self, to: &mut [u8]) -> bool {
        to.len() <= BUFFER_SIZE && self.read(BUFFER_OFFSET, to)
    }

    /// Copies into the buffer.
    pub(crate) fn write_buffer(&self, from: &[u8]) -> bool {
        from.len() <= BUFFER_SIZE && self.write(BUFFER_OFFSET, from)
    }
}

fn inside(offset: usize, len: usize) -> bool {
    offset.checked_add(len).is_some_and(|end| end <= CHANNEL_SIZE)
}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; no reference into it outlives `self`.
        if let Err(error) = unsafe { munmap(self.base.cast(), CHANNEL_SIZE) } {
            tracing::warn!(%error, "a channel stays mapped");
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("stub_addr", &self.stub_addr).finish_non_exhaustive()
    }
}
