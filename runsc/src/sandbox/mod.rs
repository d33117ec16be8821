// SPDX-License-Identifier: Apache-2.0
//! The host processes of one sandbox: how they start, how they are jailed, how they are spoken to.
//!
//! * **What it is.** [`spawn`] starts a sentry (`runsc boot`) and a gofer (`runsc gofer`); [`control`]
//!   is the language between runsc and the sentry; [`jail`] is what both put on; [`supervise`] waits
//!   for the end of a sandbox, [`attend`] stands for one of its processes.
//! * **Invariants.** Both processes end when the other does. Neither inherits a descriptor that
//!   [`spawn`] does not list. What they say is checked for its shape.

pub(crate) mod attend;
pub(crate) mod cgroup;
pub(crate) mod console;
pub(crate) mod control;
pub(crate) mod jail;
pub(crate) mod namespaces;
pub(crate) mod plan;
pub(crate) mod spawn;
pub(crate) mod supervise;
pub(crate) mod uts;
