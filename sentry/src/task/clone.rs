// SPDX-License-Identifier: Apache-2.0
//! How tasks are born: clone(2) and its family.

use crate::sync::{Condvar, Mutex, levels};

/// Told when a vfork(2) child has let go of its parent's memory.
#[derive(Debug, Default)]
pub(crate) struct VforkDone {
    is_done: Mutex<bool, levels::Leaf>,
    changed: Condvar,
}
