// SPDX-License-Identifier: Apache-2.0
//! Pseudo-terminals: pty(7), and the line discipline that every terminal has.

mod control;
mod ends;
mod filesystem;
mod line;
#[cfg(test)]
mod line_tests;
mod peer;
mod relay;
mod terminal;

pub use ends::{Master, Slave};
pub use filesystem::{Devpts, Options, find};
pub use line::{Effect, Input, LineDiscipline};
pub use peer::{beside, open_peer};
pub use relay::Relay;
pub use terminal::{JobControl, Leaving, Terminal};

/// The device number of slave `index` (major 136).
fn slave_device(index: u32) -> u64 {
    abi::DevId::new(136, index).0
}
