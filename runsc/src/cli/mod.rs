// SPDX-License-Identifier: Apache-2.0
//! The command line: one table of flags, its parser, its help its completions and manual pages.

pub(crate) mod completion;
pub(crate) mod flags;
pub(crate) mod help;
pub(crate) mod man;
pub(crate) mod parse;

pub(crate) use parse::{Invocation, Values};
