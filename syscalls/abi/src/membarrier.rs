// SPDX-License-Identifier: Apache-2.0
//! `linux/membarrier.h`: membarrier(2).

use crate::macros::{consts, values};

values! {
    /// membarrier(2)\'s commands.
    pub struct MembarrierCommand: i32 {
        MEMBARRIER_CMD_QUERY = 0;
        MEMBARRIER_CMD_GLOBAL = 1;
        MEMBARRIER_CMD_GLOBAL_EXPEDITED = 2;
        MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED = 4;
        MEMBARRIER_CMD_PRIVATE_EXPEDITED = 8;
        MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED = 16;
        MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE = 32;
        MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 64;
        MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ = 128;
        MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ = 256;
        MEMBARRIER_CMD_GET_REGISTRATIONS = 512;
    }
}

consts! {
    u32;
    MEMBARRIER_CMD_FLAG_CPU = 1;
}
