// SPDX-License-Identifier: Apache-2.0
//! The mark of directories that were made for containers.
//!
//! A container's own directory has the container's token, so that it is never taken for another's. Those
//! above have a mark of the same name: whoever is the last in them removes them.

use std::{
    ffi::{CStr, CString},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use crate::sys;

/// Root's attribute, and the one that others may set.
const NAMES: [&CStr; 2] = [c"trusted.runsc", c"user.runsc"];

/// Marks a directory. Where the kernel keeps no marks, the state of the container that made it is all
/// that says so.
pub(super) fn set(path: &Path, token: &str) {
    let Ok(text) = CString::new(path.as_os_str().as_bytes()) else { return };
    if !NAMES.iter().any(|name| sys::set_attribute(&text, name, token.as_bytes()).is_ok()) {
        tracing::debug!("{} cannot be marked", path.display());
    }
}

/// The token of a directory; nothing if it is not marked.
pub(super) fn get(path: &Path) -> Option<String> {
    let text = CString::new(path.as_os_str().as_bytes()).ok()?;
    let value = NAMES.iter().find_map(|name| sys::attribute(&text, name))?;
    String::from_utf8(value).ok()
}
