// SPDX-License-Identifier: Apache-2.0
//! Futexes: waiting for a word of guest memory to change.
//!
//! * **What it is.** futex(2) and its younger kin. A word is known by its [`Key`]; who waits for it stands
//!   in the queue of that key, in one of many buckets.
//! * **The types to know.** [`FutexTable`], one per kernel; [`Key`]; [`Word`], a word with the means to read
//!   and change it; [`Waiter`], a thread in a queue.
//! * **Whose the waiters are.** Where the platform has private futexes of its own ([`own`]), most who wait for
//!   such never come here. Who does makes all wake-ups come here too as long as it waits; each then goes to
//!   both.
//! * **Invariants.** A waiter reads the word and enters the queue under one bucket lock, and a waker holds
//!   the same lock: no wake-up falls between. A waiter is in at most one queue, and says itself in which.
//! * **Lock level.** `FutexBucket`, pairs by address. Guest memory is read and changed under it: a fault
//!   there is the host's to serve, so nothing of the sentry is waited for.
//! * **What it deliberately does not do.** DIFFERS: owners of priority-inheritance futexes inherit no
//!   priority: all tasks of a sandbox are equal before the host's scheduler.

mod key;
mod operation;
pub mod own;
pub mod pi;
mod requeue;
mod robust;
pub mod wait;

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    hash::{BuildHasher, BuildHasherDefault},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32},
    },
};

use abi::{Errno, UserAddr};
use platform::{AddressSpace, Context};

pub use platform::CutWait;
use rustc_hash::{FxHashMap, FxHasher};

pub use key::{Key, Sharing};
pub use requeue::RequeueRequest;
pub use robust::leave;

use crate::{
    sync::{Mutex, MutexGuard, levels, lock_pair},
    wait::Sleeper,
};

/// How many buckets there are.
const BUCKETS: usize = 256;

/// All futexes of a sandbox that somebody waits for.
pub struct FutexTable {
    buckets: Vec<Mutex<Bucket, levels::FutexBucket>>,
    /// Somebody has waited to own a word: rare, and what ends of threads look for.
    has_owned: AtomicBool,
}

/// The queues whose keys fall into one bucket.
#[derive(Default)]
struct Bucket {
    queues: FxHashMap<Key, VecDeque<Arc<Waiter>>>,
}

/// What a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A wake-up.
    Plain,
    /// To be made the owner of the word.
    Owner,
    /// To be moved to this key and made the owner there.
    Requeue(Key),
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// The queue it is in; `None` once it was woken or has left.
    key: Option<Key>,
    role: Role,
}

/// A thread that waits.
struct Waiter {
    sleeper: Arc<Sleeper>,
    /// Which wake-ups it wants (`FUTEX_WAIT_BITSET`).
    bitset: u32,
    /// Who it is, where it is to own a word.
    tid: u32,
    /// Who owns the word it waits for, as far as is known.
    owner: AtomicU32,
    /// How somebody else can write the word on its behalf: its memory, and where the word is there.
    space: Arc<dyn AddressSpace>,
    word: UserAddr,
    /// Changed only under the bucket lock of the key that it says, or of the one it goes to.
    place: Mutex<Place, levels::Leaf>,
    /// What makes private wake-ups come here.
    hold: OnceLock<own::Hold>,
}

impl fmt::Debug for FutexTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FutexTable")
    }
}

impl Default for FutexTable {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| Mutex::default()).collect();
        FutexTable { buckets, has_owned: AtomicBool::new(false) }
    }
}

type Guard<'a> = MutexGuard<'a, Bucket, levels::FutexBucket>;

/// The buckets of two keys, locked: perhaps one bucket.
struct Pair<'a> {
    first: Guard<'a>,
    second: Option<Guard<'a>>,
}

impl Pair<'_> {
    fn second(&mut self) -> &mut Bucket {
        match &mut self.second {
            Some(second) => second,
            None => &mut self.first,
        }
    }
}

impl FutexTable {
    fn bucket(&self, key: &Key) -> &Mutex<Bucket, levels::FutexBucket> {
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(key);
        let index = abi::num::to_usize(hash >> 32) % BUCKETS;
        self.buckets.get(index).expect("the index is less than the number of buckets")
    }

