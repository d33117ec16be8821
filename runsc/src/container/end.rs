// SPDX-License-Identifier: Apache-2.0
//! The end of a container: its processes, its cgroup, its hooks, its state.

use std::time::Duration;

use nix::libc;

use super::hooks;
use crate::{
    sandbox::{
        attend::Signals,
        control::{Request, Target},
    },
    state::{
        process,
        record::Record,
        store::{Entry, StateError, Store},
    },
};

/// Ends every process of the container, runs its hooks for that, and forgets it.
///
/// Its record goes last: a runsc that is killed on the way leaves something to be deleted, and its hooks are
/// then run again from the first.
pub(crate) fn destroy(entry: Entry, signals: Option<&Signals>) -> Result<(), StateError> {
    let record = entry.load()?;
    entry.end()?;
    if let Some(record) = &record {
        hooks::poststop(record, signals);
    }
    entry.remove()
}

/// How long a killed container may take to say how it ended.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Ends the processes of a container that stays to be deleted, if it is still the one of this record.
pub(crate) fn stop(store: &Store, record: &Record) -> Result<(), StateError> {
    let entry = match store.open(&record.id) {
        Err(StateError::Missing) => return Ok(()),
        other => other?,
    };
    match entry.load()? {
        Some(now) if now.monitor == record.monitor => {}
        _ => return Ok(()),
    }
    // Killed by its own kernel, it leaves word of how it ended.
    let kill = Request::Signal { signal: libc::SIGKILL, target: Target::All };
    if let Some(monitor) = record.monitor.and_then(|it| it.open())
        && store.connect(&record.id).is_ok_and(|channel| channel.ask(&kill).is_ok())
    {
        process::has_ended(&monitor, LAST_WORD);
    }
    entry.kill()
}
