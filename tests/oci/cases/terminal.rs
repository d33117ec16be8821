// SPDX-License-Identifier: Apache-2.0
//! Terminals: sockets, sizes, names, job control.
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::oci::bed::{Bed, ID};

pub fn the_master_comes_through_the_socket(bed: &mut Bed) -> Result<()> {
    bed.shell("echo hello; exit 3");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("hello\r\n")?;
    ensure!(bed.await_exit(pid)? == 3);
    Ok(())
}

pub fn what_is_written_last_arrives(bed: &mut Bed) -> Result<()> {
    bed.shell("i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; echo the end");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    let text = terminal.rest();
    ensure!(text.ends_with("the end\r\n") && text.contains("line 0\r\n"), "{text:?}");
    ensure!(bed.await_exit(pid)? == 0);
    Ok(())
}

pub fn keys_reach_the_program(bed: &mut Bed) -> Result<()> {
    bed.shell("stty -echo; echo ready; read line; echo got $line");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("ready\r\n")?;
    terminal.send("some text\n")?;
    terminal.expect("got some text\r\n")?;
    ensure!(bed.await_exit(pid)? == 0);
    Ok(())
}

pub fn the_line_is_echoed(bed: &mut Bed) -> Result<()> {
    bed.shell("echo ready; read line; exit 0");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("ready\r\n")?;
    terminal.send("abc\n")?;
    terminal.expect("abc\r\n")?;
    ensure!(bed.await_exit(pid)? == 0);
    Ok(())
}

pub fn its_name(bed: &mut Bed) -> Result<()> {
    bed.shell("tty");
    let (_, mut terminal) = bed.started_on_terminal()?;
    let text = terminal.rest();
    ensure!(text == "/dev/pts/0\r\n" || text == "/dev/console\r\n", "{text:?}");
    Ok(())
}

pub fn the_console_is_it(bed: &mut Bed) -> Result<()> {
    bed.shell("test -c /dev/console && echo to the console >/dev/console");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("to the console\r\n")?;
    ensure!(bed.await_exit(pid)? == 0);
    Ok(())
}

pub fn dev_tty_is_it(bed: &mut Bed) -> Result<()> {
    bed.shell("echo to the tty >/dev/tty");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("to the tty\r\n")?;
    ensure!(bed.await_exit(pid)? == 0);
    Ok(())
}

pub fn the_size_of_the_configuration(bed: &mut Bed) -> Result<()> {
    bed.set("/process/consoleSize", json!({"height": 33, "width": 101}));
    bed.shell("stty size");
    let (_, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("33 101\r\n").map(drop)
}

pub fn a_size_set_on_the_master(bed: &mut Bed) -> Result<()> {
    bed.shell("trap 'stty size; exit 0' WINCH; echo ready; while :; do usleep 10000; done");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("ready\r\n")?;
    let name = format!("/proc/{}/fd/{}", std::process::id(), fd_of(&terminal.master));
    resize(bed, &terminal.master, &name)?;
    terminal.expect("44 132\r\n")?;
    ensure!(bed.await_exit(pid)? == 0);
    Ok(())
}

fn fd_of(file: &fs::File) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(file)
}

/// As an engine does: on the master. stty's standard input is it.
fn resize(bed: &mut Bed, master: &fs::File, _: &str) -> Result<()> {
    let mut command = std::process::Command::new("stty");
    command.args(["rows", "44", "cols", "132"]).stdin(master.try_clone()?);
    let child = command.spawn()?;
    let code = bed.await_exit(i32::try_from(child.id())?)?;
    ensure!(code == 0, "stty on the master");
    Ok(())
}

pub fn interrupt_goes_to_the_foreground(bed: &mut Bed) -> Result<()> {
    bed.shell("trap 'echo interrupted; exit 4' INT; echo ready; while :; do usleep 10000; done");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("ready\r\n")?;
    terminal.send("\u{3}")?;
    terminal.expect("interrupted\r\n")?;
    ensure!(bed.await_exit(pid)? == 4);
    Ok(())
}

pub fn end_of_file(bed: &mut Bed) -> Result<()> {
    bed.shell("echo ready; cat; echo after");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("ready\r\n")?;
    terminal.send("\u{4}")?;
    terminal.expect("after\r\n")?;
    ensure!(bed.await_exit(pid)? == 0);
    Ok(())
}

pub fn a_hangup_ends_it(bed: &mut Bed) -> Result<()> {
    bed.shell("trap 'echo >/tmp/hung-up; exit 9' HUP; echo ready; while :; do usleep 10000; done");
    let (pid, mut terminal) = bed.started_on_terminal()?;
    terminal.expect("ready\r\n")?;
    drop(terminal);
    ensure!(bed.await_exit(pid)? == 9);
    bed.guest_file("tmp/hung-up").map(drop)
}

