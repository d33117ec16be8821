// SPDX-License-Identifier: Apache-2.0
//! `linux/ipc.h`, `linux/sem.h`, `linux/shm.h`, `linux/msg.h`, `linux/mqueue.h`: System V IPC and message queues.

use crate::macros::{consts, layout, values};
use crate::time::Timespec;

consts! {
    i32;
    IPC_CREAT = 0o1000;
    IPC_EXCL = 0o2000;
    IPC_NOWAIT = 0o4000;
    SHM_RDONLY = 0o10000;
    SHM_RND = 0o20000;
    SHM_REMAP = 0o40000;
    SHM_EXEC = 0o100000;
    SHM_HUGETLB = 0o4000;
    SHM_NORESERVE = 0o10000;
    SHM_DEST = 0o1000;
    SHM_LOCKED = 0o2000;
    SEM_UNDO = 0o10000;
    MSG_NOERROR = 0o10000;
    MSG_EXCEPT = 0o20000;
    MSG_COPY = 0o40000;
}

values! {
    /// semctl(2)\'s, shmctl(2)\'s and msgctl(2)\'s commands.
    pub struct IpcCommand: i32 {
        IPC_RMID = 0;
        IPC_SET = 1;
        IPC_STAT = 2;
        IPC_INFO = 3;
        GETPID = 11;
        GETVAL = 12;
        GETALL = 13;
        GETNCNT = 14;
        GETZCNT = 15;
        SETVAL = 16;
        SETALL = 17;
        SHM_LOCK = 11;
        SHM_UNLOCK = 12;
    }
}

consts! {
    i32;
    SEM_STAT = 18;
    SEM_INFO = 19;
    SEM_STAT_ANY = 20;
    SHM_STAT = 13;
    SHM_INFO = 14;
    SHM_STAT_ANY = 15;
    MSG_STAT = 11;
    MSG_INFO = 12;
    MSG_STAT_ANY = 13;
    IPC_PRIVATE = 0;
    IPC_64 = 256;
}

layout! {
    /// Who owns an IPC object: `struct ipc64_perm`.
    pub struct Ipc64Perm [48] {
        key: i32,
        uid: u32,
        gid: u32,
        cuid: u32,
        cgid: u32,
        mode: u32,
        seq: u16,
        pad: u16,
        pad2: u32,
        unused: [u64; 2],
    }
    /// `struct semid64_ds` of x86-64.
    pub struct Semid64Ds [104] {
        sem_perm: Ipc64Perm,
        sem_otime: i64,
        unused1: u64,
        sem_ctime: i64,
        unused2: u64,
        sem_nsems: u64,
        unused: [u64; 2],
    }
    /// One operation of semop(2).
    pub struct Sembuf [6] {
        sem_num: u16,
        sem_op: i16,
        sem_flg: i16,
    }
    /// `struct seminfo`.
    pub struct Seminfo [40] {
        semmap: i32,
        semmni: i32,
        semmns: i32,
        semmnu: i32,
        semmsl: i32,
        semopm: i32,
        semume: i32,
        semusz: i32,
        semvmx: i32,
        semaem: i32,
    }
    /// `struct shmid64_ds`.
    pub struct Shmid64Ds [112] {
        shm_perm: Ipc64Perm,
        shm_segsz: u64,
        shm_atime: i64,
        shm_dtime: i64,
        shm_ctime: i64,
        shm_cpid: i32,
        shm_lpid: i32,
        shm_nattch: u64,
        unused: [u64; 2],
    }
    /// `struct shminfo64`.
    pub struct Shminfo64 [72] {
        shmmax: u64,
        shmmin: u64,
        shmmni: u64,
        shmseg: u64,
        shmall: u64,
        unused: [u64; 4],
    }
    /// `struct shm_info`.
    pub struct ShmInfo [48] {
        used_ids: i32,
        pad: u32,
        shm_tot: u64,
        shm_rss: u64,
        shm_swp: u64,
        swap_attempts: u64,
        swap_successes: u64,
    }
    /// `struct msqid64_ds`.
    pub struct Msqid64Ds [120] {
        msg_perm: Ipc64Perm,
        msg_stime: i64,
        msg_rtime: i64,
        msg_ctime: i64,
        msg_cbytes: u64,
        msg_qnum: u64,
        msg_qbytes: u64,
        msg_lspid: i32,
        msg_lrpid: i32,
        unused: [u64; 2],
    }
    /// `struct msginfo`.
    pub struct Msginfo [32] {
        msgpool: i32,
        msgmap: i32,
        msgmax: i32,
        msgmnb: i32,
        msgmni: i32,
        msgssz: i32,
        msgtql: i32,
        msgseg: u16,
        pad: u16,
    }
    /// `struct mq_attr`.
    pub struct MqAttr [64] {
        mq_flags: i64,
        mq_maxmsg: i64,
        mq_msgsize: i64,
        mq_curmsgs: i64,
        reserved: [i64; 4],
    }
    /// semtimedop(2)'s wait, for the sake of a name.
    pub struct SemTimeout [16] {
        timeout: Timespec,
    }
}
