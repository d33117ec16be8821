// SPDX-License-Identifier: Apache-2.0
//! Guests that attack their stub: the sandbox goes on, and the host is as it was before.
//!
//! The attackers are in `conformance/guest/attack/stub.rs`. Where the stub's pages lie they hear from
//! here, for a guest cannot see them: a patient one would find them by trying.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::host::{self, Host};

const GUEST: &str = env!("CARGO_BIN_EXE_guest");
const TIMEOUT: Duration = Duration::from_secs(120);
/// Where the mapping lies by which an attacker's stub is known.
const MARK: u64 = 0x12_3456_7000;

/// The attacks, and what each must print besides that the sandbox is alive.
const ATTACKS: [(&str, &[&str]); 6] = [
    ("child_jumps", &[]),
    ("child_gadgets", &["gadgets true"]),
    ("child_scribbles", &[]),
    ("child_waits", &[]),
    (
        "child_asks_about_the_stub",
        &[
            "text listed false",
            "text 0x1000 worked []",
            "text 0x3000 worked []",
            "text 0x20000 worked []",
            "text shmat false",
            "channel listed false",
            "channel 0x1000 worked []",
            "channel 0x3000 worked []",
            "channel 0x20000 worked []",
            "channel shmat false",
            "done",
        ],
    ),
    ("child_every_number", &["int 0x80 taken for something 0"]),
];

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: each counts what is on the host before and after.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    let is_root = nix::unistd::Uid::effective().is_root();
    if !is_root {
        eprintln!("attacks: only root may look into the maps of a stub: nothing was run");
    }
    for platform in ["systrap", "ptrace"].into_iter().filter(|_| is_root) {
        for (attack, wanted) in ATTACKS {
            trials.push(Trial::test(format!("{platform}::{attack}"), move || {
                check(platform, attack, wanted).map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit()
}

fn check(platform: &str, attack: &str, wanted: &[&str]) -> Result<()> {
    let before = Host::now(GUEST)?;
    let mut child = Command::new(tests::runsc()?)
        .arg(format!("--platform={platform}"))
        .args(["do", "--quiet", "--", GUEST, &format!("attack/stub/{attack}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (lines, said) = mpsc::channel();
    let output = child.stdout.take().context("stdout is piped")?;
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    let outcome = attend(&mut child, platform, &said, Instant::now() + TIMEOUT);
    if outcome.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    reader.join().ok().context("the reader died")?;
    let mut complaints = String::new();
    child.stderr.take().context("stderr is piped")?.read_to_string(&mut complaints)?;
    let printed = outcome.with_context(|| format!("{status}; {complaints}"))?;
    let mut expected: Vec<&str> = wanted.to_vec();
    expected.push("alive exited 11 true");
    if printed != expected || !status.success() || complaints.contains("panic") {
        bail!("{status}: {printed:#?} instead of {expected:#?}; {complaints}");
    }
    drop(child);
    before.is_back(GUEST)
}

/// Tells the attacker what it needs to know, and hears what it says until the end.
fn attend(
    child: &mut Child,
    platform: &str,
    said: &mpsc::Receiver<String>,
    deadline: Instant,
) -> Result<Vec<String>> {
    let mut printed = Vec::new();
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        match said.recv_timeout(patience) {
            Ok(line) if line == "ready" => {
                let places = places(child.id(), platform)?;
                writeln!(child.stdin.as_mut().context("stdin is piped")?, "{places}")?;
            }
            Ok(line) => printed.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(printed),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("still running after {TIMEOUT:?}; it said {printed:?}")
            }
        }
    }
}

/// Start and end of the stub's text, then of its channel (on ptrace: of its page of data).
fn places(runsc: u32, platform: &str) -> Result<String> {
    let sentry = host::sentry(runsc).context("no sentry")?;
    for stub in host::children(sentry) {
        let maps = fs::read_to_string(format!("/proc/{stub}/maps")).unwrap_or_default();
        let all: Vec<(u64, u64, &str)> = maps.lines().filter_map(range).collect();
        if !all.iter().any(|(start, ..)| *start == MARK) {
            continue;
        }
        let find = |what: &str| {
            let above = all.iter().filter(|(start, ..)| *start >= 0x7f00_0000_0000);
            let is_meant = |line: &str| line.contains(what) && !line.contains("[v");
            above.filter(|(.., line)| is_meant(line)).map(|(start, end, _)| (*start, *end)).next()
        };
        let text = find("r-xp").context("the stub has no text")?;
        let data = if platform == "systrap" { find("memfd:channel") } else { find("rw-") };
        let data = data.with_context(|| format!("the stub has no data: {maps}"))?;
        return Ok(format!("{:x} {:x} {:x} {:x}", text.0, text.1, data.0, data.1));
    }
    bail!("no stub has the attacker's mark")
}

fn range(line: &str) -> Option<(u64, u64, &str)> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?, line))
}
