// SPDX-License-Identifier: Apache-2.0
//! A mutex with a level, and its condition variable.
#![allow(clippy::disallowed_types, reason = "the one place that wraps the bare lock")]

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    time::Instant,
};

use super::{Level, held};

/// A mutex of level `L`.
pub struct Mutex<T: ?Sized, L: Level> {
    level: PhantomData<fn() -> L>,
    inner: parking_lot::Mutex<T>,
}

impl<T, L: Level> Mutex<T, L> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Mutex { level: PhantomData, inner: parking_lot::const_mutex(value) }
    }

    /// What it guarded.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized, L: Level> Mutex<T, L> {
    /// Takes the lock, waiting for it.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T, L> {
        let address = self.address();
        held::check::<L>(address);
        let inner = self.inner.lock();
        held::push::<L>(address);
        MutexGuard { inner, address, level: PhantomData }
    }

    /// Takes the lock if nobody has it. Not bound to the order: it cannot wait.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T, L>> {
        let inner = self.inner.try_lock()?;
        let address = self.address();
        held::push::<L>(address);
        Some(MutexGuard { inner, address, level: PhantomData })
    }

    /// What it guards, by an exclusive reference.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    fn address(&self) -> usize {
        (&raw const self.inner).cast::<()>().addr()
    }
}

impl<T: Default, L: Level> Default for Mutex<T, L> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized, L: Level> fmt::Debug for Mutex<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutex<{}>", L::NAME)
    }
}

/// A taken [`Mutex`].
pub struct MutexGuard<'a, T: ?Sized, L: Level> {
    inner: parking_lot::MutexGuard<'a, T>,
    address: usize,
    level: PhantomData<fn() -> L>,
}

impl<T: ?Sized, L: Level> Deref for MutexGuard<'_, T, L> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized, L: Level> DerefMut for MutexGuard<'_, T, L> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized, L: Level> Drop for MutexGuard<'_, T, L> {
    fn drop(&mut self) {
        held::pop::<L>(self.address);
    }
}

impl<T: ?Sized, L: Level> fmt::Debug for MutexGuard<'_, T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MutexGuard<{}>", L::NAME)
    }
}

/// Takes two locks of one level, by address. The same lock twice is the caller's mistake.
#[track_caller]
pub fn lock_pair<'a, T, L: Level>(
    a: &'a Mutex<T, L>,
    b: &'a Mutex<T, L>,
) -> (MutexGuard<'a, T, L>, MutexGuard<'a, T, L>) {
    if a.address() < b.address() {
        let a = a.lock();
        (a, b.lock())
    } else {
        let b = b.lock();
        (a.lock(), b)
    }
}

/// A condition variable for a [`Mutex`].
#[derive(Default)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    /// A condition variable nobody waits on.
    pub const fn new() -> Condvar {
        Condvar(parking_lot::Condvar::new())
    }

    /// Gives the lock back, sleeps until notified, takes it again.
    pub fn wait<T: ?Sized, L: Level>(&self, guard: &mut MutexGuard<'_, T, L>) {
        self.0.wait(&mut guard.inner);
    }

    /// As [`Condvar::wait`], until `deadline` at the latest; returns whether that has passed.
    pub fn wait_until<T: ?Sized, L: Level>(
        &self,
        guard: &mut MutexGuard<'_, T, L>,
        deadline: Instant,
    ) -> bool {
        self.0.wait_until(&mut guard.inner, deadline).timed_out()
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiters.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}

#[cfg(test)]
mod tests {
    use super::{Mutex, lock_pair};
    use crate::sync::levels::{Leaf, TaskSet};

    #[test]
    fn the_declared_order_is_accepted() {
        let (outer, inner) = (Mutex::<_, TaskSet>::new(1), Mutex::<_, Leaf>::new(2));
        let a = outer.lock();
        let b = inner.lock();
        assert_eq!(*a + *b, 3);
    }

    #[test]
    #[should_panic(expected = "lock order: TaskSet is wanted while Leaf is held")]
    fn the_reverse_order_is_refused() {
        let (outer, inner) = (Mutex::<_, TaskSet>::new(1), Mutex::<_, Leaf>::new(2));
        let _b = inner.lock();
        let _a = outer.lock();
    }

    #[test]
    fn pairs_are_taken_by_address() {
        let locks = [Mutex::<_, Leaf>::new(1), Mutex::<_, Leaf>::new(2)];
        let [a, b] = &locks;
        drop(lock_pair(a, b));
        drop(lock_pair(b, a));
    }
}
