// SPDX-License-Identifier: Apache-2.0
//! Pausing: nothing runs, nobody sees a signal, and whoever is killed still dies.

mod support;

use std::{thread, time::Duration};

use support::{Bundle, await_that};

/// Counts without ever waiting for anything but its output file, and tells of every signal.
const BUSY: &str = "trap 'echo hit' CONT USR1; i=0; while :; do i=$((i+1)); \
    if [ $((i % 5000)) = 0 ]; then echo $i; fi; done";

fn stands_still(bundle: &Bundle) {
    let mut before = bundle.printed();
    // A call that was under way is still done, on a busy host later.
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(500));
        let now = bundle.printed();
        if now == before {
            return;
        }
        before = now;
    }
    panic!("something still runs");
}

fn goes_on(bundle: &Bundle) {
    let before = bundle.printed().len();
    await_that("it goes on", || bundle.printed().len() > before);
}

#[test]
fn a_busy_program_stands_still_and_goes_on() {
    for platform in ["systrap", "ptrace"] {
        let bundle = Bundle::new(BUSY, |_| ()).with(&[&format!("--platform={platform}")]);
        bundle.start();
        goes_on(&bundle);
        bundle.fails(&["resume", "c1"], 1, "container not paused");
        bundle.succeeds(&["pause", "c1"]);
        assert_eq!(bundle.status(), "paused");
        stands_still(&bundle);
        bundle.fails(&["pause", "c1"], 1, "container not running");
        bundle.fails(&["start", "c1"], 1, "cannot start an already running container");
        bundle.fails(&["delete", "c1"], 1, "that is not stopped: paused");
        // A signal waits until the program may run again.
        bundle.succeeds(&["kill", "c1", "USR1"]);
        stands_still(&bundle);
        assert!(!bundle.printed().contains("hit"));
        bundle.succeeds(&["resume", "c1"]);
        assert_eq!(bundle.status(), "running");
        await_that("the signal arrives", || bundle.printed().contains("hit"));
        goes_on(&bundle);
        assert_eq!(bundle.printed().matches("hit").count(), 1, "pausing is no signal");
    }
}

#[test]
fn many_threads_of_many_processes_stand_still() {
    let script = format!("for n in 1 2 3 4 5; do ({BUSY}) & done; sleep 0.1 & wait");
    let bundle = Bundle::new(&script, |_| ());
    bundle.start();
    for _ in 0..5 {
        goes_on(&bundle);
        bundle.succeeds(&["pause", "c1"]);
        stands_still(&bundle);
        bundle.succeeds(&["resume", "c1"]);
    }
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    let bundle = Bundle::new(BUSY, |_| ());
    bundle.start();
    bundle.succeeds(&["pause", "c1"]);
    bundle.succeeds(&["kill", "c1", "KILL"]);
    bundle.await_status("stopped");
    bundle.fails(&["resume", "c1"], 1, "container not paused");
    bundle.succeeds(&["delete", "c1"]);

    bundle.start();
    bundle.succeeds(&["pause", "c1"]);
    bundle.succeeds(&["delete", "--force", "c1"]);
    bundle.fails(&["state", "c1"], 1, "container does not exist");

    bundle.start();
    bundle.succeeds(&["pause", "c1"]);
    bundle.succeeds(&["kill", "--all", "c1", "KILL"]);
    bundle.await_status("stopped");
}

#[test]
fn a_created_container_can_be_paused_and_is_created_again() {
    let bundle = Bundle::new("echo ran", |_| ());
    let mut create = bundle.command(&["create", "c1"]);
    let null = std::process::Stdio::null;
    assert!(create.stdout(null()).stderr(null()).status().unwrap().success());
    bundle.succeeds(&["pause", "c1"]);
    assert_eq!(bundle.status(), "paused");
    bundle.succeeds(&["resume", "c1"]);
    assert_eq!(bundle.status(), "created");
    bundle.succeeds(&["start", "c1"]);
    bundle.await_status("stopped");
    for command in ["pause", "resume"] {
        bundle.fails(&[command, "c1"], 1, "container not");
        bundle.fails(&[command, "nope"], 1, "container does not exist");
    }
}
