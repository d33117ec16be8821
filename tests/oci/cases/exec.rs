// SPDX-License-Identifier: Apache-2.0
//! Further processes in a running container.
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::oci::bed::{Bed, Ended, ID, PATIENCE};

fn exec(bed: &mut Bed, flags: &[&str], command: &[&str]) -> Result<Ended> {
    let args = [&["exec"], flags, &[ID], command].concat();
    bed.call(&args)
}

fn exec_process(bed: &mut Bed, process: &Value) -> Result<Ended> {
    let file = bed.path("process.json");
    fs::write(&file, serde_json::to_vec(process)?)?;
    bed.call(&["exec", "--process", &file.display().to_string(), ID])
}

/// Starts a detached exec: the pid of its pid file.
fn detached(bed: &mut Bed, command: &[&str]) -> Result<i32> {
    in_background(bed, &[], command)
}

/// The same of a process file.
fn detached_process(bed: &mut Bed, process: &Value) -> Result<i32> {
    let file = bed.path("process.json").display().to_string();
    fs::write(&file, serde_json::to_vec(process)?)?;
    in_background(bed, &["--process", &file], &[])
}

fn in_background(bed: &mut Bed, flags: &[&str], command: &[&str]) -> Result<i32> {
    let pid_file = bed.path("exec-pid").display().to_string();
    let flags = [&["exec", "--detach", "--pid-file", &pid_file], flags].concat();
    let args = [&*flags, &[ID], command].concat();
    let command = bed.command(&args);
    let ended = bed.finish_into_files(command, "exec-out", "exec-err")?;
    ensure!(ended.code == 0 && ended.last_error().is_none(), "{ended:?}");
    let text = fs::read_to_string(&pid_file)?;
    text.parse().with_context(|| format!("the pid file holds {text:?}"))
}

pub fn the_exit_code_is_the_processes(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    for code in [0, 1, 9, 255] {
        let script = format!("echo hi; exit {code}");
        exec(bed, &[], &["sh", "-c", &script])?.is(code, "hi\n")?;
    }
    bed.is_in("running")
}

pub fn a_death_by_signal(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    exec(bed, &[], &["sh", "-c", "kill -9 $$"])?.is(137, "")?;
    exec(bed, &[], &["sh", "-c", "kill -TERM $$"])?.is(143, "")
}

pub fn streams(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let args = ["exec", ID, "sh", "-c", "cat; echo err >&2"];
    let ended = bed.call_with_input(&args, b"input")?;
    ensure!(ended.code == 0 && ended.out == "input" && ended.err == "err\n", "{ended:?}");
    Ok(())
}

pub fn much_input_and_output(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let input = vec![b'y'; 400_000];
    let ended = bed.call_with_input(&["exec", ID, "cat"], &input)?;
    ensure!(ended.code == 0 && ended.out.as_bytes() == input, "{} bytes", ended.out.len());
    Ok(())
}

pub fn it_shares_files_processes_and_names(bed: &mut Bed) -> Result<()> {
    bed.shell("echo of-init >/tmp/f; sleep 1000; :");
    bed.started()?;
    bed.until(|| bed.guest_file("tmp/f").is_ok_and(|it| !it.is_empty()), || "no file".into())?;
    let script = "cat /tmp/f; hostname; tr '\\0' ' ' </proc/1/cmdline; kill -0 1 && echo alive";
    let ended = exec(bed, &[], &["sh", "-c", script])?;
    ended.is(0, "of-init\ncontract\nsh -c echo of-init >/tmp/f; sleep 1000; : alive\n")
}

pub fn it_can_signal_the_first_process(bed: &mut Bed) -> Result<()> {
    bed.shell("trap 'exit 6' TERM; echo ready; while :; do usleep 10000; done");
    let pid = bed.started()?;
    bed.await_output("ready")?;
    exec(bed, &[], &["kill", "-TERM", "1"])?.is(0, "")?;
    ensure!(bed.await_exit(pid)? == 6);
    Ok(())
}

pub fn the_end_of_the_container_ends_it(bed: &mut Bed) -> Result<()> {
    let pid = bed.started()?;
    let exec = detached(bed, &["sleep", "500"])?;
    bed.ok(&["kill", ID, "KILL"])?;
    ensure!(bed.await_exit(pid)? == 137);
    ensure!(bed.await_exit(exec)? == 137);
    Ok(())
}

