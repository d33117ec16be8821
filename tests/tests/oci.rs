// SPDX-License-Identifier: Apache-2.0
//! The OCI contract: what runc does, held against runc, crun and ours.
//!
//! Cases are functions under `oci/cases/`; each says what runc does (or, where runc is known not to, what
//! the specification says), and is run with each runtime in a process of its own. Where a runtime differs,
//! `oci/expect.toml` names the case and the reason; a named difference that has gone fails the run. After
//! each case nothing may be left on the host.
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "cases look into JSON, and fail by what they return"
)]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use tests::oci::{
    bed::Bed,
    bundle, isolated,
    runtime::{ALL, Runtime},
};

include!(concat!(env!("OUT_DIR"), "/contract.rs"));

type Case = fn(&mut Bed) -> Result<()>;

/// How long a case may take, from outside.
const WITHIN: Duration = Duration::from_secs(300);

/// Named differences: runtime → case → reason.
type Expected = BTreeMap<String, BTreeMap<String, String>>;

fn main() -> Result<()> {
    if let Some(name) = isolated::name() {
        std::process::exit(isolated::main(|| in_process(&name)));
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    if let Err(error) = bundle::lacking() {
        if std::env::var_os("CI").is_some() {
            bail!("the contract is required in CI: {error}");
        }
        eprintln!("oci: {error}: nothing was run");
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    let expected = expected()?;
    let mut trials = Vec::new();
    for name in ALL {
        if Runtime::find(name)?.is_none() {
            if std::env::var_os("CI").is_some() {
                bail!("the contract is required in CI: this machine has no {name}");
            }
            eprintln!("oci: this machine has no {name}: its column is skipped");
            continue;
        }
        for (case, _) in CASES {
            let reason = expected.get(name).and_then(|it| it.get(*case)).cloned();
            trials.push(Trial::test(format!("{name}::{case}"), move || {
                check(name, case, reason.as_deref())
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit()
}

/// The named differences; each must be a case.
fn expected() -> Result<Expected> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("oci/expect.toml");
    let expected: Expected = toml::from_str(&fs::read_to_string(path)?)?;
    for (runtime, names) in &expected {
        if !ALL.contains(&runtime.as_str()) {
            bail!("expect.toml: {runtime} is no runtime");
        }
        if let Some(name) = names.keys().find(|name| CASES.iter().all(|(case, _)| case != name)) {
            bail!("expect.toml: {runtime}: {name} is no case");
        }
    }
    Ok(expected)
}

fn check(runtime: &str, case: &str, reason: Option<&str>) -> Result<(), Failed> {
    let result = isolated::run(&format!("{runtime}::{case}"), WITHIN);
    match (result, reason) {
        (Ok(_), None) => Ok(()),
        (Ok(words), Some(_)) if words.contains(SKIPPED) => Ok(()),
        // Another runtime's race is not ours to mend.
        (Ok(_), Some(reason)) if runtime != "runsc" && reason.starts_with(SOMETIMES) => Ok(()),
        (Err(_), Some(_)) => Ok(()),
        (Ok(_), Some(reason)) => {
            Err(format!("does as runc now; take it out of expect.toml ({reason})").into())
        }
        (Err(error), None) => Err(format!("{error:#}").into()),
    }
}

/// How the reason begins of a difference that is not there each time.
const SOMETIMES: &str = "sometimes ";

/// What a case says that this machine cannot show.
const SKIPPED: &str = "skipped: ";

fn in_process(name: &str) -> Result<()> {
    let (runtime, case) = name.split_once("::").context("RUNTIME::CASE")?;
    let runtime = Runtime::find(runtime)?.context("no such runtime")?;
    let (_, run) = CASES.iter().find(|(it, _)| *it == case).context("no such case")?;
    if runtime.name == "crun" {
        isolated::hide_unified()?;
    }
    let mut bed = Bed::new(runtime)?;
    let result = run(&mut bed);
    let end = bed.finish();
    result.and(end)
}
