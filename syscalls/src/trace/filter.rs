// SPDX-License-Identifier: Apache-2.0
//! Which calls are traced, and how: set once, before the first task runs.

use std::sync::OnceLock;

use crate::support::ROWS;

/// What to trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// One bit a call number; `None` traces all.
    only: Option<Vec<u64>>,
    stable: bool,
}

static FILTER: OnceLock<Filter> = OnceLock::new();

impl Filter {
    /// All calls, with everything shown.
    pub const fn all() -> Filter {
        Filter { only: None, stable: false }
    }

    /// From a list of names of calls and of families (`io`, `signal`, …) separated by commas; the word
    /// `stable` leaves addresses, times and ids out. Empty: all calls. The error is the word not known.
    pub fn parse(list: &str) -> Result<Filter, String> {
        let mut filter = Filter::all();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if word == "stable" {
                filter.stable = true;
                continue;
            }
            let numbers = ROWS.iter().filter(|row| row.name == word || row.family == word);
            let numbers: Vec<u64> = numbers.map(|row| u64::from(row.number)).collect();
            if numbers.is_empty() {
                return Err(format!("no system call and no family is called '{word}'"));
            }
            filter.only.get_or_insert_default().extend(numbers);
        }
        Ok(filter)
    }

    fn wants(&self, number: u64) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&(number & 0xffff_ffff)))
    }
}

/// Sets the filter for this process; the first caller wins.
pub fn configure(filter: Filter) {
    if FILTER.set(filter).is_err() {
        tracing::warn!("the trace filter was set already");
    }
}

/// Whether call `number` is to be traced.
pub fn wants(number: u64) -> bool {
    FILTER.get().is_none_or(|filter| filter.wants(number))
}

pub(super) fn is_stable() -> bool {
    FILTER.get().is_some_and(|filter| filter.stable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_calls_and_families() {
        let filter = Filter::parse("openat,signal,stable").expect("these exist");
        assert!(filter.stable);
        assert!(filter.wants(257) && filter.wants(62) && !filter.wants(0));
        assert!(Filter::parse("").expect("all").wants(0));
        assert!(Filter::parse("openatt").is_err());
        assert_eq!(crate::support::name(257), Some("openat"));
    }
}
