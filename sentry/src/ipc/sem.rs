// SPDX-License-Identifier: Apache-2.0
//! Semaphore sets: several operations happen together or not at all.

use std::collections::BTreeMap;

use abi::{
    Errno,
    ipc::{IPC_NOWAIT, SEM_UNDO, Sembuf, Semid64Ds, Seminfo},
    num::to_u64,
};

use super::{
    Caller, now,
    registry::{Entry, Registry, Wanted},
};
use crate::{
    sync::{Mutex, levels},
    wait::{Ready, Try, WaitQueue},
};

/// `SEMMNI`.
const MOST_SETS: usize = 32_000;
/// `SEMMSL`.
const MOST_IN_SET: usize = 32_000;
/// `SEMMNS`.
const MOST: i32 = 1_024_000_000;
/// `SEMOPM`.
pub const MOST_OPERATIONS: usize = 500;
/// `SEMVMX`, also for adjustments.
const LARGEST: i32 = 32_767;

#[derive(Debug, Clone, Copy, Default)]
struct Semaphore {
    value: i32,
    last_pid: i32,
}

/// A task that waits: for which semaphore, and whether for zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Blocked {
    number: u16,
    for_zero: bool,
}

/// One set.
#[derive(Debug, Default)]
struct Set {
    semaphores: Vec<Semaphore>,
    /// What is added when a process ends, by process and semaphore.
    undo: BTreeMap<(i32, u16), i32>,
    blocked: Vec<(u64, Blocked)>,
    next_ticket: u64,
    operation_time: i64,
    change_time: i64,
    queue: WaitQueue,
}

/// Why operations cannot happen now.
enum Obstacle {
    /// One must wait.
    Wait(Blocked, bool),
    Failed(Errno),
}

impl Set {
    /// Tries all operations; none happens unless all do.
    fn attempt(&mut self, operations: &[Sembuf], pid: i32) -> Result<(), Obstacle> {
        let mut values: BTreeMap<u16, i32> = BTreeMap::new();
        let mut undo: BTreeMap<u16, i32> = BTreeMap::new();
        for operation in operations {
            let number = operation.sem_num;
            let before = self.semaphores.get(usize::from(number));
            let before = before.ok_or(Obstacle::Failed(Errno::EFBIG))?.value;
            let value = values.entry(number).or_insert(before);
            let change = i32::from(operation.sem_op);
            let waits = |for_zero| {
                let is_impatient = i32::from(operation.sem_flg) & IPC_NOWAIT != 0;
                Obstacle::Wait(Blocked { number, for_zero }, is_impatient)
            };
            if change == 0 {
                if *value != 0 {
                    return Err(waits(true));
                }
                continue;
            }
            if *value + change < 0 {
                return Err(waits(false));
            }
            if *value + change > LARGEST {
                return Err(Obstacle::Failed(Errno::ERANGE));
            }
            *value += change;
            if i32::from(operation.sem_flg) & SEM_UNDO != 0 {
                let known = self.undo.get(&(pid, number)).copied().unwrap_or(0);
                let adjustment = undo.entry(number).or_insert(known);
                *adjustment -= change;
                if !(-LARGEST - 1..=LARGEST).contains(adjustment) {
                    return Err(Obstacle::Failed(Errno::ERANGE));
                }
            }
        }
        for operation in operations {
            if let Some(semaphore) = self.semaphores.get_mut(usize::from(operation.sem_num)) {
                semaphore.last_pid = pid;
            }
        }
        for (number, value) in values {
            if let Some(semaphore) = self.semaphores.get_mut(usize::from(number)) {
                semaphore.value = value;
            }
        }
        self.undo.extend(undo.into_iter().map(|(number, adjustment)| ((pid, number), adjustment)));
        self.operation_time = now();
        Ok(())
    }

    fn semaphore(&mut self, number: i32) -> Result<(u16, &mut Semaphore), Errno> {
        let index = u16::try_from(number).map_err(|_| Errno::EINVAL)?;
        let semaphore = self.semaphores.get_mut(usize::from(index)).ok_or(Errno::EINVAL)?;
        Ok((index, semaphore))
    }
}

/// What semctl(2) asks about one semaphore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "semctl(2)'s own words")]
pub enum Question {
    Value,
    LastPid,
    /// How many wait for it to grow.
    WaitingToGrow,
    /// How many wait for it to be zero.
    WaitingForZero,
}

/// A wait on a set: what must be told when it is over.
#[derive(Debug)]
pub struct Ticket {
    id: i32,
    number: Option<u64>,
}

/// All sets of a namespace.
#[derive(Debug, Default)]
pub struct SemaphoreTable {
    sets: Mutex<Registry<Set>, levels::IpcTable>,
}

