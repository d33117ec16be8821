// SPDX-License-Identifier: Apache-2.0
//! Linux's words: one file a kernel header, no behaviour, no system call.
//!
//! Structures are `repr(C)` with their sizes asserted; flags are one `bitflags` type per argument and
//! keep unknown bits (`from_bits_retain`), for the guest may send any. Numbers with names are a type
//! each with `name()`; their values are plain constants beside it, under Linux's names.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "constants and fields carry names that the man pages explain")]
#![allow(
    missing_debug_implementations,
    reason = "zerocopy's derive makes a helper type without one"
)]

pub mod macros;

pub mod addr;
pub mod auxv;
pub mod cred;
pub mod dirent;
pub mod elf;
pub mod epoll;
pub mod errno;
pub mod eventfd;
pub mod fcntl;
pub mod fileattr;
pub mod futex;
pub mod ids;
pub mod inotify;
pub mod ioctl;
pub mod ipc;
pub mod kcmp;
pub mod limits;
pub mod membarrier;
pub mod mempolicy;
pub mod mman;
pub mod mount;
pub mod num;
pub mod pidfd;
pub mod poll;
pub mod prctl;
pub mod ptrace;
pub mod random;
pub mod resource;
pub mod rseq;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod signal_codes;
pub mod signalfd;
pub mod socket;
pub mod stat;
pub mod sysinfo;
pub mod time;
pub mod timerfd;
pub mod uio;
pub mod utsname;
pub mod wait;
pub mod xattr;

pub use addr::{PAGE_SIZE, UserAddr, UserCStr, UserIn, UserInOut, UserOut, UserPtr, UserRange};
pub use errno::Errno;
pub use ids::{DevId, DirFd, Fd, Gid, Mode, Pid, Tid, TimerId, Uid};
pub use macros::{FromReg, Known, Symbolic};
pub use signal::{SigInfo, SigSet, Signal};
