// SPDX-License-Identifier: Apache-2.0
//! System V semaphores.

use std::sync::Arc;

use abi::{
    Errno, UserAddr, UserIn, UserOut,
    ipc::{
        GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT,
        IpcCommand, SEM_INFO, SEM_STAT, SEM_STAT_ANY, SETALL, SETVAL, Sembuf, Semid64Ds, Seminfo,
    },
    num::to_usize,
    time::Timespec,
};
use sentry::{
    ipc::{
        Caller,
        sem::{MOST_OPERATIONS, Question},
    },
    kernel::{OrRestart, Restart, SysResult},
    task::Current,
    time::{instant_after, nanos_of},
    wait::{Cut, Ready},
};

/// semget(2)
pub fn semget(cx: &mut Current, key: i32, nsems: i32, semflg: i32) -> SysResult<i32> {
    let creds = cx.creds();
    let caller = Caller { creds: &creds, pid: cx.task().pid() };
    Ok(cx.kernel().ipc().sem.get(key, nsems, semflg, caller)?)
}

/// semop(2)
pub fn semop(cx: &mut Current, semid: i32, sops: UserIn<Sembuf>, nsops: u32) -> SysResult {
    semtimedop(cx, semid, sops, nsops, UserIn::new(UserAddr::NULL))
}

/// semtimedop(2). An interrupted one is never restarted.
pub fn semtimedop(
    cx: &mut Current,
    semid: i32,
    sops: UserIn<Sembuf>,
    nsops: u32,
    timeout: UserIn<Timespec>,
) -> SysResult {
    let nanos = match timeout.nullable() {
        Some(timeout) => Some(cx.read(timeout)?),
        None => None,
    };
    let count = to_usize(u64::from(nsops));
    if count < 1 || semid < 0 {
        return Err(Errno::EINVAL.into());
    }
    if count > MOST_OPERATIONS {
        return Err(Errno::E2BIG.into());
    }
    let operations = cx.read_slice(sops, count)?;
    let deadline = nanos.map(nanos_of).transpose()?.map(instant_after);
    let (creds, pid, kernel) = (cx.creds(), cx.task().pid(), Arc::clone(cx.kernel()));
    let table = &kernel.ipc().sem;
    let (queue, mut ticket) = table.begin(semid, &operations, Caller { creds: &creds, pid })?;
    let result =
        cx.wait(&[&queue], Ready::IN, deadline, || table.attempt(&mut ticket, &operations, pid));
    table.end(&ticket);
    match result {
        Err(Cut::Failed(Errno::ETIMEDOUT)) => Err(Errno::EAGAIN.into()),
        other => other.or_restart(Restart::Never),
    }
}

/// semctl(2)
pub fn semctl(
    cx: &mut Current,
    semid: i32,
    semnum: i32,
    cmd: IpcCommand,
    arg: u64,
) -> SysResult<i32> {
    if semid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (creds, pid, kernel) = (cx.creds(), cx.task().pid(), Arc::clone(cx.kernel()));
    let (table, caller) = (&kernel.ipc().sem, Caller { creds: &creds, pid });
    let addr = UserAddr(arg);
    match cmd.0 {
        IPC_INFO | SEM_INFO => {
            let (highest, info) = table.limits(cmd.0 == SEM_INFO);
            cx.write(UserOut::<Seminfo>::new(addr), &info)?;
            Ok(highest)
        }
        IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            let wanted = if cmd.0 == SEM_STAT_ANY { 0 } else { 0o444 };
            let (id, status) = table.status(semid, cmd.0 != IPC_STAT, wanted, caller)?;
            cx.write(UserOut::<Semid64Ds>::new(addr), &status)?;
            Ok(if cmd.0 == IPC_STAT { 0 } else { id })
        }
        GETVAL => Ok(table.ask(semid, semnum, Question::Value, caller)?),
        GETPID => Ok(table.ask(semid, semnum, Question::LastPid, caller)?),
        GETNCNT => Ok(table.ask(semid, semnum, Question::WaitingToGrow, caller)?),
        GETZCNT => Ok(table.ask(semid, semnum, Question::WaitingForZero, caller)?),
        GETALL => {
            let values = table.values(semid, caller)?;
            cx.write_slice(UserOut::new(addr), &values)?;
            Ok(0)
        }
        SETALL => {
            let count = table.size(semid, caller)?;
            let values = cx.read_slice(UserIn::<u16>::new(addr), count)?;
            table.set_values(semid, &values, caller)?;
            Ok(0)
        }
        SETVAL => {
            // The union's `int`.
            table.set_value(semid, semnum, (arg as u32).cast_signed(), caller)?;
            Ok(0)
        }
        IPC_SET => {
            let new = cx.read(UserIn::<Semid64Ds>::new(addr))?;
            table.set(semid, &new, caller)?;
            Ok(0)
        }
        IPC_RMID => {
            table.remove(semid, caller)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
