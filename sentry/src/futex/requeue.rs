// SPDX-License-Identifier: Apache-2.0
//! Moving waiters from one word to another.

use std::sync::atomic::Ordering;

use abi::{
    Errno, UserAddr,
    futex::{FUTEX_TID_MASK, FUTEX_WAITERS},
};

use super::{Bucket, FutexTable, Key, Pair, Role, Waiter, Word, own};

/// `FUTEX_REQUEUE` and its kin, without the words.
#[derive(Debug, Clone, Copy)]
pub struct RequeueRequest {
    /// From here.
    pub from: Key,
    /// To there.
    pub to: Key,
    /// So many are woken first.
    pub wake: i32,
    /// So many are moved.
    pub requeue: i32,
    /// What the first word must be (`FUTEX_CMP_REQUEUE`).
    pub expected: Option<u32>,
}

impl FutexTable {
    /// `FUTEX_REQUEUE`, `FUTEX_CMP_REQUEUE`: how many were woken or moved. `word` is the first one.
    pub fn requeue(
        &self,
        word: &mut Word<'_>,
        to_addr: UserAddr,
        request: &RequeueRequest,
    ) -> Result<u64, Errno> {
        let RequeueRequest { from, to, wake, requeue, expected } = *request;
        if wake < 0 || requeue < 0 {
            return Err(Errno::EINVAL);
        }
        // Those of the platform first: it tells how many, and looks at the word.
        let (mut woken, mut moved) = own::requeue(word, to_addr, request)?;
        let done = woken + moved;
        let mut pair = self.lock_both(&from, &to);
        if let Some(expected) = expected
            && word.read()? != expected
        {
            return if done > 0 { Ok(u64::from(done.cast_unsigned())) } else { Err(Errno::EAGAIN) };
        }
        let waiters: Vec<_> = pair.first.queues.get(&from).into_iter().flatten().cloned().collect();
        for waiter in waiters {
            if waiter.place.lock().role != Role::Plain {
                return Err(Errno::EINVAL);
            }
            if woken < wake {
                pair.first.remove(&from, &waiter);
                waiter.wake();
                woken += 1;
            } else if moved < requeue {
                move_waiter(&mut pair, &from, to, &waiter);
                moved += 1;
            } else {
                break;
            }
        }
        Ok(u64::from(woken.cast_unsigned()) + u64::from(moved.cast_unsigned()))
    }

    /// `FUTEX_CMP_REQUEUE_PI`: the first waiter gets the second word, which is `target`, if nobody owns it;
    /// the others wait for that.
    pub fn requeue_pi(
        &self,
        context: &mut dyn platform::Context,
        addrs: (UserAddr, UserAddr),
        request: &RequeueRequest,
    ) -> Result<u64, Errno> {
        let RequeueRequest { from, to, wake, requeue, expected } = *request;
        if wake != 1 || requeue < 0 || from == to {
            return Err(Errno::EINVAL);
        }
        let mut pair = self.lock_both(&from, &to);
        let found = Word { context: &mut *context, addr: addrs.0 }.read()?;
        if expected.is_some_and(|expected| expected != found) {
            return Err(Errno::EAGAIN);
        }
        let waiters: Vec<_> = pair.first.queues.get(&from).into_iter().flatten().cloned().collect();
        let mut count: u64 = 0;
        for waiter in waiters {
            if waiter.place.lock().role != Role::Requeue(to) {
                return Err(Errno::EINVAL);
            }
            if count > u64::from(requeue.cast_unsigned()) {
                break;
            }
            let mut word = Word { context: &mut *context, addr: addrs.1 };
            let has_waiters = pair.second().queues.contains_key(&to);
            let mut owner = 0;
            let old = word.update(|old| {
                owner = old & FUTEX_TID_MASK;
                if owner == 0 && !has_waiters { old | waiter.tid } else { old | FUTEX_WAITERS }
            })?;
            owner = old & FUTEX_TID_MASK;
            if owner == 0 && !has_waiters {
                pair.first.remove(&from, &waiter);
                waiter.wake();
            } else {
                self.has_owned.store(true, Ordering::SeqCst);
                waiter.place.lock().role = Role::Owner;
                waiter.owner.store(owner, Ordering::Relaxed);
                move_waiter(&mut pair, &from, to, &waiter);
            }
            count += 1;
        }
        Ok(count)
    }
}

fn move_waiter(pair: &mut Pair<'_>, from: &Key, to: Key, waiter: &std::sync::Arc<Waiter>) {
    pair.first.remove(from, waiter);
    let target: &mut Bucket = pair.second();
    target.push(to, waiter);
}
