// SPDX-License-Identifier: Apache-2.0
//! Pseudo-terminals: pty(7), and the line discipline that every terminal has.

mod line;
#[cfg(test)]
mod line_tests;

pub use line::{Effect, Input, LineDiscipline};
