// SPDX-License-Identifier: Apache-2.0
//! OCI runtimes under test: each case in a process of its own that adopts and reaps what is orphaned.
//!
//! [`isolated`] runs a case in such a process; [`bed`] holds its bundle and makes its calls; [`host`]
//! counts what is on the host before and after; [`console`] is an engine's end of a terminal;
//! [`tracer`] kills a command at any of its host calls.

pub mod bed;
pub mod bundle;
pub mod console;
pub mod host;
pub mod isolated;
pub mod runtime;
pub mod tracer;
