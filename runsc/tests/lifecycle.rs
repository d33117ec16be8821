// SPDX-License-Identifier: Apache-2.0
//! What happens to a container when somebody kills a process of it, or a command that is at work on it.

mod support;

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use support::{
    Bundle, await_that,
    processes::{family, is_gone, processes},
};

const IDLE: &str = "sleep 1000 & while :; do sleep 1; done";

#[test]
fn the_loss_of_any_process_ends_the_container_soon() {
    prctl::set_child_subreaper(true).unwrap();
    for role in ["monitor", "sentry", "gofer"] {
        let bundle = Bundle::new(IDLE, |_| ());
        bundle.start();
        let lost = processes(&bundle);
        let all = family(lost.monitor);
        assert!(all.len() >= 4, "{role}: {all:?}");
        let victim = match role {
            "monitor" => lost.monitor,
            "sentry" => lost.sentry,
            _ => lost.gofer,
        };
        let from = Instant::now();
        kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
        await_that(role, || all.iter().all(|pid| is_gone(*pid)));
        // At once, that is; and on a busy host long before anybody's patience is at its end.
        assert!(from.elapsed() < Duration::from_secs(15), "{role}: {:?}", from.elapsed());
        assert_eq!(bundle.status(), "stopped", "{role}");
        // The engine, whose child the monitor is by now, sees that it was killed.
        let monitor = Pid::from_raw(lost.monitor);
        let status = waitpid(monitor, None).unwrap();
        assert_eq!(status, WaitStatus::Signaled(monitor, Signal::SIGKILL, false), "{role}");
        bundle.fails(&["kill", "c1", "TERM"], 1, "container not running");
        bundle.succeeds(&["delete", "c1"]);
        bundle.fails(&["state", "c1"], 1, "container does not exist");
    }
}

#[test]
fn a_waiting_run_that_is_killed_takes_its_container_along() {
    let bundle = Bundle::new(IDLE, |_| ());
    let mut run = bundle.command(&["run", "--pid-file", "pid", "c1"]);
    let mut run = run.stdout(Stdio::null()).spawn().unwrap();
    await_that("a pid file", || bundle.path().join("pid").exists());
    let all = family(processes(&bundle).monitor);
    run.kill().unwrap();
    run.wait().unwrap();
    await_that("the end", || all.iter().all(|pid| is_gone(*pid)));
    assert_eq!(bundle.status(), "stopped");
    bundle.succeeds(&["delete", "c1"]);
}

#[test]
fn a_score_that_the_host_may_refuse_is_shown_inside() {
    let script = "cat /proc/self/oom_score_adj; sleep 1000";
    let bundle = Bundle::new(script, |spec| spec["process"]["oomScoreAdj"] = (-900).into());
    let mut run = bundle.command(&["--log", "log", "run", "--detach", "c1"]);
    let out = fs::File::create(bundle.path().join("out")).unwrap();
    let errors = fs::File::create(bundle.path().join("errors")).unwrap();
    assert!(run.stdout(out).stderr(errors).status().unwrap().success());
    await_that("the score", || bundle.printed() == "-900\n");
    let pid = processes(&bundle).sentry;
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let log = fs::read_to_string(bundle.path().join("log")).unwrap();
    let is_refused = log.contains("process.oomScoreAdj: -900 is not set on the host");
    assert!(is_refused || score == "-900\n", "{score} {log}");
}

