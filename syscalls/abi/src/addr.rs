// SPDX-License-Identifier: Apache-2.0
//! Guest addresses and typed guest pointers.
//!
//! Nothing here dereferences anything: a [`UserAddr`] is what the guest says, an allegation. The one
//! door that reads and writes guest memory is `sentry/src/mm/user.rs`.

use core::{fmt, marker::PhantomData};

use crate::{errno::Errno, macros::FromReg};

/// The size of a page.
pub const PAGE_SIZE: u64 = 4096;

/// An address in the guest. There is no `Add`: arithmetic is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct UserAddr(pub u64);

impl UserAddr {
    /// The null address.
    pub const NULL: UserAddr = UserAddr(0);

    /// Whether the address is zero.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The number.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// `self + bytes`, or `EFAULT` when that wraps.
    pub fn checked_add(self, bytes: u64) -> Result<UserAddr, Errno> {
        self.0.checked_add(bytes).map(UserAddr).ok_or(Errno::EFAULT)
    }

    /// `self - bytes`, or `EFAULT` when that wraps.
    pub fn checked_sub(self, bytes: u64) -> Result<UserAddr, Errno> {
        self.0.checked_sub(bytes).map(UserAddr).ok_or(Errno::EFAULT)
    }

    /// The start of the page that holds this address.
    pub const fn page_floor(self) -> UserAddr {
        UserAddr(self.0 & !(PAGE_SIZE - 1))
    }

    /// The next page boundary at or above; `None` when there is none.
    pub const fn page_ceil(self) -> Option<UserAddr> {
        match self.0.checked_add(PAGE_SIZE - 1) {
            Some(sum) => Some(UserAddr(sum & !(PAGE_SIZE - 1))),
            None => None,
        }
    }

    /// Whether the address is at a page boundary.
    pub const fn is_page_aligned(self) -> bool {
        self.0 & (PAGE_SIZE - 1) == 0
    }
}

impl fmt::Display for UserAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for UserAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromReg for UserAddr {
    fn from_reg(register: u64) -> Self {
        UserAddr(register)
    }
}

/// A half-open range of guest addresses, `start <= end`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserRange {
    /// First address inside.
    pub start: UserAddr,
    /// First address after.
    pub end: UserAddr,
}

impl UserRange {
    /// The range of `len` bytes at `start`; `None` when it wraps.
    pub fn new(start: UserAddr, len: u64) -> Option<UserRange> {
        let end = UserAddr(start.0.checked_add(len)?);
        Some(UserRange { start, end })
    }

    /// Bytes in the range.
    pub const fn len(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether nothing is inside.
    pub const fn is_empty(self) -> bool {
        self.start.0 >= self.end.0
    }

    /// Whether `addr` lies inside.
    pub const fn contains(self, addr: UserAddr) -> bool {
        self.start.0 <= addr.0 && addr.0 < self.end.0
    }

    /// Whether all of `other` lies inside.
    pub const fn contains_range(self, other: UserRange) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }

    /// What both have in common, if anything.
    pub fn intersect(self, other: UserRange) -> Option<UserRange> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(UserRange { start, end })
    }
}

impl fmt::Debug for UserRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start.0, self.end.0)
    }
}

/// The kernel reads through such a pointer.
#[derive(Debug, Clone, Copy)]
pub enum In {}
/// The kernel writes through such a pointer.
#[derive(Debug, Clone, Copy)]
pub enum Out {}
/// The kernel reads and writes through such a pointer.
#[derive(Debug, Clone, Copy)]
pub enum InOut {}

/// A guest pointer to a `T` (or to the first of several), with its direction in the type.
pub struct UserPtr<T, D> {
    addr: UserAddr,
    kind: PhantomData<fn() -> (T, D)>,
}

/// A pointer the kernel reads through.
pub type UserIn<T> = UserPtr<T, In>;
/// A pointer the kernel writes through.
pub type UserOut<T> = UserPtr<T, Out>;
/// A pointer the kernel reads and writes through.
pub type UserInOut<T> = UserPtr<T, InOut>;

impl<T, D> UserPtr<T, D> {
    /// The pointer with this address.
    pub const fn new(addr: UserAddr) -> Self {
        UserPtr { addr, kind: PhantomData }
    }

    /// Where it points.
    pub const fn addr(self) -> UserAddr {
        self.addr
    }

    /// `None` for NULL: for arguments that the man page lets be NULL.
    pub fn nullable(self) -> Option<Self> {
        (!self.addr.is_null()).then_some(self)
    }

    /// The same address seen as another type, which the caller must name.
    pub const fn cast<U>(self) -> UserPtr<U, D> {
        UserPtr::new(self.addr)
    }

    /// The pointer to element `index`; `EFAULT` when that wraps.
    pub fn element(self, index: usize) -> Result<Self, Errno> {
        let index = u64::try_from(index).map_err(|_| Errno::EFAULT)?;
        let size = u64::try_from(size_of::<T>()).map_err(|_| Errno::EFAULT)?;
        let bytes = index.checked_mul(size).ok_or(Errno::EFAULT)?;
        Ok(UserPtr::new(self.addr.checked_add(bytes)?))
    }
}

impl<T, D> FromReg for UserPtr<T, D> {
    fn from_reg(register: u64) -> Self {
        UserPtr::new(UserAddr(register))
    }
}

impl<T> UserPtr<T, InOut> {
    /// The reading half.
    pub const fn as_in(self) -> UserIn<T> {
        UserPtr::new(self.addr)
    }

    /// The writing half.
    pub const fn as_out(self) -> UserOut<T> {
        UserPtr::new(self.addr)
    }
}

impl<T, D> Clone for UserPtr<T, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, D> Copy for UserPtr<T, D> {}

impl<T, D> PartialEq for UserPtr<T, D> {
    fn eq(&self, other: &Self) -> bool {
        self.addr == other.addr
    }
}

impl<T, D> Eq for UserPtr<T, D> {}

impl<T, D> fmt::Debug for UserPtr<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.addr, f)
    }
}

/// A guest pointer to a NUL-terminated string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserCStr(pub UserAddr);

impl UserCStr {
    /// Where it points.
    pub const fn addr(self) -> UserAddr {
        self.0
    }

    /// `None` for NULL.
    pub fn nullable(self) -> Option<UserCStr> {
        (!self.0.is_null()).then_some(self)
    }
}

impl fmt::Debug for UserCStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromReg for UserCStr {
    fn from_reg(register: u64) -> Self {
        UserCStr(UserAddr(register))
    }
}
