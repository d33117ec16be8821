// SPDX-License-Identifier: Apache-2.0
//! `linux/random.h`: getrandom(2).

use crate::macros::flags;

flags! {
    /// getrandom(2)\'s flags.
    pub struct GetrandomFlags: u32 = "GRND_" {
        NONBLOCK = 1;
        RANDOM = 2;
        INSECURE = 4;
    }
}
