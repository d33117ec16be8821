// SPDX-License-Identifier: Apache-2.0
//! The three tables, without tasks.

use std::sync::Arc;

use abi::{
    Errno,
    cred::Capabilities,
    ipc::{IPC_CREAT, IPC_EXCL, IPC_NOWAIT, IPC_PRIVATE, SEM_UNDO, Sembuf},
};

use super::{
    Caller, IpcNamespace,
    msg::{Choice, Message},
    sem::Question,
};
use crate::{
    creds::Credentials,
    mm::{FileRef, MappedFile},
    wait::Try,
};

fn operation(number: u16, change: i16, flags: i32) -> Sembuf {
    Sembuf { sem_num: number, sem_op: change, sem_flg: flags as i16 }
}

#[test]
fn keys_ids_and_permissions() {
    let ipc = IpcNamespace::default();
    let (owner, other) = (Credentials::user(5, 5), Credentials::user(6, 6));
    let me = Caller { creds: &owner, pid: 1 };
    let they = Caller { creds: &other, pid: 2 };
    assert_eq!(ipc.msg.get(7, 0, me), Err(Errno::ENOENT));
    let id = ipc.msg.get(7, IPC_CREAT | 0o600, me).expect("new");
    assert_eq!(ipc.msg.get(7, 0o600, me), Ok(id));
    assert_eq!(ipc.msg.get(7, IPC_CREAT | IPC_EXCL, me), Err(Errno::EEXIST));
    assert_eq!(ipc.msg.get(7, 0o400, they), Err(Errno::EACCES));
    assert_eq!(ipc.msg.remove(id, they), Err(Errno::EPERM));
    let root = Credentials::root(Capabilities::all());
    assert_eq!(ipc.msg.remove(id, Caller { creds: &root, pid: 3 }), Ok(()));
    assert_eq!(ipc.msg.remove(id, me), Err(Errno::EINVAL));
    let mut ids: Vec<i32> =
        (0..100).map(|_| ipc.msg.get(IPC_PRIVATE, 0o600, me).expect("new")).collect();
    ids.push(id);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 101, "no id is given out twice");
    assert!(ids.iter().all(|&id| ipc.msg.status(id, false, 0, me).is_ok() != (id == 0)));
}

#[test]
fn operations_happen_together_and_are_undone() {
    let ipc = IpcNamespace::default();
    let owner = Credentials::user(5, 5);
    let me = Caller { creds: &owner, pid: 1 };
    assert_eq!(ipc.sem.get(1, 0, IPC_CREAT, me), Err(Errno::EINVAL));
    let id = ipc.sem.get(1, 2, IPC_CREAT | 0o600, me).expect("new");
    assert_eq!(ipc.sem.get(1, 3, 0, me), Err(Errno::EINVAL));
    let attempt = |operations: &[Sembuf]| {
        let (_, mut ticket) = ipc.sem.begin(id, operations, me)?;
        ipc.sem.attempt(&mut ticket, operations, 1)
    };
    assert_eq!(attempt(&[operation(2, 1, 0)]), Err(Errno::EFBIG));
    let undo = operation(0, 3, SEM_UNDO);
    assert_eq!(attempt(&[undo, operation(1, 1, 0)]), Ok(Try::Done(())));
    assert_eq!(attempt(&[operation(0, -1, 0), operation(1, -2, 0)]), Ok(Try::WouldBlock));
    assert_eq!(attempt(&[operation(1, -2, IPC_NOWAIT)]), Err(Errno::EAGAIN));
    assert_eq!(attempt(&[operation(0, 32_767, 0)]), Err(Errno::ERANGE));
    assert_eq!(ipc.sem.values(id, me), Ok(vec![3, 1]));
    assert_eq!(ipc.sem.ask(id, 1, Question::WaitingToGrow, me), Ok(1));
    assert_eq!(attempt(&[operation(0, -1, 0)]), Ok(Try::Done(())));
    ipc.process_ended(1);
    assert_eq!(ipc.sem.values(id, me), Ok(vec![0, 1]), "never below zero");
    assert_eq!(ipc.sem.set_value(id, 0, 40_000, me), Err(Errno::ERANGE));
    assert_eq!(ipc.sem.set_values(id, &[4, 5], me), Ok(()));
    assert_eq!(ipc.sem.ask(id, 0, Question::Value, me), Ok(4));
    let (_, mut ticket) = ipc.sem.begin(id, &[undo], me).expect("there");
    ipc.sem.remove(id, me).expect("own");
    assert_eq!(ipc.sem.attempt(&mut ticket, &[undo], 1), Err(Errno::EIDRM));
}

