// SPDX-License-Identifier: Apache-2.0
//! `runsc wait`: waits for the end of a container's first process, and tells how it ended.

use serde_json::json;

use super::{Failure, Request, print};
use crate::{
    sandbox::{control, supervise::Outcome},
    state::{
        record::Status,
        store::{StateError, Store},
    },
};

/// Waits, and prints what gVisor prints.
pub(crate) fn run(request: Request) -> Result<u8, Failure> {
    let id = request.id();
    for flag in ["pid", "rootpid"] {
        let pid = request.flags.number(flag);
        if !matches!(pid, -1 | 1) {
            return Err(format!("--{flag} {pid}: only the first process can be waited for").into());
        }
    }
    let store = Store::new(&request.config.root);
    let record = store.read(&id)?;
    let connected = match record.status_now() {
        Status::Stopped | Status::Creating => None,
        // It may have ended since we looked.
        _ => store.connect(&id).ok(),
    };
    let told = connected.and_then(|channel| {
        channel.send(&control::Request::Wait).ok()?;
        match channel.receive() {
            Ok(control::Event::Exited { status }) => Some(status),
            _ => None,
        }
    });
    let status = match told {
        Some(status) => status,
        None => store.exit_status(&id)?.ok_or(StateError::NoStatus)?,
    };
    let result = json!({ "id": id, "exitStatus": Outcome::code(status) });
    Ok(print(&format!("{result}\n")))
}
