// SPDX-License-Identifier: Apache-2.0
//! One table of ratios: the same guest programs on the host, in ours, and in other OCI runtimes.
//!
//! Everything of a round runs one after the other, target by target, and rounds are interleaved, so
//! that a machine whose speed drifts is the same for all. The figure of a row is the median over the
//! rounds; the table shows the host's figure and every other target's ratio to it.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

mod lifecycle;
mod report;
mod target;
mod usage;

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail};

use crate::{report::Report, target::Target};

const USAGE: &str = "usage: bench [--ours RUNSC] [--platform NAME]... [--other NAME=RUNTIME [FLAG]...]...
             [--rootfs DIR] [--rounds N] [--only ROW]... [--json FILE]
Needs root. --other takes the rest of its words up to the next -- option: --other 'runc=/usr/sbin/runc'
--other 'gvisor=/usr/bin/runsc --platform=systrap --network=none'. --rootfs is a Debian root file system with
python3, gcc and findutils for the rows find, python and c-build; without it they are left out.";

/// Command lines that are timed as a whole, in the root file system.
const COMMANDS: [(&str, &[&str]); 4] = [
    ("find-tree", &["/usr/bin/find", "/usr", "-xdev", "-size", "+100000k"]),
    ("python-start", &["/usr/bin/python3", "-c", "import json, subprocess, asyncio"]),
    (
        "c-build",
        &[
            "/bin/sh",
            "-ec",
            "cp -r /src/zlib /tmp/b; cd /tmp/b; ./configure >/dev/null; make -j2 libz.a >/dev/null",
        ],
    ),
    (
        "c-small-build",
        &[
            "/bin/sh",
            "-c",
            "mkdir /tmp/b && cd /tmp/b && for i in 1 2 3 4 5 6; do printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%d(int x){char b[64];snprintf(b,64,\"%%d\",x);return atoi(b)+(int)strlen(b);}\n' $i >f$i.c; gcc -O2 -c f$i.c || exit 1; done; printf 'int f1(int);int main(void){return f1(1)!=2;}\n' >m.c; gcc -o m m.c f*.o && ./m",
        ],
    ),
];