pub fn create_without_a_socket_is_refused(bed: &mut Bed) -> Result<()> {
    bed.set("/process/terminal", json!(true));
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let says = "cannot allocate tty if runc will detach without setting console socket|\
                cannot allocate tty if runsc will detach without setting console socket";
    bed.fails(&["create", "--bundle", &bundle, ID], 1, says)?;
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

pub fn a_socket_without_a_terminal_is_refused(bed: &mut Bed) -> Result<()> {
    bed.save()?;
    let socket = bed.console_socket()?;
    let bundle = bed.bundle().display().to_string();
    let path = socket.path.display().to_string();
    let args = ["create", "--bundle", &bundle, "--console-socket", &path, ID];
    bed.fails(&args, 1, "cannot use console socket if").map(drop)
}

pub fn a_socket_that_is_not_there(bed: &mut Bed) -> Result<()> {
    bed.set("/process/terminal", json!(true));
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let args = ["create", "--bundle", &bundle, "--console-socket", "/no/such/socket", ID];
    bed.fails(&args, 1, "no such file or directory")?;
    bed.fails(&["state", ID], 1, "does not exist").map(drop)
}

pub fn detached_run(bed: &mut Bed) -> Result<()> {
    bed.set("/process/terminal", json!(true));
    bed.shell("tty >/dev/null && echo on a terminal; read line");
    bed.save()?;
    let socket = bed.console_socket()?;
    let (bundle, path) = (bed.bundle().display().to_string(), socket.path.display().to_string());
    let args = ["run", "--detach", "--bundle", &bundle, "--console-socket", &path, ID];
    // The engine reads the call's own streams to their end: they are not the container's.
    bed.ok(&args)?;
    let mut terminal = socket.accept()?;
    terminal.expect("on a terminal\r\n").map(drop)
}

pub fn create_keeps_none_of_its_own_streams(bed: &mut Bed) -> Result<()> {
    bed.set("/process/terminal", json!(true));
    bed.save()?;
    let socket = bed.console_socket()?;
    let (bundle, path) = (bed.bundle().display().to_string(), socket.path.display().to_string());
    bed.ok(&["create", "--bundle", &bundle, "--console-socket", &path, ID])?;
    socket.accept().map(drop)
}

fn exec_on_terminal(bed: &mut Bed, flags: &[&str], script: &str) -> Result<()> {
    bed.started()?;
    let socket = bed.console_socket()?;
    let path = socket.path.display().to_string();
    let pid_file = bed.path("exec-pid").display().to_string();
    let head = ["exec", "--tty", "--detach", "--console-socket", &path, "--pid-file", &pid_file];
    let args = [&head, flags, &[ID, "sh", "-c", script]].concat();
    bed.ok(&args)?;
    let mut terminal = socket.accept()?;
    terminal.expect("done\r\n")?;
    let pid = fs::read_to_string(&pid_file)?.parse().context("a pid")?;
    ensure!(bed.await_exit(pid)? == 5);
    bed.is_in("running")
}

pub fn exec_with_tty(bed: &mut Bed) -> Result<()> {
    exec_on_terminal(bed, &[], "test -t 0 && test -t 1 && test -t 2 && echo done; exit 5")
}

pub fn exec_with_tty_as_a_user(bed: &mut Bed) -> Result<()> {
    exec_on_terminal(bed, &["--user", "1000"], "echo >$(tty) && echo done; exit 5")
}

pub fn exec_by_process_file(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let socket = bed.console_socket()?;
    let path = socket.path.display().to_string();
    let file = bed.path("process.json").display().to_string();
    let process = json!({
        "terminal": true, "consoleSize": {"height": 12, "width": 34}, "cwd": "/",
        "args": ["sh", "-c", "stty size; exit 6"], "user": {"uid": 0, "gid": 0},
        "env": ["PATH=/bin"],
    });
    fs::write(&file, serde_json::to_vec(&process)?)?;
    let pid_file = bed.path("exec-pid").display().to_string();
    let args = ["exec", "--process", &file, "--detach", "--console-socket", &path, "--pid-file"];
    bed.ok(&[&args[..], &[&pid_file, ID]].concat())?;
    let mut terminal = socket.accept()?;
    terminal.expect("12 34\r\n")?;
    let pid = fs::read_to_string(&pid_file)?.parse().context("a pid")?;
    ensure!(bed.await_exit(pid)? == 6);
    Ok(())
}

pub fn exec_detached_with_tty_needs_a_socket(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let ended = bed.call(&["exec", "--tty", "--detach", ID, "true"])?;
    ensure!(ended.code != 0 && !ended.err.is_empty(), "{ended:?}");
    bed.is_in("running")
}

pub fn pseudo_terminals_of_its_own(bed: &mut Bed) -> Result<()> {
    bed.prints("ls /dev/pts; test -c /dev/ptmx && echo yes", "ptmx\nyes\n")
}
