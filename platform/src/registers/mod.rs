// SPDX-License-Identifier: Apache-2.0
//! The general registers of a guest thread.

mod x86_64;

pub use x86_64::Registers;
