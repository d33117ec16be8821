// SPDX-License-Identifier: Apache-2.0
//! The conformance suite: each guest program must do in the sandbox what it does on the host.
//!
//! Cases are functions under `conformance/guest/`, built into the one binary `guest`. `--on host`,
//! `--on ptrace`, `--on systrap` choose where to run (may be given more than once; default: all). On the
//! host a case must exit with 0, and print the same twice. Exceptions are named in
//! `conformance/expect/<platform>.toml`; one that agrees with the host fails the run.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;

const GUEST: &str = env!("CARGO_BIN_EXE_guest");
const PLATFORMS: [&str; 2] = ["ptrace", "systrap"];
const TIMEOUT: Duration = Duration::from_secs(120);
/// No case prints more.
const OUTPUT_LIMIT: u64 = 1 << 20;

/// What a case did.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    end: String,
    stdout: String,
    stderr: String,
}

/// A case, and what the host made of it, found out once.
struct Case {
    name: String,
    host: OnceLock<Result<Outcome, String>>,
}

impl Case {
    fn on_host(&self) -> Result<Outcome, Failed> {
        let outcome = self.host.get_or_init(|| {
            run(Command::new(GUEST).arg(&self.name)).map_err(|error| format!("{error:#}"))
        });
        outcome.clone().map_err(Failed::from)
    }
}

