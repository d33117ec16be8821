// SPDX-License-Identifier: Apache-2.0
//! The frame that a handler starts with, one file a machine.

pub mod x86_64;
