// SPDX-License-Identifier: Apache-2.0
//! What a task does to its memory before it lets go of it, by exit(2) or execve(2) (`mm_release`).

use std::sync::Arc;

use abi::{UserAddr, UserOut};

use super::{Current, TaskFacts};
use crate::futex;

/// Wakes those who wait for this thread by a futex: owners of robust mutexes, pthread_join(3).
pub(crate) fn leave_memory(cx: &mut Current, facts: &TaskFacts) {
    let is_shared = Arc::strong_count(&cx.resources.mm) > 2;
    let mut cleared = None;
    if facts.clear_child_tid != 0 && is_shared {
        let word = UserOut::<i32>::new(UserAddr(facts.clear_child_tid));
        // A bad address is the program's own loss.
        let _ = cx.write(word, &0);
        cleared = Some(word.addr());
    }
    let (kernel, mm) = (Arc::clone(&cx.kernel), Arc::clone(&cx.resources.mm));
    let tid = cx.task.tid().cast_unsigned();
    let robust_list = facts.robust_list;
    futex::leave(kernel.futexes(), &mut *cx.context, &mm, tid, robust_list, cleared);
    cx.task.update_facts(|facts| {
        facts.clear_child_tid = 0;
        facts.robust_list = 0;
    });
}
