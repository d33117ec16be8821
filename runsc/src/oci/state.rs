// SPDX-License-Identifier: Apache-2.0
//! A container's state as the runtime specification has it: what hooks find on their standard input.

use std::path::Path;

use serde_json::{Value, json};

use super::SPEC_VERSION;

/// The state; a container that has no process any more has no `pid`.
pub(crate) fn value<'a>(
    id: &str,
    status: &str,
    pid: Option<i32>,
    bundle: &Path,
    annotations: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Value {
    let mut state = json!({ "ociVersion": SPEC_VERSION, "id": id, "status": status });
    let annotations: serde_json::Map<String, Value> =
        annotations.into_iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    if let Some(fields) = state.as_object_mut() {
        if let Some(pid) = pid {
            fields.insert("pid".into(), json!(pid));
        }
        fields.insert("bundle".into(), json!(bundle.to_string_lossy()));
        if !annotations.is_empty() {
            fields.insert("annotations".into(), annotations.into());
        }
    }
    state
}
