// SPDX-License-Identifier: Apache-2.0
//! epoll(7): an interest list, and the list of those that may be ready.
//!
//! * **The types to know.** An [`Epoll`] is the open file; an [`Item`] is one entry of its interest list,
//!   entered in the wait queue of the file it watches.
//! * **Invariants.** A wake-up only puts the item on the ready list; whether it *is* ready is asked when
//!   events are collected, so a level-triggered item goes back on the list and an edge-triggered one
//!   waits for its next wake-up. An item holds its file weakly: closed files leave by themselves.
//!   Instances that watch instances form no loop and are at most [`MAX_NESTS`] deep.
//! * **Lock levels.** `EpollTree`, `Epoll`; `EpollReady` under wake-ups. No lock is held while a file is
//!   asked for its readiness.

mod item;
mod nesting;

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write},
    sync::{Arc, Weak, atomic::Ordering},
};

use abi::{
    Errno,
    epoll::{EpollEvent, EpollEvents},
};

use super::{FileDescription, FileOps};
use crate::{
    sync::{Mutex, levels},
    wait::{Ready, Registration, WaitQueue, Wake},
};
use item::{Item, Request};

/// How many instances may stand one behind the other (`EP_MAX_NESTS`).
pub const MAX_NESTS: usize = 4;

/// Entries one instance may have: what the sandbox can afford, in the place of
/// `/proc/sys/fs/epoll/max_user_watches`.
const MAX_WATCHES: usize = 1 << 20;

/// Entries below which closed files are not looked for.
const SWEEP_AT_LEAST: usize = 64;

/// Bits that may stand beside `EPOLLEXCLUSIVE`.
const WITH_EXCLUSIVE: EpollEvents = EpollEvents::IN
    .union(EpollEvents::OUT)
    .union(EpollEvents::ERR)
    .union(EpollEvents::HUP)
    .union(EpollEvents::WAKEUP)
    .union(EpollEvents::ET)
    .union(EpollEvents::EXCLUSIVE);

/// One addition of an instance to an instance at a time, so that two cannot close a loop together.
static TREE: Mutex<(), levels::EpollTree> = Mutex::new(());

/// A number and the file it meant when it was added (Linux's `struct epoll_filefd`). The address stays
/// the file's own while the item's weak reference stands.
type Key = (i32, usize);

struct Entry {
    item: Arc<Item>,
    is_exclusive: bool,
    /// The watched instance, if it is one.
    nested: Option<Weak<Inner>>,
    _place: Registration,
}

#[derive(Default)]
struct Interest {
    entries: BTreeMap<Key, Entry>,
    /// Number of entries at which closed files are looked for and dropped.
    sweep_at: usize,
}

impl Interest {
    /// Takes out what belongs to closed files, now and then; the caller drops it without the lock.
    fn sweep(&mut self) -> Vec<Entry> {
        if self.entries.len() < self.sweep_at.max(SWEEP_AT_LEAST) {
            return Vec::new();
        }
        let dead = self.entries.iter().filter(|(_, entry)| entry.item.file.strong_count() == 0);
        let dead: Vec<Key> = dead.map(|(key, _)| *key).collect();
        let dropped = dead.iter().filter_map(|key| self.entries.remove(key)).collect();
        self.sweep_at = self.entries.len() * 2;
        dropped
    }
}

struct Inner {
    interest: Mutex<Interest, levels::Epoll>,
    ready: Mutex<VecDeque<Arc<Item>>, levels::EpollReady>,
    /// Instances that watch this one.
    parents: Mutex<Vec<Weak<Inner>>, levels::Leaf>,
    /// Who sleeps in epoll_wait(2).
    waiters: WaitQueue,
    /// Who watches the instance itself.
    pollers: WaitQueue,
}

impl Inner {
    /// Puts an item that has been marked as listed on the ready list, and tells of it.
    fn list(&self, item: Arc<Item>) {
        self.ready.lock().push_back(item);
        self.waiters.notify(Ready::READABLE);
        self.pollers.notify(Ready::READABLE);
    }

