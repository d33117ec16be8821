// SPDX-License-Identifier: Apache-2.0
//! Each command in each state of a container: what is allowed, and what is refused with which words.
use anyhow::{Result, ensure};
use tests::oci::{
    bed::{Bed, ID},
    isolated::code,
};

fn exec_failure(bed: &Bed) -> i32 {
    if bed.runtime.name == "crun" { 1 } else { 255 }
}

pub fn start_when_running(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    bed.fails(&["start", ID], 1, "cannot start an already running container")?;
    bed.is_in("running")
}

pub fn start_when_paused(bed: &mut Bed) -> Result<()> {
    bed.paused()?;
    let ended = bed.call(&["start", ID])?;
    ensure!(ended.code == 1, "{ended:?}");
    bed.is_in("paused")
}

pub fn start_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.fails(&["start", ID], 1, "cannot start a container that has stopped")?;
    bed.is_in("stopped")
}

pub fn start_when_killed_before_start(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    bed.ok(&["kill", ID, "KILL"])?;
    ensure!(bed.await_exit(pid)? == 137);
    bed.fails(&["start", ID], 1, "cannot start a container that has stopped").map(drop)
}

pub fn pause_when_created(bed: &mut Bed) -> Result<()> {
    bed.create()?;
    bed.ok(&["pause", ID])?;
    bed.is_in("paused")?;
    bed.ok(&["resume", ID])?;
    bed.is_in("created")?;
    bed.ok(&["start", ID])?;
    bed.is_in("running")
}

pub fn pause_and_resume_when_running(bed: &mut Bed) -> Result<()> {
    bed.shell("while echo x; do usleep 1000; done");
    bed.started()?;
    bed.await_output("x")?;
    bed.ok(&["pause", ID])?;
    bed.is_in("paused")?;
    // A call that was under way may still be done, on a busy host later.
    let mut before = 0;
    bed.until(
        || {
            let last = std::mem::replace(&mut before, bed.output().len());
            std::thread::sleep(std::time::Duration::from_millis(200));
            before == last && bed.output().len() == before
        },
        || "it goes on writing when paused".into(),
    )?;
    bed.ok(&["resume", ID])?;
    bed.is_in("running")?;
    bed.until(|| bed.output().len() > before, || "it does not go on".into())
}

pub fn pause_when_paused(bed: &mut Bed) -> Result<()> {
    bed.paused()?;
    bed.fails(&["pause", ID], 1, "container not running")?;
    bed.is_in("paused")
}

pub fn pause_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.fails(&["pause", ID], 1, "container not running").map(drop)
}

pub fn resume_when_created(bed: &mut Bed) -> Result<()> {
    bed.create()?;
    bed.fails(&["resume", ID], 1, "container not paused")?;
    bed.is_in("created")
}

pub fn resume_when_running(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    bed.fails(&["resume", ID], 1, "container not paused")?;
    bed.is_in("running")
}

pub fn resume_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.fails(&["resume", ID], 1, "container not paused").map(drop)
}

pub fn exec_when_created(bed: &mut Bed) -> Result<()> {
    bed.create()?;
    bed.ok(&["exec", ID, "echo", "early"])?.is(0, "early\n")?;
    bed.is_in("created")
}

pub fn exec_when_paused(bed: &mut Bed) -> Result<()> {
    bed.paused()?;
    bed.fails(&["exec", ID, "true"], exec_failure(bed), "cannot exec in a paused container")?;
    bed.is_in("paused")
}

pub fn exec_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.fails(&["exec", ID, "true"], exec_failure(bed), "cannot exec in a stopped container")
        .map(drop)
}

pub fn kill_when_created(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    bed.ok(&["kill", ID, "KILL"])?;
    ensure!(bed.await_exit(pid)? == 137, "its engine must see the signal");
    bed.is_in("stopped")?;
    ensure!(bed.state()?["pid"] == 0);
    Ok(())
}

pub fn kill_term_when_created(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    bed.ok(&["kill", ID, "TERM"])?;
    // Where it does not end, nobody has to wait for long.
    let code = code(bed.reaper.wait(pid, std::time::Duration::from_secs(10))?);
    ensure!(code == 143 || code == 1 || code == 2, "{code}");
    bed.is_in("stopped")
}

