// SPDX-License-Identifier: Apache-2.0
//! What the process of the configuration is given: user, rights, limits, surroundings.
use anyhow::{Result, ensure};
use serde_json::json;
use tests::oci::bed::Bed;

pub fn user_and_groups(bed: &mut Bed) -> Result<()> {
    bed.set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 7]}));
    bed.prints("id -u; id -g; id -G", "1000\n1001\n1001 5 7\n")
}

pub fn no_group_but_its_own(bed: &mut Bed) -> Result<()> {
    bed.prints("id -G; grep Groups /proc/self/status", "0\nGroups:\t \n")
}

pub fn the_default_umask(bed: &mut Bed) -> Result<()> {
    bed.prints("umask", "0022\n")
}

pub fn a_umask(bed: &mut Bed) -> Result<()> {
    bed.set("/process/user/umask", json!(0o027));
    bed.prints("umask", "0027\n")
}

pub fn working_directory(bed: &mut Bed) -> Result<()> {
    bed.set("/process/cwd", json!("/etc"));
    bed.prints("pwd; ls passwd", "/etc\npasswd\n")
}

pub fn a_working_directory_that_is_missing_is_made(bed: &mut Bed) -> Result<()> {
    bed.set("/process/cwd", json!("/made/for/it"));
    bed.prints("pwd", "/made/for/it\n")?;
    ensure!(bed.rootfs().join("made/for/it").is_dir());
    Ok(())
}

pub fn a_relative_working_directory(bed: &mut Bed) -> Result<()> {
    bed.set("/process/cwd", json!("rel"));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "Cwd must be an absolute path")
}

pub fn a_working_directory_in_proc_self_fd(bed: &mut Bed) -> Result<()> {
    for number in 3..12 {
        bed.set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        bed.shell("cat ../../../../etc/shadow");
        let ended = bed.run()?;
        ensure!(ended.code != 0 && ended.out.is_empty(), "{number}: {ended:?}");
    }
    Ok(())
}

pub fn environment_alone(bed: &mut Bed) -> Result<()> {
    bed.set("/process/env", json!(["PATH=/bin", "A=b c", "EMPTY=", "HOME=/root"]));
    bed.set("/process/args", json!(["env"]));
    bed.run()?.is(0, "PATH=/bin\nA=b c\nEMPTY=\nHOME=/root\n")
}

pub fn home_is_the_users(bed: &mut Bed) -> Result<()> {
    bed.prints("echo $HOME", "/root\n")?;
    bed.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bed.prints("echo $HOME", "/home\n")
}

pub fn arguments_as_they_are(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!(["printf", "%s|", "", " a b ", "\"q\"", "$X", "ü\n"]));
    bed.run()?.is(0, "| a b |\"q\"|$X|ü\n|")
}

pub fn no_arguments(bed: &mut Bed) -> Result<()> {
    bed.set("/process/args", json!([]));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "args must not be empty")
}

pub fn hostname(bed: &mut Bed) -> Result<()> {
    bed.prints("hostname; cat /proc/sys/kernel/hostname", "contract\ncontract\n")
}

pub fn domainname(bed: &mut Bed) -> Result<()> {
    bed.set("/domainname", json!("example.org"));
    bed.prints("cat /proc/sys/kernel/domainname", "example.org\n")
}

fn capability_lines(bed: &mut Bed) -> Result<String> {
    bed.output_of("grep Cap /proc/self/status | sed 's/.*\t0*//'")
}

pub fn capabilities_of_root(bed: &mut Bed) -> Result<()> {
    let lines = capability_lines(bed)?;
    ensure!(lines == "\n20000420\n20000420\n20000420\n\n", "{lines:?}");
    Ok(())
}

pub fn capabilities_of_a_user(bed: &mut Bed) -> Result<()> {
    bed.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let lines = capability_lines(bed)?;
    ensure!(lines == "\n\n\n20000420\n\n", "{lines:?}");
    Ok(())
}

pub fn ambient_capabilities_of_a_user(bed: &mut Bed) -> Result<()> {
    bed.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        bed.set(&format!("/process/capabilities/{set}"), json!(["CAP_KILL"]));
    }
    let lines = capability_lines(bed)?;
    ensure!(lines == "20\n20\n20\n20\n20\n", "{lines:?}");
    Ok(())
}

pub fn no_capabilities(bed: &mut Bed) -> Result<()> {
    bed.unset("/process/capabilities");
    let lines = capability_lines(bed)?;
    ensure!(lines == "\n\n\n\n\n", "{lines:?}");
    Ok(())
}

