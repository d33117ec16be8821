// SPDX-License-Identifier: Apache-2.0
//! Tasks.

pub mod current;

pub use current::Current;
