// SPDX-License-Identifier: Apache-2.0
//! Hooks: where each runs, in which order, what it is given, and what its failure does.
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::oci::bed::{Bed, ID};

const ALL: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that runs a shell line; inside the container it is the container's shell.
fn hook(line: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", line], "env": ["PATH=/usr/bin:/bin", "HOOK=yes"]})
}

/// Where a hook can write what a test reads.
fn place(bed: &Bed, name: &str, file: &str) -> String {
    match name {
        "startContainer" => format!("/tmp/{file}"),
        _ => bed.path(file).display().to_string(),
    }
}

fn read(bed: &Bed, name: &str, file: &str) -> Result<String> {
    match name {
        "startContainer" => bed.guest_file(&format!("tmp/{file}")),
        _ => Ok(fs::read_to_string(bed.path(file)).context(file.to_owned())?),
    }
}

/// Has each hook write the state that it is given, and the time.
fn all(bed: &mut Bed) {
    for name in ALL {
        let at = place(bed, name, name);
        let line = format!("cat >{at}; echo $HOOK >{at}.env; pwd >{at}.cwd");
        let value = json!([hook(&line)]);
        bed.set(&format!("/hooks/{name}"), value);
    }
}

fn exists(bed: &Bed, name: &str) -> bool {
    read(bed, name, name).is_ok()
}

pub fn each_runs_in_its_turn(bed: &mut Bed) -> Result<()> {
    all(bed);
    let pid = bed.create()?;
    for name in ["prestart", "createRuntime", "createContainer"] {
        ensure!(exists(bed, name), "{name} has not run at create");
    }
    for name in ["startContainer", "poststop"] {
        ensure!(!exists(bed, name), "{name} has run at create");
    }
    bed.ok(&["start", ID])?;
    bed.until(|| exists(bed, "startContainer"), || "startContainer has not run".into())?;
    ensure!(exists(bed, "poststart"), "poststart has not run at start");
    ensure!(!exists(bed, "poststop"));
    bed.ok(&["kill", ID, "KILL"])?;
    bed.await_exit(pid)?;
    ensure!(!exists(bed, "poststop"), "poststop has run before delete");
    bed.ok(&["delete", ID])?;
    ensure!(exists(bed, "poststop"), "poststop has not run at delete");
    Ok(())
}

/// After the program was started, before `start` returns, says the specification.
pub fn poststart_runs_at_start(bed: &mut Bed) -> Result<()> {
    all(bed);
    let pid = bed.create()?;
    ensure!(!exists(bed, "poststart"), "poststart has run at create");
    bed.ok(&["start", ID])?;
    let state: Value = serde_json::from_str(&read(bed, "poststart", "poststart")?)?;
    ensure!(state["status"] == "running" && state["pid"] == pid, "{state}");
    Ok(())
}

pub fn the_state_is_on_standard_input(bed: &mut Bed) -> Result<()> {
    all(bed);
    bed.set("/annotations", json!({"key": "value"}));
    let pid = bed.stopped()?;
    bed.ok(&["delete", ID])?;
    for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let text = read(bed, name, name)?;
        let state: Value =
            serde_json::from_str(&text).with_context(|| format!("{name}: {text}"))?;
        ensure!(state["id"] == ID, "{name}: {state}");
        ensure!(state["bundle"] == bed.bundle().display().to_string(), "{name}: {state}");
        ensure!(state["annotations"] == json!({"key": "value"}), "{name}: {state}");
        ensure!(state["ociVersion"].is_string(), "{name}: {state}");
        match name {
            "poststop" => ensure!(state["status"] == "stopped", "{name}: {state}"),
            "createContainer" => {}
            _ => ensure!(state["pid"] == pid, "{name}: {state} {pid}"),
        }
    }
    Ok(())
}

pub fn their_environment_is_their_own(bed: &mut Bed) -> Result<()> {
    for name in ["prestart", "createRuntime", "poststart", "poststop"] {
        let at = place(bed, name, name);
        let value = json!([{"path": "/usr/bin/env", "args": ["env"], "env": ["ONLY=this"]},
            hook(&format!("env >{at}"))]);
        bed.set(&format!("/hooks/{name}"), value);
    }
    bed.stopped()?;
    bed.ok(&["delete", ID])?;
    for name in ["prestart", "createRuntime", "poststart", "poststop"] {
        let text = read(bed, name, name)?;
        let is_known = |line: &str| {
            ["PATH=", "HOOK=", "PWD=", "SHLVL=", "_=", "OLDPWD="]
                .iter()
                .any(|it| line.starts_with(it))
        };
        ensure!(text.contains("HOOK=yes") && text.lines().all(is_known), "{name}: {text}");
    }
    Ok(())
}

pub fn those_on_the_host_run_in_the_bundle(bed: &mut Bed) -> Result<()> {
    all(bed);
    bed.stopped()?;
    bed.ok(&["delete", ID])?;
    for name in ["prestart", "createRuntime", "poststart"] {
        let cwd = read(bed, name, &format!("{name}.cwd"))?;
        ensure!(cwd.trim() == bed.bundle().display().to_string(), "{name}: {cwd}");
    }
    Ok(())
}

pub fn several_run_in_order(bed: &mut Bed) -> Result<()> {
    let at = bed.path("order").display().to_string();
    for name in ["prestart", "createRuntime", "poststart", "poststop"] {
        let one = hook(&format!("cat >/dev/null; echo {name}1 >>{at}"));
        let two = hook(&format!("cat >/dev/null; echo {name}2 >>{at}"));
        bed.set(&format!("/hooks/{name}"), json!([one, two]));
    }
    bed.stopped()?;
    bed.ok(&["delete", ID])?;
    let order = fs::read_to_string(&at)?;
    let wanted = "prestart1 prestart2 createRuntime1 createRuntime2 poststart1 poststart2 \
                  poststop1 poststop2";
    ensure!(order.split_whitespace().collect::<Vec<_>>().join(" ") == wanted, "{order}");
    Ok(())
}

