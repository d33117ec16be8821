// SPDX-License-Identifier: Apache-2.0
//! Messages on their way: what a socket has received and not yet read.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use abi::socket::Ucred;

use super::in_flight::Flight;
use crate::{
    sync::{Mutex, levels},
    wait::{Ready, WaitQueue},
};

/// What a message costs its sender besides its bytes: about what Linux's `truesize` adds.
const OVERHEAD: usize = 768;

/// Datagrams that wait for one receiver, one less than fit (`net.unix.max_dgram_qlen`).
const MAX_DATAGRAMS: usize = 10;

/// What a sender has in flight (`sk_wmem_alloc`), and who waits for it to shrink.
#[derive(Debug, Default)]
pub(super) struct Account {
    used: AtomicUsize,
    /// `SO_SNDBUF` when it was last looked at.
    limit: AtomicUsize,
    queue: WaitQueue,
}

impl Account {
    pub(super) fn new(queue: WaitQueue) -> Arc<Account> {
        Arc::new(Account { used: AtomicUsize::new(0), limit: AtomicUsize::new(0), queue })
    }

    /// Bytes in flight with what they cost.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Whether more may be sent.
    pub(super) fn has_room(&self, limit: usize) -> bool {
        self.limit.store(limit, Ordering::Release);
        self.used() < limit
    }

    /// Whether poll(2) calls the sender writable (`unix_writable()`): a quarter or less is in use. Who
    /// sleeps is woken then, not at the first byte that is read.
    pub(super) fn is_writable(&self, limit: usize) -> bool {
        self.limit.store(limit, Ordering::Release);
        is_writable(self.used(), limit)
    }
}

fn is_writable(used: usize, limit: usize) -> bool {
    used.saturating_mul(4) <= limit
}

/// A message's share of its sender's account; given back when dropped.
#[derive(Debug)]
struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let before = self.account.used.fetch_sub(self.bytes, Ordering::AcqRel);
        let limit = self.account.limit.load(Ordering::Acquire);
        if !is_writable(before, limit) && is_writable(before - self.bytes, limit) {
            self.account.queue.notify(Ready::WRITABLE | Ready::WRBAND);
        }
    }
}

/// A message, or a piece of a stream. Its bytes never change.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// Bytes of a stream that were read. Changed only in a reader's turn.
    consumed: AtomicUsize,
    /// Files on their way; taken by whoever reads the first byte.
    pub(super) flight: Mutex<Option<Flight>, levels::Leaf>,
    pub(super) credentials: Option<Ucred>,
    /// The sender's address.
    pub(super) from: Option<Arc<[u8]>>,
    _charge: Charge,
}

impl Message {
    pub(super) fn new(
        bytes: Vec<u8>,
        account: &Arc<Account>,
        flight: Option<Flight>,
        credentials: Option<Ucred>,
        from: Option<Arc<[u8]>>,
    ) -> Message {
        let cost = bytes.len().saturating_add(OVERHEAD);
        account.used.fetch_add(cost, Ordering::AcqRel);
        Message {
            bytes,
            consumed: AtomicUsize::new(0),
            flight: Mutex::new(flight),
            credentials,
            from,
            _charge: Charge { account: Arc::clone(account), bytes: cost },
        }
    }

    /// What of a stream's piece is left to read.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.consumed.load(Ordering::Relaxed)..).unwrap_or_default()
    }

    pub(super) fn consume(&self, bytes: usize) {
        self.consumed.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn has_files(&self) -> bool {
        self.flight.lock().is_some()
    }
}

/// A socket's received messages.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) messages: VecDeque<Arc<Message>>,
    /// Nothing more is taken: the socket is closed.
    pub(super) is_closed: bool,
    /// Who found it full, to be told when it is not.
    blocked: Vec<WaitQueue>,
}

impl Inbox {
    /// Whether senders that are not its peer have to wait (`unix_recvq_full()`).
    pub(super) fn is_full(&self) -> bool {
        self.messages.len() > MAX_DATAGRAMS
    }

    /// `queue` wants to hear when it is not full any more.
    pub(super) fn block(&mut self, queue: &WaitQueue) {
        if !self.blocked.iter().any(|one| one.is_same(queue)) {
            self.blocked.push(queue.clone());
        }
    }

    /// Who is to be told after messages have gone; tell them without the lock.
    pub(super) fn unblock(&mut self) -> Vec<WaitQueue> {
        if self.is_full() { Vec::new() } else { std::mem::take(&mut self.blocked) }
    }

    /// Bytes left to read in all messages.
    pub(super) fn pending(&self) -> usize {
        self.messages.iter().map(|message| message.rest().len()).sum()
    }
}
