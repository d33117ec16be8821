// SPDX-License-Identifier: Apache-2.0
//! Programs in a sandbox, from outside: exit codes, streams, signals, terminals, containers.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        termios,
    },
    unistd::Pid,
};

fn runsc() -> Command {
    Command::new(env!("CARGO_BIN_EXE_runsc"))
}

/// `runsc do sh -c script`.
fn shell(script: &str) -> Output {
    runsc().args(["do", "/bin/sh", "-c", script]).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_exit_code_is_the_programs() {
    for code in [0, 1, 42, 255] {
        assert_eq!(shell(&format!("exit {code}")).status.code(), Some(code));
    }
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        assert_eq!(shell(&format!("kill -{signal} $$")).status.code(), Some(code), "{signal}");
    }
}

#[test]
fn programs_that_cannot_run_are_127_and_126() {
    for (program, code, says) in [
        ("/no/such", 127, "stat /no/such: no such file or directory"),
        ("no-such-program", 127, "executable file not found in $PATH"),
        ("/etc/passwd", 126, "permission denied"),
        ("/etc", 126, "permission denied"),
    ] {
        let output = runsc().args(["do", program]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{program}: {output:?}");
        assert!(text(&output.stderr).contains(says), "{program}: {output:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{program}: {output:?}");
    }
}

#[test]
fn streams_are_ours_and_stay_apart() {
    let output = shell("echo out; echo err >&2");
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("out\n".into(), "err\n".into()));
    let mut cat =
        runsc().args(["do", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = cat.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let block = [b'x'; 65536];
        for _ in 0..64 {
            input.write_all(&block).unwrap();
        }
    });
    let mut bytes = Vec::new();
    cat.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    writer.join().unwrap();
    assert!(cat.wait().unwrap().success());
    assert_eq!(bytes.len(), 64 * 65536);
    assert!(bytes.iter().all(|byte| *byte == b'x'));
}

#[test]
fn a_file_as_output_is_written_where_it_stands() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before\n").unwrap();
    let copy = file.try_clone().unwrap();
    let status = runsc()
        .args(["do", "/bin/sh", "-c", "echo one; echo two >&2; echo three"])
        .stdin(Stdio::null())
        .stderr(copy.try_clone().unwrap())
        .stdout(copy)
        .status()
        .unwrap();
    assert!(status.success());
    file.write_all(b"after\n").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut all = String::new();
    file.read_to_string(&mut all).unwrap();
    assert_eq!(all, "before\none\ntwo\nthree\nafter\n");
}

#[test]
fn surroundings_are_kept() {
    let directory = Path::new("/usr");
    let output = runsc()
        .args(["do", "/bin/sh", "-c", "pwd; echo $MARK; id -u; echo $0 $#", "name", "a b", ""])
        .current_dir(directory)
        .env("MARK", "a b\u{fc}")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "/usr\na b\u{fc}\n0\nname 2\n", "{output:?}");
    let output = runsc().args(["do", "--cwd=/etc", "pwd"]).output().unwrap();
    assert_eq!(text(&output.stdout), "/etc\n");
}

#[test]
fn the_host_s_proc_is_out_of_reach() {
    let output = shell("umount /proc && ls -A /proc; umount -l /sys && ls -A /sys; echo end");
    assert_eq!(text(&output.stdout), "end\n", "{output:?}");
}

