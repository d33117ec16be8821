// SPDX-License-Identifier: Apache-2.0
//! Commands for containers that are not there, and names that none can have.
use anyhow::Result;
use tests::oci::bed::{Bed, ID};

const NONE: &str = "container does not exist";

pub fn state(bed: &mut Bed) -> Result<()> {
    let ended = bed.fails(&["state", "nope"], 1, NONE)?;
    ended.is(1, "")
}

pub fn start(bed: &mut Bed) -> Result<()> {
    bed.fails(&["start", "nope"], 1, NONE).map(drop)
}

pub fn kill(bed: &mut Bed) -> Result<()> {
    bed.fails(&["kill", "nope"], 1, NONE).map(drop)
}

pub fn kill_all(bed: &mut Bed) -> Result<()> {
    bed.fails(&["kill", "--all", "nope", "9"], 1, NONE).map(drop)
}

pub fn delete(bed: &mut Bed) -> Result<()> {
    bed.fails(&["delete", "nope"], 1, NONE).map(drop)
}

pub fn delete_force_is_silent(bed: &mut Bed) -> Result<()> {
    let ended = bed.ok(&["delete", "--force", "nope"])?;
    ended.is(0, "")?;
    bed.ok(&["delete", "-f", "nope"])?.is(0, "")
}

pub fn exec(bed: &mut Bed) -> Result<()> {
    bed.fails(&["exec", "nope", "true"], if bed.runtime.name == "crun" { 1 } else { 255 }, NONE)
        .map(drop)
}

pub fn ps(bed: &mut Bed) -> Result<()> {
    bed.fails(&["ps", "nope"], 1, NONE).map(drop)
}

pub fn pause(bed: &mut Bed) -> Result<()> {
    bed.fails(&["pause", "nope"], 1, NONE).map(drop)
}

pub fn resume(bed: &mut Bed) -> Result<()> {
    bed.fails(&["resume", "nope"], 1, NONE).map(drop)
}

pub fn events(bed: &mut Bed) -> Result<()> {
    bed.fails(&["events", "--stats", "nope"], 1, NONE).map(drop)
}

pub fn update(bed: &mut Bed) -> Result<()> {
    bed.fails(&["update", "--memory", "1000000", "nope"], 1, NONE).map(drop)
}

pub fn exec_when_deleted(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    bed.ok(&["delete", ID])?;
    bed.fails(&["exec", ID, "true"], if bed.runtime.name == "crun" { 1 } else { 255 }, NONE)
        .map(drop)
}

pub fn a_slash_in_a_name(bed: &mut Bed) -> Result<()> {
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    bed.fails(&["create", "--bundle", &bundle, "a/b"], 1, "invalid container ID format").map(drop)
}

pub fn dots_for_a_name(bed: &mut Bed) -> Result<()> {
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    bed.fails(&["create", "--bundle", &bundle, "../x"], 1, "invalid container ID format").map(drop)
}

pub fn a_name_with_spaces(bed: &mut Bed) -> Result<()> {
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    bed.fails(&["create", "--bundle", &bundle, "a b"], 1, "invalid container ID format").map(drop)
}

pub fn an_empty_name(bed: &mut Bed) -> Result<()> {
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    bed.fails(&["create", "--bundle", &bundle, ""], 1, "container id cannot be empty").map(drop)
}

pub fn every_letter_a_name_may_have(bed: &mut Bed) -> Result<()> {
    let id = "Az09_+-.x";
    let pid = bed.create_as(id, &[])?;
    bed.ok(&["start", id])?;
    bed.ok(&["kill", id, "KILL"])?;
    bed.await_exit(pid)?;
    bed.ok(&["delete", id]).map(drop)
}

pub fn a_used_name(bed: &mut Bed) -> Result<()> {
    bed.create()?;
    let bundle = bed.bundle().display().to_string();
    let says = "container with given ID already exists";
    bed.fails(&["create", "--bundle", &bundle, ID], 1, says)?;
    bed.fails(&["run", "--bundle", &bundle, ID], 1, says)?;
    bed.is_in("created")?;
    bed.ok(&["start", ID])?;
    bed.fails(&["create", "--bundle", &bundle, ID], 1, says)?;
    bed.is_in("running")
}

pub fn a_used_name_of_a_stopped_one(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    let bundle = bed.bundle().display().to_string();
    let says = "container with given ID already exists";
    bed.fails(&["create", "--bundle", &bundle, ID], 1, says)?;
    bed.is_in("stopped")
}

pub fn a_name_can_be_used_again(bed: &mut Bed) -> Result<()> {
    for _ in 0..3 {
        bed.stopped()?;
        bed.ok(&["delete", ID])?;
    }
    Ok(())
}

pub fn no_arguments(bed: &mut Bed) -> Result<()> {
    for command in ["state", "start", "kill", "delete", "create", "run", "pause", "resume"] {
        let ended = bed.call(&[command])?;
        anyhow::ensure!(ended.code != 0 && !ended.err.is_empty(), "{command}: {ended:?}");
    }
    Ok(())
}

pub fn too_many_arguments(bed: &mut Bed) -> Result<()> {
    for command in ["state", "start", "delete", "create", "run", "pause", "resume"] {
        let ended = bed.call(&[command, "a", "b"])?;
        anyhow::ensure!(ended.code != 0 && !ended.err.is_empty(), "{command}: {ended:?}");
    }
    Ok(())
}

pub fn an_unknown_flag(bed: &mut Bed) -> Result<()> {
    for args in [&["--nosuchflag", "state", "x"][..], &["state", "--nosuchflag", "x"]] {
        let ended = bed.call(args)?;
        anyhow::ensure!(ended.code != 0 && ended.err.contains("nosuchflag"), "{ended:?}");
    }
    Ok(())
}

pub fn an_unknown_command(bed: &mut Bed) -> Result<()> {
    let ended = bed.call(&["nosuch"])?;
    anyhow::ensure!(ended.code != 0 && ended.err.contains("nosuch"), "{ended:?}");
    Ok(())
}
