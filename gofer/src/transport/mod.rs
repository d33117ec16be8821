// SPDX-License-Identifier: Apache-2.0
//! Frames, and descriptors beside them.

pub mod socket;

pub use socket::{Frame, Socket};
