// SPDX-License-Identifier: Apache-2.0
//! The differential test: command lines on the host's chroot and in the sandbox must agree.
//!
//! Cases are in `tests/differential/cases.sh`; named differences, each with a reason, in
//! `tests/differential/expect.toml`. A named difference that has gone fails the run. Needs root and a
//! Debian root file system (`RUNSC_TEST_ROOTFS`, or made once under `target/` by `rootfs.sh`).

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;

const TIMEOUT: Duration = Duration::from_secs(180);
const PLATFORMS: [&str; 2] = ["systrap", "ptrace"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a command line did.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

struct Case {
    name: String,
    script: String,
    host: OnceLock<Result<Outcome, String>>,
}

/// Named differences: platform → case → reason.
type Expected = BTreeMap<String, BTreeMap<String, String>>;

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
    let expected: Arc<Expected> =
        Arc::new(toml::from_str(&fs::read_to_string(here.join("expect.toml"))?)?);
    let cases = read_cases(&fs::read_to_string(here.join("cases.sh"))?);
    for name in expected.values().flat_map(BTreeMap::keys) {
        if !cases.iter().any(|case| case.name == *name) {
            bail!("expect.toml names {name}, which is no case");
        }
    }
    let mut trials = Vec::new();
    for case in cases {
        let case = Arc::new(case);
        for platform in PLATFORMS {
            let (case, rootfs, expected) =
                (Arc::clone(&case), Arc::clone(&rootfs), Arc::clone(&expected));
            trials.push(Trial::test(format!("{platform}::{}", case.name), move || {
                let reason = expected.get(platform).and_then(|names| names.get(&case.name));
                check(&case, platform, &rootfs, reason)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit()
}

fn check(
    case: &Case,
    platform: &str,
    rootfs: &Path,
    reason: Option<&String>,
) -> Result<(), Failed> {
    let host =
        case.host.get_or_init(|| on_host(&case.script, rootfs).map_err(|e| format!("{e:#}")));
    let host = host.as_ref().map_err(Failed::from)?;
    let ours = in_sandbox(&case.script, platform, rootfs).map_err(|e| format!("{e:#}"))?;
    match (ours == *host, reason) {
        (true, None) | (false, Some(_)) => Ok(()),
        (true, Some(reason)) => {
            Err(format!("agrees with the host now; take it out of expect.toml ({reason})").into())
        }
        (false, None) => Err(format!("host: {host:#?}\nsandbox: {ours:#?}").into()),
    }
}

fn read_cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            let (name, script) = (name.trim().to_owned(), String::new());
            cases.push(Case { name, script, host: OnceLock::new() });
        } else if let Some(case) = cases.last_mut() {
            case.script.push_str(line);
            case.script.push('\n');
        }
    }
    cases
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
    command.arg(rootfs).arg(scratch.path());
    finish(&mut command, Some(&wrap(script)))
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
    finish(&mut command, None)
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

/// Runs a command to its end, or kills it at the time limit.
fn finish(command: &mut Command, input: Option<&str>) -> Result<Outcome> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    // Pipes, as engines give them; read by threads so that neither can fill up.
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{:?}", command.get_program()))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes())?;
    }
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let deadline = Instant::now() + TIMEOUT;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("still running after {TIMEOUT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ok(Outcome { code: status.code(), stdout: stdout(), stderr: stderr() })
}

fn reader<R: std::io::Read + Send + 'static>(from: Option<R>) -> impl FnOnce() -> String {
    let thread = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What came before an error still counts.
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    });
    move || thread.join().unwrap_or_default()
}
