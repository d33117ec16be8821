// SPDX-License-Identifier: Apache-2.0
//! Guest memory as a plan: where things are, and the one door to what is there.

pub mod mappable;

pub use mappable::{HostRange, Mappable};
