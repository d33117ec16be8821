// SPDX-License-Identifier: Apache-2.0
//! Hooks: where each runs, in which order, what it is given, and what its failure does.
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tests::oci::{
    bed::{Bed, Ended, ID},
    host,
};

const ALL: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that runs a shell line; inside the container it is the container's shell. It reads the state in
/// the end: crun dies of SIGPIPE when nobody does.
fn hook(line: &str) -> Value {
    let line = format!("trap 'cat >/dev/null' EXIT; {line}");
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
        let value = json!([{"path": "/bin/cat", "env": ["ONLY=this"]},
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
    let before = Instant::now();
    let ended = bed.finish_into_files(command, "out", "err")?;
    bed.is_failure(&ended, 1, "hook")?;
    ensure!(before.elapsed() < Duration::from_secs(25));
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

/// Calls `create`, whatever comes of it.
fn create(bed: &mut Bed) -> Result<Ended> {
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let command = bed.command(&["create", "--bundle", &bundle, ID]);
    bed.finish_into_files(command, "out", "err")
}

/// The specification wants an absolute path. In the bundle there is such a program.
pub fn a_relative_path_is_refused(bed: &mut Bed) -> Result<()> {
    fs::write(bed.bundle().join("hook"), "#!/bin/sh\n")?;
    fs::set_permissions(bed.bundle().join("hook"), fs::Permissions::from_mode(0o755))?;
    bed.set("/hooks/prestart", json!([{"path": "hook"}]));
    let ended = create(bed)?;
    bed.is_failure(&ended, 1, "absolute")?;
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

pub fn a_hook_that_is_not_executable(bed: &mut Bed) -> Result<()> {
    let at = bed.path("hook");
    fs::write(&at, "#!/bin/sh\n")?;
    fs::set_permissions(&at, fs::Permissions::from_mode(0o644))?;
    bed.set("/hooks/createRuntime", json!([{"path": at.display().to_string()}]));
    let ended = create(bed)?;
    bed.is_failure(&ended, 1, "permission denied")?;
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

/// A script is found by its first line, as anywhere.
pub fn a_hook_may_be_a_script(bed: &mut Bed) -> Result<()> {
    let (at, ran) = (bed.path("hook"), bed.path("ran"));
    fs::write(&at, format!("#!/bin/sh\necho \"$0 $1\" >{}\n", ran.display()))?;
    fs::set_permissions(&at, fs::Permissions::from_mode(0o755))?;
    let at = at.display().to_string();
    bed.set("/hooks/prestart", json!([{"path": at, "args": ["name", "argument"]}]));
    bed.create()?;
    ensure!(fs::read_to_string(&ran)? == format!("{at} argument\n"));
    Ok(())
}

pub fn a_hook_that_writes_a_lot(bed: &mut Bed) -> Result<()> {
    let line = "cat >/dev/null; yes | head -c 4000000; yes | head -c 4000000 >&2";
    for name in ["prestart", "createContainer", "poststart", "poststop"] {
        bed.set(&format!("/hooks/{name}"), json!([hook(line)]));
    }
    bed.stopped()?;
    bed.ok(&["delete", ID]).map(drop)
}

/// What a hook leaves running, with its streams, is not waited for.
pub fn a_hook_that_leaves_a_child(bed: &mut Bed) -> Result<()> {
    bed.set("/hooks/prestart", json!([hook("cat >/dev/null; sleep 25 & :")]));
    let before = Instant::now();
    bed.create()?;
    ensure!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
    let child = host::descendants().into_iter().find(|(_, line)| line.starts_with("sleep 25"));
    let (child, _) = child.context("the hook's child has gone")?;
    kill(Pid::from_raw(child), Signal::SIGKILL)?;
    bed.until(|| !host::is_alive(child), || "the child of the hook does not end".into())
}

/// The time of a hook is up for what it has started, too.
pub fn a_hook_out_of_time_with_children(bed: &mut Bed) -> Result<()> {
    let mut value = hook("cat >/dev/null; sleep 30; :");
    value["timeout"] = json!(1);
    bed.set("/hooks/createContainer", json!([value]));
    let before = Instant::now();
    let ended = create(bed)?;
    bed.is_failure(&ended, 1, "hook ran past specified timeout of 1.0s")?;
    ensure!(before.elapsed() < Duration::from_secs(25), "{:?}", before.elapsed());
    bed.nothing_is_left()
}

pub fn a_run_has_them_all(bed: &mut Bed) -> Result<()> {
    let at = bed.path("order").display().to_string();
    for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let line = format!("cat >/dev/null; echo {name} >>{at}");
        bed.set(&format!("/hooks/{name}"), json!([hook(&line)]));
    }
    bed.shell("echo ran; exit 7");
    bed.run()?.is(7, "ran\n")?;
    let order = fs::read_to_string(&at)?;
    let order: Vec<_> = order.split_whitespace().collect();
    ensure!(
        order == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"],
        "{order:?}"
    );
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

pub fn an_exec_has_none(bed: &mut Bed) -> Result<()> {
    let at = bed.path("count").display().to_string();
    for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        bed.set(&format!("/hooks/{name}"), json!([hook(&format!("cat >/dev/null; echo >>{at}"))]));
    }
    bed.started()?;
    let before = fs::read_to_string(&at)?.len();
    ensure!(before == 4, "{before} hooks have run before exec");
    bed.ok(&["exec", ID, "echo", "more"])?.is(0, "more\n")?;
    ensure!(fs::read_to_string(&at)?.len() == before);
    Ok(())
}

pub fn poststop_runs_at_a_forced_delete(bed: &mut Bed) -> Result<()> {
    let at = bed.path("state");
    let line = format!("cat >{}", at.display());
    bed.set("/hooks/poststop", json!([hook(&line)]));
    for is_started in [false, true] {
        bed.create()?;
        if is_started {
            bed.ok(&["start", ID])?;
        }
        bed.ok(&["delete", "--force", ID])?;
        let state: Value = serde_json::from_str(&fs::read_to_string(&at)?)?;
        ensure!(state["status"] == "stopped" && state["id"] == ID, "{state}");
        fs::remove_file(&at)?;
    }
    // Of what is not there there is nothing to tell.
    bed.ok(&["delete", "--force", ID])?;
    ensure!(!at.exists());
    Ok(())
}

/// So says the specification.
pub fn a_failing_poststop_does_not_keep_the_next_from_running(bed: &mut Bed) -> Result<()> {
    let at = bed.path("next").display().to_string();
    let next = hook(&format!("cat >/dev/null; echo >{at}"));
    bed.set("/hooks/poststop", json!([hook("cat >/dev/null; exit 3"), {"path": "/no/such"}, next]));
    bed.stopped()?;
    ensure!(bed.call(&["delete", ID])?.code == 0);
    ensure!(bed.path("next").exists(), "the last has not run");
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

pub fn create_container_has_the_containers_namespaces(bed: &mut Bed) -> Result<()> {
    let at = bed.path("seen").display().to_string();
    let line = format!("cat >/dev/null; cd /proc/self/ns; readlink net uts mnt ipc cgroup >{at}");
    bed.set("/hooks/createContainer", json!([hook(&line)]));
    bed.push("/linux/namespaces", json!({"type": "cgroup"}));
    let pid = bed.create()?;
    let seen = fs::read_to_string(&at)?;
    let seen: Vec<_> = seen.lines().collect();
    let name = |of: &str, it: &str| -> Result<String> {
        Ok(fs::read_link(format!("/proc/{of}/ns/{it}"))?.display().to_string())
    };
    let pid = pid.to_string();
    for (it, seen) in ["net", "uts", "mnt", "ipc", "cgroup"].iter().zip(&seen) {
        ensure!(*seen != name("self", it)?, "{it}: {seen}: the host's");
        // The process that stands for the container goes on to its own files.
        ensure!(*it == "mnt" || *seen == name(&pid, it)?, "{it}: {seen}: not the container's");
    }
    Ok(())
}

pub fn create_container_has_the_containers_processes(bed: &mut Bed) -> Result<()> {
    let at = bed.path("seen").display().to_string();
    let line = format!("cat >/dev/null; readlink /proc/self/ns/pid >{at}");
    bed.set("/hooks/createContainer", json!([hook(&line)]));
    bed.create()?;
    let host = fs::read_link("/proc/self/ns/pid")?;
    let seen = fs::read_to_string(&at)?;
    ensure!(seen.trim() != host.to_string_lossy(), "{seen}: the host's");
    Ok(())
}

/// Hooks for the host are outside, whatever the container has of its own.
pub fn those_on_the_host_have_its_namespaces(bed: &mut Bed) -> Result<()> {
    let all = "net uts mnt ipc cgroup pid user";
    bed.push("/linux/namespaces", json!({"type": "cgroup"}));
    for name in ["prestart", "createRuntime", "poststart", "poststop"] {
        let at = place(bed, name, name);
        let line = format!("cat >/dev/null; cd /proc/self/ns; readlink {all} >{at}; hostname >>{at}");
        bed.set(&format!("/hooks/{name}"), json!([hook(&line)]));
    }
    bed.stopped()?;
    bed.ok(&["delete", ID])?;
    let mut wanted = String::new();
    for it in all.split(' ') {
        wanted += &format!("{}\n", fs::read_link(format!("/proc/self/ns/{it}"))?.display());
    }
    wanted += &fs::read_to_string("/proc/sys/kernel/hostname")?;
    for name in ["prestart", "createRuntime", "poststart", "poststop"] {
        let seen = read(bed, name, name)?;
        ensure!(seen == wanted, "{name}: {seen}");
    }
    Ok(())
}

pub fn start_container_has_the_guests_name(bed: &mut Bed) -> Result<()> {
    bed.set("/hooks/startContainer", json!([hook("cat >/dev/null; hostname >/tmp/where")]));
    bed.prints("cat /tmp/where", "contract\n")
}

/// What `createContainer` mounts is in the container and nowhere else.
pub fn create_container_can_mount_in_the_root(bed: &mut Bed) -> Result<()> {
    let at = bed.rootfs().join("tmp").display().to_string();
    let line = format!("cat >/dev/null; mount -t tmpfs none {at} && echo from a hook >{at}/seen");
    bed.set("/hooks/createContainer", json!([hook(&line)]));
    bed.prints("cat /tmp/seen", "from a hook\n")?;
    ensure!(!bed.rootfs().join("tmp/seen").exists(), "the host sees it");
    Ok(())
}

/// So can who enters the mount namespace of the process that the state names, as drivers' hooks do.
pub fn whoever_enters_the_mount_namespace_can_mount_in_the_root(bed: &mut Bed) -> Result<()> {
    let at = bed.rootfs().join("tmp").display().to_string();
    let line = format!(
        "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); export PATH=/usr/bin:/bin:/usr/sbin; \
         nsenter --mount=/proc/$pid/ns/mnt sh -c 'mount -t tmpfs none {at} && echo here >{at}/seen'"
    );
    bed.set("/hooks/createRuntime", json!([hook(&line)]));
    bed.prints("cat /tmp/seen", "here\n")?;
    ensure!(!bed.rootfs().join("tmp/seen").exists(), "the host sees it");
    Ok(())
}

pub fn the_pid_is_in_the_containers_cgroup(bed: &mut Bed) -> Result<()> {
    let at = bed.path("cgroup").display().to_string();
    let line = format!(
        "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); grep memory /proc/$pid/cgroup >{at}"
    );
    bed.set("/hooks/createRuntime", json!([hook(&line)]));
    bed.create()?;
    let seen = fs::read_to_string(&at)?;
    ensure!(seen.trim().ends_with(&bed.cgroup), "{seen}");
    Ok(())
}
