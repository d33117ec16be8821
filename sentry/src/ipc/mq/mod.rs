// SPDX-License-Identifier: Apache-2.0
//! POSIX message queues (mq_overview(7)).
//!
//! * **The types to know.** A [`Queue`] holds messages by priority; a [`QueueFile`] is an open one, whose
//!   descriptor is what mq_open(2) gives; [`Queues`] is what the queues of a namespace share: the file
//!   system that their names are in, and what each user has taken up.
//! * **Invariants.** A queue lives as long as its inode: names and open files keep it, and the last of them
//!   gives back what it had taken up.
//! * **Lock level.** `Queue` for the messages; `Leaf` for the accounts.

mod file;
mod queue;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use abi::{Errno, ipc::MqAttr};

pub use file::QueueFile;
pub use queue::{Message, Notice, Owner, Queue};

use crate::{
    sync::{Mutex, levels},
    vfs::{Inode, Mount},
};

/// Messages of a queue that does not say how many it wants, and of those whose maker has no say.
const DEFAULT_MESSAGES: i64 = 10;
/// Bytes of a message, likewise.
const DEFAULT_SIZE: i64 = 8192;
/// The same for who has CAP_SYS_RESOURCE (`HARD_MSGMAX`, `HARD_MSGSIZEMAX`).
const HARD_MESSAGES: i64 = 65_536;
const HARD_SIZE: i64 = 16 << 20;
/// Queues of one namespace.
const MOST_QUEUES: usize = 256;
/// What Linux keeps with each message (`struct msg_msg`), and with each priority (`struct posix_msg_tree_node`).
const HEAD: u64 = 48;
const NODE: u64 = 64;
/// Above it there are no priorities (`MQ_PRIO_MAX`).
pub const PRIORITIES: u32 = 32_768;

/// How large a queue is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Messages.
    pub messages: i64,
    /// Bytes of each.
    pub bytes: i64,
}

impl Default for Size {
    fn default() -> Self {
        Size { messages: DEFAULT_MESSAGES, bytes: DEFAULT_SIZE }
    }
}

impl Size {
    /// What mq_open(2) was given (`mq_attr_ok`).
    pub fn of(attr: &MqAttr, is_privileged: bool) -> Result<Size, Errno> {
        let size = Size { messages: attr.mq_maxmsg, bytes: attr.mq_msgsize };
        let (messages, bytes) = if is_privileged {
            (HARD_MESSAGES, HARD_SIZE)
        } else {
            (DEFAULT_MESSAGES, DEFAULT_SIZE)
        };
        let fits = (1..=messages).contains(&size.messages) && (1..=bytes).contains(&size.bytes);
        if fits { Ok(size) } else { Err(Errno::EINVAL) }
    }

    /// What it counts for under RLIMIT_MSGQUEUE.
    fn charge(self) -> u64 {
        let messages = self.messages.unsigned_abs();
        let tree = messages * HEAD + messages.min(u64::from(PRIORITIES)) * NODE;
        tree + messages * self.bytes.unsigned_abs()
    }
}

/// Who makes a queue, as far as limits go.
#[derive(Debug, Clone, Copy)]
pub struct Maker {
    /// On whose account.
    pub uid: u32,
    /// RLIMIT_MSGQUEUE.
    pub limit: u64,
    /// CAP_SYS_RESOURCE: the number of queues is no limit.
    pub is_privileged: bool,
}

/// What the queues of a namespace share.
#[derive(Default)]
pub struct Queues {
    mount: OnceLock<Arc<Mount>>,
    accounts: Arc<Accounts>,
}

/// What is taken up: how many queues there are, and bytes by user.
#[derive(Debug, Default)]
struct Accounts(Mutex<Taken, levels::Leaf>);

#[derive(Debug, Default)]
struct Taken {
    queues: usize,
    bytes: BTreeMap<u32, u64>,
}

/// What one queue has taken up; given back when it goes.
#[derive(Debug)]
struct Charge {
    accounts: Arc<Accounts>,
    uid: u32,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut taken = self.accounts.0.lock();
        taken.queues = taken.queues.saturating_sub(1);
        if let Some(bytes) = taken.bytes.get_mut(&self.uid) {
            *bytes = bytes.saturating_sub(self.bytes);
            if *bytes == 0 {
                taken.bytes.remove(&self.uid);
            }
        }
    }
}

impl Queues {
    /// The mount that mq_open(2) looks in, made by `make` if it is the first time.
    pub fn mount(&self, make: impl FnOnce() -> Arc<Mount>) -> Arc<Mount> {
        Arc::clone(self.mount.get_or_init(make))
    }

    /// A new queue; `EMFILE` or `ENOSPC` where limits forbid it.
    pub fn make(&self, size: Size, maker: Maker) -> Result<Arc<Queue>, Errno> {
        let bytes = size.charge();
        {
            let mut taken = self.accounts.0.lock();
            if taken.queues >= MOST_QUEUES && !maker.is_privileged {
                return Err(Errno::ENOSPC);
            }
            let own = taken.bytes.get(&maker.uid).copied().unwrap_or(0);
            let all = own.checked_add(bytes).filter(|all| *all <= maker.limit);
            let all = all.ok_or(Errno::EMFILE)?;
            taken.bytes.insert(maker.uid, all);
            taken.queues += 1;
        }
        let charge = Charge { accounts: Arc::clone(&self.accounts), uid: maker.uid, bytes };
        Ok(Queue::new(size, charge))
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queues")
    }
}

/// The queue behind an inode, if it is one's.
pub fn queue_of(inode: &Arc<dyn Inode>) -> Option<Arc<Queue>> {
    inode.common().endpoint()?.downcast().ok()
}
