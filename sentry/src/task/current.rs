// SPDX-License-Identifier: Apache-2.0
//! A task seen from its own thread: registers, memory, the right to sleep.

/// The calling task. Handlers get it by `&mut`.
#[derive(Debug)]
pub struct Current {}
