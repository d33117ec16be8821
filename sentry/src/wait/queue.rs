// SPDX-License-Identifier: Apache-2.0
//! Wait queues: who wants to hear of a thing's readiness.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

use smallvec::SmallVec;

use super::Ready;
use crate::sync::{Mutex, levels};

/// Something that wants to hear of readiness.
pub trait Wake: Send + Sync {
    /// `ready` has become so. Called without the queue's lock, perhaps after the registration is gone;
    /// must not block. It may notify other queues (an epoll instance does).
    fn wake(&self, ready: Ready);
}

struct Entry {
    key: u64,
    interest: Ready,
    /// Woken alone among exclusive ones (`EPOLLEXCLUSIVE`, accept(2), futexes have their own).
    exclusive: bool,
    wake: Arc<dyn Wake>,
}

#[derive(Default)]
struct Entries {
    next_key: u64,
    list: Vec<Entry>,
}

/// Who waits for one thing. Cheap when nobody does.
#[derive(Default, Clone)]
pub struct WaitQueue {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: Mutex<Entries, levels::WaitQueue>,
    /// How many entries there are, so that a notification nobody waits for takes no lock.
    count: AtomicUsize,
}

impl WaitQueue {
    /// A queue in which nobody waits.
    pub fn new() -> WaitQueue {
        WaitQueue::default()
    }

    /// Enters `wake`; it leaves when the registration is dropped.
    #[must_use]
    pub fn register(&self, wake: Arc<dyn Wake>, interest: Ready) -> Registration {
        self.enter(wake, interest, false)
    }

    /// As [`WaitQueue::register`], but of all that are registered so one notification wakes one.
    #[must_use]
    pub fn register_exclusive(&self, wake: Arc<dyn Wake>, interest: Ready) -> Registration {
        self.enter(wake, interest, true)
    }

    #[track_caller]
    fn enter(&self, wake: Arc<dyn Wake>, interest: Ready, exclusive: bool) -> Registration {
        let mut entries = self.inner.entries.lock();
        let key = entries.next_key;
        entries.next_key += 1;
        entries.list.push(Entry { key, interest: interest | Ready::ALWAYS, exclusive, wake });
        // Sequentially consistent with the fence in `notify`: either the notifier sees the entry, or
        // whoever registers sees the change when it tries again.
        self.inner.count.store(entries.list.len(), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Registration { queue: Arc::downgrade(&self.inner), key }
    }

    /// Wakes those who wait for any of `ready`. Call it after the change is visible.
    #[track_caller]
    pub fn notify(&self, ready: Ready) {
        fence(Ordering::SeqCst);
        if self.inner.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut woken: SmallVec<[Arc<dyn Wake>; 4]> = SmallVec::new();
        let entries = self.inner.entries.lock();
        let mut woke_exclusive = false;
        for entry in &entries.list {
            if !entry.interest.intersects(ready) || (entry.exclusive && woke_exclusive) {
                continue;
            }
            woke_exclusive |= entry.exclusive;
            woken.push(Arc::clone(&entry.wake));
        }
        drop(entries);
        for wake in woken {
            wake.wake(ready);
        }
    }

    /// Whether the two are one queue.
    pub fn is_same(&self, other: &WaitQueue) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether nobody waits.
    #[track_caller]
    pub fn is_empty(&self) -> bool {
        self.inner.entries.lock().list.is_empty()
    }
}

impl fmt::Debug for WaitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitQueue")
    }
}

/// A place in a [`WaitQueue`]; leaves it when dropped.
#[must_use]
pub struct Registration {
    queue: Weak<Inner>,
    key: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.upgrade() {
            let removed = {
                let mut entries = queue.entries.lock();
                let at = entries.list.iter().position(|entry| entry.key == self.key);
                let removed = at.map(|at| entries.list.remove(at));
                queue.count.store(entries.list.len(), Ordering::SeqCst);
                removed
            };
            // The last reference to a waiter may free much: not under the lock.
            drop(removed);
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registration")
    }
}
