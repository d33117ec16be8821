// SPDX-License-Identifier: Apache-2.0
//! `process.execCPUAffinity`: where a process that `exec` adds is to run.

use std::io;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

use super::bundle::BundleError;

/// The processors by number; an empty list says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Affinity {
    /// Before it is in the container's cgroup.
    initial: Vec<usize>,
    /// In it.
    last: Vec<usize>,
}

impl Affinity {
    /// What a process asks for, if it does.
    pub(crate) fn of(process: &oci::Process) -> Result<Option<Affinity>, BundleError> {
        let Some(given) = process.exec_cpu_affinity() else { return Ok(None) };
        let part = |name: &str, list: &Option<String>| {
            let list = list.as_deref().unwrap_or_default();
            numbers(list).ok_or_else(|| {
                let why = format!("{list:?} is no list like 0-3,7");
                BundleError::field(format!("process.execCPUAffinity.{name}"), why)
            })
        };
        let initial = part("initial", given.initial())?;
        let last = part("final", given.cpu_affinity_final())?;
        Ok(Some(Affinity { initial, last }))
    }

    /// Moves this process to where it is to be before it is in the cgroup.
    pub(crate) fn take_initial(&self) -> io::Result<()> {
        take(&self.initial)
    }

    /// Moves this process to where it is to stay.
    pub(crate) fn take_last(&self) -> io::Result<()> {
        take(&self.last)
    }

    /// What comes of it in the end.
    pub(crate) fn in_the_end(&self) -> &[usize] {
        if self.last.is_empty() { &self.initial } else { &self.last }
    }
}

fn take(list: &[usize]) -> io::Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in list {
        // `numbers` gives none that a set has no room for.
        set.set(*cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The numbers of a list like `0-3,7`. Those that no set of the host's can hold are left out, as its kernel
/// leaves them out.
fn numbers(list: &str) -> Option<Vec<usize>> {
    let mut is_listed = vec![false; CpuSet::count()];
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last {
            return None;
        }
        let places = is_listed.get_mut(first..=last.min(CpuSet::count() - 1));
        places.unwrap_or_default().fill(true);
    }
    let numbers: Vec<usize> =
        is_listed.iter().enumerate().filter_map(|(cpu, listed)| listed.then_some(cpu)).collect();
    // Nothing of what was asked for is there: that is not the same as to ask for nothing.
    let is_lost = numbers.is_empty() && !list.trim().is_empty();
    (!is_lost).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(numbers("0-3,7"), Some(vec![0, 1, 2, 3, 7]));
        assert_eq!(numbers(" 1 , ,2"), Some(vec![1, 2]));
        assert_eq!(numbers("7,0-3,1-2"), Some(vec![0, 1, 2, 3, 7]));
        assert_eq!(numbers(&"0-1023,".repeat(1 << 18)).map(|it| it.len()), Some(1024));
        assert_eq!(numbers(""), Some(vec![]));
        assert_eq!(numbers("1022-18446744073709551615"), Some(vec![1022, 1023]));
        for bad in ["3-1", "x", "1-", "-1", "99999", ","] {
            assert_eq!(numbers(bad), None, "{bad}");
        }
    }
}
