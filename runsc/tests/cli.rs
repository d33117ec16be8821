// SPDX-License-Identifier: Apache-2.0
//! The command line from outside: what is printed, which exit code, which files.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn runsc(args: &[&str]) -> Output {
    run_in(Path::new("/"), args)
}

fn run_in(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runsc"))
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Fails with this code, says this on one line, and prints nothing else.
fn fails(args: &[&str], code: i32, says: &str) {
    let output = runsc(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    assert_eq!(text(&output), "", "{args:?}");
    let error = errors(&output);
    assert!(error.contains(says), "{args:?}: {error}");
    assert_eq!(error.matches('\n').count(), 1, "{args:?}: {error}");
}

#[test]
fn the_version_has_the_lines_that_engines_look_for() {
    for args in [["--version"], ["-v"]] {
        let output = runsc(&args);
        assert!(output.status.success());
        let text = text(&output);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("runsc version "), "{text}");
        assert!(lines[1].starts_with("commit: "), "{text}");
        assert!(lines[2].starts_with("spec: 1."), "{text}");
    }
}

#[test]
fn help_is_there_for_each_command() {
    let overview = text(&runsc(&["help"]));
    assert_eq!(overview, text(&runsc(&["--help"])));
    for command in ["do", "run", "create", "start", "state", "kill", "delete", "list", "spec"] {
        assert!(overview.contains(&format!("\n  {command} ")), "{command}: {overview}");
        let asked = runsc(&[command, "--help"]);
        assert!(asked.status.success());
        assert_eq!(text(&asked), text(&runsc(&["help", command])));
    }
    assert!(!overview.contains("\n  boot "));
}

#[test]
fn mistakes_are_named_in_one_line() {
    fails(&["--nope", "list"], 128, "flag provided but not defined: -nope");
    fails(&["frob"], 128, "unknown command \"frob\"");
    fails(&["--platform=kvm", "list"], 128, "not one of systrap, ptrace");
    fails(&["--network=host", "do", "true"], 128, "--network=host: not supported yet");
    fails(&["--strace-syscalls=nope", "list"], 1, "called 'nope'");
    fails(&["--overlay2=nonsense", "list"], 1, "invalid value \"nonsense\" for flag -overlay2");
    fails(&["--log=/no/such/dir/log", "list"], 1, "/no/such/dir/log: no such file or directory");
    fails(&["do"], 128, "do: 0 arguments");
    fails(&["do", "--cwd=/no/such", "--root=/no/such", "true"], 128, "--root /no/such");
    fails(&["do", "--volume=/no/such", "true"], 128, "--volume /no/such");
}

#[test]
fn containers_that_are_not_there() {
    let root = tempfile::tempdir().unwrap();
    let root = format!("--root={}", root.path().display());
    for command in ["state", "kill", "delete", "start"] {
        fails(&[&root, command, "nope"], 1, "container does not exist");
    }
    let forced = runsc(&[&root, "delete", "--force", "nope"]);
    assert!(forced.status.success() && forced.stderr.is_empty());
    assert_eq!(text(&runsc(&[&root, "list", "-q"])), "");
    assert_eq!(text(&runsc(&[&root, "list", "--format", "json"])), "null");
    assert!(text(&runsc(&[&root, "list"])).starts_with("ID          PID         STATUS"));
}

#[test]
fn the_log_has_the_last_error_as_engines_read_it() {
    let root = tempfile::tempdir().unwrap();
    let log = root.path().join("log");
    let log_flag = format!("--log={}", log.display());
    let root_flag = format!("--root={}", root.path().join("state").display());
    for _ in 0..2 {
        runsc(&[&root_flag, &log_flag, "--log-format=json", "state", "nope"]);
    }
    let log = fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "the log is appended to: {log}");
    assert_eq!(lines[1]["level"], "error");
    assert_eq!(lines[1]["msg"], "container does not exist");
    assert!(lines[1]["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn ignored_flags_say_so_with_debug() {
    let output = runsc(&["--debug", "--nvproxy", "--qdisc", "fifo", "list", "-q"]);
    let error = errors(&output);
    assert!(error.contains("flag --nvproxy does nothing"), "{error}");
    assert!(error.contains("flag --qdisc does nothing"), "{error}");
}

#[test]
fn spec_writes_what_runc_writes() {
    let bundle = tempfile::tempdir().unwrap();
    assert!(run_in(bundle.path(), &["spec"]).status.success());
    let again = run_in(bundle.path(), &["spec"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(errors(&again).contains("File config.json exists. Remove it first"));
    let ours = read_spec(bundle.path());
    assert_eq!(ours["process"]["args"][0], "sh");
    assert_eq!(ours["root"]["readonly"], true);
    assert_eq!(ours["mounts"].as_array().unwrap().len(), 7);
    for is_rootless in [false, true] {
        compare_with_runc(is_rootless);
    }
}

fn read_spec(bundle: &Path) -> Value {
    serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap()
}

/// Where runc is installed, its template is ours but for the version and its name.
fn compare_with_runc(is_rootless: bool) {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let args: &[&str] = if is_rootless { &["spec", "--rootless"] } else { &["spec"] };
    let runc = Command::new("runc").args(args).current_dir(theirs.path()).output();
    if !runc.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no runc to compare with");
        return;
    }
    assert!(run_in(ours.path(), args).status.success());
    let (mut ours, mut theirs) = (read_spec(ours.path()), read_spec(theirs.path()));
    for spec in [&mut ours, &mut theirs] {
        let fields = spec.as_object_mut().unwrap();
        fields.remove("ociVersion");
        fields.remove("hostname");
    }
    assert_eq!(ours, theirs);
}

#[test]
fn bundles_that_cannot_be_run_are_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let bundle = place.path();
    let root = format!("--root={}", bundle.join("state").display());
    let fails = |change: &dyn Fn(&mut Value), says: &str| {
        let config = bundle.join("config.json");
        let _ = fs::remove_file(&config);
        run_in(bundle, &["spec"]);
        let mut spec = read_spec(bundle);
        spec["process"]["terminal"] = false.into();
        change(&mut spec);
        fs::write(&config, serde_json::to_vec(&spec).unwrap()).unwrap();
        let output = run_in(bundle, &[&root, "run", "c1"]);
        assert_eq!(output.status.code(), Some(1), "{says}: {output:?}");
        assert!(errors(&output).contains(says), "{says}: {}", errors(&output));
        assert_eq!(text(&run_in(bundle, &[&root, "list", "-q"])), "", "{says}: left behind");
    };
    fails(&|_| (), "/rootfs: no such file or directory");
    fs::create_dir(bundle.join("rootfs")).unwrap();
    fails(&|spec| spec["root"]["path"] = "/none".into(), "root.path /none");
    fails(&|spec| spec["process"]["args"] = Value::Array(Vec::new()), "args must not be empty");
    fails(&|spec| spec["process"]["args"][0] = "a\0b".into(), "a NUL byte");
    fails(&|spec| spec["process"]["cwd"] = "rel".into(), "process.cwd: cwd rel is not absolute");
    fails(&|spec| spec["process"]["rlimits"][0]["soft"] = 9999.into(), "soft above hard");
    fails(&|spec| spec["process"] = Value::Null, "process: is missing");
    fails(&|spec| spec["process"]["user"]["umask"] = 0o1777.into(), "process.user.umask");
    fails(&|spec| spec["process"]["user"]["uid"] = "x".into(), "process.user.uid: invalid type");
    fails(
        &|spec| spec["process"]["oomScoreAdj"] = 1001.into(),
        "process.oomScoreAdj: is not between",
    );
    fails(&|spec| spec["hostname"] = "x".repeat(65).into(), "hostname: is longer than 64 bytes");
    fails(
        &|spec| spec["linux"]["rootfsPropagation"] = "x".into(),
        "linux.rootfsPropagation: \"x\"",
    );
    fails(
        &|spec| spec["linux"]["namespaces"][1]["type"] = "pid".into(),
        "linux.namespaces[1]: malformed spec file: duplicated ns pid",
    );
    fails(
        &|spec| spec["linux"]["namespaces"][1]["path"] = "/no/such".into(),
        "linux.namespaces[1].path: /no/such: no such file",
    );
    fails(
        &|spec| spec["linux"]["timeOffsets"] = serde_json::json!({"monotonic": {"secs": 1}}),
        "linux.timeOffsets.monotonic",
    );
    fails(
        &|spec| {
            spec["linux"]["devices"] =
                serde_json::json!([{"path": "/dev/x", "type": "c", "major": -1, "minor": 0}])
        },
        "linux.devices[0].major: -1 is no device number",
    );
    fails(
        &|spec| spec["mounts"][1]["type"] = "ext4".into(),
        "mounts[1].type: no file system is called",
    );
    fails(
        &|spec| spec["mounts"][1]["destination"] = "/..".into(),
        "mounts[1].destination: mounting over /",
    );
    fails(
        &|spec| spec["hooks"] = serde_json::json!({"poststop": [{"path": "rel"}]}),
        "hooks.poststop[0].path: is not absolute",
    );
    fails(
        &|spec| {
            spec["linux"]["uidMappings"] =
                serde_json::json!([{"containerID": 0, "hostID": 0, "size": 1}])
        },
        "linux.uidMappings: User namespace mappings specified",
    );
    fails(
        &|spec| spec["mounts"][0] = serde_json::json!({"destination": "/x", "type": "bind"}),
        "mounts[0].source: a bind mount needs one",
    );
    fs::write(bundle.join("config.json"), "{bad").unwrap();
    let output = run_in(bundle, &[&root, "run", "c1"]);
    assert!(errors(&output).contains("config.json: key must be a string"), "{output:?}");
    fs::remove_file(bundle.join("config.json")).unwrap();
    let output = run_in(bundle, &[&root, "run", "c1"]);
    assert!(errors(&output).contains("config.json: no such file"), "{output:?}");
    let output = run_in(bundle, &[&root, "run", "a/b"]);
    assert!(errors(&output).contains("invalid container ID format"), "{output:?}");
}

#[test]
fn a_terminal_needs_a_socket_when_detached() {
    let place = tempfile::tempdir().unwrap();
    let bundle = place.path();
    let root = format!("--root={}", bundle.join("state").display());
    fs::create_dir(bundle.join("rootfs")).unwrap();
    run_in(bundle, &["spec"]);
    let output = run_in(bundle, &[&root, "create", "c1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("console socket"), "{output:?}");
    assert_eq!(text(&run_in(bundle, &[&root, "list", "-q"])), "");
}

#[test]
fn features_and_completions_are_well_formed() {
    let features: Value = serde_json::from_slice(&runsc(&["features"]).stdout).unwrap();
    assert_eq!(
        (&features["linux"]["cgroup"]["v1"], &features["linux"]["cgroup"]["v2"]),
        (&true.into(), &true.into())
    );
    assert!(features["ociVersionMin"].is_string() && features["linux"]["capabilities"].is_array());
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&runsc(&["completion", shell]));
        assert!(script.contains("strace-syscalls") && script.contains("delete"), "{shell}");
    }
    let script = text(&runsc(&["completion", "bash"]));
    let check = Command::new("bash").args(["-nc", &script]).output();
    assert!(check.is_ok_and(|output| output.status.success()), "{script}");
    for args in [&["help", "--man"][..], &["help", "--man", "do"]] {
        let page = text(&runsc(args));
        assert!(page.starts_with(".TH \"RUNSC") && page.contains("\n.SH FLAGS\n"), "{page}");
    }
    fails(&["completion", "tcsh"], 1, "no shell \"tcsh\"");
}

#[test]
fn the_doctor_looks_at_everything() {
    let output = runsc(&["doctor", "--format=json"]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["works"], true);
    let findings = report["findings"].as_array().unwrap();
    for subject in ["platform systrap", "platform ptrace", "kernel", "seccomp", "cgroups"] {
        let found = findings.iter().find(|it| it["subject"] == subject);
        let health = found.unwrap_or_else(|| panic!("{subject}: {report}"))["health"].as_str();
        assert!(matches!(health, Some("ok" | "warn" | "fail")), "{report}");
    }
    let table = text(&runsc(&["doctor"]));
    assert_eq!(table.lines().filter(|line| !line.starts_with(' ')).count(), findings.len());
    assert!(table.contains("ok    platform systrap"), "{table}");
}

#[test]
fn docker_is_told_of_us_and_keeps_what_it_had() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("new/daemon.json");
    let flag = format!("--config_file={}", path.display());
    let config = || -> Value { serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() };
    assert!(runsc(&["install", &flag, "--", "--platform=ptrace", "--debug"]).status.success());
    let entry = &config()["runtimes"]["runsc"];
    assert_eq!(entry["path"], env!("CARGO_BIN_EXE_runsc"));
    assert_eq!(entry["runtimeArgs"], serde_json::json!(["--platform=ptrace", "--debug"]));

    fs::write(&path, r#"{"hosts": ["x"], "runtimes": {"other": {"path": "/o"}}, "debug": true}"#)
        .unwrap();
    assert!(runsc(&["install", &flag, "--runtime=mine"]).status.success());
    assert_eq!(
        config()["runtimes"]["mine"],
        serde_json::json!({"path": env!("CARGO_BIN_EXE_runsc")})
    );
    assert!(runsc(&["uninstall", &flag, "--runtime=mine"]).status.success());
    let wanted = serde_json::json!({
        "hosts": ["x"], "runtimes": {"other": {"path": "/o"}}, "debug": true
    });
    assert_eq!(config(), wanted);
    let keys: Vec<String> = config().as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["hosts", "runtimes", "debug"], "in their old order");
    fails(&["uninstall", &flag, "--runtime=mine"], 1, "there is no runtime mine");
    fs::write(&path, "{bad").unwrap();
    fails(&["install", &flag], 1, "daemon.json: ");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "{bad",
        "a file that makes no sense is left alone"
    );
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}
