// SPDX-License-Identifier: Apache-2.0
//! A program's streams, exit codes and signals.
use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{sys::signal, unistd::Pid};
use serde_json::json;
use tests::oci::bed::{Bed, ID};

pub fn the_exit_code_is_the_programs(bed: &mut Bed) -> Result<()> {
    for code in [0, 1, 42, 127, 255] {
        bed.shell(&format!("exit {code}"));
        bed.run()?.is(code, "")?;
    }
    Ok(())
}

pub fn a_death_by_signal_is_128_and_it(bed: &mut Bed) -> Result<()> {
    // Pid 1 does not die of what it has no handler for; KILL from outside it does.
    bed.shell("echo ready; sleep 100");
    bed.save()?;
    let command = bed.run_command(&[]);
    let running = bed.begin(command)?;
    let is_running =
        |bed: &mut Bed| bed.call(&["state", ID]).is_ok_and(|it| it.out.contains("running"));
    while !is_running(bed) {
        std::thread::sleep(Duration::from_millis(5));
    }
    bed.ok(&["kill", ID, "KILL"])?;
    let ended = bed.end(running)?;
    ensure!(ended.code == 137, "{ended:?}");
    Ok(())
}

pub fn streams_stay_apart(bed: &mut Bed) -> Result<()> {
    bed.shell("echo out; echo err >&2");
    let ended = bed.run()?;
    ensure!(ended.out == "out\n" && ended.err == "err\n" && ended.code == 0, "{ended:?}");
    Ok(())
}

pub fn standard_input_arrives_whole(bed: &mut Bed) -> Result<()> {
    bed.shell("wc -c");
    let input = vec![b'x'; 300_000];
    let ended = bed.run_with(&[], &input)?;
    ended.is(0, "300000\n")
}

pub fn standard_input_ends(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["cat"]));
    bed.run_with(&[], b"to the end")?.is(0, "to the end")
}

pub fn all_output_arrives(bed: &mut Bed) -> Result<()> {
    bed.shell("yes 0123456789abcde | head -c 1048576");
    let ended = bed.run()?;
    ensure!(ended.code == 0 && ended.out.len() == 1 << 20, "{} bytes", ended.out.len());
    Ok(())
}

pub fn files_as_streams(bed: &mut Bed) -> Result<()> {
    bed.shell("cat; echo done >&2");
    bed.save()?;
    fs::write(bed.path("in"), "from a file\n")?;
    fs::write(bed.path("file-of-out"), "first\n")?;
    let append = |name: &str| fs::File::options().create(true).append(true).open(bed.path(name));
    let mut command = bed.run_command(&[]);
    command.stdin(fs::File::open(bed.path("in"))?);
    command.stdout(append("file-of-out")?).stderr(append("file-of-err")?);
    let child = command.spawn()?;
    let pid = i32::try_from(child.id())?;
    ensure!(bed.await_exit(pid)? == 0);
    let read = |name: &str| fs::read_to_string(bed.path(name));
    ensure!(read("file-of-out")? == "first\nfrom a file\n", "{:?}", read("file-of-out"));
    ensure!(read("file-of-err")? == "done\n", "{:?}", read("file-of-err"));
    Ok(())
}

pub fn closed_streams(bed: &mut Bed) -> Result<()> {
    bed.shell("echo fine > /tmp/out");
    bed.save()?;
    let run = bed.run_command(&[]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"]).arg(run.get_program());
    command.args(run.get_args()).current_dir(bed.dir());
    let ended = bed.finish_call(command, b"")?;
    ensure!(ended.code == 0, "{ended:?}");
    ensure!(bed.guest_file("tmp/out")? == "fine\n");
    Ok(())
}

pub fn files_written_reach_the_bundle(bed: &mut Bed) -> Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    bed.output_of(
        "umask 022; mkdir -p /home/d; echo text >/home/d/f; chmod 640 /home/d/f; \
         ln -s f /home/d/l; ln /home/d/f /home/d/h; rm /etc/group; mkfifo /home/d/p",
    )?;
    ensure!(bed.guest_file("home/d/f")? == "text\n");
    let home = bed.rootfs().join("home/d");
    let file = fs::metadata(home.join("f"))?;
    ensure!(file.permissions().mode() & 0o777 == 0o640 && file.nlink() == 2);
    ensure!(fs::read_link(home.join("l"))?.as_os_str() == "f");
    ensure!(!bed.rootfs().join("etc/group").exists());
    Ok(())
}

