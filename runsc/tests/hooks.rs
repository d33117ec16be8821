// SPDX-License-Identifier: Apache-2.0
//! Hooks on the host when the command that runs them is killed, or asked to end.

mod support;

use std::{
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
        termios::{self, LocalFlags},
    },
    unistd::Pid,
};
use serde_json::{Value, json};
use support::{
    Bundle, await_that,
    processes::{self, is_gone},
    terminal::expect,
};

/// A bundle with a hook that notes its number and then hangs, until there is a file `go`; and one that notes
/// the end of the container.
fn bundle(name: &str, hangs: &str) -> Bundle {
    let bundle = Bundle::new("sleep 1000", |_| ());
    let at = bundle.path().display();
    let hook = |line: String| {
        let env = ["PATH=/usr/bin:/bin"];
        json!({"path": "/bin/sh", "args": ["sh", "-c", line], "env": env})
    };
    let hanging = hook(format!("echo $$ >>{at}/hook; test -e {at}/go || {hangs}"));
    let noting = hook(format!("echo ended >>{at}/poststop"));
    bundle.edit(|spec| {
        // A hook that runs inside notes its number, too.
        spec["root"]["readonly"] = false.into();
        spec["hooks"] = json!({"poststop": [noting]});
        match &mut spec["hooks"][name] {
            Value::Array(list) => list.insert(0, hanging),
            none => *none = json!([hanging]),
        }
    });
    bundle
}

/// Starts a command and waits for its hook, whose number it returns.
fn until_hook(bundle: &Bundle, args: &[&str]) -> (Child, i32) {
    let mut command = bundle.command(args);
    let errors = fs::File::create(bundle.path().join("errors")).unwrap();
    let child = command.stdout(Stdio::null()).stderr(errors).spawn().unwrap();
    (child, await_hook(bundle))
}

fn await_hook(bundle: &Bundle) -> i32 {
    let text = || fs::read_to_string(bundle.path().join("hook")).unwrap_or_default();
    await_that("a hook", || text().ends_with('\n'));
    text().lines().last().unwrap().parse().unwrap()
}

fn has_ended(bundle: &Bundle) -> bool {
    fs::read_to_string(bundle.path().join("poststop")).is_ok_and(|text| text == "ended\n")
}

#[test]
fn a_hook_ends_with_the_create_that_is_killed() {
    prctl::set_child_subreaper(true).unwrap();
    for name in ["prestart", "createRuntime", "createContainer"] {
        let bundle = bundle(name, "exec sleep 1000");
        let (mut create, hook) = until_hook(&bundle, &["create", "c1"]);
        assert_eq!(bundle.status(), "creating", "{name}");
        bundle.fails(&["kill", "c1", "KILL"], 1, "cannot kill a container that is being created");
        bundle.fails(&["exec", "c1", "true"], 255, "container that is being created");
        create.kill().unwrap();
        create.wait().unwrap();
        await_that("the hook's end", || is_gone(hook));
        await_that("the monitor's end", || bundle.status() == "stopped");
        assert!(!has_ended(&bundle), "{name}");
        bundle.succeeds(&["delete", "--force", "c1"]);
        assert!(has_ended(&bundle), "{name}: poststop has not run");
        bundle.fails(&["state", "c1"], 1, "container does not exist");
    }
}

#[test]
fn a_delete_that_is_killed_is_repeated_with_its_hooks() {
    let bundle = bundle("poststop", "exec sleep 1000");
    bundle.start();
    let (mut delete, hook) = until_hook(&bundle, &["delete", "--force", "c1"]);
    assert_eq!(bundle.status(), "stopped");
    delete.kill().unwrap();
    delete.wait().unwrap();
    await_that("the hook's end", || is_gone(hook));
    assert!(!has_ended(&bundle));
    fs::write(bundle.path().join("go"), "").unwrap();
    bundle.succeeds(&["delete", "c1"]);
    assert!(has_ended(&bundle));
    assert_eq!(fs::read_to_string(bundle.path().join("hook")).unwrap().lines().count(), 2);
    bundle.fails(&["state", "c1"], 1, "container does not exist");
}