struct Options {
    targets: Vec<Target>,
    rootfs: Option<PathBuf>,
    rounds: usize,
    only: Vec<String>,
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = parse(std::env::args().skip(1))?;
    if !nix::unistd::Uid::effective().is_root() {
        bail!("bench needs root: it drives OCI runtimes and chroots");
    }
    // What a runtime starts and leaves becomes this one's child.
    nix::sys::prctl::set_child_subreaper(true)?;
    let guest = std::env::current_exe()?.with_file_name("bench-guest");
    if !guest.is_file() {
        bail!("{} is missing: cargo build --release -p bench", guest.display());
    }
    let work = tempfile::tempdir()?;
    let mut report = Report::default();
    for round in 0..options.rounds {
        for target in &options.targets {
            eprintln!("round {}/{}: {}", round + 1, options.rounds, target.name);
            let lab =
                target::Lab { work: work.path(), guest: &guest, rootfs: options.rootfs.as_deref() };
            if let Err(error) = measure(target, &lab, &options.only, &mut report) {
                eprintln!("{}: {error:#}", target.name);
            }
        }
    }
    println!(
        "{}",
        report.table(&options.targets.iter().map(|t| t.name.as_str()).collect::<Vec<_>>())
    );
    if let Some(path) = options.json {
        std::fs::write(&path, report.json()?).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Measures a container's life: nanoseconds.
type Life = fn(&Target, &target::Lab<'_>) -> Result<f64>;

const LIFECYCLE: &str = "create+start+wait+delete";
const EXEC: &str = "exec";
const AT_ONCE: &str = "20-parallel";
/// Rows that are no operation of the guest program.
const WHOLE: [&str; 6] = [LIFECYCLE, EXEC, AT_ONCE, "start-static", "idle", "sigsys"];

/// Containers that are started at once.
const PARALLEL: usize = 20;

/// Runs every row once in one target. A row that fails is reported and left out; the rest go on.
fn measure(
    target: &Target,
    lab: &target::Lab<'_>,
    only: &[String],
    report: &mut Report,
) -> Result<()> {
    let wanted = |row: &str| only.is_empty() || only.iter().any(|name| name == row);
    let mut failures: BTreeMap<String, String> = BTreeMap::new();
    let micro_rows: Vec<&str> = match only.first() {
        Some(name) if only.len() == 1 => vec!["micro", name],
        _ => vec!["micro"],
    };
    let is_whole =
        |name: &str| WHOLE.contains(&name) || COMMANDS.iter().any(|(command, _)| *command == name);
    if only.is_empty() || !only.iter().all(|name| is_whole(name)) {
        match target.output(lab, &[&["/bench/bench-guest"], micro_rows.as_slice()].concat()) {
            Ok(text) => lines(&text, |name, ns| {
                if wanted(name) {
                    report.add(name, &target.name, ns)
                }
            }),
            Err(error) => drop(failures.insert("micro".to_owned(), format!("{error:#}"))),
        }
    }
    if target.is_host() && wanted("sigsys") {
        let text = target.output(lab, &["/bench/bench-guest", "sigsys"])?;
        lines(&text, |name, ns| report.add(name, &target.name, ns));
    }
    let mut timed = |row: &str, arguments: &[&str]| {
        if !wanted(row) {
            return;
        }
        let start = Instant::now();
        match target.output(lab, arguments) {
            Ok(_) => report.add(row, &target.name, start.elapsed().as_nanos() as f64),
            Err(error) => drop(failures.insert(row.to_owned(), format!("{error:#}"))),
        }
    };
    timed("start-static", &["/bench/bench-guest", "true"]);
    if lab.rootfs.is_some() {
        for (row, arguments) in COMMANDS {
            timed(row, arguments);
        }
    }
    if !target.is_host() {
        let parallel = |target: &Target, lab: &target::Lab<'_>| target.parallel(lab, PARALLEL);
        let lives: [(&str, Life); 3] =
            [(LIFECYCLE, Target::lifecycle), (EXEC, Target::exec), (AT_ONCE, parallel)];
        for (row, life) in lives.into_iter().filter(|(row, _)| wanted(row)) {
            match life(target, lab) {
                Ok(ns) => report.add(row, &target.name, ns),
                Err(error) => drop(failures.insert(row.to_owned(), format!("{error:#}"))),
            }
        }
    }
    if wanted("idle") && !target.is_host() {
        match target.idle(lab) {
            Ok(idle) => {
                report.add("idle-pss-kib", &target.name, idle.pss_kib);
                report.add("idle-cpu-ms-per-s", &target.name, idle.cpu_ms_per_s);
                report.add("idle-processes", &target.name, idle.processes);
            }
            Err(error) => drop(failures.insert("idle".to_owned(), format!("{error:#}"))),
        }
    }
    for (row, error) in failures {
        eprintln!("  {row}: {error}");
    }
    Ok(())
}

fn lines(text: &str, mut each: impl FnMut(&str, f64)) {
    for line in text.lines() {
        if let Some((name, Ok(ns))) = line.split_once(' ').map(|(name, ns)| (name, ns.parse())) {
            each(name, ns);
        }
    }
}

fn parse(words: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        targets: vec![Target::host()],
        rootfs: None,
        rounds: 3,
        only: Vec::new(),
        json: None,
    };
    let (mut ours, mut platforms, mut others) = (None, Vec::new(), Vec::new());
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value\n{USAGE}"));
        match word.as_str() {
            "--ours" => ours = Some(PathBuf::from(value()?)),
            "--platform" => platforms.push(value()?),
            "--other" => others.push(Target::other(&value()?)?),
            "--rootfs" => options.rootfs = Some(PathBuf::from(value()?)),
            "--rounds" => options.rounds = value()?.parse().context("--rounds")?,
            "--only" => options.only.push(value()?),
            "--json" => options.json = Some(PathBuf::from(value()?)),
            _ => bail!("{word}: unknown\n{USAGE}"),
        }
    }
    if let Some(runsc) = ours {
        if platforms.is_empty() {
            platforms = vec!["systrap".to_owned(), "ptrace".to_owned()];
        }
        for platform in platforms {
            options.targets.push(Target::ours(&runsc, &platform));
        }
    }
    options.targets.extend(others);
    Ok(options)
}
