// SPDX-License-Identifier: Apache-2.0
//! `linux/mempolicy.h`: NUMA policy.

use crate::macros::{consts, values};

values! {
    /// Policies.
    pub struct MemoryPolicy: i32 {
        MPOL_DEFAULT = 0;
        MPOL_PREFERRED = 1;
        MPOL_BIND = 2;
        MPOL_INTERLEAVE = 3;
        MPOL_LOCAL = 4;
        MPOL_PREFERRED_MANY = 5;
        MPOL_WEIGHTED_INTERLEAVE = 6;
    }
}

consts! {
    u32;
    MPOL_F_STATIC_NODES = 0x8000;
    MPOL_F_RELATIVE_NODES = 0x4000;
    MPOL_F_NUMA_BALANCING = 0x2000;
    MPOL_F_NODE = 1;
    MPOL_F_ADDR = 2;
    MPOL_F_MEMS_ALLOWED = 4;
}
