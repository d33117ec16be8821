// SPDX-License-Identifier: Apache-2.0
//! A readers-writer lock with a level.
#![allow(clippy::disallowed_types, reason = "the one place that wraps the bare lock")]

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use super::{Level, held};

/// A readers-writer lock of level `L`. One thread never takes it twice, not even to read.
pub struct RwLock<T: ?Sized, L: Level> {
    level: PhantomData<fn() -> L>,
    inner: parking_lot::RwLock<T>,
}

impl<T, L: Level> RwLock<T, L> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Self {
        RwLock { level: PhantomData, inner: parking_lot::const_rwlock(value) }
    }
}

impl<T: ?Sized, L: Level> RwLock<T, L> {
    /// Takes the lock to read.
    #[track_caller]
    pub fn read(&self) -> ReadGuard<'_, T, L> {
        let address = self.address();
        held::check::<L>(address);
        let inner = self.inner.read();
        held::push::<L>(address);
        ReadGuard { inner, address, level: PhantomData }
    }

    /// Takes the lock to write.
    #[track_caller]
    pub fn write(&self) -> WriteGuard<'_, T, L> {
        let address = self.address();
        held::check::<L>(address);
        let inner = self.inner.write();
        held::push::<L>(address);
        WriteGuard { inner, address, level: PhantomData }
    }

    fn address(&self) -> usize {
        (&raw const self.inner).cast::<()>().addr()
    }
}

impl<T: Default, L: Level> Default for RwLock<T, L> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized, L: Level> fmt::Debug for RwLock<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RwLock<{}>", L::NAME)
    }
}

/// A [`RwLock`] taken to read.
pub struct ReadGuard<'a, T: ?Sized, L: Level> {
    inner: parking_lot::RwLockReadGuard<'a, T>,
    address: usize,
    level: PhantomData<fn() -> L>,
}

impl<T: ?Sized, L: Level> Deref for ReadGuard<'_, T, L> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, L: Level> Drop for ReadGuard<'_, T, L> {
    fn drop(&mut self) {
        held::pop::<L>(self.address);
    }
}

impl<T: ?Sized, L: Level> fmt::Debug for ReadGuard<'_, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadGuard<{}>", L::NAME)
    }
}

/// A [`RwLock`] taken to write.
pub struct WriteGuard<'a, T: ?Sized, L: Level> {
    inner: parking_lot::RwLockWriteGuard<'a, T>,
    address: usize,
    level: PhantomData<fn() -> L>,
}

impl<T: ?Sized, L: Level> Deref for WriteGuard<'_, T, L> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, L: Level> DerefMut for WriteGuard<'_, T, L> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized, L: Level> Drop for WriteGuard<'_, T, L> {
    fn drop(&mut self) {
        held::pop::<L>(self.address);
    }
}

impl<T: ?Sized, L: Level> fmt::Debug for WriteGuard<'_, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteGuard<{}>", L::NAME)
    }
}
