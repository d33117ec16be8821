// SPDX-License-Identifier: Apache-2.0
//! Message queues.

use std::collections::VecDeque;

use abi::{
    Errno,
    cred::Capabilities,
    ipc::{Msginfo, Msqid64Ds},
    num::to_u64,
};

use super::{
    Caller, now,
    registry::{Registry, Wanted},
};
use crate::{
    sync::{Mutex, levels},
    wait::{Ready, Try, WaitQueue},
};

/// `MSGMNI`.
const MOST: usize = 32_000;
/// `MSGMAX`: bytes in a message.
pub const LARGEST: usize = 8192;
/// `MSGMNB`: bytes in a queue.
const ROOM: usize = 16_384;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type, positive.
    pub kind: i64,
    /// Its text.
    pub text: Vec<u8>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    bytes: usize,
    room: usize,
    sent: (i64, i32),
    received: (i64, i32),
    change_time: i64,
    waiters: WaitQueue,
}

/// Which message msgrcv(2) wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The first.
    First,
    /// The first of this type.
    Kind(i64),
    /// The first of another type (`MSG_EXCEPT`).
    Except(i64),
    /// The first of the lowest type up to this.
    UpTo(i64),
    /// A copy of the one at this place (`MSG_COPY`).
    CopyAt(i64),
}

impl Queue {
    fn choose(&self, choice: Choice) -> Option<usize> {
        let kinds = || self.messages.iter().map(|message| message.kind).enumerate();
        let first = |fits: &dyn Fn(i64) -> bool| kinds().find(|(_, kind)| fits(*kind));
        let chosen = match choice {
            Choice::First => kinds().next(),
            Choice::Kind(wanted) => first(&|kind| kind == wanted),
            Choice::Except(unwanted) => first(&|kind| kind != unwanted),
            // min_by_key gives the first of equals.
            Choice::UpTo(highest) => {
                kinds().filter(|(_, kind)| *kind <= highest).min_by_key(|(_, kind)| *kind)
            }
            Choice::CopyAt(place) => {
                usize::try_from(place).ok().and_then(|place| kinds().nth(place))
            }
        };
        chosen.map(|(index, _)| index)
    }
}

/// All queues of a namespace.
#[derive(Debug, Default)]
pub struct QueueTable {
    queues: Mutex<Registry<Queue>, levels::IpcTable>,
}

impl QueueTable {
    /// msgget(2).
    pub fn get(&self, key: i32, flags: i32, caller: Caller<'_>) -> Result<i32, Errno> {
        let make = |_id| Ok(Queue { room: ROOM, change_time: now(), ..Queue::default() });
        let wanted = Wanted { key, flags, most: MOST };
        self.queues.lock().get(wanted, caller.creds, |_| Ok(()), make)
    }

    /// What to wait on; `EACCES` unless the caller may use the queue as the permission bits say.
    pub fn begin(&self, id: i32, wanted: i32, caller: Caller<'_>) -> Result<WaitQueue, Errno> {
        let queues = self.queues.lock();
        let entry = queues.find(id)?;
        entry.permissions.check(wanted, caller.creds)?;
        Ok(entry.object.waiters.clone())
    }

    /// One try of msgsnd(2). The message is taken when it fits; `EIDRM` if the queue is gone.
    pub fn send(&self, id: i32, message: &mut Option<Message>, pid: i32) -> Result<Try<()>, Errno> {
        let mut queues = self.queues.lock();
        let queue = &mut queues.find_mut(id).map_err(|_| Errno::EIDRM)?.object;
        let len = message.as_ref().map_or(0, |message| message.text.len());
        if queue.bytes + len > queue.room || queue.messages.len() + 1 > queue.room {
            return Ok(Try::WouldBlock);
        }
        if let Some(message) = message.take() {
            queue.bytes += len;
            queue.messages.push_back(message);
            queue.sent = (now(), pid);
            queue.waiters.notify(Ready::IN);
        }
        Ok(Try::Done(()))
    }

