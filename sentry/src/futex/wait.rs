// SPDX-License-Identifier: Apache-2.0
//! Waiting for one word or for several.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicU32},
    time::Instant,
};

use abi::{Errno, UserAddr};
use platform::Context;

use super::{FutexTable, Key, Place, Role, Waiter, Word, own::Hold};
use crate::{
    sync::Mutex,
    wait::{Cut, Sleeper},
};

impl Waiter {
    pub(super) fn new(
        context: &dyn Context,
        sleeper: &Arc<Sleeper>,
        word: UserAddr,
        tid: u32,
        bitset: u32,
        role: Role,
    ) -> Arc<Waiter> {
        Arc::new(Waiter {
            sleeper: Arc::clone(sleeper),
            bitset,
            tid,
            owner: AtomicU32::new(0),
            space: Arc::clone(context.space()),
            word,
            place: Mutex::new(Place { key: None, role }),
            hold: OnceLock::new(),
        })
    }

    /// To be called before the word is looked at: from here on wake-ups at `key` come here.
    pub(super) fn hold(&self, key: &Key) {
        if matches!(key, Key::Private { is_shared: false, .. }) {
            self.hold.get_or_init(|| Hold::new(&self.space));
        }
    }
}

/// One of the words that futex_waitv(2) waits for.
#[derive(Debug, Clone, Copy)]
pub struct Awaited {
    /// Its key.
    pub key: Key,
    /// Where it is.
    pub addr: UserAddr,
    /// What it must be.
    pub value: u32,
}

impl FutexTable {
    /// Waits until woken: `EAGAIN` if the word is not `value` at first.
    pub fn wait(
        &self,
        context: &mut dyn Context,
        sleeper: &Arc<Sleeper>,
        awaited: Awaited,
        bitset: u32,
        deadline: Option<Instant>,
    ) -> Result<(), Cut> {
        let waiter = Waiter::new(context, sleeper, awaited.addr, 0, bitset, Role::Plain);
        self.enqueue(context, &awaited, &waiter)?;
        self.sleep(&waiter, deadline)
    }

    /// futex_waitv(2): the index of a word for which there was a wake-up.
    pub fn wait_any(
        &self,
        context: &mut dyn Context,
        sleeper: &Arc<Sleeper>,
        awaited: &[Awaited],
        deadline: Option<Instant>,
    ) -> Result<usize, Cut> {
        let mut waiters = Vec::with_capacity(awaited.len());
        let mut outcome = Ok(());
        for one in awaited {
            let waiter = Waiter::new(context, sleeper, one.addr, 0, u32::MAX, Role::Plain);
            if let Err(errno) = self.enqueue(context, one, &waiter) {
                outcome = Err(Cut::Failed(errno));
                break;
            }
            waiters.push(waiter);
        }
        while outcome.is_ok() && !waiters.iter().any(|waiter| waiter.is_woken()) {
            outcome = sleeper.sleep(deadline);
        }
        // All leave their queues; a wake-up that came in the meantime counts.
        let mut woken = None;
        for (index, waiter) in waiters.iter().enumerate() {
            if !self.leave_queue(waiter) {
                woken = Some(index);
            }
        }
        match (woken, outcome) {
            (Some(index), _) => Ok(index),
            (None, Err(cut)) => Err(cut),
            (None, Ok(())) => Err(Cut::Failed(Errno::EAGAIN)),
        }
    }

    /// futex_wait_setup(): compares and enters the queue under one lock.
    fn enqueue(
        &self,
        context: &mut dyn Context,
        awaited: &Awaited,
        waiter: &Arc<Waiter>,
    ) -> Result<(), Errno> {
        waiter.hold(&awaited.key);
        let mut bucket = self.lock(&awaited.key);
        if (Word { context, addr: awaited.addr }).read()? != awaited.value {
            return Err(Errno::EAGAIN);
        }
        bucket.push(awaited.key, waiter);
        Ok(())
    }

    /// Waits for one word, to be moved to another by [`FutexTable::requeue`] and to own that.
    #[allow(clippy::too_many_arguments, reason = "the call's own arguments")]
    pub fn wait_requeue_pi(
        &self,
        context: &mut dyn Context,
        sleeper: &Arc<Sleeper>,
        awaited: Awaited,
        bitset: u32,
        target: (Key, UserAddr),
        tid: u32,
        deadline: Option<Instant>,
    ) -> Result<(), Cut> {
        if awaited.key == target.0 {
            return Err(Cut::Failed(Errno::EINVAL));
        }
        let role = Role::Requeue(target.0);
        let waiter = Waiter::new(context, sleeper, target.1, tid, bitset, role);
        self.enqueue(context, &awaited, &waiter)?;
        self.sleep(&waiter, deadline)
    }

    /// Sleeps until `waiter` is woken; takes it out of its queue if something else comes first.
    pub(super) fn sleep(&self, waiter: &Arc<Waiter>, deadline: Option<Instant>) -> Result<(), Cut> {
        loop {
            if waiter.is_woken() {
                return Ok(());
            }
            if let Err(cut) = waiter.sleeper.sleep(deadline) {
                return if self.leave_queue(waiter) { Err(cut) } else { Ok(()) };
            }
        }
    }

    /// Takes a waiter out of the queue it is in; `false` if it was woken.
    pub(super) fn leave_queue(&self, waiter: &Arc<Waiter>) -> bool {
        loop {
            let Some(key) = waiter.place.lock().key else { return false };
            let mut bucket = self.lock(&key);
            // It may have been moved before the lock was had.
            let is_here = waiter.place.lock().key == Some(key);
            if is_here {
                bucket.remove(&key, waiter);
                waiter.place.lock().key = None;
                return true;
            }
        }
    }
}
