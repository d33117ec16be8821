// SPDX-License-Identifier: Apache-2.0
//! The host: what it can do, and filters on its calls.

pub(crate) mod calls;
pub(crate) mod cpu;
pub(crate) mod place;
pub(crate) mod seccomp;
