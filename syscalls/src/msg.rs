// SPDX-License-Identifier: Apache-2.0
//! System V message queues.

use std::sync::Arc;

use abi::{
    Errno, UserIn, UserInOut, UserOut,
    ipc::{
        IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, IpcCommand, MSG_COPY, MSG_EXCEPT,
        MSG_INFO, MSG_NOERROR, MSG_STAT, MSG_STAT_ANY, Msginfo, Msqid64Ds,
    },
};
use sentry::{
    ipc::{
        Caller,
        msg::{Choice, LARGEST, Message},
    },
    kernel::{OrRestart, Restart, SysResult},
    task::Current,
    wait::{Ready, Try},
};

/// msgget(2)
pub fn msgget(cx: &mut Current, key: i32, msgflg: i32) -> SysResult<i32> {
    let creds = cx.creds();
    let caller = Caller { creds: &creds, pid: cx.task().pid() };
    Ok(cx.kernel().ipc().msg.get(key, msgflg, caller)?)
}

/// The text behind the type.
const TEXT: u64 = 8;

/// msgsnd(2)
pub fn msgsnd(
    cx: &mut Current,
    msqid: i32,
    msgp: UserIn<i64>,
    msgsz: usize,
    msgflg: i32,
) -> SysResult {
    let kind = cx.read(msgp)?;
    if msgsz > LARGEST || msqid < 0 || kind < 1 {
        return Err(Errno::EINVAL.into());
    }
    let mut text = vec![0; msgsz];
    cx.read_bytes(msgp.addr().checked_add(TEXT)?, &mut text)?;
    let (creds, pid, kernel) = (cx.creds(), cx.task().pid(), Arc::clone(cx.kernel()));
    let table = &kernel.ipc().msg;
    let queue = table.begin(msqid, 0o222, Caller { creds: &creds, pid })?;
    let mut message = Some(Message { kind, text });
    let is_impatient = msgflg & IPC_NOWAIT != 0;
    cx.wait(&[&queue], Ready::OUT, None, || match table.send(msqid, &mut message, pid)? {
        Try::WouldBlock if is_impatient => Err(Errno::EAGAIN),
        other => Ok(other),
    })
    .or_restart(Restart::IfNoHandler)
}

/// Which message is wanted: convert_mode() of Linux's `ipc/msg.c`.
fn choice(msgtyp: i64, msgflg: i32) -> Choice {
    if msgflg & MSG_COPY != 0 {
        Choice::CopyAt(msgtyp)
    } else if msgtyp == 0 {
        Choice::First
    } else if msgtyp < 0 {
        Choice::UpTo(msgtyp.checked_neg().unwrap_or(i64::MAX))
    } else if msgflg & MSG_EXCEPT != 0 {
        Choice::Except(msgtyp)
    } else {
        Choice::Kind(msgtyp)
    }
}

/// msgrcv(2)
pub fn msgrcv(
    cx: &mut Current,
    msqid: i32,
    msgp: UserOut<i64>,
    msgsz: usize,
    msgtyp: i64,
    msgflg: i32,
) -> SysResult<usize> {
    if msqid < 0 || i64::try_from(msgsz).is_err() {
        return Err(Errno::EINVAL.into());
    }
    let is_impatient = msgflg & IPC_NOWAIT != 0;
    if msgflg & MSG_COPY != 0 && (msgflg & MSG_EXCEPT != 0 || !is_impatient) {
        return Err(Errno::EINVAL.into());
    }
    let (creds, pid, kernel) = (cx.creds(), cx.task().pid(), Arc::clone(cx.kernel()));
    let table = &kernel.ipc().msg;
    let queue = table.begin(msqid, 0o444, Caller { creds: &creds, pid })?;
    let (choice, may_cut) = (choice(msgtyp, msgflg), msgflg & MSG_NOERROR != 0);
    let message = cx
        .wait(&[&queue], Ready::IN, None, || {
            match table.receive(msqid, choice, msgsz, may_cut, pid)? {
                Try::WouldBlock if is_impatient => Err(Errno::ENOMSG),
                other => Ok(other),
            }
        })
        .or_restart(Restart::IfNoHandler)?;
    cx.write(msgp, &message.kind)?;
    cx.write_bytes(msgp.addr().checked_add(TEXT)?, &message.text)?;
    Ok(message.text.len())
}

/// msgctl(2)
pub fn msgctl(
    cx: &mut Current,
    msqid: i32,
    cmd: IpcCommand,
    buf: UserInOut<Msqid64Ds>,
) -> SysResult<i32> {
    if msqid < 0 || cmd.0 < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (creds, pid, kernel) = (cx.creds(), cx.task().pid(), Arc::clone(cx.kernel()));
    let (table, caller) = (&kernel.ipc().msg, Caller { creds: &creds, pid });
    match cmd.0 {
        IPC_INFO | MSG_INFO => {
            let (highest, info) = table.limits(cmd.0 == MSG_INFO);
            cx.write(buf.as_out().cast::<Msginfo>(), &info)?;
            Ok(highest)
        }
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            let wanted = if cmd.0 == MSG_STAT_ANY { 0 } else { 0o444 };
            let (id, status) = table.status(msqid, cmd.0 != IPC_STAT, wanted, caller)?;
            cx.write(buf.as_out(), &status)?;
            Ok(if cmd.0 == IPC_STAT { 0 } else { id })
        }
        IPC_SET => {
            let new = cx.read(buf.as_in())?;
            table.set(msqid, &new, caller)?;
            Ok(0)
        }
        IPC_RMID => {
            table.remove(msqid, caller)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
