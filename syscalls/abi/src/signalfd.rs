// SPDX-License-Identifier: Apache-2.0
//! `linux/signalfd.h`: signalfd(2).

use crate::macros::{flags, layout};

flags! {
    /// signalfd4(2)\'s flags.
    pub struct SignalfdFlags: u32 = "SFD_" {
        CLOEXEC = 0o2000000;
        NONBLOCK = 0o4000;
    }
}

layout! {
    /// What a read from a signalfd gives.
    pub struct SignalfdSiginfo [128] {
        ssi_signo: u32,
        ssi_errno: i32,
        ssi_code: i32,
        ssi_pid: u32,
        ssi_uid: u32,
        ssi_fd: i32,
        ssi_tid: u32,
        ssi_band: u32,
        ssi_overrun: u32,
        ssi_trapno: u32,
        ssi_status: i32,
        ssi_int: i32,
        ssi_ptr: u64,
        ssi_utime: u64,
        ssi_stime: u64,
        ssi_addr: u64,
        ssi_addr_lsb: u16,
        pad2: u16,
        ssi_syscall: i32,
        ssi_call_addr: u64,
        ssi_arch: u32,
        pad: [u8; 28],
    }
}
