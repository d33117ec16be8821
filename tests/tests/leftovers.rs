// SPDX-License-Identifier: Apache-2.0
//! Nothing is ever left behind: many cycles, a kill at every host call, deaths at random moments.
//!
//! By default a sample; `LEFTOVERS=full` takes 2,000 cycles in a row, 500 at eight at once, each host call
//! of each command, and 500 deaths of each kind of process.
#![allow(clippy::indexing_slicing, reason = "a test may die of a surprise")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tests::oci::{
    bed::{Bed, ID},
    bundle, host, isolated,
    runtime::{OURS, Runtime},
    tracer::{self, Progress, Victim},
};

/// How long what belongs to a container may outlive the death of a part of it, on a host that has much else
/// to do, not as long as anybody's patience; and in full, for which the host should be quiet.
const AFTER_DEATH: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(1));

/// How much is done: by default, and in full.
const SEQUENCE: (usize, usize) = (12, 2000);
const WORKERS: usize = 8;
const PER_WORKER: (usize, usize) = (3, 63);
const DEATHS: (usize, usize) = (10, 500);
/// Every how many host calls a command is killed.
const STEP: (usize, usize) = (9, 1);

fn size<T>((sample, full): (T, T)) -> T {
    if std::env::var("LEFTOVERS").is_ok_and(|it| it == "full") { full } else { sample }
}

const FIRST: Victim = Victim::FirstChild;

/// A command to be killed, what it needs to be there first, and who is killed.
struct Crash {
    name: &'static str,
    before: fn(&mut Bed) -> Result<()>,
    args: &'static [&'static str],
    victim: Victim,
}

const CRASHES: &[Crash] = &[
    crash("create", |_| Ok(()), &["create", "--bundle", "bundle", ID], Victim::Command),
    crash("run", |_| Ok(()), &["run", "--detach", "--bundle", "bundle", ID], Victim::Command),
    crash("start", created, &["start", ID], Victim::Command),
    crash("exec", running, &["exec", "--detach", ID, "sleep", "9"], Victim::Command),
    crash("kill", running, &["kill", ID, "KILL"], Victim::Command),
    crash("delete", stopped, &["delete", ID], Victim::Command),
    crash("delete_force", running, &["delete", "--force", ID], Victim::Command),
    crash("create_with_hooks", hooked, &["create", "--bundle", "bundle", ID], Victim::Command),
    crash("start_with_hooks", hooked_and_created, &["start", ID], Victim::Command),
    crash("delete_with_hooks", hooked_and_stopped, &["delete", ID], Victim::Command),
    crash("child_of_create_with_hooks", hooked, &["create", "--bundle", "bundle", ID], FIRST),
    crash("child_of_create", |_| Ok(()), &["create", "--bundle", "bundle", ID], Victim::FirstChild),
    crash("child_of_exec", running, &["exec", "--detach", ID, "sleep", "9"], Victim::FirstChild),
];

const fn crash(
    name: &'static str,
    before: fn(&mut Bed) -> Result<()>,
    args: &'static [&'static str],
    victim: Victim,
) -> Crash {
    Crash { name, before, args, victim }
}

fn created(bed: &mut Bed) -> Result<()> {
    bed.create().map(drop)
}

fn running(bed: &mut Bed) -> Result<()> {
    bed.started().map(drop)
}

fn stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped().map(drop)
}

fn hooked(bed: &mut Bed) -> Result<()> {
    for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        bed.set(&format!("/hooks/{name}"), json!([{"path": "/bin/true"}]));
    }
    Ok(())
}

fn hooked_and_created(bed: &mut Bed) -> Result<()> {
    hooked(bed)?;
    created(bed)
}

fn hooked_and_stopped(bed: &mut Bed) -> Result<()> {
    hooked(bed)?;
    stopped(bed)
}

const KINDS: [&str; 4] = ["monitor", "sentry", "gofer", "stub"];

