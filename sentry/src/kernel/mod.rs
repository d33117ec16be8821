// SPDX-License-Identifier: Apache-2.0
//! The kernel of one sandbox.

pub mod syscall;

pub use syscall::{Restart, Stop, SysResult, SyscallTable};