#[test]
fn signals_reach_the_program() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let mut child = ready("echo ready; exec sleep 100");
        kill(pid(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
    let mut child = ready("trap 'exit 7' USR1; echo ready; while :; do sleep 0.1; done");
    kill(pid(&child), Signal::SIGUSR1).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// A program that has printed its first line.
fn ready(script: &str) -> Child {
    let mut child = runsc()
        .args(["do", "/bin/sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    child
}

/// A program on a terminal of its own, which is its session's: our end of it, and its own.
fn on_terminal(args: &[&str]) -> (Ended, fs::File, OwnedFd) {
    let pty = nix::pty::openpty(None, None).unwrap();
    let slave: OwnedFd = pty.slave;
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_runsc")]).args(args);
    command.stdin(slave.try_clone().unwrap());
    command.stdout(slave.try_clone().unwrap());
    command.stderr(slave.try_clone().unwrap());
    (Ended(command.spawn().unwrap()), fs::File::from(pty.master), slave)
}

/// A program that does not outlive its test.
struct Ended(Child);

impl Ended {
    /// Its exit code, which comes soon.
    fn code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It has ended already unless the test fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads until `wanted` has been seen.
fn expect(terminal: &mut fs::File, wanted: &str) -> String {
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !text(&seen).contains(wanted) {
        assert!(Instant::now() < deadline, "no {wanted:?} in {:?}", text(&seen));
        let mut fds = [nix::poll::PollFd::new(terminal.as_fd(), nix::poll::PollFlags::POLLIN)];
        if nix::poll::poll(&mut fds, 100u16).unwrap() > 0 {
            let mut bytes = [0; 4096];
            let count = terminal.read(&mut bytes).unwrap_or(0);
            assert!(count > 0, "no {wanted:?} in {:?}", text(&seen));
            seen.extend(&bytes[..count]);
        }
    }
    text(&seen)
}

#[test]
fn a_terminal_has_job_control_and_is_put_back() {
    let (mut child, mut terminal, slave) = on_terminal(&["do", "/bin/sh", "-i"]);
    let say = |terminal: &mut fs::File, line: &str, wanted: &str| {
        terminal.write_all(line.as_bytes()).unwrap();
        expect(terminal, wanted)
    };
    say(&mut terminal, "PS1=; echo re''ady; tty\n", "ready");
    expect(&mut terminal, "/dev/pts/0");
    // The key is for the program, which is in front by the time that it speaks.
    let program = "sh -c 'echo go\"\"ing; exec sleep 100'\n";
    say(&mut terminal, program, "going");
    say(&mut terminal, "\u{3}", "^C");
    say(&mut terminal, "echo status $?\n", "status 130");
    say(&mut terminal, program, "going");
    say(&mut terminal, "\u{1a}", "Stopped");
    say(&mut terminal, "kill -KILL %1; wait; echo do''ne\n", "done");
    // The host's kernel tells runsc of the new size, as it would tell any program.
    let stty = Command::new("stty").args(["rows", "33", "cols", "77"]).stdin(slave).status();
    assert!(stty.unwrap().success());
    let until = "until [ \"$(stty size)\" = '33 77' ]; do sleep 0.05; done; echo resi''zed\n";
    say(&mut terminal, until, "resized");
    let raw = termios::tcgetattr(&terminal).unwrap();
    assert!(!raw.local_flags.contains(termios::LocalFlags::ICANON));
    terminal.write_all(b"exit 5\n").unwrap();
    assert_eq!(child.code(), Some(5));
    let after = termios::tcgetattr(&terminal).unwrap();
    assert!(after.local_flags.contains(termios::LocalFlags::ICANON), "the settings are put back");
}

/// A bundle over this machine's own files: `script` as its program.
struct Bundle {
    place: tempfile::TempDir,
}

impl Bundle {
    fn new(script: &str) -> Bundle {
        let place = tempfile::tempdir().unwrap();
        let bundle = Bundle { place };
        let spec = runsc().arg("spec").current_dir(bundle.place.path()).status().unwrap();
        assert!(spec.success());
        let path = bundle.place.path().join("config.json");
        let mut spec: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = serde_json::json!(["/bin/sh", "-c", script]);
        spec["root"]["path"] = "/".into();
        spec["annotations"] = serde_json::json!({"org.example.key": "value"});
        fs::write(path, serde_json::to_vec(&spec).unwrap()).unwrap();
        bundle
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = runsc();
        command.arg(format!("--root={}/state", self.place.path().display()));
        command.args(args).current_dir(self.place.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn status(&self) -> String {
        let state: serde_json::Value =
            serde_json::from_slice(&self.run(&["state", "c1"]).stdout).unwrap();
        state["status"].as_str().unwrap().into()
    }

    /// Waits until the container has printed this.
    fn await_line(&self, wanted: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while fs::read_to_string(self.place.path().join("out")).unwrap() != wanted {
            assert!(Instant::now() < deadline, "never printed: {wanted}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn await_status(&self, wanted: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.status() != wanted {
            assert!(Instant::now() < deadline, "{} is not {wanted}", self.status());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.run(&["delete", "--force", "c1"]);
    }
}

#[test]
fn a_bundle_runs() {
    let bundle = Bundle::new("id -u; hostname; exit 9");
    let output = bundle.run(&["run", "--pid-file", "pid", "c1"]);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert_eq!(text(&output.stdout), "0\nrunsc\n");
    let pid = fs::read_to_string(bundle.place.path().join("pid")).unwrap();
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    assert_eq!(text(&bundle.run(&["list", "-q"]).stdout), "");
}

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    let bundle = Bundle::new("trap 'exit 3' USR1; echo ready; while :; do sleep 0.05; done");
    let create = || {
        // No pipes: the container keeps its streams, and a pipe would wait for them.
        let mut create = bundle.command(&["create", "--pid-file", "pid", "c1"]);
        let out = fs::File::create(bundle.place.path().join("out")).unwrap();
        create.stdout(out).stderr(Stdio::null()).status().unwrap()
    };
    let fails = |args: &[&str], says: &str| {
        let output = bundle.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        assert!(text(&output.stderr).contains(says), "{args:?}: {output:?}");
    };
    assert!(create().success());
    assert_eq!(bundle.status(), "created");
    let state: serde_json::Value =
        serde_json::from_slice(&bundle.run(&["state", "c1"]).stdout).unwrap();
    let pid = fs::read_to_string(bundle.place.path().join("pid")).unwrap();
    assert_eq!(state["pid"].to_string(), pid);
    assert_eq!(state["annotations"]["org.example.key"], "value");
    fails(&["create", "c1"], "already exists");
    assert!(bundle.run(&["start", "c1"]).status.success());
    assert_eq!(bundle.status(), "running");
    fails(&["start", "c1"], "cannot start an already running container");
    fails(&["delete", "c1"], "that is not stopped: running");
    fails(&["kill", "c1", "NOSUCH"], "unknown signal");
    assert!(bundle.run(&["kill", "c1", "0"]).status.success());
    bundle.await_line("ready\n");
    // The first process of a container is not ended by a signal that it does not handle.
    assert!(bundle.run(&["kill", "c1", "TERM"]).status.success());
    thread::sleep(Duration::from_millis(200));
    assert_eq!(bundle.status(), "running");
    assert!(bundle.run(&["kill", "c1", "USR1"]).status.success());
    bundle.await_status("stopped");
    fails(&["kill", "c1", "KILL"], "container not running");
    assert!(bundle.run(&["kill", "--all", "c1", "KILL"]).status.success());
    fails(&["start", "c1"], "cannot start a container that has stopped");
    assert!(bundle.run(&["delete", "c1"]).status.success());
    fails(&["state", "c1"], "container does not exist");

    assert!(create().success());
    assert!(bundle.run(&["kill", "c1", "KILL"]).status.success());
    bundle.await_status("stopped");
    assert!(bundle.run(&["delete", "c1"]).status.success());

    assert!(create().success());
    assert!(bundle.run(&["start", "c1"]).status.success());
    assert!(bundle.run(&["delete", "--force", "c1"]).status.success());
    fails(&["state", "c1"], "container does not exist");
}

#[test]
fn the_monitor_ends_as_the_program_ended() {
    let bundle = Bundle::new("kill -KILL 1; exit 4");
    let status = bundle.command(&["run", "c1"]).status().unwrap();
    // The first process is spared by signals from inside, even this one.
    assert_eq!((status.code(), status.signal()), (Some(4), None));
}
