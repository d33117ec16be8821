// SPDX-License-Identifier: Apache-2.0
//! `linux/sysinfo.h`: sysinfo(2).

use crate::macros::layout;

layout! {
    /// `struct sysinfo`.
    pub struct Sysinfo [112] {
        uptime: i64,
        loads: [u64; 3],
        totalram: u64,
        freeram: u64,
        sharedram: u64,
        bufferram: u64,
        totalswap: u64,
        freeswap: u64,
        procs: u16,
        pad: u16,
        pad2: u32,
        totalhigh: u64,
        freehigh: u64,
        mem_unit: u32,
        pad3: u32,
    }
}
/// `loads` are fixed-point numbers with this many fraction bits.
pub const SI_LOAD_SHIFT: u32 = 16;