impl SemaphoreTable {
    /// semget(2).
    pub fn get(&self, key: i32, count: i32, flags: i32, caller: Caller<'_>) -> Result<i32, Errno> {
        let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        if count > MOST_IN_SET {
            return Err(Errno::EINVAL);
        }
        let check =
            |set: &Set| if count > set.semaphores.len() { Err(Errno::EINVAL) } else { Ok(()) };
        let make = |_id| {
            if count == 0 {
                return Err(Errno::EINVAL);
            }
            let semaphores = vec![Semaphore::default(); count];
            Ok(Set { semaphores, change_time: now(), ..Set::default() })
        };
        let wanted = Wanted { key, flags, most: MOST_SETS };
        self.sets.lock().get(wanted, caller.creds, check, make)
    }

    /// Checks what semop(2) checks first: the set's queue to wait on, and a ticket for it.
    pub fn begin(
        &self,
        id: i32,
        operations: &[Sembuf],
        caller: Caller<'_>,
    ) -> Result<(WaitQueue, Ticket), Errno> {
        let mut sets = self.sets.lock();
        let entry = sets.find_mut(id)?;
        let count = entry.object.semaphores.len();
        if operations.iter().any(|operation| usize::from(operation.sem_num) >= count) {
            return Err(Errno::EFBIG);
        }
        let alters = operations.iter().any(|operation| operation.sem_op != 0);
        entry.permissions.check(if alters { 0o222 } else { 0o444 }, caller.creds)?;
        Ok((entry.object.queue.clone(), Ticket { id, number: None }))
    }

    /// One try of semop(2). `EIDRM` if the set is gone, `EAGAIN` if an impatient operation must wait.
    pub fn attempt(
        &self,
        ticket: &mut Ticket,
        operations: &[Sembuf],
        pid: i32,
    ) -> Result<Try<()>, Errno> {
        let mut sets = self.sets.lock();
        let set = &mut sets.find_mut(ticket.id).map_err(|_| Errno::EIDRM)?.object;
        match set.attempt(operations, pid) {
            Ok(()) => {
                set.queue.notify(Ready::IN);
                Ok(Try::Done(()))
            }
            Err(Obstacle::Failed(errno)) => Err(errno),
            Err(Obstacle::Wait(_, true)) => Err(Errno::EAGAIN),
            Err(Obstacle::Wait(blocked, false)) => {
                let number = *ticket.number.get_or_insert_with(|| {
                    set.next_ticket += 1;
                    set.next_ticket
                });
                set.blocked.retain(|(other, _)| *other != number);
                set.blocked.push((number, blocked));
                Ok(Try::WouldBlock)
            }
        }
    }

    /// The wait is over.
    pub fn end(&self, ticket: &Ticket) {
        if let Some(number) = ticket.number
            && let Ok(entry) = self.sets.lock().find_mut(ticket.id)
        {
            entry.object.blocked.retain(|(other, _)| *other != number);
        }
    }

    /// The process `pid` has ended.
    pub(super) fn undo(&self, pid: i32) {
        for entry in self.sets.lock().iter_mut() {
            let set = &mut entry.object;
            let mine: Vec<(u16, i32)> = set
                .undo
                .range((pid, 0)..=(pid, u16::MAX))
                .map(|((_, number), adjustment)| (*number, *adjustment))
                .collect();
            if mine.is_empty() {
                continue;
            }
            for (number, adjustment) in mine {
                set.undo.remove(&(pid, number));
                if let Some(semaphore) = set.semaphores.get_mut(usize::from(number)) {
                    semaphore.value = (semaphore.value + adjustment).clamp(0, LARGEST);
                    semaphore.last_pid = pid;
                }
            }
            set.operation_time = now();
            set.queue.notify(Ready::IN);
        }
    }

    fn with<R>(
        &self,
        id: i32,
        wanted: i32,
        caller: Caller<'_>,
        act: impl FnOnce(&mut Set) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let mut sets = self.sets.lock();
        let entry = sets.find_mut(id)?;
        entry.permissions.check(wanted, caller.creds)?;
        act(&mut entry.object)
    }

    /// `GETVAL`, `GETPID`, `GETNCNT`, `GETZCNT`.
    pub fn ask(
        &self,
        id: i32,
        number: i32,
        question: Question,
        caller: Caller<'_>,
    ) -> Result<i32, Errno> {
        self.with(id, 0o444, caller, |set| {
            let (index, semaphore) = set.semaphore(number)?;
            let (value, pid) = (semaphore.value, semaphore.last_pid);
            let waiting = |for_zero| {
                let wanted = Blocked { number: index, for_zero };
                let count = set.blocked.iter().filter(|(_, blocked)| *blocked == wanted).count();
                i32::try_from(count).unwrap_or(i32::MAX)
            };
            Ok(match question {
                Question::Value => value,
                Question::LastPid => pid,
                Question::WaitingToGrow => waiting(false),
                Question::WaitingForZero => waiting(true),
            })
        })
    }

