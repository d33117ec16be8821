// SPDX-License-Identifier: Apache-2.0
//! The system calls: one table, and one handler a row, which reads like the man page.
//!
//! To add a call: write its case in `tests/conformance/guest/<family>/<call>.rs` until Linux agrees;
//! change `Planned` in its row of [`table`] to `Full`; write the function in `<family>.rs`. Its arguments
//! are those of the row, after `cx: &mut Current`. Decoding never fails: flags and values keep what is
//! unknown, and `.reject_unknown()?` stands where Linux looks.
#![forbid(unsafe_code)]

pub mod decode;
pub mod support;
pub mod table;
pub mod trace;

mod path;
mod splicing;

pub mod dir;
pub mod epoll;
pub mod eventfd;
pub mod fcntl;
pub mod futex;
pub mod ids;
pub mod inotify;
pub mod io;
pub mod limits;
pub mod memfd;
pub mod mm;
pub mod mount;
pub mod mq;
pub mod msg;
pub mod namespace;
pub mod open;
pub mod pipe;
pub mod poll;
pub mod prctl;
pub mod ptrace;
pub mod random;
pub mod sched;
pub mod seccomp;
pub mod sem;
pub mod shm;
pub mod signal;
pub mod socket;
pub mod sockopt;
pub mod stat;
pub mod sysinfo;
pub mod task;
pub mod time;
pub mod xattr;

/// What the kernel is given.
pub static TABLE: sentry::kernel::SyscallTable = sentry::kernel::SyscallTable {
    dispatch: table::dispatch,
    name: support::name,
    trace: trace::line,
};