#[test]
fn messages_are_chosen_by_type() {
    let ipc = IpcNamespace::default();
    let owner = Credentials::user(5, 5);
    let me = Caller { creds: &owner, pid: 1 };
    let id = ipc.msg.get(IPC_PRIVATE, 0o600, me).expect("new");
    for (kind, text) in [(3, "three"), (1, "one"), (2, "two"), (1, "uno")] {
        let mut message = Some(Message { kind, text: text.into() });
        assert_eq!(ipc.msg.send(id, &mut message, 1), Ok(Try::Done(())));
    }
    let receive = |choice, room| match ipc.msg.receive(id, choice, room, false, 2)? {
        Try::Done(message) => Ok(Some(String::from_utf8(message.text).expect("ASCII"))),
        Try::WouldBlock => Ok(None),
    };
    assert_eq!(receive(Choice::CopyAt(1), 9), Ok(Some("one".into())));
    assert_eq!(receive(Choice::UpTo(2), 9), Ok(Some("one".into())));
    assert_eq!(receive(Choice::Except(3), 9), Ok(Some("two".into())));
    assert_eq!(receive(Choice::Kind(9), 9), Ok(None));
    assert_eq!(receive(Choice::First, 2), Err(Errno::E2BIG));
    assert_eq!(receive(Choice::First, 9), Ok(Some("three".into())));
    let big = || Some(Message { kind: 1, text: vec![0; 8192] });
    assert_eq!(ipc.msg.send(id, &mut big(), 1), Ok(Try::Done(())));
    let mut kept = big();
    assert_eq!(ipc.msg.send(id, &mut kept, 1), Ok(Try::WouldBlock));
    assert!(kept.is_some(), "what does not fit is not lost");
    let (_, status) = ipc.msg.status(id, false, 0o444, me).expect("own");
    assert_eq!((status.msg_qnum, status.msg_cbytes), (2, 8195));
}

#[test]
fn segments_live_as_long_as_they_are_mapped() {
    let ipc = IpcNamespace::default();
    let owner = Credentials::user(5, 5);
    let me = Caller { creds: &owner, pid: 1 };
    assert_eq!(ipc.shm.get(IPC_PRIVATE, 0, 0o600, me), Err(Errno::EINVAL));
    let id = ipc.shm.get(9, 5000, IPC_CREAT | 0o600, me).expect("new");
    assert_eq!(ipc.shm.get(9, 6000, 0, me), Err(Errno::EINVAL));
    let segment = ipc.shm.find(id, 0o600, me).expect("own");
    assert_eq!((segment.size(), segment.memory().size()), (5000, 8192));
    let mapping = FileRef::new(Arc::clone(&segment) as Arc<dyn MappedFile>);
    let copy = mapping.clone();
    let attached = || ipc.shm.status(id, false, 0o444, me).map(|(_, status)| status.shm_nattch);
    assert_eq!(attached(), Ok(2));
    ipc.shm.remove(id, me).expect("own");
    assert_eq!(ipc.shm.get(9, 0, 0, me), Err(Errno::ENOENT), "its key is free");
    drop(mapping);
    assert_eq!(attached(), Ok(1));
    drop(copy);
    assert_eq!(attached(), Err(Errno::EINVAL));
}
