// SPDX-License-Identifier: Apache-2.0
//! What the runtime specification demands, one rule a case, seen from inside and outside.
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::oci::bed::{Bed, ID};

/// Create: without its arguments it fails, and makes no container.
pub fn create_needs_an_id_and_a_bundle(bed: &mut Bed) -> Result<()> {
    bed.save()?;
    let bundle = bed.bundle().display().to_string();
    let ended = bed.call(&["create", "--bundle", &bundle])?;
    ensure!(ended.code != 0, "{ended:?}");
    bed.ok(&["list", "-q"])?.is(0, "")
}

/// Start: without an id it fails.
pub fn start_needs_an_id(bed: &mut Bed) -> Result<()> {
    ensure!(bed.call(&["start"])?.code != 0);
    Ok(())
}

/// What is done to config.json after create does not reach the container.
pub fn config_is_read_at_create_alone(bed: &mut Bed) -> Result<()> {
    bed.shell("echo first");
    let pid = bed.create()?;
    bed.shell("echo second");
    bed.set("/hostname", json!("changed"));
    bed.save()?;
    bed.ok(&["start", ID])?;
    ensure!(bed.await_exit(pid)? == 0);
    ensure!(bed.output() == "first\n", "{:?}", bed.output());
    Ok(())
}

/// Create does not run the program yet.
pub fn create_does_not_run_the_program(bed: &mut Bed) -> Result<()> {
    bed.shell("echo ran >/tmp/ran; sleep 1000");
    bed.create()?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    ensure!(!bed.rootfs().join("tmp/ran").exists());
    bed.ok(&["start", ID])?;
    bed.until(|| bed.rootfs().join("tmp/ran").exists(), || "it does not run".into())
}

/// A start of what is not created has no effect.
pub fn a_refused_start_changes_nothing(bed: &mut Bed) -> Result<()> {
    bed.shell("echo x >>/tmp/runs; sleep 1000");
    bed.started()?;
    bed.until(|| bed.guest_file("tmp/runs").is_ok_and(|it| !it.is_empty()), || "no run".into())?;
    ensure!(bed.call(&["start", ID])?.code != 0);
    ensure!(bed.guest_file("tmp/runs")? == "x\n");
    bed.is_in("running")
}

/// Nor has a kill of what neither is created nor runs.
pub fn a_refused_kill_changes_nothing(bed: &mut Bed) -> Result<()> {
    bed.stopped()?;
    ensure!(bed.call(&["kill", ID, "TERM"])?.code != 0);
    bed.is_in("stopped")
}

/// Delete removes what create made, and nothing else.
pub fn delete_leaves_what_it_did_not_make(bed: &mut Bed) -> Result<()> {
    fs::create_dir(bed.path("volume"))?;
    fs::write(bed.path("volume/kept"), "kept")?;
    let source = bed.path("volume");
    bed.push(
        "/mounts",
        json!({"destination": "/mnt", "type": "bind", "source": source, "options": ["rbind"]}),
    );
    bed.stopped()?;
    bed.ok(&["delete", ID])?;
    ensure!(fs::read_to_string(bed.path("volume/kept"))? == "kept");
    ensure!(bed.rootfs().join("bin/sh").exists() && bed.bundle().join("config.json").exists());
    Ok(())
}

/// After delete the id is free.
pub fn an_id_may_be_used_again(bed: &mut Bed) -> Result<()> {
    bed.shell("echo one");
    let pid = bed.started()?;
    bed.await_exit(pid)?;
    bed.ok(&["delete", ID])?;
    bed.shell("echo two");
    let pid = bed.started()?;
    bed.await_exit(pid)?;
    ensure!(bed.output() == "one\ntwo\n");
    Ok(())
}

/// A bundle of an older version of the specification is taken.
pub fn a_bundle_of_an_older_version(bed: &mut Bed) -> Result<()> {
    bed.set("/ociVersion", json!("1.0.0"));
    bed.prints("echo fine", "fine\n")
}

/// The fields of the state that must be there.
pub fn state_has_what_is_required(bed: &mut Bed) -> Result<()> {
    bed.create()?;
    let state = bed.state()?;
    for key in ["ociVersion", "id", "status", "bundle"] {
        ensure!(state[key].is_string(), "{key}: {state}");
    }
    ensure!(state["pid"].as_i64().is_some_and(|pid| pid > 1), "{state}");
    ensure!(state["bundle"].as_str().is_some_and(|it| it.starts_with('/')), "{state}");
    Ok(())
}

/// Annotations come back as they were given.
pub fn annotations_are_the_configurations(bed: &mut Bed) -> Result<()> {
    let annotations = json!({"com.example.k": "v", "u": "ü", "long": "x".repeat(5000)});
    bed.set("/annotations", annotations.clone());
    bed.create()?;
    ensure!(bed.state()?["annotations"] == annotations);
    Ok(())
}

