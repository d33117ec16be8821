// SPDX-License-Identifier: Apache-2.0
//! A small root file system, and the configuration that a case starts from.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::runtime::in_path;

const APPLETS: &[&str] = &[
    "[", "cat", "chmod", "chown", "cp", "cut", "dd", "echo", "env", "expr", "false", "free",
    "grep", "head", "hostname", "id", "ionice", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod",
    "mount", "mv", "nproc", "ping", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "sh",
    "sleep", "sort", "stat", "stty", "sync", "tail", "tee", "test", "timeout", "touch", "tr",
    "true", "tty", "umount", "uname", "unshare", "usleep", "wc", "xargs", "yes",
];

/// Makes a root file system of a static busybox.
pub fn root_file_system(at: &Path) -> Result<()> {
    let busybox = in_path("busybox").context("no busybox (Debian: busybox-static)")?;
    for directory in ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var"] {
        fs::create_dir_all(at.join(directory))?;
    }
    fs::set_permissions(at.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::copy(busybox, at.join("bin/busybox")).context("copy busybox")?;
    for applet in APPLETS {
        symlink("busybox", at.join("bin").join(applet))?;
    }
    let users = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n";
    fs::write(at.join("etc/passwd"), users)?;
    fs::write(at.join("etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:7:user\n")?;
    fs::write(at.join("etc/not-executable"), "#!/bin/sh\n")?;
    Ok(())
}

/// Whether the suites can run here: why not.
pub fn lacking() -> Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        bail!("needs root (namespaces, cgroups)");
    }
    let busybox = in_path("busybox").context("needs busybox (Debian: busybox-static)")?;
    let bytes = fs::read(&busybox)?;
    if bytes.windows(12).any(|window| window == b"/ld-linux-x8") && is_dynamic(&bytes) {
        bail!("{} is not static (Debian: busybox-static)", busybox.display());
    }
    Ok(())
}

/// Whether an ELF file asks for an interpreter.
fn is_dynamic(bytes: &[u8]) -> bool {
    let number = |at: usize, size: usize| -> usize {
        let field = bytes.get(at..at + size).unwrap_or_default();
        field.iter().rev().fold(0, |all, byte| (all << 8) | usize::from(*byte))
    };
    let (table, entry, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    (0..count).any(|index| number(table + index * entry, 4) == 3)
}

/// A configuration as `runc spec` writes it, for a program that sleeps.
pub fn config(cgroup: &str) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["sleep", "1000"],
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "contract",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list",
                "/proc/sched_debug", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                "/proc/sysrq-trigger"],
        },
    })
}
