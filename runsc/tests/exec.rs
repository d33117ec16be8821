// SPDX-License-Identifier: Apache-2.0
//! Processes added to a running container: who they are, what they see, and how their end is told.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};
use support::{
    Bundle, await_that,
    processes::Detached,
    terminal::{expect, receive},
};

const IDLE: &str = "while :; do sleep 1; done";

fn idle() -> Bundle {
    let bundle = Bundle::new(IDLE, |spec| {
        spec["process"]["env"] = serde_json::json!(["PATH=/usr/bin:/bin", "BASE=1", "HOME=/here"]);
        spec["process"]["user"]["additionalGids"] = serde_json::json!([33]);
    });
    bundle.start();
    bundle
}

#[test]
fn it_has_its_streams_and_its_exit_code() {
    let bundle = idle();
    let output = bundle.run(&["exec", "c1", "sh", "-c", "echo out; echo err >&2; exit 9"]);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert_eq!((&*output.stdout, &*output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(bundle.run(&["exec", "c1", "sh", "-c", "kill -TERM $$"]).status.code(), Some(143));

    let mut exec = bundle.command(&["exec", "c1", "cat"]);
    let mut cat = exec.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = cat.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        for _ in 0..64 {
            input.write_all(&[b'x'; 65536]).unwrap();
        }
    });
    let mut bytes = Vec::new();
    cat.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    writer.join().unwrap();
    assert!(cat.wait().unwrap().success());
    assert_eq!(bytes.len(), 64 * 65536);

    // Two streams that are one file outside are one inside: nothing is overwritten.
    let out = fs::File::create(bundle.path().join("both")).unwrap();
    let mut exec = bundle.command(&["exec", "c1", "sh", "-c", "echo 1; echo 2 >&2; echo 3"]);
    exec.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
    assert_eq!(fs::read_to_string(bundle.path().join("both")).unwrap(), "1\n2\n3\n");
}

#[test]
fn what_cannot_run_is_255_in_the_words_that_engines_look_for() {
    let bundle = idle();
    let unable = "exec failed: unable to start container process: exec: ";
    for (program, says) in [
        ("/no/such", "\"/no/such\": stat /no/such: no such file or directory"),
        ("nosuch", "\"nosuch\": executable file not found in $PATH"),
        ("/etc/passwd", "\"/etc/passwd\": permission denied"),
    ] {
        bundle.fails(&["exec", "c1", program], 255, &format!("{unable}{says}"));
        let detached = ["exec", "--detach", "--pid-file", "epid", "c1", program];
        bundle.fails(&detached, 255, &format!("{unable}{says}"));
        assert!(!bundle.path().join("epid").exists());
    }
    // The process's own environment is searched, not the container's.
    bundle.fails(&["exec", "-e", "PATH=/nowhere", "c1", "sh"], 255, "not found in $PATH");
    bundle.fails(&["exec", "--cwd", "/no/such", "c1", "true"], 255, "chdir to cwd (\"/no/such\")");
    bundle.fails(&["exec", "c1"], 255, "exec failed: process args cannot be empty");
    bundle.fails(&["exec", "none", "true"], 255, "exec failed: container does not exist");
    bundle.fails(&["exec", "--user", "nosuch", "c1", "id"], 255, "unable to find user nosuch");
    bundle.fails(&["exec", "--cwd", "rel", "c1", "true"], 255, "absolute");
    bundle.fails(&["exec", "--preserve-fds", "1", "c1", "true"], 255, "descriptor 3 is not open");
    bundle.fails(&["exec", "-d", "-t", "c1", "true"], 255, "console socket");
    bundle.succeeds(&["exec", "c1", "true"]);
}