fn main() -> Result<()> {
    let (places, rest) = places()?;
    let mut arguments = Arguments::from_iter(rest);
    arguments.test_threads.get_or_insert(2);
    let cases: Vec<Arc<Case>> =
        list()?.into_iter().map(|name| Arc::new(Case { name, host: OnceLock::new() })).collect();
    let mut trials = Vec::new();
    for place in &places {
        let expected =
            Arc::new(if place == "host" { BTreeMap::new() } else { expected(place, &cases)? });
        for case in &cases {
            let (case, place, expected) = (Arc::clone(case), place.clone(), Arc::clone(&expected));
            trials.push(Trial::test(format!("{place}::{}", case.name), move || {
                match place.as_str() {
                    "host" => check_host(&case),
                    _ => check_sandbox(&case, &place, expected.get(&case.name)),
                }
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit()
}

/// Takes `--on PLACE` out of the arguments.
fn places() -> Result<(Vec<String>, Vec<String>)> {
    let (mut places, mut rest) = (Vec::new(), Vec::new());
    let mut args = std::env::args();
    while let Some(arg) = args.next() {
        let place = match arg.strip_prefix("--on") {
            Some("") => args.next().context("--on needs host, ptrace or systrap")?,
            Some(place) if place.starts_with('=') => place.trim_start_matches('=').to_owned(),
            _ => {
                rest.push(arg);
                continue;
            }
        };
        if place != "host" && !PLATFORMS.contains(&place.as_str()) {
            bail!("--on {place}: neither host nor ptrace nor systrap");
        }
        places.push(place);
    }
    if places.is_empty() {
        places = ["host", "ptrace", "systrap"].map(str::to_owned).to_vec();
    }
    Ok((places, rest))
}

fn list() -> Result<Vec<String>> {
    let output = Command::new(GUEST).arg("list").output().context("run guest list")?;
    if !output.status.success() {
        bail!("guest list: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// The named exceptions of a platform; each must be a case.
fn expected(platform: &str, cases: &[Arc<Case>]) -> Result<BTreeMap<String, String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("conformance/expect")
        .join(platform)
        .with_extension("toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let expected: BTreeMap<String, String> = toml::from_str(&text)?;
    for name in expected.keys() {
        if !cases.iter().any(|case| case.name == *name) {
            bail!("{}: {name} is no case", path.display());
        }
    }
    Ok(expected)
}

fn check_host(case: &Case) -> Result<(), Failed> {
    let first = case.on_host()?;
    if first.end != "exited 0" {
        return Err(format!("{}\n{}{}", first.end, first.stdout, first.stderr).into());
    }
    if first.stdout.is_empty() {
        return Err("the case prints nothing, so it cannot fail".into());
    }
    let second = run(Command::new(GUEST).arg(&case.name))?;
    if first != second {
        return Err(format!("not the same twice:\n{}", difference(&first, &second)).into());
    }
    Ok(())
}

fn check_sandbox(case: &Case, platform: &str, reason: Option<&String>) -> Result<(), Failed> {
    let host = case.on_host()?;
    let sandbox = in_sandbox(&case.name, platform)?;
    let agrees = host.end == sandbox.end && host.stdout == sandbox.stdout;
    match (agrees, reason) {
        (true, None) => Ok(()),
        (false, Some(reason)) => {
            eprintln!("{platform}::{}: differs, as named: {reason}", case.name);
            Ok(())
        }
        (true, Some(reason)) => {
            Err(format!("agrees with the host now; take it out: {reason}").into())
        }
        (false, None) => Err(difference(&host, &sandbox).into()),
    }
}

/// Runs a case in a root that holds nothing but the guest: a bundle of its own, or, for want of the
/// rights that a bundle needs, `runsc do`.
fn in_sandbox(case: &str, platform: &str) -> Result<Outcome> {
    let mut command = Command::new(tests::runsc()?);
    command.arg(format!("--platform={platform}"));
    if !nix::unistd::Uid::effective().is_root() {
        let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
        let groups: Vec<String> =
            nix::unistd::getgroups()?.iter().map(|group| group.as_raw().to_string()).collect();
        let ids = format!("{uid}:{gid}:{}", groups.join(","));
        return run(command.args(["do", "--quiet", "--", GUEST, "--as", &ids, case]));
    }
    let bundle = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let root = bundle.path().join("rootfs");
    for folder in ["rootfs/proc", "rootfs/dev", "rootfs/sys", "rootfs/tmp", "tmp"] {
        fs::create_dir_all(bundle.path().join(folder))?;
    }
    let guest = root.join("guest");
    fs::hard_link(GUEST, &guest).or_else(|_| fs::copy(GUEST, &guest).map(drop))?;
    fs::write(bundle.path().join("config.json"), config(case, bundle.path())?)?;
    command.arg("--root").arg(bundle.path().join("state")).arg("--network=none");
    command.args(["run", "--bundle"]).arg(bundle.path()).arg("conformance");
    run(&mut command)
}

/// The bundle's configuration. `CONFORMANCE_TMP=gofer` puts the cases' files on the host.
fn config(case: &str, bundle: &Path) -> Result<Vec<u8>> {
    let all: Vec<String> = abi::cred::Capabilities::all()
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    let tmp = if std::env::var("CONFORMANCE_TMP").is_ok_and(|value| value == "gofer") {
        json!({"destination": "/tmp", "type": "bind", "source": bundle.join("tmp"),
            "options": ["rbind", "rw"]})
    } else {
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["mode=1777"]})
    };
    let config = json!({
        "ociVersion": "1.2.0",
        "hostname": "conformance",
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/guest", case],
            "env": ["PATH=/usr/bin:/bin", "RUST_BACKTRACE=0"],
            "cwd": "/",
            "capabilities": {"bounding": all, "effective": all, "permitted": all},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            tmp,
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"},
            {"type": "uts"}, {"type": "network"}]},
    });
    Ok(serde_json::to_vec(&config)?)
}

/// Both outcomes line by line; `-` stands for the first, `+` for the second.
fn difference(first: &Outcome, second: &Outcome) -> String {
    let mut text = String::new();
    let (mut left, mut right) = (first.stdout.lines(), second.stdout.lines());
    loop {
        match (left.next(), right.next()) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => text.push_str(&format!("  {a}\n")),
            (a, b) => {
                text.extend(a.map(|line| format!("- {line}\n")));
                text.extend(b.map(|line| format!("+ {line}\n")));
            }
        }
    }
    if first.end != second.end {
        text.push_str(&format!("- {}\n+ {}\n", first.end, second.end));
    }
    if !second.stderr.is_empty() {
        text.push_str(&format!("stderr:\n{}", second.stderr));
    }
    text
}

/// Runs a command in a process group of its own, which is killed at the deadline.
fn run(command: &mut Command) -> Result<Outcome> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("RUST_BACKTRACE", "0");
    let mut child = command.spawn().with_context(|| format!("run {command:?}"))?;
    let stdout = reader(child.stdout.take().context("stdout is piped")?);
    let stderr = reader(child.stderr.take().context("stderr is piped")?);
    let deadline = Instant::now() + TIMEOUT;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > deadline {
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    // Also after a proper end: a case that leaves a child behind must not keep the pipes open.
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    child.wait()?;
    let text = |thread: thread::JoinHandle<io::Result<Vec<u8>>>| -> Result<String> {
        let bytes = thread.join().ok().context("the reader died")??;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Outcome {
        end: status.map_or_else(|| format!("killed after {TIMEOUT:?}"), end),
        stdout: text(stdout)?,
        stderr: text(stderr)?,
    })
}

fn end(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited {code}"),
        // A shell and runsc say 128 + n for a signal.
        (None, Some(signal)) => format!("exited {}", 128 + signal),
        (None, None) => format!("{status}"),
    }
}

fn reader(pipe: impl Read + Send + 'static) -> thread::JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.take(OUTPUT_LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}
