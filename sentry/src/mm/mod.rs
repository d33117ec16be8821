// SPDX-License-Identifier: Apache-2.0
//! Guest memory as a plan: where things are, and the one door to what is there.

#[cfg(test)]
pub(crate) mod fake;
pub mod manager;
pub mod mappable;
pub mod user;

pub use manager::MemoryManager;
pub use mappable::{HostRange, Mappable};
pub use user::{UserSink, UserSource};