    /// One try of msgrcv(2): `E2BIG` if the message is longer than `room`, unless it may be cut.
    pub fn receive(
        &self,
        id: i32,
        choice: Choice,
        room: usize,
        may_cut: bool,
        pid: i32,
    ) -> Result<Try<Message>, Errno> {
        let mut queues = self.queues.lock();
        let queue = &mut queues.find_mut(id).map_err(|_| Errno::EIDRM)?.object;
        let Some(index) = queue.choose(choice) else { return Ok(Try::WouldBlock) };
        let len = queue.messages.get(index).map_or(0, |message| message.text.len());
        if len > room && !may_cut {
            return Err(Errno::E2BIG);
        }
        let taken = if matches!(choice, Choice::CopyAt(_)) {
            queue.messages.get(index).cloned()
        } else {
            queue.bytes = queue.bytes.saturating_sub(len);
            queue.received = (now(), pid);
            queue.messages.remove(index)
        };
        let Some(mut message) = taken else { return Ok(Try::WouldBlock) };
        queue.waiters.notify(Ready::OUT);
        message.text.truncate(room);
        Ok(Try::Done(message))
    }

    /// `IPC_STAT`, and by index `MSG_STAT`: with the id.
    pub fn status(
        &self,
        id: i32,
        by_index: bool,
        wanted: i32,
        caller: Caller<'_>,
    ) -> Result<(i32, Msqid64Ds), Errno> {
        let queues = self.queues.lock();
        let (id, entry) = if by_index { queues.at(id)? } else { (id, queues.find(id)?) };
        entry.permissions.check(wanted, caller.creds)?;
        let queue = &entry.object;
        let status = Msqid64Ds {
            msg_perm: entry.permissions.show(),
            msg_stime: queue.sent.0,
            msg_rtime: queue.received.0,
            msg_ctime: queue.change_time,
            msg_cbytes: to_u64(queue.bytes),
            msg_qnum: to_u64(queue.messages.len()),
            msg_qbytes: to_u64(queue.room),
            msg_lspid: queue.sent.1,
            msg_lrpid: queue.received.1,
            ..Msqid64Ds::default()
        };
        Ok((id, status))
    }

    /// `IPC_SET`: more room than `MSGMNB` only with CAP_SYS_RESOURCE.
    pub fn set(&self, id: i32, new: &Msqid64Ds, caller: Caller<'_>) -> Result<(), Errno> {
        /// What no privilege exceeds: the sentry holds the messages.
        const HIGHEST: u64 = 16 << 20;
        let mut queues = self.queues.lock();
        let entry = queues.find_mut(id)?;
        entry.permissions.check_owner(caller.creds)?;
        let is_more = new.msg_qbytes > to_u64(ROOM);
        if is_more && !caller.creds.has(Capabilities::SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
        entry.permissions.set(&new.msg_perm)?;
        let queue = &mut entry.object;
        queue.room = abi::num::to_usize(new.msg_qbytes.min(HIGHEST));
        queue.change_time = now();
        queue.waiters.notify(Ready::OUT);
        Ok(())
    }

    /// `IPC_RMID`: those who wait get `EIDRM`.
    pub fn remove(&self, id: i32, caller: Caller<'_>) -> Result<(), Errno> {
        let removed = {
            let mut queues = self.queues.lock();
            queues.find(id)?.permissions.check_owner(caller.creds)?;
            queues.remove(id)?
        };
        removed.object.waiters.notify(Ready::IN | Ready::OUT);
        Ok(())
    }

    /// `IPC_INFO`, and with `is_usage` `MSG_INFO`: the highest index and the limits.
    pub fn limits(&self, is_usage: bool) -> (i32, Msginfo) {
        let queues = self.queues.lock();
        let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        let mut info = Msginfo {
            msgpool: number(MOST * ROOM / 1024),
            msgmap: number(ROOM),
            msgmax: number(LARGEST),
            msgmnb: number(ROOM),
            msgmni: number(MOST),
            msgssz: 16,
            msgtql: number(ROOM),
            msgseg: 0xffff,
            pad: 0,
        };
        if is_usage {
            info.msgpool = number(queues.count());
            info.msgmap = number(queues.iter().map(|(_, e)| e.object.messages.len()).sum());
            info.msgtql = number(queues.iter().map(|(_, e)| e.object.bytes).sum());
        }
        (queues.highest(), info)
    }
}
