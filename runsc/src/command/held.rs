// SPDX-License-Identifier: Apache-2.0
//! A container that a command has at its disposal: locked, with its record read.

use super::{Failure, Request};
use crate::{
    sandbox::control::{self, Channel},
    state::{
        record::Record,
        store::{Entry, StateError, Store},
    },
};

/// The container.
#[derive(Debug)]
pub(super) struct Held {
    /// Where it is kept.
    pub(super) store: Store,
    /// What is written down of it; [`Held::save`] writes.
    pub(super) record: Record,
    entry: Entry,
}

impl Held {
    /// Waits for the container that the request names. `unfinished` is said of one that was never finished.
    pub(super) fn open(request: &Request, unfinished: &str) -> Result<Held, Failure> {
        let store = Store::new(&request.config.root);
        let entry = store.open(&request.id())?;
        let record = entry.load()?.ok_or(unfinished)?;
        Ok(Held { store, record, entry })
    }

    /// Writes the record down.
    pub(super) fn save(&self) -> Result<(), StateError> {
        self.entry.save(&self.record)
    }

    /// Asks its sandbox for something and waits until it is done: the conversation, to be gone on with.
    pub(super) fn ask(&self, what: &control::Request) -> Result<Channel, Failure> {
        let channel = self.store.connect(&self.record.id)?;
        channel.ask(what)?;
        Ok(channel)
    }

    /// Lets others at it.
    pub(super) fn unlock(self) -> (Store, Record) {
        self.entry.unlock();
        (self.store, self.record)
    }
}
