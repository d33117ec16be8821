// SPDX-License-Identifier: Apache-2.0
//! `linux/pidfd.h`: pidfd_open(2).

use crate::macros::flags;

flags! {
    /// pidfd_open(2)\'s flags.
    pub struct PidfdFlags: u32 = "PIDFD_" {
        THREAD = 0x80;
        NONBLOCK = 0x800;
    }
}

flags! {
    /// pidfd_send_signal(2)\'s flags.
    pub struct PidfdSignalFlags: u32 = "PIDFD_SIGNAL_" {
        THREAD = 1;
        THREAD_GROUP = 2;
        PROCESS_GROUP = 4;
    }
}
