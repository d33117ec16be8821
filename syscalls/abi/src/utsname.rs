// SPDX-License-Identifier: Apache-2.0
//! `linux/utsname.h`: uname(2).

use crate::macros::layout;

/// Bytes of a field, its NUL included.
pub const UTS_FIELD: usize = 65;

layout! {
    /// `struct new_utsname`.
    pub struct NewUtsname [390] {
        sysname: [u8; UTS_FIELD],
        nodename: [u8; UTS_FIELD],
        release: [u8; UTS_FIELD],
        version: [u8; UTS_FIELD],
        machine: [u8; UTS_FIELD],
        domainname: [u8; UTS_FIELD],
    }
}
