// SPDX-License-Identifier: Apache-2.0
//! Which stub processes there are, for whoever reaps them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use super::subprocess::Subprocess;
use crate::{Error, sys};

/// All stub processes by number, for the thread that reaps them.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: Mutex<HashMap<i32, Entry>>,
}

#[derive(Debug)]
enum Entry {
    Live(Weak<Subprocess>),
    /// Ended before it was registered, with this status.
    Ended(i32),
}

impl Registry {
    /// Ended processes that nobody has asked for; a guest can make such by jumping to the stub's
    /// clone.
    const UNCLAIMED: usize = 256;

    /// A process is known from now on.
    pub(crate) fn register(&self, pid: i32, process: &Arc<Subprocess>) -> Result<(), Error> {
        let mut entries = self.entries.lock();
        match entries.get(&pid) {
            Some(Entry::Live(other)) if other.strong_count() > 0 => {
                return Err(Error::StubDied { reason: "a message came from another stub" });
            }
            Some(Entry::Ended(status)) => {
                let status = *status;
                entries.remove(&pid);
                drop(entries);
                process.end(|| status);
                return Ok(());
            }
            _ => {}
        }
        entries.insert(pid, Entry::Live(Arc::downgrade(process)));
        Ok(())
    }

    /// Process `pid` will be reaped by whoever owns it.
    pub(crate) fn forget(&self, pid: i32) {
        self.entries.lock().remove(&pid);
    }

    /// Process `pid` has ended and is still a zombie.
    pub(crate) fn ended(&self, pid: i32) {
        let reap = || match sys::reap(pid) {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(pid, %error, "a stub cannot be reaped");
                0
            }
        };
        let mut entries = self.entries.lock();
        match entries.remove(&pid) {
            Some(Entry::Live(process)) => {
                drop(entries);
                match process.upgrade() {
                    Some(process) => process.end(reap),
                    None => drop(reap()),
                }
            }
            _ => {
                if entries.len() >= Self::UNCLAIMED {
                    entries.retain(|_, entry| matches!(entry, Entry::Live(_)));
                }
                entries.insert(pid, Entry::Ended(reap()));
            }
        }
    }
}