pub fn kill_0_when_created(bed: &mut Bed) -> Result<()> {
    bed.create()?;
    bed.ok(&["kill", ID, "0"])?;
    bed.is_in("created")
}

pub fn kill_when_paused(bed: &mut Bed) -> Result<()> {
    bed.paused()?;
    bed.ok(&["kill", ID, "CONT"])?;
    bed.is_in("paused")
}

pub fn kill_kill_when_paused(bed: &mut Bed) -> Result<()> {
    let pid = bed.paused()?;
    bed.ok(&["kill", ID, "KILL"])?;
    bed.call(&["resume", ID])?;
    ensure!(bed.await_exit(pid)? == 137);
    bed.is_in("stopped")
}

pub fn kill_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.fails(&["kill", ID, "KILL"], 1, "container not running")?;
    bed.fails(&["kill", ID, "0"], 1, "container not running").map(drop)
}

pub fn kill_all_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.ok(&["kill", "--all", ID, "KILL"])?.is(0, "")
}

pub fn delete_when_created(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    bed.ok(&["delete", ID])?;
    ensure!(bed.await_exit(pid)? != 0);
    bed.fails(&["state", ID], 1, "container does not exist").map(drop)
}

pub fn delete_when_running(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let says = format!("cannot delete container {ID} that is not stopped: running");
    bed.fails(&["delete", ID], 1, &says)?;
    bed.is_in("running")
}

pub fn delete_when_paused(bed: &mut Bed) -> Result<()> {
    bed.paused()?;
    let says = format!("cannot delete container {ID} that is not stopped: paused");
    bed.fails(&["delete", ID], 1, &says)?;
    bed.is_in("paused")
}

pub fn delete_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.ok(&["delete", ID])?.is(0, "")?;
    bed.fails(&["delete", ID], 1, "container does not exist").map(drop)
}

pub fn delete_force_when_created(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    bed.ok(&["delete", "--force", ID])?;
    ensure!(bed.await_exit(pid)? == 137);
    bed.nothing_is_left()
}

pub fn delete_force_when_running(bed: &mut Bed) -> Result<()> {
    let pid = bed.started()?;
    bed.ok(&["delete", "--force", ID])?;
    ensure!(bed.await_exit(pid)? == 137);
    bed.nothing_is_left()
}

pub fn delete_force_when_paused(bed: &mut Bed) -> Result<()> {
    let pid = bed.paused()?;
    bed.ok(&["delete", "--force", ID])?;
    ensure!(bed.await_exit(pid)? == 137);
    bed.nothing_is_left()
}

pub fn delete_force_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.ok(&["delete", "--force", ID])?;
    bed.nothing_is_left()
}

pub fn ps_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    let ended = bed.ok(&["ps", "--format", "json", ID])?;
    let pids = ended.json()?;
    ensure!(pids.is_null() || pids.as_array().is_some_and(Vec::is_empty), "{ended:?}");
    Ok(())
}

pub fn ps_when_created(bed: &mut Bed) -> Result<()> {
    let pid = bed.create()?;
    let pids = bed.ok(&["ps", "--format", "json", ID])?.json()?;
    ensure!(pids == serde_json::json!([pid]), "{pids}");
    Ok(())
}

pub fn events_when_stopped(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.fails(&["events", "--stats", ID], 1, "container with id c1 is not running|not running")
        .map(drop)
}

pub fn update_when_created(bed: &mut Bed) -> Result<()> {
    bed.create()?;
    bed.ok(&["update", "--pids-limit", "40", ID])?;
    ensure!(
        tests::oci::host::cgroup_file(&bed.cgroup, &["pids.max"]).as_deref() == Some("40"),
        "the limit is not there"
    );
    Ok(())
}

pub fn an_ended_program_is_stopped_before_it_is_reaped(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", serde_json::json!(["true"]));
    let pid = bed.started()?;
    bed.until(|| !tests::oci::host::is_alive(pid), || "it does not end".into())?;
    bed.is_in("stopped")?;
    bed.fails(&["kill", ID, "KILL"], 1, "container not running")?;
    ensure!(bed.await_exit(pid)? == 0);
    bed.is_in("stopped")
}