pub fn no_such_path(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let says = "exec: \"/no/such\": stat /no/such: no such file or directory";
    bed.fails(&["exec", ID, "/no/such"], 255, says).map(drop)
}

pub fn no_such_name(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let says = "exec: \"nosuch\": executable file not found in $PATH";
    bed.fails(&["exec", ID, "nosuch"], 255, says).map(drop)
}

pub fn not_executable(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let says = "exec: \"/etc/passwd\": permission denied";
    bed.fails(&["exec", ID, "/etc/passwd"], 255, says).map(drop)
}

pub fn a_directory(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let says = "exec: \"/etc\": permission denied|is a directory";
    bed.fails(&["exec", ID, "/etc"], 255, says).map(drop)
}

pub fn no_command(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let ended = bed.call(&["exec", ID])?;
    ensure!(ended.code != 0 && !ended.err.is_empty(), "{ended:?}");
    bed.is_in("running")
}

pub fn a_detached_one_ends_for_the_engine(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let pid = detached(bed, &["sh", "-c", "echo out; echo err >&2; exit 13"])?;
    ensure!(bed.await_exit(pid)? == 13);
    ensure!(fs::read_to_string(bed.path("exec-out"))? == "out\n");
    ensure!(fs::read_to_string(bed.path("exec-err"))? == "err\n");
    bed.is_in("running")
}

pub fn a_detached_one_dies_by_signal_for_the_engine(bed: &mut Bed) -> Result<()> {
    use nix::sys::{signal::Signal, wait::WaitStatus};
    bed.started()?;
    let pid = detached(bed, &["sh", "-c", "kill -TERM $$"])?;
    let status = bed.reaper.wait(pid, PATIENCE)?;
    ensure!(matches!(status, WaitStatus::Signaled(_, Signal::SIGTERM, _)), "{status:?}");
    Ok(())
}

pub fn the_engine_kills_a_detached_one(bed: &mut Bed) -> Result<()> {
    use nix::{sys::signal, unistd::Pid};
    bed.started()?;
    let pid = detached(bed, &["sleep", "501"])?;
    signal::kill(Pid::from_raw(pid), signal::Signal::SIGKILL)?;
    ensure!(bed.await_exit(pid)? == 137);
    bed.until(
        || !inside(bed).contains("501"),
        || format!("the guest's process goes on: {}", inside(bed)),
    )?;
    bed.is_in("running")
}

/// What processes the guest sees.
fn inside(bed: &Bed) -> String {
    let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; done";
    let output = bed.command(&["exec", ID, "sh", "-c", script]).output();
    output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default()
}

pub fn many_at_once(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let mut running = Vec::new();
    for index in 0..8 {
        let script = format!("usleep 20000; echo {index}; exit {index}");
        let command = bed.command(&["exec", ID, "sh", "-c", &script]);
        running.push(bed.begin(command)?);
    }
    for (index, one) in running.into_iter().enumerate() {
        bed.end(one)?.is(i32::try_from(index)?, &format!("{index}\n"))?;
    }
    Ok(())
}

pub fn user_and_groups(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let script = "id -u; id -g; id -G";
    exec(bed, &["--user", "1000:1001"], &["sh", "-c", script])?.is(0, "1000\n1001\n1001\n")?;
    exec(bed, &["-u", "1000"], &["sh", "-c", "id -u; id -g"])?.is(0, "1000\n0\n")
}

pub fn additional_groups(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let flags = ["--user", "1000:1001", "--additional-gids", "5", "--additional-gids", "6"];
    exec(bed, &flags, &["sh", "-c", "id -G"])?.is(0, "1001 5 6\n")
}

pub fn environment(bed: &mut Bed) -> Result<()> {
    bed.set("/process/env", json!(["PATH=/bin", "OF_THE_CONFIG=1"]));
    bed.started()?;
    let script = "echo $A:$OF_THE_CONFIG:$PATH";
    exec(bed, &["-e", "A=b c", "-e", "B="], &["sh", "-c", script])?.is(0, "b c:1:/bin\n")
}

pub fn working_directory(bed: &mut Bed) -> Result<()> {
    bed.set("/process/cwd", json!("/etc"));
    bed.started()?;
    exec(bed, &[], &["pwd"])?.is(0, "/etc\n")?;
    exec(bed, &["--cwd", "/tmp"], &["pwd"])?.is(0, "/tmp\n")
}

pub fn a_working_directory_that_is_missing(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    bed.fails(&["exec", "--cwd", "/not/there", ID, "pwd"], 255, "no such file or directory")
        .map(drop)
}

