// SPDX-License-Identifier: Apache-2.0
//! `linux/futex.h`: futex(2).

use crate::macros::{consts, layout, values};

values! {
    /// futex(2)\'s commands without their flags.
    pub struct FutexCommand: i32 {
        FUTEX_WAIT = 0;
        FUTEX_WAKE = 1;
        FUTEX_FD = 2;
        FUTEX_REQUEUE = 3;
        FUTEX_CMP_REQUEUE = 4;
        FUTEX_WAKE_OP = 5;
        FUTEX_LOCK_PI = 6;
        FUTEX_UNLOCK_PI = 7;
        FUTEX_TRYLOCK_PI = 8;
        FUTEX_WAIT_BITSET = 9;
        FUTEX_WAKE_BITSET = 10;
        FUTEX_WAIT_REQUEUE_PI = 11;
        FUTEX_CMP_REQUEUE_PI = 12;
        FUTEX_LOCK_PI2 = 13;
    }
}

consts! {
    i32;
    FUTEX_PRIVATE_FLAG = 128;
    FUTEX_CLOCK_REALTIME = 256;
    FUTEX_CMD_MASK = -385;
    FUTEX_OP_SET = 0;
    FUTEX_OP_ADD = 1;
    FUTEX_OP_OR = 2;
    FUTEX_OP_ANDN = 3;
    FUTEX_OP_XOR = 4;
    FUTEX_OP_OPARG_SHIFT = 8;
    FUTEX_OP_CMP_EQ = 0;
    FUTEX_OP_CMP_NE = 1;
    FUTEX_OP_CMP_LT = 2;
    FUTEX_OP_CMP_LE = 3;
    FUTEX_OP_CMP_GT = 4;
    FUTEX_OP_CMP_GE = 5;
}

consts! {
    u32;
    FUTEX_WAITERS = 0x80000000;
    FUTEX_OWNER_DIED = 0x40000000;
    FUTEX_TID_MASK = 0x3fffffff;
    FUTEX_BITSET_MATCH_ANY = 0xffffffff;
    FUTEX_32 = 2;
    FUTEX2_SIZE_U32 = 2;
    FUTEX2_SIZE_MASK = 3;
    FUTEX2_NUMA = 4;
    FUTEX2_PRIVATE = 0x80;
}

consts! {
    usize;
    ROBUST_LIST_LIMIT = 2048;
    FUTEX_WAITV_MAX = 128;
}

layout! {
    /// The head of a thread's list of robust mutexes.
    pub struct RobustListHead [24] {
        list: u64,
        futex_offset: i64,
        list_op_pending: u64,
    }
    /// One futex of futex_waitv(2).
    pub struct FutexWaitv [24] {
        val: u64,
        uaddr: u64,
        flags: u32,
        reserved: u32,
    }
}
