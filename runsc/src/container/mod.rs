// SPDX-License-Identifier: Apache-2.0
//! Containers: how a bundle or a command line becomes a sandbox, and what may be asked of it.
//!
//! A container is stood for by one small host process, its *monitor*: the parent of its sandbox,
//! named in the pid file, which ends as the container's first process ended. `run` is the monitor
//! itself; `create` and `run --detach` leave one behind.

pub(crate) mod adhoc;
pub(crate) mod create;
pub(crate) mod id;
pub(crate) mod monitor;
pub(crate) mod signal;
pub(crate) mod stdio;