/// What the hook has started ends too.
#[test]
fn a_run_that_is_asked_to_end_ends_its_hook_and_undoes_what_it_did() {
    for name in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let bundle = bundle(name, "sleep 987654; :");
        let (mut run, hook) = until_hook(&bundle, &["run", "c1"]);
        let from = Instant::now();
        kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(1), "{name}");
        // Not when the hook ends by itself.
        assert!(from.elapsed() < Duration::from_secs(60), "{name}: {:?}", from.elapsed());
        let errors = fs::read_to_string(bundle.path().join("errors")).unwrap();
        assert!(errors.contains("hook was ended by our SIGTERM"), "{name}: {errors}");
        assert!(has_ended(&bundle) && (name == "startContainer" || is_gone(hook)), "{name}");
        bundle.fails(&["state", "c1"], 1, "container does not exist");
    }
}

/// Starts `run` as a shell would on a terminal of its own: its master, and the command.
fn run_on_terminal(bundle: &Bundle) -> (fs::File, Child) {
    let pty = nix::pty::openpty(None, None).unwrap();
    let run = bundle.command(&["run", "c1"]);
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(run.get_program()).args(run.get_args()).current_dir(bundle.path());
    let errors = fs::File::create(bundle.path().join("errors")).unwrap();
    command.stdin(pty.slave.try_clone().unwrap()).stdout(pty.slave).stderr(errors);
    (fs::File::from(pty.master), command.spawn().unwrap())
}

fn is_raw(terminal: &fs::File) -> bool {
    let flags = termios::tcgetattr(terminal).unwrap().local_flags;
    !flags.intersects(LocalFlags::ICANON | LocalFlags::ISIG)
}

/// The terminal's keys are the guest's only when there is one.
#[test]
fn an_interrupt_from_the_terminal_ends_a_hook_that_hangs() {
    for name in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let bundle = bundle(name, "sleep 987655; :");
        bundle.edit(|spec| spec["process"]["terminal"] = true.into());
        let (mut terminal, mut run) = run_on_terminal(&bundle);
        let hook = await_hook(&bundle);
        let below = processes::family(run.id().cast_signed());
        terminal.write_all(b"\x03").unwrap();
        await_that(name, || run.try_wait().unwrap().is_some());
        assert_eq!(run.wait().unwrap().code(), Some(1), "{name}");
        let errors = fs::read_to_string(bundle.path().join("errors")).unwrap();
        assert!(errors.contains("hook was ended by our SIGINT"), "{name}: {errors}");
        assert!(!is_raw(&terminal), "{name}");
        assert!(has_ended(&bundle), "{name}");
        // Inside, it has another number.
        assert!(name == "startContainer" || is_gone(hook), "{name}");
        assert!(below.len() > 2 && below.iter().all(|pid| is_gone(*pid)), "{name}: {below:?}");
        bundle.fails(&["state", "c1"], 1, "container does not exist");
    }
}

#[test]
fn after_its_hooks_a_run_hands_the_keys_to_the_guest() {
    for name in ["createContainer", "startContainer"] {
        let bundle = bundle(name, "true");
        bundle.edit(|spec| {
            spec["process"]["terminal"] = true.into();
            let script = "echo ready; read line; echo got $line; exit 4";
            spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
        });
        let (mut terminal, mut run) = run_on_terminal(&bundle);
        expect(&mut terminal, "ready\r\n");
        assert!(is_raw(&terminal));
        terminal.write_all(b"it\r").unwrap();
        expect(&mut terminal, "got it\r\n");
        await_that("the end", || run.try_wait().unwrap().is_some());
        assert_eq!(run.wait().unwrap().code(), Some(4));
        assert!(!is_raw(&terminal));
    }
}

/// A hook of `start` that hangs keeps nobody from deleting the container.
#[test]
fn a_poststart_that_hangs_holds_no_lock() {
    let bundle = bundle("poststart", "exec sleep 1000");
    let create = bundle.command(&["create", "c1"]).stdout(Stdio::null()).status().unwrap();
    assert!(create.success());
    let (mut start, _) = until_hook(&bundle, &["start", "c1"]);
    assert_eq!(bundle.status(), "running");
    bundle.succeeds(&["delete", "--force", "c1"]);
    assert!(has_ended(&bundle));
    start.kill().unwrap();
    start.wait().unwrap();
}
