// SPDX-License-Identifier: Apache-2.0
//! The differential test: command lines on the host's chroot and in the sandbox must agree.
//!
//! Cases are in `tests/differential/cases.sh`; named differences, each with a reason, in
//! `tests/differential/expect.toml`. A named difference that has gone fails the run. Needs root and a
//! Debian root file system (`RUNSC_TEST_ROOTFS`, or made once under `target/` by `rootfs.sh`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;
use tests::script::{self, Case, Expected, Outcome};

/// What the cases find as /opt/threads.
const THREADS: &str = env!("CARGO_BIN_EXE_threads");
const TIMEOUT: Duration = Duration::from_secs(600);
const PLATFORMS: [&str; 2] = ["systrap", "ptrace"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn main() -> Result<()> {
    let arguments = Arguments::from_args();
    if !nix::unistd::Uid::effective().is_root() {
        if std::env::var_os("CI").is_some() {
            bail!("the differential test is required in CI and needs root");
        }
        eprintln!("differential: needs root (debootstrap, chroot): nothing was run");
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential");
    let rootfs = Arc::new(if arguments.list { PathBuf::new() } else { root_file_system(&here)? });
    let cases = script::read_cases(&here.join("cases.sh"))?;
    let expected = Arc::new(Expected::read(&here.join("expect.toml"), cases.iter())?);
    let mut trials = Vec::new();
    for case in cases {
        // What the host does with it, found out once.
        let case = Arc::new((case, OnceLock::new()));
        for platform in PLATFORMS {
            let (case, rootfs, expected) =
                (Arc::clone(&case), Arc::clone(&rootfs), Arc::clone(&expected));
            trials.push(Trial::test(format!("{platform}::{}", case.0.name), move || {
                check(&case.0, &case.1, platform, &rootfs, &expected)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit()
}

fn check(
    case: &Case,
    host: &OnceLock<Result<Outcome, String>>,
    platform: &str,
    rootfs: &Path,
    expected: &Expected,
) -> Result<(), Failed> {
    let host = host.get_or_init(|| on_host(&case.script, rootfs).map_err(|e| format!("{e:#}")));
    let host = host.as_ref().map_err(Failed::from)?;
    let ours = in_sandbox(&case.script, platform, rootfs).map_err(|e| format!("{e:#}"))?;
    Ok(expected.judge(platform, &case.name, host, &ours).map_err(|e| format!("{e:#}"))?)
}

fn root_file_system(here: &Path) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("RUNSC_TEST_ROOTFS") {
        return Ok(PathBuf::from(given));
    }
    let dir = target_dir()?.join("rootfs-bookworm");
    let status = Command::new(here.join("rootfs.sh")).arg(&dir).status().context("rootfs.sh")?;
    if !status.success() {
        bail!("rootfs.sh {}: {status}", dir.display());
    }
    Ok(dir)
}

/// `target/`, found from where this test lies.
fn target_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let target = exe.ancestors().find(|dir| dir.ends_with("target")).context("no target/")?;
    Ok(target.to_owned())
}

fn on_host(script: &str, rootfs: &Path) -> Result<Outcome> {
    let scratch = tempfile::tempdir_in(target_dir()?)?;
    let mut command =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/host.sh"));
    command.arg(rootfs).arg(scratch.path()).arg(THREADS);
    script::finish(&mut command, Some(&wrap(script)), TIMEOUT)
}

fn in_sandbox(script: &str, platform: &str, rootfs: &Path) -> Result<Outcome> {
    let bundle = tempfile::tempdir_in(target_dir()?)?;
    let all: Vec<String> = (0..41).filter_map(capability_name).collect();
    let tmpfs = |at: &str, options: &[&str]| json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options});
    let config = json!({
        "ociVersion": "1.0.2",
        "hostname": "host",
        "root": {"path": rootfs, "readonly": false},
        "process": {
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/bash", "-c", wrap(script)],
            "env": ["HOME=/root", format!("PATH={PATH}"), "TERM=dumb", "LANG=C.UTF-8"],
            "capabilities": {"bounding": all, "effective": all, "permitted": all},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            tmpfs("/dev", &["nosuid", "mode=755"]),
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            tmpfs("/dev/shm", &["mode=1777"]),
            {"destination": "/opt/threads", "type": "bind", "source": THREADS, "options": ["bind"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]},
    });
    fs::write(bundle.path().join("config.json"), serde_json::to_vec(&config)?)?;
    let id =
        bundle.path().file_name().and_then(|n| n.to_str()).context("a name")?.replace('.', "d");
    let mut command = Command::new(tests::runsc()?);
    command
        .arg("--root")
        .arg(bundle.path().join("state"))
        .args([&format!("--platform={platform}"), "--network=none", "--overlay2=root:memory"])
        .args(["run", "--bundle"])
        .arg(bundle.path())
        .arg(id);
    script::finish(&mut command, None, TIMEOUT)
}

/// The same beginning on both sides: an empty directory.
fn wrap(script: &str) -> String {
    format!("mkdir -p /tmp/w && cd /tmp/w\n{script}")
}

/// The OCI name of capability `number`, asked from the running kernel's own list.
fn capability_name(number: u32) -> Option<String> {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let name = NAMES.get(usize::try_from(number).ok()?)?;
    Some(format!("CAP_{name}"))
}
