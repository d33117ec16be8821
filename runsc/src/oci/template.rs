// SPDX-License-Identifier: Apache-2.0
//! The config.json that `runsc spec` writes: what runc writes, in the same layout.

use std::{fs::OpenOptions, io, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use nix::unistd;
use serde_json::{Value, json};

use super::{SPEC_VERSION, bundle::BundleError};

/// The text.
pub(crate) fn text(is_rootless: bool, cwd: &str) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(&value(is_rootless, cwd), &mut serializer)
        .expect("a value of strings and numbers can be written to memory");
    text.push(b'\n');
    String::from_utf8(text).expect("serde_json writes UTF-8")
}

/// Writes `config.json` into the bundle, unless there is one.
pub(crate) fn write(bundle: &Path, text: &str) -> Result<(), BundleError> {
    let path = bundle.join("config.json");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o666).open(&path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => {
            BundleError::field("config.json", "File config.json exists. Remove it first")
        }
        _ => BundleError::Open { what: "write", path, source },
    })
}

fn value(is_rootless: bool, cwd: &str) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut spec = json!({
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm"
            ],
            "cwd": cwd,
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
                "ambient": capabilities
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "runsc",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
            ),
            mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
            ),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", "ro"]
            )
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" },
                { "type": "network" },
                { "type": "ipc" },
                { "type": "uts" },
                { "type": "mount" }
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                "/proc/scsi"
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ]
        }
    });
    if is_rootless {
        for_rootless(&mut spec);
    }
    spec
}

fn mount(destination: &str, typ: &str, source: &str, options: &[&str]) -> Value {
    let mut mount = json!({ "destination": destination, "type": typ, "source": source });
    if let (Some(fields), false) = (mount.as_object_mut(), options.is_empty()) {
        fields.insert("options".into(), json!(options));
    }
    mount
}

/// What runc changes for an ordinary user: a user namespace with one user and one group, no network
/// namespace, no limits, the host's /sys, and no group for terminals.
fn for_rootless(spec: &mut Value) {
    if let Some(linux) = spec.get_mut("linux").and_then(Value::as_object_mut) {
        linux.remove("resources");
        let id = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
        linux.insert("uidMappings".into(), id(unistd::geteuid().as_raw()));
        linux.insert("gidMappings".into(), id(unistd::getegid().as_raw()));
        if let Some(namespaces) = linux.get_mut("namespaces").and_then(Value::as_array_mut) {
            namespaces.retain(|namespace| namespace.get("type") != Some(&json!("network")));
            namespaces.push(json!({ "type": "user" }));
        }
    }
    if let Some(mounts) = spec.get_mut("mounts").and_then(Value::as_array_mut) {
        for each in mounts {
            let at = each.get("destination").and_then(Value::as_str).unwrap_or_default();
            match at {
                "/sys" => {
                    let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
                    *each = mount("/sys", "none", "/sys", &options);
                }
                "/dev/pts" => {
                    if let Some(options) = each.get_mut("options").and_then(Value::as_array_mut) {
                        options.retain(|option| option != &json!("gid=5"));
                    }
                }
                _ => {}
            }
        }
    }
}
