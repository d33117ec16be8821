// SPDX-License-Identifier: Apache-2.0
//! Containers in the host's cgroups: what is made, what it limits, what is seen of it, what is left.
//!
//! They need root and hierarchies of version 1; the last one makes itself a view of version 2.

mod support;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};
use support::{Bundle, await_that};

const HOST: &str = "/sys/fs/cgroup";

/// Whether there is something to test; says so if not.
fn can_test() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    let has_all = ["cpu", "memory", "pids", "cpuset", "freezer"]
        .iter()
        .all(|name| Path::new(HOST).join(name).join("cgroup.procs").exists());
    if !is_root || !has_all {
        eprintln!("skipped: it takes root and cgroups of version 1");
    }
    is_root && has_all
}

/// A name that no other test has.
fn name(test: &str) -> String {
    format!("/runsc-test-{}/{test}", std::process::id())
}

/// A file of the container's cgroup.
fn host_file(controller: &str, path: &str, file: &str) -> PathBuf {
    Path::new(HOST).join(controller).join(path.trim_start_matches('/')).join(file)
}

fn host(controller: &str, path: &str, file: &str) -> String {
    let path = host_file(controller, path, file);
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .trim()
        .into()
}

/// Every directory of this name on the host.
fn left(path: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir(HOST).unwrap().map(|entry| entry.unwrap().path());
    hierarchies.map(|it| it.join(path.trim_start_matches('/'))).filter(|it| it.exists()).collect()
}

/// The cgroups of a process, by controller.
fn cgroup_of(pid: &str, controller: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = text.lines().find(|line| line.split(':').nth(1) == Some(controller));
    line.and_then(|line| line.splitn(3, ':').nth(2)).unwrap().into()
}

fn bundle(script: &str, path: &str, resources: Value) -> Bundle {
    Bundle::new(script, |spec| {
        spec["linux"]["cgroupsPath"] = path.into();
        spec["linux"]["resources"] = resources;
    })
}

/// The processes of the sandbox whose monitor this is: its children.
fn sandbox(bundle: &Bundle) -> (String, Vec<String>) {
    let pid = fs::read_to_string(bundle.path().join("pid")).unwrap();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    (pid, children.split_whitespace().map(String::from).collect())
}

#[test]
fn limits_hold_on_the_host_and_are_seen_inside() {
    if !can_test() {
        return;
    }
    let path = name("limits");
    let script = "nproc; grep MemTotal /proc/meminfo; cat /proc/self/cgroup; cd /sys/fs/cgroup; \
        cat memory.max cpu.max pids.max cgroup.procs; [ $(cat memory.current) -gt 4000000 ] && echo used; \
        (echo 1 >memory.max) 2>/dev/null || echo refused; echo done; sleep 1000";
    let bundle = bundle(
        script,
        &path,
        json!({
            "memory": {"limit": 128 << 20, "swap": 256 << 20, "reservation": 64 << 20, "swappiness": 7},
            "cpu": {"shares": 512, "quota": 50_000, "period": 50_000, "cpus": "0"},
            "pids": {"limit": 21},
            "devices": [{"allow": false, "access": "rwm"}],
            "blockIO": {"weight": 0},
        }),
    );
    bundle.start();
    await_that("the program prints", || bundle.printed().ends_with("done\n"));
    let wanted = "1\nMemTotal:         131072 kB\n0::/\n134217728\n50000 50000\n21\n1\n";
    assert!(bundle.printed().starts_with(wanted), "{}", bundle.printed());
    assert!(bundle.printed().ends_with("used\nrefused\ndone\n"), "{}", bundle.printed());
    for (controller, file, wanted) in [
        ("memory", "memory.limit_in_bytes", "134217728"),
        ("memory", "memory.memsw.limit_in_bytes", "268435456"),
        ("memory", "memory.soft_limit_in_bytes", "67108864"),
        ("memory", "memory.swappiness", "7"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("pids", "pids.max", "21"),
    ] {
        assert_eq!(host(controller, &path, file), wanted, "{file}");
    }
    let (monitor, children) = sandbox(&bundle);
    assert_eq!(children.len(), 2);
    for controller in ["memory", "cpu", "cpuset", "freezer", "devices", "cpuacct", "blkio"] {
        for pid in children.iter().chain([&monitor]) {
            assert_eq!(cgroup_of(pid, controller), path, "{controller} of {pid}");
        }
    }
    // The monitor stands for the container; the sandbox's threads are not what was counted.
    assert_eq!(cgroup_of(&monitor, "pids"), path);
    for pid in &children {
        assert_eq!(cgroup_of(pid, "pids"), Path::new(&path).parent().unwrap().to_str().unwrap());
    }
    let stats = || -> Value {
        serde_json::from_str(&bundle.succeeds(&["events", "--stats", "c1"])).unwrap()
    };
    await_that("the shell has started sleep", || {
        stats()["data"]["pids"] == json!({"current": 2, "limit": 21})
    });
    let stats = stats();
    assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!("c1")));
    assert_eq!(stats["data"]["memory"]["usage"]["limit"], 128 << 20);
    assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0);
    assert!(stats["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0);
    bundle.succeeds(&["delete", "--force", "c1"]);
    assert_eq!(left(&path), [PathBuf::new(); 0]);
}

#[test]
fn the_task_limit_is_exactly_linuxs() {
    if !can_test() {
        return;
    }
    let script = "i=0; while [ $i -lt 40 ]; do sleep 1000 >/dev/null & i=$((i+1)); echo $i; done";
    let path = name("counted");
    let ours = bundle(script, &path, json!({"pids": {"limit": 12}}));
    ours.start();
    ours.await_status("stopped");
    // The same on the host.
    let directory = host_file("pids", &name("counted-host"), "");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("pids.max"), "12").unwrap();
    let enter = format!("echo $$ >{}/cgroup.procs; exec sh -c '{script}'", directory.display());
    let output = Command::new("sh").args(["-c", &enter]).stderr(Stdio::null()).output();
    for pid in fs::read_to_string(directory.join("cgroup.procs")).unwrap().lines() {
        Command::new("kill").args(["-9", pid]).status().unwrap();
    }
    await_that("the host's group is removed", || fs::remove_dir(&directory).is_ok());
    assert_eq!(ours.printed(), String::from_utf8(output.unwrap().stdout).unwrap());
    assert!(ours.printed().ends_with("\n11\n"), "{}", ours.printed());
    ours.succeeds(&["delete", "c1"]);
    assert_eq!(left(&path), [PathBuf::new(); 0]);
    // Not empty as long as another test is in there.
    let _ = fs::remove_dir(directory.parent().unwrap());
}