pub fn a_working_directory_in_proc_self_fd_is_refused(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    for number in 3..12 {
        let cwd = format!("/proc/self/fd/{number}");
        let ended = exec(bed, &["--cwd", &cwd], &["cat", "../../../../etc/shadow"])?;
        ensure!(ended.code != 0, "{cwd}: {ended:?}");
    }
    Ok(())
}

pub fn capabilities(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let script = "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status";
    let of_the_config =
        "CapPrm:\t0000000020000420\nCapEff:\t0000000020000420\nCapBnd:\t0000000020000420\n";
    exec(bed, &[], &["sh", "-c", script])?.is(0, of_the_config)?;
    let added = "CapPrm:\t0000000020001420\nCapEff:\t0000000020001420\nCapBnd:\t0000000020001420\n";
    exec(bed, &["--cap", "CAP_NET_ADMIN"], &["sh", "-c", script])?.is(0, added)
}

pub fn no_new_privileges(bed: &mut Bed) -> Result<()> {
    bed.set("/process/noNewPrivileges", json!(false));
    bed.started()?;
    let script = ["sh", "-c", "grep NoNewPrivs /proc/self/status"];
    exec(bed, &[], &script)?.is(0, "NoNewPrivs:\t0\n")?;
    exec(bed, &["--no-new-privs"], &script)?.is(0, "NoNewPrivs:\t1\n")
}

pub fn a_process_file(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let process = json!({
        "args": ["sh", "-c", "id -u; id -g; id -G; grep core /proc/self/limits | tr -s ' '; pwd; echo $X"],
        "cwd": "/tmp", "user": {"uid": 7, "gid": 8, "additionalGids": [9, 10]},
        "env": ["PATH=/bin", "X=y"],
        // Not the limit of files, whose soft one the Go runtime of runc sometimes raises.
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 55, "hard": 66}],
    });
    let wanted = "7\n8\n8 9 10\nMax core file size 55 66 bytes \n/tmp\ny\n";
    exec_process(bed, &process)?.is(0, wanted)
}

pub fn a_process_file_with_capabilities(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let process = json!({
        "args": ["sh", "-c", "grep -E 'Cap|NoNew' /proc/self/status"],
        "cwd": "/", "user": {"uid": 1000, "gid": 1000}, "env": ["PATH=/bin"],
        "noNewPrivileges": true,
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"],
            "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
        },
    });
    let wanted = "CapInh:\t0000000000000020\nCapPrm:\t0000000000000020\n\
                  CapEff:\t0000000000000020\nCapBnd:\t0000000000000021\n\
                  CapAmb:\t0000000000000020\nNoNewPrivs:\t1\n";
    exec_process(bed, &process)?.is(0, wanted)
}

/// A file that does not forbid it lets the process gain rights, whatever the container's may.
pub fn a_process_file_that_says_nothing_of_new_rights(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let process = json!({
        "args": ["grep", "NoNewPrivs", "/proc/self/status"],
        "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"],
    });
    exec_process(bed, &process)?.is(0, "NoNewPrivs:\t0\n")
}

pub fn a_process_file_with_scheduling(bed: &mut Bed) -> Result<()> {
    bed.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 3}));
    bed.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    bed.started()?;
    // Of the reader itself: nice value and policy.
    let script = "cut -d' ' -f19,41 /proc/self/stat; ionice";
    let mut process = json!({
        "args": ["sh", "-c", script],
        "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"],
    });
    exec_process(bed, &process)?.is(0, "3 3\nbest-effort: prio 6\n")?;
    process["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 5});
    exec_process(bed, &process)?.is(0, "5 0\nbest-effort: prio 6\n")?;
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    exec_process(bed, &process)?.is(0, "5 0\nidle\n")
}

pub fn a_process_file_with_processors(bed: &mut Bed) -> Result<()> {
    if std::thread::available_parallelism()?.get() < 2 {
        println!("skipped: this machine has one processor");
        return Ok(());
    }
    bed.set("/process/execCPUAffinity", json!({"final": "1"}));
    bed.started()?;
    let mut process = json!({
        "args": ["grep", "Cpus_allowed_list", "/proc/self/status"],
        "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"],
    });
    exec_process(bed, &process)?.is(0, "Cpus_allowed_list:\t1\n")?;
    process["execCPUAffinity"] = json!({"initial": "1", "final": "0"});
    exec_process(bed, &process)?.is(0, "Cpus_allowed_list:\t0\n")?;
    process["execCPUAffinity"] = json!({"initial": "0", "final": "1000"});
    let ended = exec_process(bed, &process)?;
    bed.is_failure(&ended, 255, "error setting final CPU affinity: invalid argument")?;
    process["execCPUAffinity"] = json!({"final": "0"});
    process["args"] = json!(["sleep", "500"]);
    let pid = detached_process(bed, &process)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    Ok(())
}

