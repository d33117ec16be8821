// SPDX-License-Identifier: Apache-2.0
//! `hooks` of config.json, checked; those inside are run by `boot/hooks.rs`.

use std::{os::unix::ffi::OsStrExt, path::Path};

use oci_spec::runtime::{Hook, Hooks, Spec};

use super::bundle::BundleError;
use crate::sandbox::plan::{Bytes, GuestHook};

/// The longest time that a hook may be given, in seconds: a day.
const PATIENCE: i64 = 24 * 60 * 60;

/// Names and lists, in the order in which they are run.
pub(crate) fn lists(hooks: &Hooks) -> [(&'static str, &[Hook]); 6] {
    [
        ("prestart", hooks.prestart().as_deref().unwrap_or_default()),
        ("createRuntime", hooks.create_runtime().as_deref().unwrap_or_default()),
        ("createContainer", hooks.create_container().as_deref().unwrap_or_default()),
        ("startContainer", hooks.start_container().as_deref().unwrap_or_default()),
        ("poststart", hooks.poststart().as_deref().unwrap_or_default()),
        ("poststop", hooks.poststop().as_deref().unwrap_or_default()),
    ]
}

/// Refuses hooks that cannot be run as they are meant.
pub(crate) fn check(spec: &Spec) -> Result<(), BundleError> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    for (name, list) in lists(hooks) {
        for (index, hook) in list.iter().enumerate() {
            let at = |field: &str| format!("hooks.{name}[{index}].{field}");
            let refuse = |field: &str, why: &str| Err(BundleError::field(at(field), why));
            if !hook.path().is_absolute() {
                return refuse("path", "is not absolute");
            }
            let texts =
                |list: &Option<Vec<String>>| list.iter().flatten().any(|text| text.contains('\0'));
            if hook.path().as_os_str().as_bytes().contains(&0) {
                return refuse("path", "has a NUL byte");
            }
            if texts(hook.args()) || texts(hook.env()) {
                return refuse("args", "a NUL byte in args or env");
            }
            if hook.timeout().is_some_and(|seconds| !(1..=PATIENCE).contains(&seconds)) {
                return refuse("timeout", "is not between a second and a day");
            }
        }
    }
    Ok(())
}

/// The hooks that run inside the sandbox.
pub(crate) fn start_container(spec: &Spec) -> Vec<GuestHook> {
    let list = spec.hooks().as_ref().and_then(|hooks| hooks.start_container().as_ref());
    let bytes = |list: &Option<Vec<String>>| {
        list.iter().flatten().map(|text| Bytes::from(text.as_bytes())).collect::<Vec<_>>()
    };
    let convert = |hook: &Hook| {
        let path: &Path = hook.path();
        let path = Bytes::from(path.as_os_str().as_bytes());
        let mut args = bytes(hook.args());
        if args.is_empty() {
            args.push(path.clone());
        }
        let timeout_s = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok());
        GuestHook { path, args, env: bytes(hook.env()), timeout_s }
    };
    list.into_iter().flatten().map(convert).collect()
}