#[test]
fn an_update_is_seen_at_once_or_not_at_all() {
    if !can_test() {
        return;
    }
    let path = name("update");
    let script = "trap 'cd /sys/fs/cgroup; echo $(nproc) $(cat memory.max pids.max cpu.max) end' USR1; \
        echo ready; while :; do sleep 0.05; done";
    let resources =
        json!({"memory": {"limit": 128 << 20}, "cpu": {"quota": 100_000, "period": 100_000}});
    let bundle = bundle(script, &path, resources);
    bundle.start();
    await_that("it is ready", || bundle.printed() == "ready\n");
    let shows = |wanted: &str| {
        let before = bundle.printed().len();
        bundle.succeeds(&["kill", "c1", "USR1"]);
        await_that("it answers", || {
            bundle.printed().get(before..).is_some_and(|it| it.contains("end"))
        });
        assert_eq!(bundle.printed().get(before..).unwrap().trim_end(), format!("{wanted} end"));
    };
    shows("1 134217728 max 100000 100000");
    bundle.succeeds(&[
        "update",
        "--memory",
        "64M",
        "--pids-limit=30",
        "--cpu-quota",
        "50000",
        "c1",
    ]);
    shows("1 67108864 30 50000 100000");
    assert_eq!(host("pids", &path, "pids.max"), "30");
    fs::write(bundle.path().join("r.json"), r#"{"pids":{"limit":-1},"cpu":{"quota":-1}}"#).unwrap();
    bundle.succeeds(&["update", "--resources", "r.json", "c1"]);
    let cpus = thread::available_parallelism().unwrap();
    shows(&format!("{cpus} 67108864 max max 100000"));
    // From standard input, as docker has it; 0 is "as it is".
    let mut update = bundle.command(&["update", "--resources=-", "c1"]);
    let mut update = update.stdin(Stdio::piped()).spawn().unwrap();
    let text = r#"{"memory":{"limit":0,"kernel":0},"cpu":{"shares":0},"pids":{"limit":9},"blockIO":{"weight":0}}"#;
    update.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(update.wait().unwrap().success());
    shows(&format!("{cpus} 67108864 9 max 100000"));

    for (args, says) in [
        (&["update", "--memory", "abc", "c1"][..], "invalid value for memory: invalid size: 'abc'"),
        (&["update", "--memory", "4k", "c1"], "unable to set memory limit to 4096"),
        (
            &["update", "--pids-limit", "4", "--cpuset-cpus", "999", "c1"],
            "linux.resources.cpu.cpus",
        ),
        (&["update", "--cpu-quota", "1", "c1"], "linux.resources.cpu.quota"),
        (&["update", "--blkio-weight", "5", "c1"], "linux.resources.blockIO.weight"),
        (&["update", "--resources", "nope", "c1"], "no such file"),
        (&["update", "--l3-cache-schema", "x", "c1"], "Intel RDT"),
        (&["update", "--pids-limit", "4", "nope"], "container does not exist"),
    ] {
        bundle.fails(args, 1, says);
    }
    // What a failed update had written before it failed is put back.
    assert_eq!(host("pids", &path, "pids.max"), "9");
    shows(&format!("{cpus} 67108864 9 max 100000"));
    bundle.succeeds(&["kill", "c1", "KILL"]);
    bundle.await_status("stopped");
    bundle.fails(&["update", "--pids-limit", "4", "c1"], 1, "container not running");
    bundle.fails(&["events", "--stats", "c1"], 1, "container with id c1 is not running");
}

#[test]
fn another_ones_cgroup_is_refused_and_left_alone() {
    if !can_test() {
        return;
    }
    let path = name("taken");
    let first = bundle("sleep 1000", &path, json!({}));
    first.start();
    let second = bundle("sleep 1000", &path, json!({}));
    second.fails(&["run", "c1"], 1, "container's cgroup is not empty: ");
    second.fails(&["state", "c1"], 1, "container does not exist");
    second.succeeds(&["delete", "--force", "c1"]);
    assert_eq!(first.status(), "running");
    assert_eq!(cgroup_of(&sandbox(&first).0, "memory"), path);
}

#[test]
fn containers_of_one_name_have_places_of_their_own() {
    if !can_test() {
        return;
    }
    let start = |bundle: &Bundle, id: &str| {
        let mut run = bundle.command(&["run", "--detach", "--pid-file", "pid", id]);
        assert!(run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        cgroup_of(&sandbox(bundle).0, "memory")
    };
    let id = format!("runsc-test-{}-same", std::process::id());
    let bundles: Vec<Bundle> = (0..4).map(|_| Bundle::new("sleep 1000", |_| ())).collect();
    let mut places: Vec<String> = thread::scope(|scope| {
        let all: Vec<_> = bundles.iter().map(|it| scope.spawn(|| start(it, &id))).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 4, "{places:?}");
    for (index, bundle) in bundles.iter().enumerate() {
        bundle.succeeds(&["delete", "--force", &id]);
        for other in bundles.iter().skip(index + 1) {
            assert!(other.succeeds(&["state", &id]).contains("running"));
        }
    }
    for place in places {
        let path = Path::new(HOST).join("memory").join(place.trim_start_matches('/'));
        assert!(!path.exists(), "{}", path.display());
    }
}

#[test]
fn a_frozen_container_can_be_deleted() {
    if !can_test() {
        return;
    }
    let path = name("frozen/deep/er");
    let bundle = bundle("while :; do :; done", &path, json!({}));
    bundle.start();
    fs::write(host_file("freezer", &path, "freezer.state"), "FROZEN").unwrap();
    await_that("it is frozen", || host("freezer", &path, "freezer.state") == "FROZEN");
    bundle.succeeds(&["delete", "--force", "c1"]);
    assert_eq!(left(&path), [PathBuf::new(); 0]);
    assert_eq!(left(&name("frozen")), [PathBuf::new(); 0], "what was made above is removed, too");
}

#[test]
fn nonsense_has_no_effect_and_names_its_field() {
    if !can_test() {
        return;
    }
    for (index, (resources, says)) in [
        (json!({"memory": {"limit": -7}}), "linux.resources.memory.limit"),
        (
            json!({"memory": {"limit": 20_000_000, "swap": 10_000_000}}),
            "linux.resources.memory.swap",
        ),
        (json!({"cpu": {"cpus": "9-x"}}), "linux.resources.cpu.cpus"),
        (json!({"cpu": {"cpus": "4096"}}), "linux.resources.cpu.cpus"),
        (json!({"cpu": {"period": 3}}), "linux.resources.cpu.period"),
        (json!({"unified": {"memory.max": "1"}}), "linux.resources.unified.memory.max"),
        (json!({"rdma": {"mlx": {"hcaHandles": 3}}}), "linux.resources.rdma"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = name(&format!("nonsense{index}"));
        let bundle = bundle("echo ran", &path, resources);
        bundle.fails(&["run", "c1"], 1, says);
        bundle.fails(&["state", "c1"], 1, "does not exist");
        assert_eq!(left(&path), [PathBuf::new(); 0], "{says}");
    }
    let path = name("file/tasks");
    bundle("echo ran", &path, json!({})).fails(&["run", "c1"], 1, "linux.cgroupsPath: make ");
    assert_eq!(left(&name("file")), [PathBuf::new(); 0], "a name that is taken by a file");
    for path in ["/", "/a/..", "/x\ny"] {
        let bundle = bundle("echo ran", path, json!({}));
        bundle.fails(&["run", "c1"], 1, "linux.cgroupsPath: ");
    }
    let bundle = bundle("echo ran", &name("systemd"), json!({})).with(&["--systemd-cgroup"]);
    bundle.fails(&["run", "c1"], 1, "linux.cgroupsPath: expected cgroupsPath to be of format");
}

#[test]
fn cgroups_can_be_ignored_and_have_a_place_of_their_own() {
    if !can_test() {
        return;
    }
    let path = name("ignored");
    let ignoring = bundle("cat /sys/fs/cgroup/pids.max", &path, json!({"pids": {"limit": 5}}));
    let ignoring = ignoring.with(&["--ignore-cgroups"]);
    ignoring.start();
    ignoring.await_status("stopped");
    assert_eq!(left(&path), [PathBuf::new(); 0]);
    assert_eq!(ignoring.printed(), "5\n", "the sentry keeps this limit by itself");

    let id = format!("runsc-test-{}-own", std::process::id());
    let bundle = Bundle::new("sleep 1000", |_| ());
    let mut run = bundle.command(&["run", "--detach", "--pid-file", "pid", &id]);
    assert!(run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let own = cgroup_of("self", "memory");
    assert_eq!(
        cgroup_of(&sandbox(&bundle).0, "memory"),
        format!("{}/{id}", own.trim_end_matches('/'))
    );
    bundle.succeeds(&["delete", "--force", &id]);
    let place = Path::new(HOST).join("memory").join(own.trim_start_matches('/')).join(&id);
    assert!(!place.exists());
}

#[test]
fn running_out_of_memory_kills_the_guest_and_is_told() {
    if !can_test() {
        return;
    }
    let path = name("memory");
    let script = "trap go=1 USR1; echo ready; until [ -n \"$go\" ]; do sleep 0.05; done; \
        head -c 200000000 /dev/zero | tail >/dev/null; echo $?; sleep 1000";
    let limit = 64 << 20;
    let bundle = bundle(script, &path, json!({"memory": {"limit": limit, "swap": limit}}));
    bundle.start();
    let mut events = bundle.command(&["events", "--interval", "100s", "c1"]);
    let out = fs::File::create(bundle.path().join("events")).unwrap();
    let mut events = events.stdout(out).spawn().unwrap();
    let told = || fs::read_to_string(bundle.path().join("events")).unwrap();
    // Whoever says how much there is watches already.
    await_that("somebody watches", || told().ends_with('\n'));
    await_that("it is ready", || bundle.printed() == "ready\n");
    bundle.succeeds(&["kill", "c1", "USR1"]);
    await_that("it was killed", || bundle.printed() == "ready\n137\n");
    await_that("it is told", || told().contains("{\"type\":\"oom\",\"id\":\"c1\"}\n"));
    assert!(told().starts_with("{\"type\":\"stats\","));
    assert_eq!(bundle.status(), "running", "the sandbox lives");
    bundle.succeeds(&["kill", "c1", "KILL"]);
    assert!(events.wait().unwrap().success(), "events end with the container");
}

#[test]
fn version_2_is_used_where_it_is_all_there_is() {
    if !can_test() {
        return;
    }
    let path = name("unified");
    let bundle = bundle("sleep 1000", &path, json!({}));
    let in_version_2 = |script: &str| {
        let runsc =
            format!("{} --root={}/state", env!("CARGO_BIN_EXE_runsc"), bundle.path().display());
        let script =
            format!("mount -t cgroup2 none {HOST} && cd {} && {script}", bundle.path().display());
        let script = script.replace("RUNSC", &runsc).replace("CGROUP", &format!("{HOST}{path}"));
        let mut command = Command::new("unshare");
        let output = command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::null()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let inside = in_version_2(
        "RUNSC run --detach --pid-file pid c1 >out 2>errors && cat CGROUP/cgroup.procs && echo and && \
         RUNSC events --stats c1 | grep -c '\"type\":\"stats\"' && echo 1 >CGROUP/cgroup.freeze",
    );
    let (monitor, mut all) = sandbox(&bundle);
    all.push(monitor);
    let listed: Vec<&str> = inside.split("and\n").next().unwrap().lines().collect();
    assert!(all.iter().all(|pid| listed.contains(&&**pid)), "{all:?} in {listed:?}");
    assert!(inside.ends_with("and\n1\n"), "{inside}");
    assert_eq!(cgroup_of(&all[0], ""), path);
    in_version_2("! RUNSC update --memory 64M c1 2>errors && grep linux.resources.memory errors");
    in_version_2("RUNSC delete --force c1 && ! [ -e CGROUP ]");
}
