// SPDX-License-Identifier: Apache-2.0
//! Which task a host thread serves: what `/proc/self` means.

use std::{cell::RefCell, sync::Arc};

use super::Task;

thread_local! {
    static CALLING: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
}

/// This host thread serves `task` from now on (or nobody).
pub(super) fn set(task: Option<Arc<Task>>) {
    let old = CALLING.replace(task);
    drop(old);
}

/// The task that this host thread serves.
pub fn task() -> Option<Arc<Task>> {
    CALLING.with_borrow(Clone::clone)
}
