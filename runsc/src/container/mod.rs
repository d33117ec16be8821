// SPDX-License-Identifier: Apache-2.0
//! Containers: how a bundle or a command line becomes a sandbox, and what may be asked of it.
//!
//! A container is stood for by one small host process, its *monitor*: the parent of its sandbox,
//! named in the pid file, which ends as the container's first process ended. `create` and
//! `run --detach` leave one behind; `run` waits for its own.

pub(crate) mod adhoc;
pub(crate) mod create;
pub(crate) mod end;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod hooks;
pub(crate) mod id;
pub(crate) mod monitor;
pub(crate) mod namespaces;
pub(crate) mod signal;
pub(crate) mod stdio;
mod title;
mod view;