/// A create that is killed at any time leaves nothing that `delete --force` cannot end.
#[test]
fn a_killed_create_can_be_deleted() {
    prctl::set_child_subreaper(true).unwrap();
    let bundle = Bundle::new(IDLE, |_| ());
    for delay in 0..40 {
        let mut create = bundle.command(&["create", "c1"]);
        create.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = create.spawn().unwrap();
        thread::sleep(Duration::from_micros(delay * 700));
        let all = family(i32::try_from(child.id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        bundle.succeeds(&["delete", "--force", "c1"]);
        bundle.fails(&["state", "c1"], 1, "container does not exist");
        await_that("the end", || all.iter().all(|pid| is_gone(*pid)));
        // What it left to us.
        for pid in all {
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
    let left = fs::read_dir(bundle.path().join("state")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
    // The lock did not survive either.
    bundle.start();
    assert_eq!(bundle.status(), "running");
}

#[test]
fn of_two_creates_one_wins() {
    let bundle = Bundle::new(IDLE, |_| ());
    for _ in 0..10 {
        let creates: Vec<_> = (0..4)
            .map(|_| {
                let mut create = bundle.command(&["create", "c1"]);
                create.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        let won =
            creates.into_iter().filter_map(|mut it| it.wait().unwrap().success().then_some(()));
        assert_eq!(won.count(), 1);
        assert_eq!(bundle.status(), "created");
        bundle.succeeds(&["delete", "c1"]);
    }
}

#[test]
fn waiting_tells_how_it_ended() {
    let script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    let bundle = Bundle::new(script, |_| ());
    bundle.start();
    await_that("it is ready", || bundle.printed() == "ready\n");
    let mut wait = bundle.command(&["wait", "c1"]);
    let wait = wait.stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(200));
    bundle.succeeds(&["kill", "c1", "usr1"]);
    let output = wait.wait_with_output().unwrap();
    let told = "{\"id\":\"c1\",\"exitStatus\":7}\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), told);
    bundle.await_status("stopped");
    assert_eq!(bundle.succeeds(&["wait", "c1"]), told);
    bundle.fails(&["wait", "none"], 1, "container does not exist");
}

#[test]
fn one_process_or_group_can_be_signalled() {
    let script = "sleep 1000 & echo $! >/proc/self/fd/1; wait $!; echo ended $?; sleep 1000";
    let bundle = Bundle::new(script, |_| ());
    bundle.start();
    await_that("a number", || bundle.printed().ends_with('\n'));
    let pid = bundle.printed().trim().to_string();
    bundle.fails(&["kill", "--pid", "9999", "c1", "TERM"], 1, "no such process");
    bundle.fails(&["kill", "--all", "--pid", &pid, "c1", "TERM"], 1, "exclude each other");
    bundle.succeeds(&["kill", "--pid", &pid, "c1", "TERM"]);
    await_that("its end", || bundle.printed().contains("ended 143"));
    bundle.succeeds(&["kill", "--pgid", "1", "c1", "KILL"]);
    bundle.await_status("stopped");
}

/// Engines read the output of every call to its end, and wait for that.
#[test]
fn nobody_keeps_the_output_of_a_call() {
    let bundle = Bundle::new(IDLE, |_| ()).with(&["--debug"]);
    bundle.start();
    for args in [
        &["exec", "-d", "c1", "true"][..],
        &["pause", "c1"],
        &["resume", "c1"],
        &["kill", "c1", "0"],
        &["ps", "c1"],
    ] {
        bundle.succeeds(args);
    }
    let state = processes(&bundle);
    let errors = bundle.path().join("errors");
    for pid in [state.monitor, state.sentry, state.gofer] {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        for file in files.filter_map(|file| fs::read_link(file.unwrap().path()).ok()) {
            // The container itself has the stream, and nobody else.
            assert!(pid == state.sentry || file != errors, "{pid}: {}", file.display());
        }
    }
}

#[test]
fn descriptors_are_handed_on() {
    let bundle = Bundle::new(
        "echo to you >&3; echo and you >&4; ls /proc/self/fd; env | grep LISTEN",
        |_| (),
    );
    let script = "exec 3>one 4>two 5</dev/zero; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let runsc = bundle.command(&["run", "--preserve-fds", "1", "c1"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(runsc.get_program()).args(runsc.get_args());
    let output = shell.current_dir(bundle.path()).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "0\n1\n2\n3\n4\n5\nLISTEN_FDS=1\nLISTEN_PID=1\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(fs::read_to_string(bundle.path().join("one")).unwrap(), "to you\n");
    assert_eq!(fs::read_to_string(bundle.path().join("two")).unwrap(), "and you\n");
    bundle.fails(&["run", "--preserve-fds", "1", "c1"], 1, "descriptor 3 is not open");
    bundle.fails(&["run", "--preserve-fds", "-1", "c1"], 1, "-1 is not a count");
    assert_eq!(bundle.succeeds(&["list", "-q"]), "");
}

/// Engines enter the mount namespace of the process in the pid file, and write and read there.
#[test]
fn whoever_enters_the_monitors_mounts_finds_the_containers_files() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make mounts, and enter them");
        return;
    }
    let volume = tempfile::tempdir().unwrap();
    let frozen = tempfile::tempdir().unwrap();
    let bundle = Bundle::new(IDLE, |spec| {
        let bind = |at: &str, source: &std::path::Path, options: &[&str]| serde_json::json!({"destination": at, "type": "bind", "source": source, "options": options});
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(bind("/mnt", volume.path(), &["bind"]));
        mounts.push(bind("/srv", frozen.path(), &["bind", "ro"]));
    });
    bundle.start();
    let monitor = processes(&bundle).monitor;
    let inside = |script: &str| {
        let mut enter = std::process::Command::new("nsenter");
        enter.arg(format!("--mount=/proc/{monitor}/ns/mnt")).args(["sh", "-c", script]);
        let output = enter.output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(inside("echo in >/mnt/f"), "");
    assert_eq!(fs::read_to_string(volume.path().join("f")).unwrap(), "in\n");
    assert_eq!(bundle.succeeds(&["exec", "c1", "cat", "/mnt/f"]), "in\n");
    for place in ["/srv/f", "/f", "/proc/f"] {
        assert!(inside(&format!("echo in >{place}")).contains("ead-only"), "{place}");
    }
    let shown = inside("echo /proc/[0-9]*; tr '\\0' ' ' </proc/1/cmdline; test -s /proc/uptime");
    assert_eq!(shown, format!("/proc/1\n/bin/sh -c {IDLE} "));
    // The host has none of it.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(" /mnt ") && !mounts.contains(" /srv "), "{mounts}");
}