    fn unlist(&self, item: &Arc<Item>) {
        if item.is_listed.load(Ordering::Acquire) {
            let mut ready = self.ready.lock();
            ready.retain(|listed| !Arc::ptr_eq(listed, item));
        }
    }

    /// Lists the item if its file is ready already.
    fn list_if_ready(&self, item: &Arc<Item>) {
        if !item.poll().0.is_empty() && !item.is_listed.swap(true, Ordering::AcqRel) {
            self.list(Arc::clone(item));
        }
    }

    fn pop(&self) -> Option<Arc<Item>> {
        let item = self.ready.lock().pop_front()?;
        // Before the file is asked: what happens from now on lists the item anew.
        item.is_listed.store(false, Ordering::Release);
        Some(item)
    }

    /// Puts an item back that may still be ready, without telling anybody.
    fn put_back(&self, item: Arc<Item>) {
        if !item.is_listed.swap(true, Ordering::AcqRel) {
            self.ready.lock().push_back(item);
        }
    }
}

/// An epoll instance, as an open file.
pub struct Epoll {
    inner: Arc<Inner>,
}

/// Events that are about to be handed over, and whose they are.
#[derive(Debug)]
pub struct Collected {
    /// What epoll_wait(2) gives.
    pub events: Vec<EpollEvent>,
    items: Vec<(Arc<Item>, EpollEvents)>,
}

impl Epoll {
    /// An empty instance.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "nobody wants one by default")]
    pub fn new() -> Epoll {
        Epoll {
            inner: Arc::new(Inner {
                interest: Mutex::default(),
                ready: Mutex::default(),
                parents: Mutex::default(),
                waiters: WaitQueue::new(),
                pollers: WaitQueue::new(),
            }),
        }
    }

    /// Whom epoll_wait(2) sleeps on.
    pub fn waiters(&self) -> &WaitQueue {
        &self.inner.waiters
    }

    /// `EPOLL_CTL_ADD`. That `file` can be polled and is not this instance has been checked.
    pub fn add(
        &self,
        fd: i32,
        file: &Arc<FileDescription>,
        event: EpollEvent,
    ) -> Result<(), Errno> {
        let events = EpollEvents::from_bits_retain(event.events);
        let nested = file.ops().as_any().downcast_ref::<Epoll>();
        let is_exclusive = events.contains(EpollEvents::EXCLUSIVE);
        if is_exclusive && (nested.is_some() || !WITH_EXCLUSIVE.contains(events)) {
            return Err(Errno::EINVAL);
        }
        let _tree = match nested {
            Some(nested) => {
                let tree = TREE.lock();
                nesting::check(&self.inner, &nested.inner)?;
                Some(tree)
            }
            None => None,
        };
        let queue = file.ops().wait_queue().ok_or(Errno::EPERM)?;
        let request =
            Request { events: events | EpollEvents::ERR | EpollEvents::HUP, data: event.data };
        let key = (fd, Arc::as_ptr(file).addr());
        let item = Item::new(fd, file, &self.inner, request);
        let mut interest = self.inner.interest.lock();
        let swept = interest.sweep();
        if interest.entries.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        if interest.entries.len() >= MAX_WATCHES {
            return Err(Errno::ENOSPC);
        }
        // The interest may change later: the item looks itself at what it is woken for.
        let wake = Arc::clone(&item) as Arc<dyn Wake>;
        let place = if is_exclusive {
            queue.register_exclusive(wake, Ready::from_bits_retain(events.bits()))
        } else {
            queue.register(wake, Ready::all())
        };
        let entry = Entry {
            item: Arc::clone(&item),
            is_exclusive,
            nested: nested.map(|nested| Arc::downgrade(&nested.inner)),
            _place: place,
        };
        interest.entries.insert(key, entry);
        drop(interest);
        drop(swept);
        if let Some(nested) = nested {
            nested.inner.parents.lock().push(Arc::downgrade(&self.inner));
        }
        self.inner.list_if_ready(&item);
        Ok(())
    }

