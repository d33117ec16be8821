// SPDX-License-Identifier: Apache-2.0
//! Futexes that are owned: `FUTEX_LOCK_PI`, `FUTEX_UNLOCK_PI`.
//!
//! The word holds the owner's thread id. While somebody waits it also has `FUTEX_WAITERS`, and then user
//! code leaves it to the kernel: who unlocks hands it to the next in the queue, under the bucket lock.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use abi::{
    Errno, UserAddr,
    futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS},
};
use platform::Context;

use super::{FutexTable, Guard, Key, Role, Waiter, Word};
use crate::wait::{Cut, Sleeper};

/// Who locks.
#[derive(Debug)]
pub struct Locker<'a> {
    /// The calling thread's id.
    pub tid: u32,
    /// Where it sleeps.
    pub sleeper: &'a Arc<Sleeper>,
}

/// What became of an attempt.
enum Attempt<'a> {
    Locked,
    /// The word says that there are waiters; the lock is still held.
    MustWait(Guard<'a>, u32),
}

impl FutexTable {
    /// `FUTEX_LOCK_PI`. `is_alive` says whether there is a thread with an id.
    pub fn lock_pi(
        &self,
        context: &mut dyn Context,
        locker: &Locker<'_>,
        key: Key,
        addr: UserAddr,
        deadline: Option<Instant>,
        is_alive: &dyn Fn(u32) -> bool,
    ) -> Result<(), Cut> {
        let role = Role::Owner;
        let waiter = Waiter::new(context, locker.sleeper, addr, locker.tid, u32::MAX, role);
        waiter.hold(&key);
        match self.attempt(context, locker.tid, key, addr, true, is_alive)? {
            Attempt::Locked => return Ok(()),
            Attempt::MustWait(mut bucket, owner) => {
                self.has_owned.store(true, Ordering::SeqCst);
                waiter.owner.store(owner, Ordering::Relaxed);
                bucket.push(key, &waiter);
            }
        }
        self.sleep(&waiter, deadline)
    }

    /// `FUTEX_TRYLOCK_PI`: `EAGAIN` if somebody owns it.
    pub fn try_lock_pi(
        &self,
        context: &mut dyn Context,
        tid: u32,
        key: Key,
        addr: UserAddr,
        is_alive: &dyn Fn(u32) -> bool,
    ) -> Result<(), Errno> {
        match self.attempt(context, tid, key, addr, false, is_alive)? {
            Attempt::Locked => Ok(()),
            Attempt::MustWait(..) => Err(Errno::EAGAIN),
        }
    }

    /// futex_lock_pi_atomic().
    fn attempt(
        &self,
        context: &mut dyn Context,
        tid: u32,
        key: Key,
        addr: UserAddr,
        waits: bool,
        is_alive: &dyn Fn(u32) -> bool,
    ) -> Result<Attempt<'_>, Errno> {
        let mut word = Word { context, addr };
        // Whether an owner is alive is asked without the lock: tasks stand above futexes.
        let mut known_alive = None;
        loop {
            let bucket = self.lock(&key);
            let value = word.read()?;
            let owner = value & FUTEX_TID_MASK;
            if owner == tid {
                return Err(Errno::EDEADLK);
            }
            let has_waiters = !bucket.owners_to_be(&key).is_empty();
            if bucket.queues.contains_key(&key) && !has_waiters {
                // Somebody waits here without wanting to own it.
                return Err(Errno::EINVAL);
            }
            if owner == 0 && !has_waiters {
                let new = tid | (value & FUTEX_OWNER_DIED);
                if word.exchange(value, new)? == value {
                    return Ok(Attempt::Locked);
                }
                continue;
            }
            if !waits {
                return Ok(Attempt::MustWait(bucket, owner));
            }
            if owner != 0 && known_alive != Some(owner) {
                drop(bucket);
                if !is_alive(owner) {
                    return Err(Errno::ESRCH);
                }
                known_alive = Some(owner);
                continue;
            }
            if value & FUTEX_WAITERS != 0 || word.exchange(value, value | FUTEX_WAITERS)? == value {
                return Ok(Attempt::MustWait(bucket, owner));
            }
        }
    }

    /// `FUTEX_UNLOCK_PI`: `EPERM` unless the caller owns it.
    pub fn unlock_pi(
        &self,
        context: &mut dyn Context,
        tid: u32,
        key: Key,
        addr: UserAddr,
    ) -> Result<(), Errno> {
        let mut word = Word { context, addr };
        let mut bucket = self.lock(&key);
        if word.read()? & FUTEX_TID_MASK != tid {
            return Err(Errno::EPERM);
        }
        let waiters = bucket.owners_to_be(&key);
        match waiters.split_first() {
            None if bucket.queues.contains_key(&key) => Err(Errno::EINVAL),
            None => word.update(|_| 0).map(drop),
            Some((next, others)) => {
                // The bit stays even for the last one: it comes here to unlock, and finds nobody.
                word.update(|_| next.tid | FUTEX_WAITERS)?;
                for other in others {
                    other.owner.store(next.tid, Ordering::Relaxed);
                }
                bucket.remove(&key, next);
                next.wake();
                Ok(())
            }
        }
    }

    /// The thread `tid` ends while others wait for what it owns: each such word goes to the next in its
    /// queue, marked with `FUTEX_OWNER_DIED` (exit_pi_state_list()).
    pub fn abandon_pi(&self, tid: u32) {
        if !self.has_owned.load(Ordering::SeqCst) {
            return;
        }
        for bucket in &self.buckets {
            let mut bucket = bucket.lock();
            let owned: Vec<Key> = bucket
                .queues
                .iter()
                .filter(|(_, queue)| {
                    queue.iter().any(|waiter| {
                        waiter.owner.load(Ordering::Relaxed) == tid
                            && waiter.place.lock().role == Role::Owner
                    })
                })
                .map(|(key, _)| *key)
                .collect();
            for key in owned {
                let waiters = bucket.owners_to_be(&key);
                let Some((next, others)) = waiters.split_first() else { continue };
                let value = next.tid | FUTEX_WAITERS | FUTEX_OWNER_DIED;
                // If the word is gone from the waiter's memory, its own loss is to see the old value.
                let _ = next.space.write(next.word, &value.to_le_bytes());
                for other in others {
                    other.owner.store(next.tid, Ordering::Relaxed);
                }
                bucket.remove(&key, next);
                next.wake();
            }
        }
    }
}
