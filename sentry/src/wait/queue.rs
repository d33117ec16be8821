// SPDX-License-Identifier: Apache-2.0
//! Wait queues: who wants to hear of a thing's readiness.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::Ready;
use crate::sync::{Mutex, levels};

/// Something that wants to hear of readiness.
pub trait Wake: Send + Sync {
    /// `ready` has become so. Called under `WaitQueue`; must not block and must not call back.
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
    entries: Arc<Mutex<Entries, levels::WaitQueue>>,
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

    fn enter(&self, wake: Arc<dyn Wake>, interest: Ready, exclusive: bool) -> Registration {
        let mut entries = self.entries.lock();
        let key = entries.next_key;
        entries.next_key += 1;
        entries.list.push(Entry { key, interest: interest | Ready::ALWAYS, exclusive, wake });
        Registration { queue: Arc::downgrade(&self.entries), key }
    }

    /// Wakes those who wait for any of `ready`. Call it after the change is visible.
    pub fn notify(&self, ready: Ready) {
        let entries = self.entries.lock();
        let mut woke_exclusive = false;
        for entry in &entries.list {
            if !entry.interest.intersects(ready) || (entry.exclusive && woke_exclusive) {
                continue;
            }
            woke_exclusive |= entry.exclusive;
            entry.wake.wake(ready);
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.entries.lock().list.is_empty()
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
    queue: Weak<Mutex<Entries, levels::WaitQueue>>,
    key: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(entries) = self.queue.upgrade() {
            let removed = {
                let mut entries = entries.lock();
                let at = entries.list.iter().position(|entry| entry.key == self.key);
                at.map(|at| entries.list.remove(at))
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
