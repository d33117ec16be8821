// SPDX-License-Identifier: Apache-2.0
//! `linux/eventfd.h`: eventfd(2).

use crate::macros::flags;

flags! {
    /// eventfd2(2)\'s flags.
    pub struct EventfdFlags: u32 = "EFD_" {
        SEMAPHORE = 0o1;
        CLOEXEC = 0o2000000;
        NONBLOCK = 0o4000;
    }
}