    /// `GETALL`.
    pub fn values(&self, id: i32, caller: Caller<'_>) -> Result<Vec<u16>, Errno> {
        self.with(id, 0o444, caller, |set| {
            let value = |semaphore: &Semaphore| u16::try_from(semaphore.value).unwrap_or(u16::MAX);
            Ok(set.semaphores.iter().map(value).collect())
        })
    }

    /// How many semaphores `SETALL` sets.
    pub fn size(&self, id: i32, caller: Caller<'_>) -> Result<usize, Errno> {
        self.with(id, 0o222, caller, |set| Ok(set.semaphores.len()))
    }

    /// `SETVAL`. Adjustments for it are forgotten.
    pub fn set_value(
        &self,
        id: i32,
        number: i32,
        value: i32,
        caller: Caller<'_>,
    ) -> Result<(), Errno> {
        if !(0..=LARGEST).contains(&value) {
            return Err(Errno::ERANGE);
        }
        // Linux looks for the semaphore before it looks at permissions.
        self.sets.lock().find_mut(id)?.object.semaphore(number)?;
        self.with(id, 0o222, caller, |set| {
            let (index, semaphore) = set.semaphore(number)?;
            semaphore.value = value;
            semaphore.last_pid = caller.pid;
            set.undo.retain(|(_, other), _| *other != index);
            set.change_time = now();
            set.queue.notify(Ready::IN);
            Ok(())
        })
    }

    /// `SETALL`. All adjustments are forgotten.
    pub fn set_values(&self, id: i32, values: &[u16], caller: Caller<'_>) -> Result<(), Errno> {
        if values.iter().any(|&value| i32::from(value) > LARGEST) {
            return Err(Errno::ERANGE);
        }
        self.with(id, 0o222, caller, |set| {
            for (semaphore, value) in set.semaphores.iter_mut().zip(values) {
                semaphore.value = i32::from(*value);
                semaphore.last_pid = caller.pid;
            }
            set.undo.clear();
            set.change_time = now();
            set.queue.notify(Ready::IN);
            Ok(())
        })
    }

    /// `IPC_STAT`, and by index `SEM_STAT`: with the id.
    pub fn status(
        &self,
        id: i32,
        by_index: bool,
        wanted: i32,
        caller: Caller<'_>,
    ) -> Result<(i32, Semid64Ds), Errno> {
        let sets = self.sets.lock();
        let (id, entry) = if by_index { sets.at(id)? } else { (id, sets.find(id)?) };
        entry.permissions.check(wanted, caller.creds)?;
        let Entry { permissions, object: set } = entry;
        let status = Semid64Ds {
            sem_perm: permissions.show(),
            sem_otime: set.operation_time,
            sem_ctime: set.change_time,
            sem_nsems: to_u64(set.semaphores.len()),
            ..Semid64Ds::default()
        };
        Ok((id, status))
    }

    /// `IPC_SET`.
    pub fn set(&self, id: i32, new: &Semid64Ds, caller: Caller<'_>) -> Result<(), Errno> {
        let mut sets = self.sets.lock();
        let entry = sets.find_mut(id)?;
        entry.permissions.check_owner(caller.creds)?;
        entry.permissions.set(&new.sem_perm)?;
        entry.object.change_time = now();
        Ok(())
    }

    /// `IPC_RMID`: those who wait get `EIDRM`.
    pub fn remove(&self, id: i32, caller: Caller<'_>) -> Result<(), Errno> {
        let removed = {
            let mut sets = self.sets.lock();
            sets.find(id)?.permissions.check_owner(caller.creds)?;
            sets.remove(id)?
        };
        removed.object.queue.notify(Ready::IN);
        Ok(())
    }

    /// `IPC_INFO`, and with `is_usage` `SEM_INFO`: the highest index and the limits.
    pub fn limits(&self, is_usage: bool) -> (i32, Seminfo) {
        let sets = self.sets.lock();
        let mut info = Seminfo {
            semmap: MOST,
            semmni: 32_000,
            semmns: MOST,
            semmnu: MOST,
            semmsl: 32_000,
            semopm: 500,
            semume: 500,
            semusz: 20,
            semvmx: LARGEST,
            semaem: LARGEST,
        };
        if is_usage {
            let all: usize = sets.iter().map(|(_, entry)| entry.object.semaphores.len()).sum();
            info.semusz = i32::try_from(sets.count()).unwrap_or(i32::MAX);
            info.semaem = i32::try_from(all).unwrap_or(i32::MAX);
        }
        (sets.highest(), info)
    }
}