fn main() -> Result<()> {
    tracer::become_traced();
    if let Some(name) = isolated::name() {
        std::process::exit(isolated::main(|| in_process(&name)));
    }
    let mut arguments = Arguments::from_args();
    // One at a time: what they do is as fast as the machine lets it be.
    arguments.test_threads = Some(1);
    if let Err(error) = bundle::lacking() {
        if std::env::var_os("CI").is_some() {
            bail!("this test is required in CI: {error}");
        }
        eprintln!("leftovers: {error}: nothing was run");
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    let mut trials = vec![
        trial("cycles/in_a_row".into(), || Ok(isolated::run("cycles", within(SEQUENCE))?)),
        trial("cycles/at_eight_at_once".into(), at_once),
    ];
    for crash in CRASHES {
        let name = format!("crash/{}", crash.name);
        trials.push(trial(name.clone(), move || isolated::run(&name, Duration::from_secs(3000))));
    }
    for kind in KINDS {
        let name = format!("death/{kind}");
        trials.push(trial(name.clone(), move || isolated::run(&name, within(DEATHS))));
    }
    libtest_mimic::run(&arguments, trials).exit()
}

fn trial(name: String, test: impl FnOnce() -> Result<String> + Send + 'static) -> Trial {
    Trial::test(name.clone(), move || match test() {
        Ok(words) => {
            eprint!("{words}");
            Ok(())
        }
        Err(error) => Err(Failed::from(format!("{error:#}"))),
    })
}

/// Far more than it takes.
fn within(sizes: (usize, usize)) -> Duration {
    Duration::from_secs(60 + 3 * u64::try_from(size(sizes)).unwrap_or(u64::MAX / 4))
}

fn at_once() -> Result<String> {
    let started = Instant::now();
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| std::thread::spawn(|| isolated::run("worker", within((60, PER_WORKER.1 * 8)))))
        .collect();
    let results: Vec<Result<String>> = workers
        .into_iter()
        .map(|worker| worker.join().unwrap_or_else(|_| bail!("a worker died")))
        .collect();
    for result in results {
        result?;
    }
    Ok(format!(
        "{} cycles at {WORKERS} at once: {:?}\n",
        WORKERS * size(PER_WORKER),
        started.elapsed()
    ))
}

fn in_process(name: &str) -> Result<()> {
    let runtime = std::env::var("LEFTOVERS_RUNTIME").unwrap_or_else(|_| OURS.into());
    let runtime = Runtime::find(&runtime)?.context("no such runtime")?;
    let mut bed = Bed::new(runtime)?;
    let result = match name.split_once('/') {
        None if name == "cycles" => cycles(&mut bed, size(SEQUENCE)),
        None => cycles(&mut bed, size(PER_WORKER)),
        Some(("death", kind)) => deaths(&mut bed, kind),
        Some((_, command)) => {
            let crash = CRASHES.iter().find(|it| it.name == command).context("no such crash")?;
            crashes(&mut bed, crash)
        }
    };
    let end = bed.finish();
    result.and(end)
}

/// create, start, exec, kill, delete; then everything is as before.
fn cycles(bed: &mut Bed, count: usize) -> Result<()> {
    let started = Instant::now();
    bed.shell("echo up; sleep 1000; :");
    for index in 0..count {
        let cycle = |bed: &mut Bed| -> Result<()> {
            let pid = bed.create()?;
            bed.ok(&["start", ID])?;
            bed.ok(&["exec", ID, "echo", "hello"])?.is(0, "hello\n")?;
            bed.ok(&["kill", ID, "KILL"])?;
            ensure!(bed.await_exit(pid)? == 137);
            bed.ok(&["delete", ID])?;
            bed.nothing_is_left()
        };
        cycle(bed).with_context(|| format!("cycle {index} of {count}"))?;
    }
    println!("{count} cycles in a row: {:?}", started.elapsed());
    Ok(())
}

