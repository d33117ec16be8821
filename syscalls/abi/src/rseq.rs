// SPDX-License-Identifier: Apache-2.0
//! `linux/rseq.h`: restartable sequences.

use crate::macros::{consts, layout};

layout! {
    /// The area that a thread registers.
    pub struct Rseq [32] {
        cpu_id_start: u32,
        cpu_id: u32,
        rseq_cs: u64,
        flags: u32,
        node_id: u32,
        mm_cid: u32,
        pad: u32,
    }
    /// A critical section.
    pub struct RseqCs [32] {
        version: u32,
        flags: u32,
        start_ip: u64,
        post_commit_offset: u64,
        abort_ip: u64,
    }
}

consts! {
    u32;
    RSEQ_FLAG_UNREGISTER = 1;
}

consts! {
    i32;
    RSEQ_CPU_ID_UNINITIALIZED = -1;
    RSEQ_CPU_ID_REGISTRATION_FAILED = -2;
}