/// A hook that fails at create fails it, says why, and nothing is left.
fn fails_create(bed: &mut Bed, name: &str) -> Result<()> {
    let at = bed.path("stopped").display().to_string();
    bed.set(
        &format!("/hooks/{name}"),
        json!([hook("cat >/dev/null; echo for a reason >&2; exit 13")]),
    );
    bed.set("/hooks/poststop", json!([hook(&format!("echo >{at}"))]));
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let command = bed.command(&["create", "--bundle", &bundle, ID]);
    let ended = bed.finish_into_files(command, "out", "err")?;
    bed.is_failure(&ended, 1, "exit status 13")?;
    if bed.runtime.name != "crun" {
        let said = ended.last_error().unwrap_or_default();
        ensure!(said.contains("error running hook") && said.contains("for a reason"), "{said}");
    }
    bed.fails(&["state", ID], 1, "does not exist")?;
    ensure!(bed.path("stopped").exists(), "poststop has not run");
    bed.nothing_is_left()
}

pub fn a_failing_prestart(bed: &mut Bed) -> Result<()> {
    fails_create(bed, "prestart")
}

pub fn a_failing_create_runtime(bed: &mut Bed) -> Result<()> {
    fails_create(bed, "createRuntime")
}

pub fn a_failing_create_container(bed: &mut Bed) -> Result<()> {
    fails_create(bed, "createContainer")
}

pub fn a_failing_start_container(bed: &mut Bed) -> Result<()> {
    bed.set("/hooks/startContainer", json!([hook("cat >/dev/null; exit 13")]));
    bed.shell("echo ran >/tmp/ran");
    let pid = bed.create()?;
    // runc's start may return before the hook has failed.
    bed.call(&["start", ID])?;
    ensure!(bed.await_exit(pid)? != 0);
    ensure!(!bed.rootfs().join("tmp/ran").exists(), "the program ran all the same");
    bed.is_in("stopped")
}

pub fn a_failing_poststop_is_no_failure(bed: &mut Bed) -> Result<()> {
    bed.set("/hooks/poststop", json!([hook("cat >/dev/null; exit 13")]));
    bed.stopped()?;
    let ended = bed.call(&["delete", ID])?;
    ensure!(ended.code == 0, "{ended:?}");
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

/// runc runs it at create, and fails there.
pub fn a_failing_poststart(bed: &mut Bed) -> Result<()> {
    bed.set("/hooks/poststart", json!([hook("cat >/dev/null; exit 13")]));
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let command = bed.command(&["create", "--bundle", &bundle, ID]);
    let mut ended = bed.finish_into_files(command, "out", "err")?;
    if ended.code == 0 {
        ended = bed.call(&["start", ID])?;
    }
    bed.is_failure(&ended, 1, "exit status 13")?;
    ensure!(!bed.call(&["state", ID])?.out.contains("running"), "it runs all the same");
    Ok(())
}

pub fn a_hook_out_of_time(bed: &mut Bed) -> Result<()> {
    let mut value = hook("exec sleep 30");
    value["timeout"] = json!(1);
    bed.set("/hooks/prestart", json!([value]));
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let command = bed.command(&["create", "--bundle", &bundle, ID]);
    let before = std::time::Instant::now();
    let ended = bed.finish_into_files(command, "out", "err")?;
    bed.is_failure(&ended, 1, "hook")?;
    ensure!(before.elapsed() < std::time::Duration::from_secs(10));
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

pub fn a_hook_that_is_missing(bed: &mut Bed) -> Result<()> {
    bed.set("/hooks/prestart", json!([{"path": "/no/such/hook"}]));
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let command = bed.command(&["create", "--bundle", &bundle, ID]);
    let ended = bed.finish_into_files(command, "out", "err")?;
    bed.is_failure(&ended, 1, "no such file or directory")?;
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

pub fn start_container_runs_inside(bed: &mut Bed) -> Result<()> {
    let line = "hostname >/tmp/where; readlink /proc/self/ns/uts >>/tmp/where";
    bed.set("/hooks/startContainer", json!([hook(line)]));
    bed.shell("cat /tmp/where");
    let pid = bed.started()?;
    ensure!(bed.await_exit(pid)? == 0);
    let out = bed.output();
    let host = fs::read_link("/proc/self/ns/uts")?;
    ensure!(out.starts_with("contract\nuts:"), "{out:?}");
    ensure!(!out.contains(&*host.to_string_lossy()), "{out:?}");
    Ok(())
}

pub fn the_pid_leads_to_the_network_namespace(bed: &mut Bed) -> Result<()> {
    // What docker's own hook does: it moves an interface into the namespace of this process.
    let at = bed.path("ns").display().to_string();
    let line =
        format!("pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); readlink /proc/$pid/ns/net >{at}");
    bed.set("/hooks/prestart", json!([hook(&line)]));
    let pid = bed.create()?;
    let seen = fs::read_to_string(&at)?;
    ensure!(
        seen.trim() == fs::read_link(format!("/proc/{pid}/ns/net"))?.to_string_lossy(),
        "{seen}"
    );
    ensure!(seen.trim() != fs::read_link("/proc/self/ns/net")?.to_string_lossy(), "the host's");
    Ok(())
}
