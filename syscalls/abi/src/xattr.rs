// SPDX-License-Identifier: Apache-2.0
//! `linux/xattr.h`: xattr(7).

use crate::macros::{flags, layout};

flags! {
    /// setxattr(2)\'s flags.
    pub struct XattrFlags: u32 = "XATTR_" {
        CREATE = 1;
        REPLACE = 2;
    }
}

/// The longest name.
pub const XATTR_NAME_MAX: usize = 255;
/// The longest value.
pub const XATTR_SIZE_MAX: usize = 65536;
/// The longest list of names.
pub const XATTR_LIST_MAX: usize = 65536;

layout! {
    /// setxattrat(2)'s and getxattrat(2)'s argument.
    pub struct XattrArgs [16] {
        value: u64,
        size: u32,
        flags: u32,
    }
}
