// SPDX-License-Identifier: Apache-2.0
//! The general registers of a guest thread.

pub(crate) mod state;
mod x86_64;

pub use x86_64::{Registers, USER_CS, USER_EFLAGS, USER_SS};
