// SPDX-License-Identifier: Apache-2.0
//! The locks a thread holds, kept in debug builds only.

use super::Level;

#[cfg(debug_assertions)]
mod stack {
    use std::cell::RefCell;

    #[derive(Clone, Copy)]
    pub(super) struct Entry {
        pub(super) rank: u16,
        pub(super) name: &'static str,
        pub(super) address: usize,
    }

    thread_local! {
        pub(super) static HELD: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
    }
}

/// Checks the order before a lock at `address` is waited for. Two locks of one level are in order
/// when the second lies at a higher address.
#[track_caller]
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "checked in debug builds"))]
#[inline]
pub(super) fn check<L: Level>(address: usize) {
    #[cfg(debug_assertions)]
    {
        let out_of_order = stack::HELD.with_borrow(|held| {
            let in_order = |entry: &&stack::Entry| {
                entry.rank < L::RANK || (entry.rank == L::RANK && entry.address < address)
            };
            held.iter().find(|entry| !in_order(entry)).map(|entry| entry.name)
        });
        // Outside the closure, so that the report names the caller.
        if let Some(held) = out_of_order {
            panic!("lock order: {} is wanted while {held} is held", L::NAME);
        }
    }
}

/// Notes that a lock was taken.
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "kept in debug builds"))]
#[inline]
pub(super) fn push<L: Level>(address: usize) {
    #[cfg(debug_assertions)]
    stack::HELD
        .with_borrow_mut(|held| held.push(stack::Entry { rank: L::RANK, name: L::NAME, address }));
}

/// Notes that a lock was given back.
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "kept in debug builds"))]
#[inline]
pub(super) fn pop<L: Level>(address: usize) {
    #[cfg(debug_assertions)]
    stack::HELD.with_borrow_mut(|held| {
        if let Some(at) = held.iter().rposition(|e| e.rank == L::RANK && e.address == address) {
            held.remove(at);
        }
    });
}

/// Asserts (in debug builds) that this thread holds no lock: before it runs guest code or sleeps.
#[track_caller]
pub fn assert_none_held() {
    #[cfg(debug_assertions)]
    if let Some(held) = stack::HELD.with_borrow(|held| held.first().map(|entry| entry.name)) {
        panic!("{held} is held where no lock may be");
    }
}
