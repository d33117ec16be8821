// SPDX-License-Identifier: Apache-2.0
//! What a thread leaves locked when it ends: the list of set_robust_list(2).

use abi::{
    UserAddr, UserIn,
    futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, ROBUST_LIST_LIMIT, RobustListHead},
};
use platform::{Context, Protection};

use super::{FutexTable, Key, Sharing, Word};
use crate::mm::{MemoryManager, user};

/// Marks a pointer to a futex with priority inheritance.
const IS_PI: u64 = 1;

/// A thread lets go of its memory, by exit(2) or execve(2): wakes those who wait for what it held, and for
/// the word that set_tid_address(2) named, which the caller has cleared.
pub fn leave(
    table: &FutexTable,
    context: &mut dyn Context,
    mm: &MemoryManager,
    tid: u32,
    robust_list: u64,
    cleared: Option<UserAddr>,
) {
    if robust_list != 0 {
        walk(table, context, mm, tid, UserAddr(robust_list));
    }
    table.abandon_pi(tid);
    if let Some(addr) = cleared
        && let Ok(key) = Key::of(mm, addr, Sharing::Shared, Protection::READ)
    {
        // `EINVAL`, when somebody waits to own it, is the program's own muddle.
        let _ = table.wake(&key, 1, u32::MAX);
    }
}

/// exit_robust_list(). A list that cannot be read ends there; it may be a circle, so it is walked only so
/// far.
fn walk(
    table: &FutexTable,
    context: &mut dyn Context,
    mm: &MemoryManager,
    tid: u32,
    head: UserAddr,
) {
    let Ok(list) = user::read(context, UserIn::<RobustListHead>::new(head)) else { return };
    let futex = |entry: u64| UserAddr((entry & !IS_PI).wrapping_add_signed(list.futex_offset));
    let pending = list.list_op_pending;
    let mut entry = list.list;
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry & !IS_PI == head.raw() {
            break;
        }
        // The next one first: who gets the lock may free the entry.
        let next = user::read(context, UserIn::<u64>::new(UserAddr(entry & !IS_PI)));
        if entry & !IS_PI != pending & !IS_PI
            && bury(table, context, mm, tid, futex(entry), entry & IS_PI != 0, false).is_none()
        {
            return;
        }
        match next {
            Ok(next) => entry = next,
            Err(_) => return,
        }
    }
    if pending & !IS_PI != 0 {
        // The last act of a dying thread's list: whether it succeeds changes nothing here.
        let _ = bury(table, context, mm, tid, futex(pending), pending & IS_PI != 0, true);
    }
}

/// handle_futex_death(); `None` ends the walk.
fn bury(
    table: &FutexTable,
    context: &mut dyn Context,
    mm: &MemoryManager,
    tid: u32,
    addr: UserAddr,
    is_pi: bool,
    is_pending: bool,
) -> Option<()> {
    if !addr.raw().is_multiple_of(4) {
        return None;
    }
    let wake = |table: &FutexTable| {
        if let Ok(key) = Key::of(mm, addr, Sharing::Shared, Protection::READ) {
            let _ = table.wake(&key, 1, u32::MAX);
        }
        let private = Key::of(mm, addr, Sharing::Private, Protection::READ);
        if let Ok(key) = private {
            let _ = table.wake(&key, 1, u32::MAX);
        }
    };
    let mut word = Word { context, addr };
    loop {
        let value = word.read().ok()?;
        let owner = value & FUTEX_TID_MASK;
        // It died between unlocking in user space and the call that wakes.
        if is_pending && !is_pi && owner == 0 {
            wake(table);
            return Some(());
        }
        if owner != tid {
            return Some(());
        }
        let new = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        if word.exchange(value, new).ok()? != value {
            continue;
        }
        if !is_pi && value & FUTEX_WAITERS != 0 {
            wake(table);
        }
        return Some(());
    }
}