pub fn an_unknown_capability_is_no_failure(bed: &mut Bed) -> Result<()> {
    bed.set("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_NO_SUCH"]));
    bed.set("/process/capabilities/effective", json!(["CAP_KILL"]));
    bed.set("/process/capabilities/permitted", json!(["CAP_KILL"]));
    bed.shell("exit 0");
    let ended = bed.run()?;
    ensure!(ended.code == 0, "{ended:?}");
    Ok(())
}

pub fn without_a_capability_chown_fails(bed: &mut Bed) -> Result<()> {
    bed.prints("touch /tmp/f; chown 5 /tmp/f 2>/dev/null || echo refused", "refused\n")
}

pub fn with_a_capability_chown_works(bed: &mut Bed) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    for set in ["bounding", "effective", "permitted"] {
        bed.push(&format!("/process/capabilities/{set}"), json!("CAP_CHOWN"));
    }
    bed.prints("touch /tmp/f; chown 5:6 /tmp/f; stat -c %u:%g /tmp/f", "5:6\n")?;
    let file = std::fs::metadata(bed.rootfs().join("tmp/f"))?;
    ensure!(file.uid() == 5 && file.gid() == 6);
    Ok(())
}

pub fn no_new_privileges(bed: &mut Bed) -> Result<()> {
    bed.prints("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n")?;
    bed.set("/process/noNewPrivileges", json!(false));
    bed.prints("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0\n")
}

pub fn resource_limits(bed: &mut Bed) -> Result<()> {
    bed.set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 200, "hard": 300},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_STACK", "soft": 4194304, "hard": 8388608},
        ]),
    );
    bed.prints(
        "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -Ss; ulimit -Hs",
        "200\n300\n0\n4096\n8192\n",
    )
}

pub fn an_unknown_limit(bed: &mut Bed) -> Result<()> {
    bed.set("/process/rlimits", json!([{"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1}]));
    let ended = bed.run()?;
    bed.is_failure(&ended, 1, "RLIMIT_BOGUS|invalid rlimit type")
}

pub fn a_limit_given_twice(bed: &mut Bed) -> Result<()> {
    let limit = json!({"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100});
    bed.set("/process/rlimits", json!([limit, limit]));
    bed.shell("ulimit -n");
    bed.run()?.is(0, "100\n")
}

pub fn oom_score(bed: &mut Bed) -> Result<()> {
    bed.set("/process/oomScoreAdj", json!(100));
    bed.prints("cat /proc/self/oom_score_adj", "100\n")
}

/// The host's killer judges by it whatever stands for the container.
pub fn oom_score_on_the_host(bed: &mut Bed) -> Result<()> {
    bed.set("/process/oomScoreAdj", json!(100));
    let pid = bed.started()?;
    let score = |pid: i32| -> Result<i32> {
        Ok(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?.trim().parse()?)
    };
    ensure!(score(pid)? == 100, "{}", score(pid)?);
    for (pid, line) in tests::oci::host::descendants() {
        ensure!(score(pid)? >= 100, "{pid} {line}: {}", score(pid)?);
    }
    Ok(())
}

pub fn a_read_only_root(bed: &mut Bed) -> Result<()> {
    bed.set("/root/readonly", json!(true));
    bed.shell("touch /tmp/f; echo $?; echo x >/dev/null && echo fine");
    let ended = bed.run()?;
    ended.is(0, "1\nfine\n")?;
    ensure!(ended.err.contains("Read-only file system"), "{ended:?}");
    ensure!(!bed.rootfs().join("tmp/f").exists());
    Ok(())
}

pub fn namespaces_of_its_own(bed: &mut Bed) -> Result<()> {
    let out = bed.output_of(
        "for n in pid net ipc uts mnt; do readlink /proc/self/ns/$n; done; ls /proc | grep -c '^[0-9]'",
    )?;
    for (name, line) in ["pid", "net", "ipc", "uts", "mnt"].iter().zip(out.lines()) {
        let host = std::fs::read_link(format!("/proc/self/ns/{name}"))?;
        ensure!(line.starts_with(name) && host.as_os_str() != line, "{name}: {line}");
    }
    Ok(())
}

pub fn only_loopback_without_a_network(bed: &mut Bed) -> Result<()> {
    bed.prints("grep -c : /proc/net/dev; grep -o lo: /proc/net/dev", "1\nlo:\n")
}

pub fn annotations_do_not_change_it(bed: &mut Bed) -> Result<()> {
    bed.set("/annotations", json!({"org.example": "x", "dev.gvisor.flag.debug": "true"}));
    bed.prints("echo fine", "fine\n")
}