    /// `EPOLL_CTL_MOD`.
    pub fn modify(
        &self,
        fd: i32,
        file: &Arc<FileDescription>,
        event: EpollEvent,
    ) -> Result<(), Errno> {
        let events = EpollEvents::from_bits_retain(event.events);
        if events.contains(EpollEvents::EXCLUSIVE) {
            return Err(Errno::EINVAL);
        }
        let item = {
            let interest = self.inner.interest.lock();
            let entry = interest.entries.get(&(fd, Arc::as_ptr(file).addr()));
            let entry = entry.ok_or(Errno::ENOENT)?;
            if entry.is_exclusive {
                return Err(Errno::EINVAL);
            }
            Arc::clone(&entry.item)
        };
        let events = events | EpollEvents::ERR | EpollEvents::HUP;
        item.change(Request { events, data: event.data });
        self.inner.list_if_ready(&item);
        Ok(())
    }

    /// `EPOLL_CTL_DEL`.
    pub fn delete(&self, fd: i32, file: &Arc<FileDescription>) -> Result<(), Errno> {
        let key = (fd, Arc::as_ptr(file).addr());
        let removed = self.inner.interest.lock().entries.remove(&key);
        let entry = removed.ok_or(Errno::ENOENT)?;
        entry.item.disable();
        self.inner.unlist(&entry.item);
        if let Some(nested) = file.ops().as_any().downcast_ref::<Epoll>() {
            let mut parents = nested.inner.parents.lock();
            let own = parents.iter().position(|one| one.as_ptr() == Arc::as_ptr(&self.inner));
            if let Some(own) = own {
                parents.swap_remove(own);
            }
        }
        Ok(())
    }

    /// Up to `max` events that are so now.
    pub fn collect(&self, max: usize) -> Collected {
        let mut collected = Collected { events: Vec::new(), items: Vec::new() };
        let mut listed = self.inner.ready.lock().len();
        while listed > 0 && collected.events.len() < max {
            listed -= 1;
            let Some(item) = self.inner.pop() else { break };
            let (ready, request) = item.poll();
            if ready.is_empty() {
                continue;
            }
            collected.events.push(EpollEvent { events: ready.bits(), data: request.data });
            if request.events.contains(EpollEvents::ONESHOT) {
                item.disable();
            } else if !request.events.contains(EpollEvents::ET) {
                self.inner.put_back(Arc::clone(&item));
            }
            collected.items.push((item, request.events));
        }
        // Somebody else may have looked while the items were off the list.
        if !collected.events.is_empty() && !self.inner.ready.lock().is_empty() {
            self.inner.waiters.notify(Ready::READABLE);
        }
        collected
    }

    /// Undoes a [`Epoll::collect`] whose events could not be handed over, from event `first` on.
    pub fn give_back(&self, collected: Collected, first: usize) {
        for (item, events) in collected.items.into_iter().skip(first) {
            let data = item.request().data;
            item.change(Request { events, data });
            self.inner.put_back(item);
        }
    }
}

impl FileOps for Epoll {
    fn is_stream(&self) -> bool {
        true
    }

    fn ignores_seeks(&self) -> bool {
        true
    }

    fn ready(&self) -> Ready {
        let listed: Vec<Arc<Item>> = self.inner.ready.lock().iter().cloned().collect();
        if listed.iter().any(|item| !item.poll().0.is_empty()) {
            Ready::READABLE
        } else {
            Ready::empty()
        }
    }

    fn wait_queue(&self) -> Option<WaitQueue> {
        Some(self.inner.pollers.clone())
    }

    fn fdinfo(&self) -> String {
        let mut text = String::new();
        for ((fd, _), entry) in &self.inner.interest.lock().entries {
            let Request { events, data } = entry.item.request();
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "tfd: {fd:8} events: {:8x} data: {data:16x}  pos:0 ino:0 sdev:0",
                events.bits(),
            );
        }
        text
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

impl fmt::Debug for Epoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Epoll")
    }
}