    fn lock(&self, key: &Key) -> Guard<'_> {
        self.bucket(key).lock()
    }

    fn lock_both(&self, first: &Key, second: &Key) -> Pair<'_> {
        let (a, b) = (self.bucket(first), self.bucket(second));
        if std::ptr::eq(a, b) {
            Pair { first: a.lock(), second: None }
        } else {
            let (first, second) = lock_pair(a, b);
            Pair { first, second: Some(second) }
        }
    }

    /// Wakes up to `count` of those who wait for `key` with a bit of `bitset` (at least one, as Linux
    /// does): how many. `EINVAL` if somebody waits there to own it.
    pub fn wake(&self, key: &Key, count: i32, bitset: u32) -> Result<u64, Errno> {
        self.lock(key).wake(key, count, bitset)
    }
}

impl Bucket {
    fn push(&mut self, key: Key, waiter: &Arc<Waiter>) {
        waiter.place.lock().key = Some(key);
        self.queues.entry(key).or_default().push_back(Arc::clone(waiter));
    }

    fn is_awaited(&self, key: &Key) -> bool {
        self.queues.contains_key(key)
    }

    fn remove(&mut self, key: &Key, waiter: &Arc<Waiter>) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.retain(|other| !Arc::ptr_eq(other, waiter));
            if queue.is_empty() {
                self.queues.remove(key);
            }
        }
    }

    fn wake(&mut self, key: &Key, count: i32, bitset: u32) -> Result<u64, Errno> {
        let mut woken: u32 = 0;
        let Some(queue) = self.queues.get_mut(key) else { return Ok(0) };
        let mut kept = VecDeque::with_capacity(queue.len());
        let mut result = Ok(());
        while let Some(waiter) = queue.pop_front() {
            if waiter.place.lock().role != Role::Plain {
                kept.push_back(waiter);
                result = Err(Errno::EINVAL);
                break;
            }
            if waiter.bitset & bitset == 0 {
                kept.push_back(waiter);
                continue;
            }
            waiter.wake();
            woken += 1;
            if i64::from(count) <= i64::from(woken) {
                break;
            }
        }
        kept.append(queue);
        *queue = kept;
        if queue.is_empty() {
            self.queues.remove(key);
        }
        result.map(|()| u64::from(woken))
    }

    /// Those who wait to own `key`, in order.
    fn owners_to_be(&self, key: &Key) -> Vec<Arc<Waiter>> {
        let queue = self.queues.get(key).into_iter().flatten();
        queue.filter(|waiter| waiter.place.lock().role == Role::Owner).cloned().collect()
    }
}

impl Waiter {
    /// It has left its queue: it may go on.
    fn wake(&self) {
        self.place.lock().key = None;
        self.sleeper.wake_up();
    }

    fn is_woken(&self) -> bool {
        self.place.lock().key.is_none()
    }
}

/// A word of guest memory with the means to read and change it.
#[allow(missing_debug_implementations, reason = "it holds the task's context")]
pub struct Word<'a> {
    /// The calling thread's door to memory.
    pub context: &'a mut dyn Context,
    /// Where it is.
    pub addr: UserAddr,
}

impl Word<'_> {
    fn read(&mut self) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        match self.context.read(self.addr, &mut bytes) {
            4 => Ok(u32::from_le_bytes(bytes)),
            _ => Err(Errno::EFAULT),
        }
    }

    /// Makes it `new` if it is `old`: what it was.
    fn exchange(&mut self, old: u32, new: u32) -> Result<u32, Errno> {
        self.context.compare_exchange_u32(self.addr, old, new).ok_or(Errno::EFAULT)
    }

    /// Changes it by `change`, whatever others do: what it was.
    fn update(&mut self, mut change: impl FnMut(u32) -> u32) -> Result<u32, Errno> {
        /// A guest that changes the word all the time fights itself.
        const TRIES: u32 = 10_000;
        let mut old = self.read()?;
        for _ in 0..TRIES {
            let found = self.exchange(old, change(old))?;
            if found == old {
                return Ok(old);
            }
            old = found;
        }
        Err(Errno::EAGAIN)
    }
}