pub fn files_of_the_host_are_seen(bed: &mut Bed) -> Result<()> {
    bed.shell("while ! test -e /tmp/go; do usleep 10000; done; cat /tmp/go");
    let pid = bed.started()?;
    fs::write(bed.rootfs().join("tmp/new"), "go\n")?;
    fs::rename(bed.rootfs().join("tmp/new"), bed.rootfs().join("tmp/go"))?;
    ensure!(bed.await_exit(pid)? == 0);
    ensure!(bed.output() == "go\n", "{:?}", bed.output());
    Ok(())
}

pub fn no_such_path(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["/no/such"]));
    let ended = bed.run()?;
    let says = "exec: \"/no/such\": stat /no/such: no such file or directory";
    bed.is_failure(&ended, 1, says)?;
    bed.ok(&["list", "-q"])?.is(0, "")
}

pub fn no_such_name(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["nosuch"]));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "exec: \"nosuch\": executable file not found in $PATH")
}

pub fn not_executable(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["/etc/not-executable"]));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "exec: \"/etc/not-executable\": permission denied")
}

pub fn a_directory(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["/etc"]));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "exec: \"/etc\": permission denied|is a directory")
}

pub fn create_finds_a_missing_program(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["/no/such"]));
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let command = bed.command(&["create", "--bundle", &bundle, ID]);
    let ended = bed.finish_into_files(command, "out", "err")?;
    bed.is_failure(&ended, 1, "stat /no/such: no such file or directory")?;
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

pub fn a_script_without_its_interpreter(bed: &mut Bed) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let script = bed.rootfs().join("bin/script");
    fs::write(&script, "#!/no/interpreter\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    bed.set("/process/args", json!(["/bin/script"]));
    // runc finds it so late that its log says nothing.
    let ended = bed.run()?;
    ensure!(ended.code == 1 && ended.err.contains("no such file or directory"), "{ended:?}");
    Ok(())
}

pub fn a_script_runs(bed: &mut Bed) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let script = bed.rootfs().join("bin/script");
    fs::write(&script, "#!/bin/sh\necho $0 $1\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    bed.set("/process/args", json!(["script", "arg"]));
    bed.run()?.is(0, "/bin/script arg\n")
}

pub fn the_path_is_the_configurations(bed: &mut Bed) -> Result<()> {
    fs::create_dir(bed.rootfs().join("other"))?;
    fs::copy(bed.rootfs().join("bin/busybox"), bed.rootfs().join("other/echo"))?;
    bed.set("/process/env", json!(["PATH=/nowhere:/other"]));
    bed.set("/process/args", json!(["echo", "here"]));
    bed.run()?.is(0, "here\n")?;
    bed.set("/process/env", json!(["PATH=/nowhere"]));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "executable file not found in $PATH")
}

pub fn a_program_by_relative_path(bed: &mut Bed) -> Result<()> {
    bed.set("/process/cwd", json!("/bin"));
    bed.set("/process/args", json!(["./echo", "here"]));
    bed.run()?.is(0, "here\n")
}

pub fn the_first_process_is_1(bed: &mut Bed) -> Result<()> {
    bed.prints("echo $$ $PPID", "1 0\n")
}

pub fn orphans_are_reaped_at_the_end(bed: &mut Bed) -> Result<()> {
    bed.shell("(sleep 1000 &) ; (sleep 1000 </dev/null >/dev/null 2>&1 &); echo done");
    let ended = bed.run()?;
    ended.is(0, "done\n")?;
    bed.nothing_is_left()
}

pub fn detached_leaves_a_running_container(bed: &mut Bed) -> Result<()> {
    bed.shell("echo up; sleep 1000");
    let pid = bed.run_detached()?;
    bed.is_in("running")?;
    bed.await_output("up")?;
    ensure!(bed.state()?["pid"] == pid);
    Ok(())
}