/// The file systems that a Linux container should find.
pub fn the_default_file_systems(bed: &mut Bed) -> Result<()> {
    let out = bed.output_of("cut -d ' ' -f 2,3 /proc/mounts")?;
    for wanted in ["/proc proc", "/sys sysfs", "/dev/pts devpts", "/dev/shm tmpfs"] {
        ensure!(out.lines().any(|line| line == wanted), "{wanted}: {out}");
    }
    Ok(())
}

/// The terminal multiplexer is that of the container's own devpts.
pub fn ptmx_is_the_containers(bed: &mut Bed) -> Result<()> {
    let out = bed.output_of("readlink /dev/ptmx || stat -c %t:%T /dev/ptmx")?;
    ensure!(out == "pts/ptmx\n" || out == "/dev/pts/ptmx\n" || out == "5:2\n", "{out:?}");
    Ok(())
}

/// The default devices have the numbers that Linux gave them.
pub fn numbers_of_the_default_devices(bed: &mut Bed) -> Result<()> {
    bed.prints(
        "for d in null zero full random urandom tty; do stat -c %t:%T /dev/$d; done",
        "1:3\n1:5\n1:7\n1:8\n1:9\n5:0\n",
    )
}

/// Each resource limit is what the process has.
pub fn each_limit(bed: &mut Bed) -> Result<()> {
    let limits = [
        ("RLIMIT_CPU", "Max cpu time", 1000, 2000),
        ("RLIMIT_FSIZE", "Max file size", 1 << 30, 1 << 31),
        ("RLIMIT_DATA", "Max data size", 1 << 30, 1 << 31),
        ("RLIMIT_STACK", "Max stack size", 1 << 21, 1 << 22),
        ("RLIMIT_CORE", "Max core file size", 0, 0),
        ("RLIMIT_NOFILE", "Max open files", 333, 444),
        ("RLIMIT_AS", "Max address space", 1_u64 << 33, 1_u64 << 34),
        ("RLIMIT_MEMLOCK", "Max locked memory", 4096, 8192),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", 4096, 8192),
    ];
    let list: Vec<Value> = limits
        .iter()
        .map(|(name, _, soft, hard)| json!({"type": name, "soft": soft, "hard": hard}))
        .collect();
    bed.set("/process/rlimits", json!(list));
    let out = bed.output_of("cat /proc/self/limits")?;
    for (name, title, soft, hard) in limits {
        let line = out.lines().find(|line| line.starts_with(title)).context(name)?;
        let cells: Vec<&str> = line[title.len()..].split_whitespace().collect();
        ensure!(cells[0] == soft.to_string() && cells[1] == hard.to_string(), "{name}: {line}");
    }
    Ok(())
}

/// A read-only root is one also in the list of mounts.
pub fn the_root_of_mountinfo_is_read_only(bed: &mut Bed) -> Result<()> {
    bed.set("/root/readonly", json!(true));
    let out = bed.output_of("grep ' / / ' /proc/self/mountinfo || cat /proc/self/mountinfo")?;
    let line = out.lines().find(|line| line.split(' ').nth(4) == Some("/")).context("no root")?;
    let options = line.split(' ').nth(5).context("options")?;
    ensure!(options.split(',').any(|it| it == "ro"), "{line}");
    Ok(())
}

/// Masked paths cannot be read.
pub fn masked_paths_cannot_be_read(bed: &mut Bed) -> Result<()> {
    fs::create_dir(bed.rootfs().join("secret"))?;
    fs::write(bed.rootfs().join("secret/f"), "secret")?;
    fs::write(bed.rootfs().join("secret-file"), "secret")?;
    bed.set("/linux/maskedPaths", json!(["/secret", "/secret-file"]));
    bed.prints(
        "cat /secret-file; ls -A /secret | wc -l; cat /secret/f 2>/dev/null || echo none",
        "0\nnone\n",
    )
}

/// Read-only paths cannot be written.
pub fn read_only_paths_are(bed: &mut Bed) -> Result<()> {
    fs::create_dir(bed.rootfs().join("fixed"))?;
    fs::write(bed.rootfs().join("fixed/f"), "text\n")?;
    fs::write(bed.rootfs().join("fixed-file"), "text\n")?;
    bed.set("/linux/readonlyPaths", json!(["/fixed", "/fixed-file"]));
    bed.prints(
        "cat /fixed/f; for f in /fixed/f /fixed/new /fixed-file; do echo x 2>/dev/null >$f || echo no; done",
        "text\nno\nno\nno\n",
    )
}

/// Additional groups count when access is decided.
pub fn additional_groups_count_for_access(bed: &mut Bed) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = bed.rootfs().join("etc/for-group-77");
    fs::write(&file, "for the group\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o040))?;
    std::os::unix::fs::chown(&file, Some(0), Some(77))?;
    bed.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bed.shell("cat /etc/for-group-77");
    ensure!(bed.run()?.code == 1);
    bed.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [77]}));
    bed.run()?.is(0, "for the group\n")
}

