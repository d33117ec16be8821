// SPDX-License-Identifier: Apache-2.0
//! The sentry: a Linux kernel in user space, as a library.
//!
//! Layers, from below (a module imports only from its own line and from lines above it):
//!
//! 1. `sync` locks with levels · `time` clocks and timers · `wait` the only place that sleeps
//! 2. `io` sources and sinks · `creds` who asks · `signal` sets, handlers, frames · `mm` the plan of memory
//! 3. `vfs` files without file systems
//! 4. `fs` the file systems · `net` sockets · `ipc` System V and POSIX objects · `futex`
//! 5. `task` tasks and how they are born, run and die · `loader` programs
//! 6. `kernel` all of it together; the system-call table is handed in here
#![forbid(unsafe_code)]

pub mod creds;
pub mod fs;
pub mod futex;
pub mod io;
pub mod ipc;
pub mod kernel;
pub mod loader;
pub mod mm;
pub mod net;
pub mod random;
pub mod signal;
pub mod sync;
pub mod task;
pub mod time;
pub mod vfs;
pub mod wait;
