// SPDX-License-Identifier: Apache-2.0
//! System V shared memory, semaphores and message queues.
//!
//! Covers: shmget, shmat, shmdt, shmctl, semget, semop, semtimedop, semctl, msgget, msgsnd, msgrcv, msgctl.

use crate::kit;

pub fn shared_memory() {
    let id = sys!(shmget, libc::IPC_PRIVATE, 5000, 0o600).ok();
    let a = sys!(shmat, id, 0, 0).ok() as *mut u8;
    let b = sys!(shmat, id, 0, libc::SHM_RDONLY).ok() as *mut u8;
    unsafe { a.write_volatile(9) };
    show!("both", unsafe { b.read_volatile() });
    kit::in_child(|| {
        unsafe { a.write_volatile(10) };
        0
    });
    show!("child's", unsafe { b.read_volatile() });
    let mut stat: libc::shmid_ds = unsafe { std::mem::zeroed() };
    show!("stat", sys!(shmctl, id, libc::IPC_STAT, &raw mut stat));
    say!("size {} attached {} mode {:o}", stat.shm_segsz, stat.shm_nattch, stat.shm_perm.mode);
    show!("remove", sys!(shmctl, id, libc::IPC_RMID, 0));
    show!("still there", unsafe { a.read_volatile() });
    show!("detach", sys!(shmdt, a));
    show!("again", sys!(shmdt, a));
    show!("last", sys!(shmdt, b));
    show!("gone", sys!(shmat, id, 0, 0));
    show!("no size", sys!(shmget, libc::IPC_PRIVATE, 0, 0o600));
    show!("no such key", sys!(shmget, 0x7a7a_0001, 4096, 0));
}

pub fn semaphores() {
    let id = sys!(semget, libc::IPC_PRIVATE, 2, 0o600).ok();
    let op = |num: u16, op: i16, flags: i16| libc::sembuf { sem_num: num, sem_op: op, sem_flg: flags };
    let nowait = libc::IPC_NOWAIT as i16;
    show!("set", sys!(semctl, id, 0, libc::SETVAL, 3));
    show!("get", sys!(semctl, id, 0, libc::GETVAL, 0));
    show!("take", sys!(semop, id, [op(0, -2, 0)].as_ptr(), 1));
    show!("too many", sys!(semop, id, [op(0, -2, nowait)].as_ptr(), 1));
    show!("all or none", sys!(semop, id, [op(0, -1, 0), op(1, -1, nowait)].as_ptr(), 2));
    show!("untouched", sys!(semctl, id, 0, libc::GETVAL, 0));
    show!("bad number", sys!(semop, id, [op(9, 1, 0)].as_ptr(), 1));
    show!("no operations", sys!(semop, id, [op(0, 1, 0)].as_ptr(), 0));
    let time = [0i64, 30_000_000];
    show!("timeout", sys!(semtimedop, id, [op(1, -1, 0)].as_ptr(), 1, time.as_ptr()));
    kit::in_child(|| {
        sys!(semop, id, [op(0, 5, libc::SEM_UNDO as i16)].as_ptr(), 1).ok();
        0
    });
    show!("undone", sys!(semctl, id, 0, libc::GETVAL, 0));
    let pid = kit::fork(|| sys!(semop, id, [op(1, -1, 0)].as_ptr(), 1).0 as i32);
    kit::until("the waiter", || sys!(semctl, id, 1, libc::GETNCNT, 0).ok() == 1);
    sys!(semop, id, [op(1, 1, 0)].as_ptr(), 1).ok();
    show!("woken", kit::status(kit::wait_for(pid)));
    show!("remove", sys!(semctl, id, 0, libc::IPC_RMID, 0));
    show!("gone", sys!(semctl, id, 0, libc::GETVAL, 0));
}

pub fn messages() {
    let id = sys!(msgget, libc::IPC_PRIVATE, 0o600).ok();
    let send = |kind: u64, text: u64| {
        let message = [kind, text];
        sys!(msgsnd, id, message.as_ptr(), 8, libc::IPC_NOWAIT)
    };
    show!("send", send(2, 20));
    show!("send", send(1, 10));
    show!("send", send(3, 30));
    show!("type zero", send(0, 0));
    let mut message = [0u64; 2];
    let mut receive = |kind: i64, size: usize, flags: i32| {
        let ret = sys!(msgrcv, id, message.as_mut_ptr(), size, kind, flags | libc::IPC_NOWAIT);
        format!("{ret} {message:?}")
    };
    show!("too small", receive(0, 4, 0));
    show!("of a type", receive(3, 8, 0));
    show!("lowest up to 2", receive(-2, 8, 0));
    show!("first, cut", receive(0, 4, libc::MSG_NOERROR));
    show!("none", receive(0, 8, 0));
    show!("remove", sys!(msgctl, id, libc::IPC_RMID, 0));
    show!("gone", receive(0, 8, 0));
}
