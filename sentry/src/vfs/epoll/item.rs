// SPDX-License-Identifier: Apache-2.0
//! One entry of an epoll instance's interest list.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use abi::epoll::EpollEvents;

use super::Inner;
use crate::{
    sync::{Mutex, levels},
    vfs::FileDescription,
    wait::{Ready, Wake},
};

/// Bits that are not events.
pub(super) const PRIVATE: EpollEvents = EpollEvents::WAKEUP
    .union(EpollEvents::ONESHOT)
    .union(EpollEvents::ET)
    .union(EpollEvents::EXCLUSIVE);

/// What is asked for, and the word that comes back with it.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) events: EpollEvents,
    pub(super) data: u64,
}

impl Request {
    /// What the file is asked about; nothing once `EPOLLONESHOT` has fired.
    fn interest(&self) -> Ready {
        Ready::from_bits_retain((self.events - PRIVATE).bits())
    }
}

/// An entry, entered in the wait queue of the file it watches.
pub(super) struct Item {
    own: Weak<Item>,
    pub(super) fd: i32,
    pub(super) file: Weak<FileDescription>,
    owner: Weak<Inner>,
    request: Mutex<Request, levels::Leaf>,
    /// Whether it stands on the ready list.
    pub(super) is_listed: AtomicBool,
}

impl Item {
    pub(super) fn new(
        fd: i32,
        file: &Arc<FileDescription>,
        owner: &Arc<Inner>,
        request: Request,
    ) -> Arc<Item> {
        Arc::new_cyclic(|own| Item {
            own: Weak::clone(own),
            fd,
            file: Arc::downgrade(file),
            owner: Arc::downgrade(owner),
            request: Mutex::new(request),
            is_listed: AtomicBool::new(false),
        })
    }

    pub(super) fn request(&self) -> Request {
        *self.request.lock()
    }

    /// What it asks for from now on.
    pub(super) fn change(&self, request: Request) {
        *self.request.lock() = request;
    }

    /// Asks for nothing more: it has fired once, or has left the list.
    pub(super) fn disable(&self) {
        let mut request = self.request.lock();
        request.events = request.events.intersection(PRIVATE);
    }

    /// What of its interest is so now; nothing once its file is closed.
    pub(super) fn poll(&self) -> (Ready, Request) {
        let request = self.request();
        let interest = request.interest();
        let Some(file) = self.file.upgrade().filter(|_| !interest.is_empty()) else {
            return (Ready::empty(), request);
        };
        (file.ops().ready() & interest, request)
    }
}

impl Wake for Item {
    fn wake(&self, ready: Ready) {
        if !self.request().interest().intersects(ready) {
            return;
        }
        let (Some(owner), Some(own)) = (self.owner.upgrade(), self.own.upgrade()) else { return };
        if !self.is_listed.swap(true, Ordering::AcqRel) {
            owner.list(own);
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("fd", &self.fd).finish_non_exhaustive()
    }
}
