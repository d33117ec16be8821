// SPDX-License-Identifier: Apache-2.0
//! Containers: how a bundle or a command line becomes a plan for a sandbox, and what becomes of it.

pub(crate) mod adhoc;
pub(crate) mod id;
