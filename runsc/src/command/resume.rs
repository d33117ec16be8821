// SPDX-License-Identifier: Apache-2.0
//! `runsc resume`: the processes of a paused container go on.

use super::{Failure, Request};
use crate::{
    sandbox::control,
    state::{record::Status, store::Store},
};

/// Resumes the container.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    let store = Store::new(&request.config.root);
    let entry = store.open(&id)?;
    let mut record = entry.load()?.ok_or("container not paused")?;
    if record.status_now() != Status::Paused {
        return Err("container not paused".into());
    }
    store.connect(&id)?.ask(&control::Request::Resume)?;
    record.status = record.before_pause.take().unwrap_or(Status::Running);
    entry.save(&record)?;
    Ok(0)
}