/// Without a uts namespace of its own a hostname cannot be set.
pub fn a_hostname_needs_a_namespace(bed: &mut Bed) -> Result<()> {
    bed.set(
        "/linux/namespaces",
        json!([{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "mount"}]),
    );
    let ended = bed.run()?;
    ensure!(ended.code == 1 && !ended.err.is_empty(), "{ended:?}");
    Ok(())
}

/// Who shares the host's uts namespace has the host's name.
pub fn the_hosts_name_without_a_namespace(bed: &mut Bed) -> Result<()> {
    bed.config.as_object_mut().unwrap().remove("hostname");
    bed.set(
        "/linux/namespaces",
        json!([{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "mount"}]),
    );
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    bed.prints("hostname", &host)
}

/// A namespace of its own begins with the names that the runtime sees.
pub fn the_names_of_a_fresh_namespace(bed: &mut Bed) -> Result<()> {
    bed.config.as_object_mut().unwrap().remove("hostname");
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS)?;
    nix::unistd::sethostname("of-the-moment")?;
    fs::write("/proc/sys/kernel/domainname", "domain")?;
    bed.prints("hostname; cat /proc/sys/kernel/domainname", "of-the-moment\ndomain\n")
}

pub fn a_path_to_a_uts_namespace(bed: &mut Bed) -> Result<()> {
    bed.set("/hostname", json!("the-first"));
    bed.config["linux"]["cgroupsPath"] = json!(format!("{}-a", bed.cgroup));
    let first = bed.create()?;
    bed.config.as_object_mut().unwrap().remove("hostname");
    let list = bed.config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|it| it["type"] != "uts");
    list.push(json!({"type": "uts", "path": format!("/proc/{first}/ns/uts")}));
    bed.config["linux"]["cgroupsPath"] = json!(format!("{}-b", bed.cgroup));
    bed.shell("hostname");
    bed.save()?;
    let bundle = bed.bundle();
    bed.call(&["run".as_ref(), "--bundle".as_ref(), bundle.as_os_str(), "c2".as_ref()])?
        .is(0, "the-first\n")
}

/// A namespace type that is given twice is an error.
pub fn a_namespace_given_twice(bed: &mut Bed) -> Result<()> {
    bed.push("/linux/namespaces", json!({"type": "pid"}));
    let ended = bed.run()?;
    ensure!(ended.code != 0 && !ended.err.is_empty(), "{ended:?}");
    Ok(())
}

/// A path that is no namespace of that type is an error.
pub fn a_path_that_is_no_namespace(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/namespaces/1", json!({"type": "network", "path": "/etc/passwd"}));
    let ended = bed.run()?;
    ensure!(ended.code != 0 && !ended.err.is_empty(), "{ended:?}");
    bed.ok(&["list", "-q"])?.is(0, "")
}

pub fn a_path_to_a_network_namespace(bed: &mut Bed) -> Result<()> {
    bed.config["linux"]["cgroupsPath"] = json!(format!("{}-a", bed.cgroup));
    let first = bed.create()?;
    let path = format!("/proc/{first}/ns/net");
    bed.set("/linux/namespaces/1", json!({"type": "network", "path": path}));
    bed.config["linux"]["cgroupsPath"] = json!(format!("{}-b", bed.cgroup));
    let second = bed.create_as("c2", &[])?;
    let of = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/net"));
    ensure!(of(first)? == of(second)?, "the second has not joined");
    ensure!(of(first)? != fs::read_link("/proc/self/ns/net")?);
    Ok(())
}

/// Kernel parameters are set for the container.
pub fn sysctls_of_namespaces(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/sysctl", json!({"net.core.somaxconn": "256", "kernel.msgmax": "1024"}));
    bed.prints("cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax", "256\n1024\n")
}

/// The execution domain is the one that was asked for.
pub fn personality(bed: &mut Bed) -> Result<()> {
    bed.set("/linux/personality", json!({"domain": "LINUX32"}));
    bed.prints("uname -m", "i686\n")
}

/// An oom score that is not given is left as it was.
pub fn an_oom_score_that_is_not_given(bed: &mut Bed) -> Result<()> {
    let own = fs::read_to_string("/proc/self/oom_score_adj")?;
    bed.prints("cat /proc/self/oom_score_adj", &own)
}

/// Mounts are made in the order of the list.
pub fn mounts_are_made_in_the_order_of_the_list(bed: &mut Bed) -> Result<()> {
    for name in ["one", "two"] {
        bed.push("/mounts", json!({"destination": "/mnt", "type": "tmpfs", "source": name}));
    }
    let out = bed.output_of("grep ' /mnt ' /proc/mounts | cut -d ' ' -f 1")?;
    ensure!(out == "one\ntwo\n", "{out:?}");
    Ok(())
}