/// The host's killer judges by it whatever stands for the process.
pub fn the_containers_oom_score(bed: &mut Bed) -> Result<()> {
    bed.set("/process/oomScoreAdj", json!(100));
    bed.started()?;
    exec(bed, &[], &["cat", "/proc/self/oom_score_adj"])?.is(0, "100\n")?;
    let pid = detached(bed, &["sleep", "500"])?;
    ensure!(oom_score(pid)? == "100", "{}", oom_score(pid)?);
    Ok(())
}

pub fn a_process_file_with_an_oom_score(bed: &mut Bed) -> Result<()> {
    bed.set("/process/oomScoreAdj", json!(100));
    bed.started()?;
    let mut process = json!({
        "args": ["cat", "/proc/self/oom_score_adj"], "oomScoreAdj": 200,
        "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"],
    });
    exec_process(bed, &process)?.is(0, "200\n")?;
    process["args"] = json!(["sleep", "500"]);
    let pid = detached_process(bed, &process)?;
    ensure!(oom_score(pid)? == "200", "{}", oom_score(pid)?);
    Ok(())
}

fn oom_score(pid: i32) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?.trim().into())
}

pub fn a_process_file_that_is_missing(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let ended = bed.call(&["exec", "--process", "/no/such/file", ID])?;
    bed.is_failure(&ended, 255, "no such file or directory")
}

pub fn a_process_file_that_is_no_json(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    fs::write(bed.path("bad"), "{bad")?;
    let ended = bed.call(&["exec", "--process", &bed.path("bad").display().to_string(), ID])?;
    ensure!(ended.code != 0 && !ended.err.is_empty(), "{ended:?}");
    bed.is_in("running")
}

pub fn a_process_file_with_a_relative_cwd(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let process = json!({"args": ["true"], "cwd": "rel", "user": {"uid": 0, "gid": 0}});
    let ended = exec_process(bed, &process)?;
    ensure!(ended.code != 0 && !ended.err.is_empty(), "{ended:?}");
    Ok(())
}

pub fn descriptors_are_handed_on(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    fs::write(bed.path("third"), "of the third")?;
    let exec = bed.command(&["exec", "--preserve-fds", "1", ID, "sh", "-c", "cat <&3"]);
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "exec 3<third; exec \"$@\"", "sh"]).arg(exec.get_program());
    command.args(exec.get_args()).current_dir(bed.dir());
    bed.finish_call(command, b"")?.is(0, "of the third")
}

pub fn no_other_descriptor_is_handed_on(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let exec = bed.command(&["exec", ID, "sh", "-c", "ls /proc/self/fd"]);
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "exec 3</etc/passwd 7</etc 9>/dev/null; exec \"$@\"", "sh"]);
    command.arg(exec.get_program()).args(exec.get_args()).current_dir(bed.dir());
    // Of ls itself: 3 is the directory that it reads.
    bed.finish_call(command, b"")?.is(0, "0\n1\n2\n3\n")
}

pub fn it_is_in_the_containers_cgroup(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    let pid = detached(bed, &["sleep", "500"])?;
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    ensure!(text.lines().any(|line| line.ends_with(&bed.cgroup)), "{text}");
    Ok(())
}

pub fn it_is_in_the_containers_namespaces(bed: &mut Bed) -> Result<()> {
    bed.push("/linux/namespaces", json!({"type": "cgroup"}));
    let init = bed.started()?;
    let pid = detached(bed, &["sleep", "500"])?;
    for it in ["net", "uts", "ipc", "cgroup"] {
        let name = |of: i32| fs::read_link(format!("/proc/{of}/ns/{it}"));
        ensure!(name(pid)? == name(init)?, "{it}");
    }
    Ok(())
}

pub fn fresh_limits(bed: &mut Bed) -> Result<()> {
    bed.started()?;
    exec(bed, &[], &["sh", "-c", "ulimit -n"])?.is(0, "1024\n")
}
