// SPDX-License-Identifier: Apache-2.0
//! Linux's words: one file a kernel header, no behaviour, no system call.
//!
//! Structures are `repr(C)` with their sizes asserted; flags are one `bitflags` type per argument and
//! keep unknown bits (`from_bits_retain`), for the guest may send any.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "constants and fields carry names that the man pages explain")]

pub mod addr;
pub mod cred;
pub mod errno;
pub mod fcntl;
pub mod mount;

pub use addr::{PAGE_SIZE, UserAddr, UserCStr, UserIn, UserInOut, UserOut, UserPtr, UserRange};
pub use errno::Errno;
