// SPDX-License-Identifier: Apache-2.0
//! One queue: messages by priority, and who is told when the first one comes.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use abi::Errno;

use super::{Charge, Size};
use crate::{
    sync::{Mutex, levels},
    wait::{Ready, Try, WaitQueue},
};

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Higher ones come first.
    pub priority: u32,
    /// What it says.
    pub text: Vec<u8>,
}

/// How mq_notify(2)'s caller wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Not at all: the place is only taken.
    Silent,
    /// By this signal with this value.
    Signal(i32, u64),
}

/// A process that has asked to hear of a message.
pub trait Owner: Send + Sync {
    /// Its number.
    fn pid(&self) -> i32;

    /// Whether it is there still.
    fn is_alive(&self) -> bool;

    /// Whether it is the one that is calling.
    fn is_calling(&self) -> bool;

    /// Sends it the signal.
    fn tell(&self, signal: i32, value: u64);
}

#[derive(Default)]
struct State {
    by_priority: BTreeMap<u32, VecDeque<Vec<u8>>>,
    count: i64,
    bytes: u64,
    /// Who waits in mq_receive(2): a message that goes straight to them is no news.
    receivers: usize,
    owner: Option<(Arc<dyn Owner>, Notice)>,
}

/// A queue.
pub struct Queue {
    size: Size,
    state: Mutex<State, levels::Queue>,
    changed: WaitQueue,
    /// Given back with the queue.
    _charge: Charge,
}

impl Queue {
    pub(super) fn new(size: Size, charge: Charge) -> Arc<Queue> {
        let (state, changed) = (Mutex::default(), WaitQueue::new());
        Arc::new(Queue { size, state, changed, _charge: charge })
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        self.size
    }

    /// How many messages it holds.
    pub fn count(&self) -> i64 {
        self.state.lock().count
    }

    /// Told when that changes.
    pub fn changed(&self) -> &WaitQueue {
        &self.changed
    }

    /// What it is ready for.
    pub fn ready(&self) -> Ready {
        let count = self.state.lock().count;
        let mut ready = Ready::empty();
        if count > 0 {
            ready |= Ready::READABLE;
        }
        if count < self.size.messages {
            ready |= Ready::WRITABLE;
        }
        ready
    }

    /// Puts a message in, if there is room; takes it out of `message` then.
    pub fn send(&self, message: &mut Option<Message>) -> Try<()> {
        let news = {
            let mut state = self.state.lock();
            if state.count >= self.size.messages {
                return Try::WouldBlock;
            }
            let Some(Message { priority, text }) = message.take() else { return Try::Done(()) };
            state.bytes = state.bytes.saturating_add(abi::num::to_u64(text.len()));
            state.by_priority.entry(priority).or_default().push_back(text);
            state.count += 1;
            let is_news = state.count == 1 && state.receivers == 0;
            if is_news { state.owner.take() } else { None }
        };
        if let Some((owner, Notice::Signal(signal, value))) = news
            && owner.is_alive()
        {
            owner.tell(signal, value);
        }
        self.changed.notify(Ready::READABLE);
        Try::Done(())
    }

    /// Takes the oldest of the most urgent messages.
    pub fn receive(&self) -> Try<Message> {
        let message = {
            let mut state = self.state.lock();
            let Some(mut entry) = state.by_priority.last_entry() else { return Try::WouldBlock };
            let priority = *entry.key();
            let text = entry.get_mut().pop_front();
            if entry.get().is_empty() {
                entry.remove();
            }
            let Some(text) = text else { return Try::WouldBlock };
            state.count -= 1;
            state.bytes = state.bytes.saturating_sub(abi::num::to_u64(text.len()));
            Message { priority, text }
        };
        self.changed.notify(Ready::WRITABLE);
        Try::Done(message)
    }

    /// Somebody waits for a message from now on, or does not any more.
    pub fn count_receiver(&self, is_waiting: bool) {
        let mut state = self.state.lock();
        let count = state.receivers;
        state.receivers = if is_waiting { count + 1 } else { count.saturating_sub(1) };
    }

    /// mq_notify(2): `owner` wants to hear of the next message that comes to an empty queue. `EBUSY` if
    /// somebody else does.
    pub fn ask(&self, owner: Arc<dyn Owner>, notice: Notice) -> Result<(), Errno> {
        // To ask whether it lives takes locks that stand above this one.
        let current = self.state.lock().owner.clone();
        if current.is_some_and(|(owner, _)| owner.is_alive()) {
            return Err(Errno::EBUSY);
        }
        let old = self.state.lock().owner.replace((owner, notice));
        drop(old);
        Ok(())
    }

    /// The caller does not want to hear any more, if it did.
    pub fn forget_caller(&self) {
        let old = {
            let mut state = self.state.lock();
            let is_caller = state.owner.as_ref().is_some_and(|(owner, _)| owner.is_calling());
            if is_caller { state.owner.take() } else { None }
        };
        drop(old);
    }

    /// What its file shows when it is read.
    pub fn text(&self) -> String {
        let state = self.state.lock();
        let (notify, signal, pid) = match &state.owner {
            Some((owner, Notice::Signal(signal, _))) => (0, *signal, owner.pid()),
            Some((owner, Notice::Silent)) => (1, 0, owner.pid()),
            None => (0, 0, 0),
        };
        let bytes = state.bytes;
        format!("QSIZE:{bytes:<10} NOTIFY:{notify:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n")
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}
