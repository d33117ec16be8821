// SPDX-License-Identifier: Apache-2.0
//! Instances that watch instances: no loops, and only so deep.

use std::sync::{Arc, Weak};

use abi::Errno;

use super::{Inner, MAX_NESTS};

/// Which way to look from an instance.
#[derive(Clone, Copy)]
enum Way {
    /// To the instances it watches.
    Down,
    /// To those that watch it.
    Up,
}

impl Inner {
    fn neighbours(&self, way: Way) -> Vec<Arc<Inner>> {
        match way {
            Way::Down => {
                let interest = self.interest.lock();
                let nested = interest.entries.values().filter_map(|entry| entry.nested.as_ref());
                nested.filter_map(Weak::upgrade).collect()
            }
            Way::Up => {
                let mut parents = self.parents.lock();
                parents.retain(|parent| parent.strong_count() > 0);
                parents.iter().filter_map(Weak::upgrade).collect()
            }
        }
    }
}

/// Levels there are from `start` that way, counted up to one too many; `ELOOP` if `unwanted` is met.
fn levels(start: &Arc<Inner>, way: Way, unwanted: Option<&Arc<Inner>>) -> Result<usize, Errno> {
    let mut level = vec![Arc::clone(start)];
    for depth in 0..=MAX_NESTS {
        if unwanted.is_some_and(|unwanted| level.iter().any(|one| Arc::ptr_eq(one, unwanted))) {
            return Err(Errno::ELOOP);
        }
        let mut next: Vec<Arc<Inner>> = level.iter().flat_map(|one| one.neighbours(way)).collect();
        if next.is_empty() {
            return Ok(depth);
        }
        // An instance that is reached by many paths is looked at once a level.
        next.sort_unstable_by_key(|one| Arc::as_ptr(one).addr());
        next.dedup_by(|one, other| Arc::ptr_eq(one, other));
        level = next;
    }
    Ok(MAX_NESTS + 1)
}

/// Whether `outer` may watch `nested` (`fs/eventpoll.c: ep_loop_check`).
pub(super) fn check(outer: &Arc<Inner>, nested: &Arc<Inner>) -> Result<(), Errno> {
    let below = levels(nested, Way::Down, Some(outer))?;
    let above = levels(outer, Way::Up, None)?;
    if above + 1 + below > MAX_NESTS { Err(Errno::ELOOP) } else { Ok(()) }
}
