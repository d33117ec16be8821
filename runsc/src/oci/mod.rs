// SPDX-License-Identifier: Apache-2.0
//! OCI bundles: config.json read, checked, and turned into a plan.

pub(crate) mod affinity;
pub(crate) mod bundle;
pub(crate) mod caps;
pub(crate) mod convert;
mod devices;
pub(crate) mod features;
pub(crate) mod hooks;
mod ids;
pub(crate) mod mount_options;
pub(crate) mod mounts;
#[cfg(test)]
mod mutated;
mod namespaces;
pub(crate) mod process;
pub(crate) mod rlimits;
mod seccomp;
pub(crate) mod state;
pub(crate) mod template;

/// The version of the runtime specification that we follow.
pub(crate) const SPEC_VERSION: &str = "1.2.0";