/// Kills the command at its first host call, at a later one, and so on to its end.
fn crashes(bed: &mut Bed, crash: &Crash) -> Result<()> {
    let started = Instant::now();
    let (mut nth, mut kills) = (1, 0);
    loop {
        (crash.before)(bed).with_context(|| format!("before kill {nth}"))?;
        bed.save()?;
        let mut args = bed.arguments(crash.args);
        // The tracer's helper has another working directory.
        for arg in &mut args {
            if *arg == "bundle" {
                *arg = bed.bundle().into_os_string();
            }
        }
        let progress = tracer::kill_at(&bed.runtime.path, &args, crash.victim, nth)
            .with_context(|| format!("kill {nth}"))?;
        let place = match &progress {
            Progress::Killed { syscall } => format!("host call {nth} (number {syscall})"),
            Progress::Ended { calls, .. } => format!("the end, after {calls} calls"),
        };
        let ended = bed
            .call(&["delete", "--force", ID])
            .with_context(|| format!("killed at {place}: delete --force"))?;
        ensure!(ended.code == 0, "killed at {place}: delete --force: {ended:?}");
        bed.nothing_is_left().with_context(|| format!("killed at {place}"))?;
        if let Progress::Ended { calls, .. } = progress {
            ensure!(calls > 0 || crash.victim == Victim::FirstChild, "it made no host call");
            println!(
                "{}: killed {kills} times, {calls} calls: {:?}",
                crash.name,
                started.elapsed()
            );
            return Ok(());
        }
        kills += 1;
        nth += size(STEP);
    }
}

/// Kills one process of a running container at a random moment: its engine sees the end.
fn deaths(bed: &mut Bed, kind: &str) -> Result<()> {
    let started = Instant::now();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let mut random = Random(u64::try_from(seed & u128::from(u64::MAX)).unwrap_or(1) | 1);
    let count = size(DEATHS);
    for index in 0..count {
        // Asleep, busy with itself, busy with short-lived processes.
        match random.below(if kind == "stub" { 2 } else { 3 }) {
            1 => bed.shell("while :; do :; done"),
            2 => bed.shell("while :; do /bin/true; done"),
            _ => bed.set("/process/args", json!(["sleep", "1000"])),
        }
        let death = |bed: &mut Bed, random: &mut Random| -> Result<()> {
            let pid = bed.started()?;
            std::thread::sleep(Duration::from_micros(random.below(30_000)));
            let victims = find(pid, kind)?;
            let which = usize::try_from(random.below(victims.len() as u64))?;
            kill(Pid::from_raw(victims[which]), Signal::SIGKILL)?;
            if kind == "stub" && which > 1 {
                // After the zygote and the program's own there is one that nobody has used yet.
                bed.ok(&["exec", ID, "echo", "on"])?.is(0, "on\n")?;
                bed.ok(&["delete", "--force", ID])?;
                return bed.nothing_is_left();
            }
            let died = Instant::now();
            bed.reaper.wait(pid, size(AFTER_DEATH)).context("its engine sees no end")?;
            while !host::descendants().is_empty() {
                bed.reaper.reap();
                ensure!(
                    died.elapsed() < size(AFTER_DEATH),
                    "still there: {:?}",
                    host::descendants()
                );
                std::thread::sleep(Duration::from_millis(1));
            }
            bed.is_in("stopped")?;
            bed.ok(&["delete", ID])?;
            bed.nothing_is_left()
        };
        death(bed, &mut random).with_context(|| format!("death {index} of {count} of a {kind}"))?;
    }
    println!("{count} deaths of a {kind}: {:?}", started.elapsed());
    Ok(())
}

/// The processes of this kind of a container whose monitor is known.
fn find(monitor: i32, kind: &str) -> Result<Vec<i32>> {
    let role = |pid: &i32, role: &str| {
        host::arguments(*pid).get(1).is_some_and(|argument| argument == role)
    };
    let all: Vec<i32> = host::descendants().into_keys().collect();
    let sentry = all.iter().copied().find(|pid| role(pid, "boot")).context("no sentry")?;
    let found = match kind {
        "monitor" => vec![monitor],
        "sentry" => vec![sentry],
        "gofer" => all.into_iter().filter(|pid| role(pid, "gofer")).collect(),
        // All of one thread, so in the order of their birth: numbers begin again every now and then.
        _ => host::children(sentry),
    };
    ensure!(!found.is_empty(), "no {kind}");
    Ok(found)
}

/// A small generator: the moments need not be good, only different.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