pub fn in_the_foreground_it_has_a_state(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["cat"]));
    bed.save()?;
    let command = bed.run_command(&["--pid-file", &bed.path("pid").display().to_string()]);
    let mut running = bed.begin(command)?;
    let is_running =
        |bed: &mut Bed| bed.call(&["state", ID]).is_ok_and(|it| it.out.contains("running"));
    while !is_running(bed) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let state = bed.state()?;
    let pid: i32 = fs::read_to_string(bed.path("pid"))?.parse()?;
    ensure!(state["pid"] == pid, "{state} {pid}");
    running.stdin()?.write_all(b"bye")?;
    bed.end(running)?.is(0, "bye")?;
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

pub fn keep_leaves_the_state(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["true"]));
    let ended = bed.run_with(&["--keep"], b"")?;
    ended.is(0, "")?;
    bed.is_in("stopped")?;
    bed.ok(&["delete", ID]).map(drop)
}

pub fn a_signal_for_run_is_the_programs(bed: &mut Bed) -> Result<()> {
    bed.shell("trap 'echo term; exit 7' TERM; echo ready; while :; do usleep 10000; done");
    bed.save()?;
    let out = fs::File::create(bed.path("out"))?;
    let mut command = bed.run_command(&[]);
    command.stdin(Stdio::null()).stdout(out);
    let child = command.spawn()?;
    bed.await_output("ready")?;
    let pid = i32::try_from(child.id())?;
    signal::kill(Pid::from_raw(pid), signal::Signal::SIGTERM)?;
    ensure!(bed.await_exit(pid)? == 7);
    ensure!(bed.output() == "ready\nterm\n", "{:?}", bed.output());
    Ok(())
}

pub fn term_does_not_end_pid_1(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    bed.ok(&["kill", ID])?;
    std::thread::sleep(Duration::from_millis(100));
    bed.is_in("running")
}

pub fn kill_takes_names_and_numbers(bed: &mut Bed) -> Result<()> {
    bed.shell(
        "trap 'echo usr1' USR1; trap 'echo usr2' USR2; trap 'echo term' TERM; trap 'echo hup' HUP
         echo ready; while :; do usleep 10000; done",
    );
    bed.started()?;
    bed.await_output("ready")?;
    let given =
        [("SIGUSR1", "usr1"), ("usr2", "usr2"), ("sigusr1", "usr1"), ("12", "usr2"), ("1", "hup")];
    let mut wanted = String::from("ready\n");
    for (signal, says) in given {
        bed.ok(&["kill", ID, signal])?;
        wanted.push_str(says);
        wanted.push('\n');
        bed.await_output(&wanted)?;
    }
    bed.ok(&["kill", ID])?;
    bed.await_output(&(wanted + "term\n")).map(drop)
}

pub fn kill_with_an_unknown_signal(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    bed.fails(&["kill", ID, "NOSUCH"], 1, "unknown signal \"NOSUCH\"").map(drop)
}

pub fn kill_with_an_impossible_number(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    bed.fails(&["kill", ID, "99"], 1, "invalid argument|unknown signal")?;
    bed.is_in("running")
}

pub fn kill_all_reaches_every_process(bed: &mut Bed) -> Result<()> {
    bed.shell("sleep 1001 & sleep 1002 & echo ready; wait; wait; echo over");
    let pid = bed.started()?;
    bed.await_output("ready")?;
    bed.ok(&["kill", "--all", ID, "TERM"])?;
    bed.await_output("over")?;
    ensure!(bed.await_exit(pid)? == 0);
    Ok(())
}

pub fn real_time_signals(bed: &mut Bed) -> Result<()> {
    bed.shell("trap 'echo rt; exit 0' 34; echo ready; while :; do usleep 10000; done");
    let pid = bed.started()?;
    bed.await_output("ready")?;
    bed.ok(&["kill", ID, "34"])?;
    ensure!(bed.await_exit(pid)? == 0);
    bed.await_output("rt").map(drop)
}

pub fn a_pipe_for_output_breaks(bed: &mut Bed) -> Result<()> {
    bed.shell("yes; echo $? >/tmp/code");
    bed.save()?;
    let run = bed.run_command(&[]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "\"$@\" | head -c 10", "sh"]).arg(run.get_program());
    command.args(run.get_args()).current_dir(bed.dir());
    let ended = bed.finish_call(command, b"")?;
    ensure!(ended.out.len() == 10, "{ended:?}");
    let code = bed.guest_file("tmp/code").context("yes went on")?;
    ensure!(code == "141\n" || code == "1\n", "{code}");
    Ok(())
}