#[test]
fn the_state_of_the_container_decides() {
    let bundle = Bundle::new(IDLE, |_| ());
    let null = || Stdio::null();
    let mut create = bundle.command(&["create", "c1"]);
    assert!(create.stdout(null()).stderr(null()).status().unwrap().success());
    // The first process is there, but has not run yet.
    assert_eq!(bundle.succeeds(&["exec", "c1", "cat", "/proc/1/comm"]), "sh\n");
    bundle.succeeds(&["start", "c1"]);
    bundle.succeeds(&["pause", "c1"]);
    let says = "cannot exec in a paused container (use --ignore-paused to override)";
    bundle.fails(&["exec", "c1", "true"], 255, says);
    let mut exec = bundle.command(&["exec", "--ignore-paused", "c1", "echo", "late"]);
    let mut late = exec.stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(late.try_wait().unwrap().is_none(), "it ran in a paused container");
    bundle.succeeds(&["resume", "c1"]);
    assert!(late.wait().unwrap().success());
    bundle.succeeds(&["kill", "c1", "KILL"]);
    bundle.await_status("stopped");
    bundle.fails(&["exec", "c1", "true"], 255, "exec failed: cannot exec in a stopped container");
}

#[test]
fn it_is_who_the_flags_say() {
    let bundle = idle();
    let show = "echo $(id -u):$(id -g):$A:$BASE:$HOME:$PWD";
    let sh = |flags: &[&str], script: &str| {
        let args: Vec<&str> = [&["exec"], flags, &["c1", "sh", "-c", script]]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        bundle.succeeds(&args).trim_end().to_string()
    };
    assert_eq!(sh(&[], show), "0:0::1:/here:/");
    let flags = ["--user", "1000:1001", "--env", "A=b", "-e", "BASE=2", "--cwd", "/tmp"];
    assert_eq!(sh(&flags, show), "1000:1001:b:2:/here:/tmp");
    assert_eq!(sh(&["-u", "nobody"], "id -un"), "nobody");
    assert_eq!(sh(&["-u", "7:daemon"], "id -u; id -gn"), "7\ndaemon");
    assert_eq!(sh(&["-g", "44", "-g", "45"], "id -G"), "0 33 44 45");
    // A child of nobody, in a session of its own.
    let stat = sh(
        &[],
        "read -r pid name state ppid group session rest </proc/self/stat; \
        echo $((pid == group)) $((pid == session)) $ppid",
    );
    assert_eq!(stat, "1 1 0");
    let caps = |flags: &[&str]| {
        let text = sh(flags, "grep CapEff /proc/self/status");
        u64::from_str_radix(text.rsplit(['\t', ' ']).next().unwrap(), 16).unwrap()
    };
    let usual = caps(&[]);
    assert_eq!(usual, 1 << 5 | 1 << 10 | 1 << 29);
    assert_eq!(caps(&["--cap", "CAP_SYS_TIME"]), usual | 1 << 25);
    assert_eq!(caps(&["--user", "1000"]), 0);
    let new_privs = |flags: &[&str]| sh(flags, "grep NoNewPrivs /proc/self/status");
    assert!(new_privs(&["--no-new-privs=false"]).ends_with('0'));
    assert!(new_privs(&[]).ends_with('1'));
}

