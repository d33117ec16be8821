// SPDX-License-Identifier: Apache-2.0
//! Cases that are shell scripts: reading them, running them, and naming where two hosts differ.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// What a script did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// One case of a file of cases.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is called.
    pub name: String,
    /// Its lines.
    pub script: String,
}

/// Reads a file in which each case begins with a line `### NAME`.
pub fn read_cases(path: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            cases.push(Case { name: name.trim().to_owned(), script: String::new() });
        } else if let Some(case) = cases.last_mut() {
            case.script.push_str(line);
            case.script.push('\n');
        }
    }
    Ok(cases)
}

/// Differences that are known: where → case → reason.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Expected(BTreeMap<String, BTreeMap<String, String>>);

impl Expected {
    /// Reads the file. Every case that it names must be one of `cases`.
    pub fn read<'a>(
        path: &Path,
        cases: impl Iterator<Item = &'a Case> + Clone,
    ) -> Result<Expected> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let expected: Expected = toml::from_str(&text)?;
        for name in expected.0.values().flat_map(BTreeMap::keys) {
            if !cases.clone().any(|case| case.name == *name) {
                bail!("{} names {name}, which is no case", path.display());
            }
        }
        Ok(expected)
    }

    /// Holds what a case did at `place` against what the oracle did. A named difference that has gone is
    /// as wrong as one that nobody named.
    pub fn judge(&self, place: &str, case: &str, oracle: &Outcome, ours: &Outcome) -> Result<()> {
        let reason = self.0.get(place).and_then(|names| names.get(case));
        match (ours == oracle, reason) {
            (true, None) | (false, Some(_)) => Ok(()),
            (true, Some(reason)) => {
                bail!("agrees with the oracle now; take it out of expect.toml ({reason})")
            }
            (false, None) => bail!("oracle: {oracle:#?}\nsandbox: {ours:#?}"),
        }
    }
}

/// Runs a command to its end, or kills it at the time limit.
pub fn finish(command: &mut Command, input: Option<&str>, limit: Duration) -> Result<Outcome> {
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
    let code = await_end(&mut child, limit)?;
    Ok(Outcome { code, stdout: stdout(), stderr: stderr() })
}

fn await_end(child: &mut Child, limit: Duration) -> Result<Option<i32>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("still running after {limit:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn reader<R: Read + Send + 'static>(from: Option<R>) -> impl FnOnce() -> String {
    let thread = thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What came before an error still counts.
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    });
    move || thread.join().unwrap_or_default()
}
