// SPDX-License-Identifier: Apache-2.0
//! The set against a model: one entry a page.

use std::collections::BTreeMap;

use abi::{PAGE_SIZE, UserAddr, UserRange};
use platform::Protection;
use proptest::prelude::*;

use super::{Usage, VmaSet};
use crate::mm::vma::{Vma, VmaFlags};

const PAGES: u64 = 24;

fn pages(start: u64, count: u64) -> UserRange {
    UserRange::new(UserAddr(start * PAGE_SIZE), count * PAGE_SIZE).expect("small")
}

#[derive(Debug, Clone)]
enum Step {
    Map(u64, u64, u8),
    Unmap(u64, u64),
    Protect(u64, u64, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = (1..PAGES, 1..8_u64);
    let step = prop_oneof![
        (place.clone(), 0..4_u8).prop_map(|((at, len), how)| Step::Map(at, len, how)),
        place.clone().prop_map(|(at, len)| Step::Unmap(at, len)),
        (place, 0..4_u8).prop_map(|((at, len), how)| Step::Protect(at, len, how)),
    ];
    proptest::collection::vec(step, 0..40)
}

fn vma(how: u8) -> Vma {
    Vma::anonymous(Protection::from_bits_truncate(how), VmaFlags::empty())
}

proptest! {
    #[test]
    fn behaves_as_a_table_of_pages(steps in steps()) {
        let mut set = VmaSet::default();
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Map(at, len, how) => {
                    drop(set.remove(pages(at, len)));
                    set.insert(pages(at, len), vma(how));
                    model.extend((at..at + len).map(|page| (page, how)));
                }
                Step::Unmap(at, len) => {
                    let removed = set.remove(pages(at, len));
                    let bytes: u64 = removed.iter().map(|(range, _)| range.len()).sum();
                    let before = model.len();
                    model.retain(|page, _| !(at..at + len).contains(page));
                    prop_assert_eq!(bytes, (before - model.len()) as u64 * PAGE_SIZE);
                }
                Step::Protect(at, len, how) => {
                    let to = Protection::from_bits_truncate(how);
                    set.update(pages(at, len), |vma| vma.protection = to);
                    for (_, value) in model.range_mut(at..at + len) {
                        *value = how;
                    }
                }
            }
            check(&set, &model)?;
        }
    }
}

fn check(set: &VmaSet, model: &BTreeMap<u64, u8>) -> Result<(), TestCaseError> {
    let mut seen = BTreeMap::new();
    let mut last: Option<(UserRange, u8)> = None;
    for (range, vma) in set.iter() {
        let how = vma.protection.bits();
        prop_assert!(!range.is_empty());
        if let Some((before, before_how)) = last {
            prop_assert!(before.end <= range.start);
            prop_assert!(before.end < range.start || before_how != how, "neighbours are joined");
        }
        last = Some((range, how));
        seen.extend(
            (range.start.raw() / PAGE_SIZE..range.end.raw() / PAGE_SIZE).map(|page| (page, how)),
        );
    }
    prop_assert_eq!(&seen, model);
    let usage = set.usage();
    prop_assert_eq!(usage.total, model.len() as u64 * PAGE_SIZE);
    let writable = model.values().filter(|&&how| how & 2 != 0).count();
    prop_assert_eq!(
        usage,
        Usage { total: usage.total, data: writable as u64 * PAGE_SIZE, ..Usage::default() }
    );
    let all = pages(0, PAGES + 8);
    for len in 1..6 {
        let is_gap = |at: &u64| (*at..at + len).all(|page| !model.contains_key(&page));
        let highest = (0..=PAGES + 8 - len).rev().find(is_gap).map(|page| page * PAGE_SIZE);
        prop_assert_eq!(set.highest_gap(all, len * PAGE_SIZE, PAGE_SIZE), highest);
        let lowest = (0..=PAGES + 8 - len).find(is_gap).map(|page| page * PAGE_SIZE);
        prop_assert_eq!(set.lowest_gap(all, len * PAGE_SIZE), lowest);
        for page in 0..PAGES {
            let mapped = (page..page + len).filter(|at| model.contains_key(at)).count() as u64;
            prop_assert_eq!(set.is_free(pages(page, len)), mapped == 0);
            prop_assert_eq!(set.covers(pages(page, len)), mapped == len);
            prop_assert_eq!(set.mapped_bytes(pages(page, len)), mapped * PAGE_SIZE);
        }
    }
    Ok(())
}

#[test]
fn stacks_keep_their_guard() {
    let mut set = VmaSet::default();
    let stack = Vma::anonymous(Protection::READ, VmaFlags::GROWS_DOWN);
    set.insert(pages(600, 10), stack);
    assert_eq!(set.highest_gap(pages(0, 600), PAGE_SIZE, PAGE_SIZE), Some(343 * PAGE_SIZE));
    assert_eq!(set.lowest_gap(pages(300, 400), 50 * PAGE_SIZE), Some(610 * PAGE_SIZE));
}
