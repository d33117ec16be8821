// SPDX-License-Identifier: Apache-2.0
//! Descriptors: those asked for are handed on, no others.
use std::{fs, process::Command};

use anyhow::{Result, ensure};
use tests::oci::bed::{Bed, Ended};

/// Runs the container from a shell that has opened files as this line says.
fn run_with_open(bed: &mut Bed, opens: &str, flags: &[&str]) -> Result<Ended> {
    bed.save()?;
    fs::write(bed.path("three"), "of 3\n")?;
    fs::write(bed.path("four"), "of 4\n")?;
    let run = bed.run_command(flags);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{opens}; exec \"$@\""), "sh"]).arg(run.get_program());
    command.args(run.get_args()).current_dir(bed.dir());
    bed.finish_call(command, b"")
}

pub fn none_is_handed_on(bed: &mut Bed) -> Result<()> {
    bed.shell("ls /proc/self/fd");
    // Of ls itself: 3 is the directory that it reads.
    run_with_open(bed, "exec 3<three 4<four 9</etc", &[])?.is(0, "0\n1\n2\n3\n")
}

pub fn preserved_ones_are(bed: &mut Bed) -> Result<()> {
    bed.shell("cat <&3; cat <&4; ls /proc/self/fd");
    run_with_open(bed, "exec 3<three 4<four 5</etc/passwd", &["--preserve-fds", "2"])?
        .is(0, "of 3\nof 4\n0\n1\n2\n3\n4\n5\n")
}

pub fn preserved_ones_may_be_written(bed: &mut Bed) -> Result<()> {
    bed.shell("echo through 3 >&3");
    run_with_open(bed, "exec 3>>three", &["--preserve-fds", "1"])?.is(0, "")?;
    ensure!(fs::read_to_string(bed.path("three"))? == "of 3\nthrough 3\n");
    Ok(())
}

pub fn a_preserved_pipe(bed: &mut Bed) -> Result<()> {
    bed.shell("cat <&3");
    bed.save()?;
    let run = bed.run_command(&["--preserve-fds", "1"]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo through a pipe | \"$@\" 3<&0 </dev/null", "sh"]);
    command.arg(run.get_program()).args(run.get_args()).current_dir(bed.dir());
    bed.finish_call(command, b"")?.is(0, "through a pipe\n")
}

pub fn more_than_there_are_is_refused(bed: &mut Bed) -> Result<()> {
    bed.shell("exit 0");
    let ended = run_with_open(bed, "exec 3<three", &["--preserve-fds", "40"])?;
    ensure!(ended.code != 0 && !ended.err.is_empty(), "{ended:?}");
    Ok(())
}

pub fn socket_activation(bed: &mut Bed) -> Result<()> {
    bed.shell("echo $LISTEN_FDS $LISTEN_PID; cat <&3");
    let opens = "exec 3<three; export LISTEN_FDS=1 LISTEN_PID=$$";
    run_with_open(bed, opens, &[])?.is(0, "1 1\nof 3\n")
}

pub fn no_descriptor_leads_out(bed: &mut Bed) -> Result<()> {
    bed.shell("for f in /proc/self/fd/*; do readlink $f; done; ls /proc/1/fd");
    let ended = run_with_open(bed, "exec 3</ 4</etc 5</proc", &[])?;
    ensure!(!ended.out.contains(&bed.dir().display().to_string()), "{ended:?}");
    ensure!(!ended.out.lines().any(|line| line == "/" || line == "/etc"), "{ended:?}");
    Ok(())
}
