// SPDX-License-Identifier: Apache-2.0
//! What state, list, ps and the pid file show.
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::oci::bed::{Bed, ID, PATIENCE};

pub fn the_pid_file_is_a_number_alone(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    let text = fs::read_to_string(bed.path("pid-c1"))?;
    ensure!(text == pid.to_string(), "{text:?}");
    ensure!(tests::oci::host::is_alive(pid));
    Ok(())
}

pub fn the_pid_is_our_child_whose_end_is_the_containers(bed: &mut Bed) -> Result<()> {
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("exit 255", 255), ("kill -9 $$", 137)] {
        // As pid 1 of its namespace a shell cannot kill itself: a child of it can.
        bed.shell(if code == 137 { "sh -c 'kill -9 $$'; exit 137" } else { script });
        let pid = bed.started()?;
        ensure!(bed.await_exit(pid)? == code, "{script}");
        bed.ok(&["delete", ID])?;
    }
    Ok(())
}

pub fn the_engine_sees_a_kill_as_a_signal(bed: &mut Bed) -> Result<()> {
    use nix::sys::{signal::Signal, wait::WaitStatus};
    let pid = bed.started()?;
    bed.ok(&["kill", ID, "KILL"])?;
    let status = bed.reaper.wait(pid, PATIENCE)?;
    ensure!(matches!(status, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{status:?}");
    Ok(())
}

pub fn the_engine_may_kill_the_pid_itself(bed: &mut Bed) -> Result<()> {
    use nix::{sys::signal, unistd::Pid};
    let pid = bed.started()?;
    signal::kill(Pid::from_raw(pid), signal::Signal::SIGKILL)?;
    ensure!(bed.await_exit(pid)? == 137);
    bed.is_in("stopped")?;
    bed.ok(&["delete", ID])?;
    bed.nothing_is_left()
}

pub fn a_signal_to_the_pid_reaches_the_program(bed: &mut Bed) -> Result<()> {
    use nix::{sys::signal, unistd::Pid};
    bed.shell("trap 'echo caught; exit 5' TERM; echo ready; while :; do usleep 10000; done");
    let pid = bed.started()?;
    bed.await_output("ready")?;
    signal::kill(Pid::from_raw(pid), signal::Signal::SIGTERM)?;
    ensure!(bed.await_exit(pid)? == 5);
    bed.await_output("caught").map(drop)
}

fn common(bed: &mut Bed, pid: i32, status: &str) -> Result<()> {
    let state = bed.state()?;
    ensure!(state["id"] == ID, "{state}");
    ensure!(state["pid"] == pid, "{state}");
    ensure!(state["status"] == status, "{state}");
    ensure!(state["bundle"] == bed.bundle().display().to_string(), "{state}");
    let version = state["ociVersion"].as_str().context("ociVersion")?;
    ensure!(version.starts_with("1."), "{state}");
    Ok(())
}

pub fn state_in_each_status(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    common(bed, pid, "created")?;
    bed.ok(&["start", ID])?;
    common(bed, pid, "running")?;
    bed.ok(&["pause", ID])?;
    common(bed, pid, "paused")?;
    bed.ok(&["resume", ID])?;
    common(bed, pid, "running")?;
    bed.ok(&["kill", ID, "KILL"])?;
    bed.await_exit(pid)?;
    common(bed, 0, "stopped")
}

pub fn state_has_annotations_rootfs_and_a_time(bed: &mut Bed) -> Result<()> {
    bed.set("/annotations", json!({"org.example.a": "b", "x": ""}));
    bed.create()?;
    let state = bed.state()?;
    ensure!(state["annotations"] == json!({"org.example.a": "b", "x": ""}), "{state}");
    ensure!(state["rootfs"] == bed.rootfs().display().to_string(), "{state}");
    let created = state["created"].as_str().context("created")?;
    ensure!(created.len() >= 20 && created.ends_with('Z') && created.contains('T'), "{state}");
    Ok(())
}

pub fn the_bundle_in_state_is_absolute(bed: &mut Bed) -> Result<()> {
    bed.save()?;
    let mut command = bed.command(&["create", ID]);
    command.current_dir(bed.bundle());
    let ended = bed.finish_into_files(command, "out", "err")?;
    ensure!(ended.code == 0, "{ended:?}");
    let state = bed.state()?;
    ensure!(state["bundle"] == bed.bundle().display().to_string(), "{state}");
    Ok(())
}

pub fn list_of_none(bed: &mut Bed) -> Result<()> {
    let table = bed.ok(&["list"])?.out;
    ensure!(table.lines().count() == 1, "{table:?}");
    bed.ok(&["list", "-q"])?.is(0, "")?;
    let list = bed.ok(&["list", "--format", "json"])?.json()?;
    ensure!(list.is_null() || list == json!([]), "{list}");
    Ok(())
}

pub fn list_of_two(bed: &mut Bed) -> Result<()> {
    bed.config["linux"]["cgroupsPath"] = json!(format!("{}/one", bed.cgroup));
    let one = bed.create()?;
    bed.config["linux"]["cgroupsPath"] = json!(format!("{}/two", bed.cgroup));
    let two = bed.create_as("c2", &[])?;
    bed.ok(&["list", "-q"])?.is(0, "c1\nc2\n")?;
    bed.ok(&["list", "--quiet"])?.is(0, "c1\nc2\n")?;
    let list = bed.ok(&["list", "--format", "json"])?.json()?;
    for (index, (id, pid)) in [(ID, one), ("c2", two)].into_iter().enumerate() {
        let entry = &list[index];
        ensure!(entry["id"] == id && entry["pid"] == pid && entry["status"] == "created", "{list}");
        ensure!(entry["bundle"] == bed.bundle().display().to_string(), "{list}");
        ensure!(entry["owner"] == "root", "{list}");
        ensure!(entry["created"].is_string(), "{list}");
    }
    let table = bed.ok(&["list"])?.out;
    let row = table.lines().nth(2).context("a second row")?;
    let cells: Vec<&str> = row.split_whitespace().collect();
    ensure!(cells.len() == 6 && cells[0] == "c2" && cells[1] == two.to_string(), "{table}");
    ensure!(cells[2] == "created" && cells[5] == "root", "{table}");
    bed.ok(&["delete", "--force", ID])?;
    bed.ok(&["delete", "--force", "c2"])?;
    for group in tests::oci::host::cgroups(&bed.cgroup) {
        fs::remove_dir(&group).with_context(|| group.display().to_string())?;
    }
    Ok(())
}

pub fn the_table_has_runcs_columns(bed: &mut Bed) -> Result<()> {
    let table = bed.ok(&["list"])?.out;
    let heads: Vec<&str> = table.split_whitespace().collect();
    ensure!(heads == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], "{table}");
    Ok(())
}

pub fn ps_json_names_each_process(bed: &mut Bed) -> Result<()> {
    let pid = bed.started()?;
    let pid_file = bed.path("exec-pid").display().to_string();
    let args = ["exec", "--detach", "--pid-file", &pid_file, ID, "sleep", "500"];
    let command = bed.command(&args);
    let ended = bed.finish_into_files(command, "out2", "err2")?;
    ensure!(ended.code == 0, "{ended:?}");
    let exec: i32 = fs::read_to_string(&pid_file)?.parse()?;
    ensure!(exec != pid, "each exec has a host process of its own");
    let pids = bed.ok(&["ps", "--format", "json", ID])?.json()?;
    ensure!(pids == json!([pid, exec]), "{pids}, not {pid}, {exec}");
    Ok(())
}

pub fn ps_table_is_the_hosts(bed: &mut Bed) -> Result<()> {
    let pid = bed.started()?;
    let table = bed.ok(&["ps", ID])?.out;
    let mut lines = table.lines();
    let heads = lines.next().context("a head")?;
    ensure!(heads.starts_with("UID") && heads.contains("PID"), "{table}");
    let row = lines.next().context("a row")?;
    ensure!(row.split_whitespace().nth(1) == Some(&pid.to_string()), "{table}");
    Ok(())
}

pub fn ps_hands_options_on(bed: &mut Bed) -> Result<()> {
    let pid = bed.started()?;
    let table = bed.ok(&["ps", ID, "-o", "pid,ppid"])?.out;
    let heads: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    ensure!(heads == ["PID", "PPID"], "{table}");
    ensure!(table.contains(&pid.to_string()), "{table}");
    Ok(())
}

pub fn the_state_directory_is_not_the_worlds(bed: &mut Bed) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    bed.create()?;
    let mode = fs::metadata(bed.root().join(ID))?.permissions().mode() & 0o777;
    ensure!(mode == 0o711, "{mode:o}");
    Ok(())
}