#[test]
fn a_process_file_says_it_all() {
    let bundle = idle();
    let run = |process: serde_json::Value| {
        let file = bundle.path().join("process.json");
        fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
        bundle.succeeds(&["exec", "--process", file.to_str().unwrap(), "c1"])
    };
    let script = "echo $(id -u) $(id -g) $(id -G) $(umask) $(ulimit -n) $PWD $HOME $BASE";
    let mut process = serde_json::json!({
        "args": ["/bin/sh", "-c", script], "cwd": "/usr", "env": ["PATH=/usr/bin:/bin"],
        "user": {"uid": 7, "gid": 8, "additionalGids": [9], "umask": 63},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}],
    });
    let home = fs::read_to_string("/etc/passwd").unwrap();
    let home = home.lines().find(|line| line.split(':').nth(2) == Some("7"));
    let home = home.and_then(|line| line.split(':').nth(5)).unwrap_or("/");
    assert_eq!(run(process.clone()), format!("7 8 8 9 0077 55 /usr {home}\n"));
    // What it leaves out is the container's.
    process["user"] = serde_json::json!({"uid": 0, "gid": 0});
    process.as_object_mut().unwrap().remove("rlimits");
    let script = "ulimit -n; umask; grep -c 0000000020000420 /proc/self/status";
    process["args"] = serde_json::json!(["/bin/sh", "-c", script]);
    assert_eq!(run(process.clone()), "1024\n0022\n3\n");
    process["capabilities"] =
        serde_json::json!({"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []});
    process["args"] = serde_json::json!(["/bin/grep", "CapBnd", "/proc/self/status"]);
    assert_eq!(run(process), "CapBnd:\t0000000000000001\n");
    for (text, says) in [
        ("{", "process.json: EOF"),
        (r#"{"args": [], "cwd": "/", "user": {"uid": 0, "gid": 0}}"#, "args must not be empty"),
        (r#"{"args": ["a"], "cwd": "x", "user": {"uid": 0, "gid": 0}}"#, "cwd x is not absolute"),
    ] {
        fs::write(bundle.path().join("process.json"), text).unwrap();
        bundle.fails(&["exec", "--process", "process.json", "c1"], 255, says);
    }
}

fn guests(bundle: &Bundle, name: &str) -> usize {
    let script = format!("cat /proc/[0-9]*/comm | grep -cx {name}");
    let output = bundle.run(&["exec", "c1", "sh", "-c", &script]);
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn a_monitor_stands_for_it_to_its_end() {
    let bundle = idle();
    let mut one = Detached::start(&bundle, "echo hello; exit 7");
    assert_eq!(one.printed(), "hello\n");
    assert_eq!(one.wait(), WaitStatus::Exited(one.pid, 7));

    let script = "trap 'echo hit; exit 3' USR1; echo ready; while :; do sleep 0.05; done";
    let mut two = Detached::start(&bundle, script);
    assert_eq!(two.prints(6), "ready\n");
    kill(two.pid, Signal::SIGUSR1).unwrap();
    assert_eq!(two.wait(), WaitStatus::Exited(two.pid, 3));
    assert_eq!(two.printed(), "hit\n");

    let three = Detached::start(&bundle, "exec sleep 987");
    kill(three.pid, Signal::SIGTERM).unwrap();
    assert_eq!(three.wait(), WaitStatus::Signaled(three.pid, Signal::SIGTERM, false));

    // Without its monitor it goes too.
    let mut four = Detached::start(&bundle, "exec tail -f /dev/null");
    await_that("the guest's process is there", || guests(&bundle, "tail") == 1);
    kill(four.pid, Signal::SIGKILL).unwrap();
    assert_eq!(four.wait(), WaitStatus::Signaled(four.pid, Signal::SIGKILL, false));
    assert_eq!(four.printed(), "");
    await_that("the guest's process is gone", || guests(&bundle, "tail") == 0);

    // The end of the first process is the end of all.
    let five = Detached::start(&bundle, "exec sleep 986");
    bundle.succeeds(&["kill", "c1", "KILL"]);
    assert_eq!(five.wait(), WaitStatus::Signaled(five.pid, Signal::SIGKILL, false));
}

#[test]
fn the_host_sees_its_monitor() {
    let bundle = idle();
    let init = fs::read_to_string(bundle.path().join("pid")).unwrap();
    let exec = Detached::start(&bundle, "exec sleep 985");
    let pids: Vec<i32> =
        serde_json::from_str(&bundle.succeeds(&["ps", "--format", "json", "c1"])).unwrap();
    assert_eq!(pids, [init.parse::<i32>().unwrap(), exec.pid.as_raw()]);
    let table = bundle.succeeds(&["ps", "c1"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("sh -c exec sleep 985") && table.contains(IDLE), "{table}");
    let table = bundle.succeeds(&["ps", "c1", "-o", "pid,comm"]);
    assert!(table.lines().nth(1).is_some_and(|line| line.ends_with(" sh")), "{table}");
    // In the container's network namespace, which is not ours where we may make one.
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert_eq!(network(&exec.pid.to_string()), network(&init));
    if nix::unistd::geteuid().is_root() {
        assert_ne!(network("self"), network(&init));
    }
    kill(exec.pid, Signal::SIGKILL).unwrap();
    exec.wait();
    let pids: Vec<i32> =
        serde_json::from_str(&bundle.succeeds(&["ps", "--format", "json", "c1"])).unwrap();
    assert_eq!(pids, [init.parse::<i32>().unwrap()]);
    bundle.succeeds(&["kill", "c1", "KILL"]);
    bundle.await_status("stopped");
    assert_eq!(bundle.succeeds(&["ps", "--format", "json", "c1"]), "null\n");
}

#[test]
fn it_has_a_terminal_of_the_sandbox() {
    prctl::set_child_subreaper(true).unwrap();
    let bundle = idle();
    let socket = bundle.path().join("console");
    let listener = UnixListener::bind(&socket).unwrap();
    let process = serde_json::json!({
        "terminal": true, "consoleSize": {"height": 30, "width": 90},
        "args": ["/bin/sh", "-i"], "cwd": "/", "env": ["PATH=/usr/bin:/bin", "PS1="],
        "user": {"uid": 0, "gid": 0},
    });
    fs::write(bundle.path().join("p.json"), process.to_string()).unwrap();
    let socket = socket.to_str().unwrap();
    for round in 0..3 {
        let args = [
            "exec",
            "-d",
            "--process",
            "p.json",
            "--console-socket",
            socket,
            "--pid-file",
            "epid",
            "c1",
        ];
        // Both on one pipe that is read to its end, as engines do: nobody may keep it.
        bundle.succeeds(&args);
        let mut terminal = receive(&listener);
        let mut say = |line: &str, wanted: &str| {
            terminal.write_all(line.as_bytes()).unwrap();
            expect(&mut terminal, wanted)
        };
        // Numbers are free again once their terminal is gone.
        say("tty; stty size; echo $((40 + 2))\n", "42");
        let text = say("tty; stty size\n", "30 90");
        assert!(text.contains("/dev/pts/0"), "{round}: {text}");
        // It speaks when it is in front.
        say("sh -c 'echo go\"\"ing; exec sleep 100'\n", "going");
        say("\u{3}", "^C");
        say("echo status $?\n", "status 130");
        let mut stty = Command::new("stty");
        stty.args(["rows", "33", "cols", "77"]).stdin(terminal.try_clone().unwrap());
        assert!(stty.status().unwrap().success());
        let until =
            "until [ \"$(stty size)\" = '33 77' ]; do sleep 0.05; done; echo resi''zed; exit 5\n";
        terminal.write_all(until.as_bytes()).unwrap();
        expect(&mut terminal, "resized");
        let pid = fs::read_to_string(bundle.path().join("epid")).unwrap();
        let pid = Pid::from_raw(pid.parse().unwrap());
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 5));
        // Nobody is left at the other end.
        let mut rest = [0; 4096];
        while terminal.read(&mut rest).unwrap_or(0) > 0 {}
    }
}

#[test]
fn only_what_is_preserved_is_handed_on() {
    let bundle = idle();
    let script = "exec 3>through 4</dev/null 5</dev/zero; \"$@\"";
    let runsc = bundle.command(&[
        "exec",
        "--preserve-fds",
        "1",
        "c1",
        "sh",
        "-c",
        "echo to you >&3; ls /proc/self/fd",
    ]);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(runsc.get_program()).args(runsc.get_args());
    let output = shell.current_dir(bundle.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // The last is ls's own.
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0\n1\n2\n3\n4\n");
    assert_eq!(fs::read_to_string(bundle.path().join("through")).unwrap(), "to you\n");
}
