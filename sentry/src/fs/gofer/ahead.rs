// SPDX-License-Identifier: Apache-2.0
//! Looking ahead: children of a directory that will be asked for next, because its listing says so.
//!
//! Programs that walk trees (find, ls -l, du, tar, rm -r) list a directory and then ask for its entries
//! one by one in that order. From the second in a row on, the gofer is asked for several at once, and
//! for four times as many the next time.
//!
//! Only for file systems that nobody else changes: there a directory's names change by our own calls
//! alone, which forget what is known of it here.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;

use super::{directory::Listed, inode::GoferInode};
use crate::sync::{Mutex, levels};

/// Listings that are remembered: as many levels of a tree as a walk may stand in.
const LISTINGS: usize = 16;
/// The most entries asked for at once.
const MOST: usize = 48;
/// How far from the expected place a name is looked for in the listing: programs pass over some.
const REACH: usize = 16;

/// What a directory listed, and how far its entries were asked for.
struct Listing {
    directory: (u64, u64),
    entries: Arc<[Listed]>,
    /// The entry that comes next, if they come in order.
    next: usize,
    /// How many to ask for next time.
    batch: usize,
    /// Those that were asked for ahead.
    found: FxHashMap<Box<[u8]>, Arc<GoferInode>>,
}

/// What is known ahead, for all directories of a file system; those used last stand last.
#[derive(Default)]
pub(super) struct Ahead {
    listings: Mutex<VecDeque<Listing>, levels::Leaf>,
}

/// The answer to a lookup.
pub(super) enum Guess {
    /// It was asked for before.
    Found(Arc<GoferInode>),
    /// So many entries of the listing should be asked for from this one on, which is the name itself.
    Ask(Arc<[Listed]>, usize, usize),
    /// Nothing is known.
    None,
}

impl Ahead {
    /// `directory` has just been listed whole.
    pub(super) fn listed(&self, directory: (u64, u64), entries: &Arc<[Listed]>) {
        let found = FxHashMap::default();
        let new = Listing { directory, entries: Arc::clone(entries), next: 0, batch: 0, found };
        let mut listings = self.listings.lock();
        let known = listings.iter().position(|one| one.directory == directory);
        let old = known.and_then(|known| listings.remove(known));
        let oldest = if listings.len() >= LISTINGS { listings.pop_front() } else { None };
        listings.push_back(new);
        drop(listings);
        // Inodes have tables of their own to leave: not under the lock.
        drop((old, oldest));
    }

    /// Names in `directory` change: what was known of it is not to be believed.
    pub(super) fn forget(&self, directory: (u64, u64)) {
        let mut listings = self.listings.lock();
        let known = listings.iter().position(|one| one.directory == directory);
        let old = known.and_then(|known| listings.remove(known));
        drop(listings);
        drop(old);
    }

    /// `name` is looked up in `directory`.
    pub(super) fn guess(&self, directory: (u64, u64), name: &[u8]) -> Guess {
        let mut listings = self.listings.lock();
        let Some(known) = listings.iter().position(|one| one.directory == directory) else {
            return Guess::None;
        };
        // Whoever is asked most stays longest.
        let last = listings.len() - 1;
        listings.swap(known, last);
        match listings.get_mut(last) {
            Some(listing) => listing.guess(name),
            None => Guess::None,
        }
    }

    /// `found` were asked for ahead. They are of no use if names have changed since `entries` were listed.
    pub(super) fn keep(&self, entries: &Arc<[Listed]>, found: Vec<(Box<[u8]>, Arc<GoferInode>)>) {
        let mut found = found;
        let mut listings = self.listings.lock();
        let same = listings.iter_mut().find(|one| Arc::ptr_eq(&one.entries, entries));
        if let Some(listing) = same {
            listing.found.extend(found.drain(..));
        }
        drop(listings);
        drop(found);
    }
}

impl Listing {
    fn guess(&mut self, name: &[u8]) -> Guess {
        let reach = self.entries.get(self.next..).unwrap_or_default().iter().take(REACH);
        let place = reach.into_iter().position(|entry| *entry.name == *name);
        let Some(passed) = place else {
            self.batch = 0;
            return match self.found.remove(name) {
                Some(inode) => Guess::Found(inode),
                None => Guess::None,
            };
        };
        let at = self.next + passed;
        self.next = at + 1;
        if let Some(inode) = self.found.remove(name) {
            return Guess::Found(inode);
        }
        self.batch = if self.batch == 0 { 1 } else { (self.batch * 4).min(MOST) };
        if self.batch == 1 {
            return Guess::None;
        }
        // What was passed over is not wanted.
        Guess::Ask(Arc::clone(&self.entries), at, self.batch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Ahead, Guess, LISTINGS, MOST};
    use crate::{fs::gofer::directory::Listed, vfs::FileKind};

    const DIRECTORY: (u64, u64) = (1, 2);

    fn listing(count: usize) -> Arc<[Listed]> {
        let one = |index: usize| Listed {
            name: format!("{index}").into_bytes().into(),
            inode: 9,
            kind: FileKind::Regular,
        };
        (0..count).map(one).collect()
    }

    fn asked(ahead: &Ahead, name: &str) -> Option<(usize, usize)> {
        match ahead.guess(DIRECTORY, name.as_bytes()) {
            Guess::Ask(_, at, count) => Some((at, count)),
            Guess::Found(_) | Guess::None => None,
        }
    }

    #[test]
    fn who_asks_in_order_gets_more_each_time_and_who_jumps_starts_anew() {
        let ahead = Ahead::default();
        assert_eq!(asked(&ahead, "0"), None);
        ahead.listed(DIRECTORY, &listing(500));
        assert_eq!(asked(&ahead, "0"), None);
        assert_eq!(asked(&ahead, "1"), Some((1, 4)));
        assert_eq!(asked(&ahead, "2"), Some((2, 16)));
        assert_eq!(asked(&ahead, "5"), Some((5, MOST)));
        assert_eq!(asked(&ahead, "400"), None);
        assert_eq!(asked(&ahead, "6"), None);
        assert_eq!(asked(&ahead, "7"), Some((7, 4)));
        ahead.forget(DIRECTORY);
        assert_eq!(asked(&ahead, "8"), None);
    }

    #[test]
    fn the_listing_used_longest_ago_goes_first() {
        let ahead = Ahead::default();
        ahead.listed(DIRECTORY, &listing(9));
        for other in 0..LISTINGS as u64 - 1 {
            ahead.listed((7, other), &listing(9));
        }
        assert_eq!(asked(&ahead, "0"), None);
        ahead.listed((8, 0), &listing(9));
        assert_eq!(asked(&ahead, "1"), Some((1, 4)));
        assert!(matches!(ahead.guess((7, 0), b"0"), Guess::None));
    }
}
