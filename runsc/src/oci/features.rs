// SPDX-License-Identifier: Apache-2.0
//! What `runsc features` prints: the features structure of the runtime specification.

use serde_json::{Value, json};

use super::{SPEC_VERSION, caps, mount_options};

/// The structure.
pub(crate) fn value() -> Value {
    let capabilities: Vec<String> = caps::NAMES.iter().map(|name| format!("CAP_{name}")).collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": [],
        "mountOptions": mount_options::names(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": {
                "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true
            },
            "seccomp": { "enabled": false },
            "apparmor": { "enabled": false },
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": false } }
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": []
    })
}
