// SPDX-License-Identifier: Apache-2.0
//! The posture of a living sandbox, read from the host: what each of its processes is left with.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A sandbox whose program waits for a line.
struct Sandbox {
    runsc: Child,
}

impl Sandbox {
    fn start() -> Sandbox {
        let mut runsc = Command::new(env!("CARGO_BIN_EXE_runsc"))
            .args(["do", "/bin/sh", "-c", "echo ready; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        let mut output = runsc.stdout.take().unwrap();
        std::io::Read::read_exact(&mut output, &mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        Sandbox { runsc }
    }

    /// Its sentry and its gofer.
    fn processes(&self) -> (u32, u32) {
        let all = children(self.runsc.id());
        let role = |wanted: &str| {
            let is_wanted = |pid: &&u32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.split(|byte| *byte == 0).nth(1) == Some(wanted.as_bytes())
            };
            *all.iter().find(is_wanted).unwrap_or_else(|| panic!("no {wanted} among {all:?}"))
        };
        assert_eq!(all.len(), 2);
        (role("boot"), role("gofer"))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.runsc.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let _ = self.runsc.wait();
    }
}

fn children(pid: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let path = task.unwrap().path().join("children");
        let text = fs::read_to_string(path).unwrap_or_default();
        all.extend(text.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
    }
    all
}

/// The status of every thread.
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map(|task| status(&task.unwrap().path().join("status"))).collect()
}

fn status(path: &std::path::Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.into(), value.trim().into())).collect()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

#[test]
fn every_thread_is_left_with_next_to_nothing() {
    let sandbox = Sandbox::start();
    let (sentry, gofer) = sandbox.processes();
    let stubs = children(sentry);
    assert!(stubs.len() >= 2, "the zygote and a stub: {stubs:?}");
    // To read, search, own and change files of any user, and to keep file capabilities.
    let gofers = "000000008000001f";
    let none = "0000000000000000";
    let rights = [(sentry, none), (gofer, gofers)].into_iter();
    for (pid, kept) in rights.chain(stubs.iter().map(|pid| (*pid, none))) {
        for thread in threads(pid) {
            for set in ["CapEff", "CapPrm"] {
                assert_eq!(thread[set], kept, "{set} of {pid}: {thread:?}");
            }
            assert_eq!(thread["CapInh"], none);
            assert_eq!(thread["CapAmb"], none);
            assert_eq!(thread["CapBnd"], kept, "{thread:?}");
            assert_eq!(thread["NoNewPrivs"], "1", "{thread:?}");
            assert_eq!(thread["Seccomp"], "2", "{thread:?}");
            if is_root() && pid != gofer {
                assert_eq!(thread["Uid"], "65534\t65534\t65534\t65534", "{thread:?}");
                assert_eq!(thread["Groups"], "", "{thread:?}");
            }
        }
    }
}

#[test]
fn when_memory_runs_out_the_guest_goes_before_its_kernel() {
    let sandbox = Sandbox::start();
    let (sentry, gofer) = sandbox.processes();
    let score = |pid: u32| -> i32 {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        text.trim().parse().unwrap()
    };
    assert_eq!(score(sentry), score(std::process::id()));
    assert_eq!(score(gofer), score(sentry));
    for stub in children(sentry) {
        assert!(score(stub) > score(sentry), "{} and {}", score(stub), score(sentry));
    }
}

#[test]
fn each_process_has_namespaces_of_its_own_and_an_empty_root() {
    if !is_root() {
        eprintln!("skipped: only root may look into another user's processes");
        return;
    }
    let sandbox = Sandbox::start();
    let (sentry, gofer) = sandbox.processes();
    for pid in [sentry, gofer] {
        for kind in ["mnt", "pid", "ipc", "uts", "net", "cgroup"] {
            let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            assert_ne!(of(&pid.to_string()), of("self"), "{kind} of {pid}");
        }
        assert_eq!(fs::read_dir(format!("/proc/{pid}/root/")).unwrap().count(), 0);
        let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
        assert_eq!(mounts.lines().count(), 1, "{mounts}");
        assert!(mounts.starts_with("none / tmpfs ro,nosuid,nodev,noexec"), "{mounts}");
    }
}

#[test]
fn the_sentry_holds_no_directory_and_the_stubs_hold_one_socket() {
    if !is_root() {
        eprintln!("skipped: only root may look into another user's processes");
        return;
    }
    let sandbox = Sandbox::start();
    let (sentry, _) = sandbox.processes();
    for fd in fs::read_dir(format!("/proc/{sentry}/fd")).unwrap() {
        let fd = fd.unwrap().path();
        let kind = fs::metadata(&fd).unwrap().file_type();
        assert!(!kind.is_dir(), "{fd:?} is {:?}", fs::read_link(&fd));
    }
    for stub in children(sentry) {
        let fds: Vec<_> = fs::read_dir(format!("/proc/{stub}/fd")).unwrap().collect();
        assert!(fds.len() <= 1, "{stub}: {fds:?}");
    }
}

#[test]
fn nothing_outlives_runsc() {
    let mut sandbox = Sandbox::start();
    let (sentry, gofer) = sandbox.processes();
    let mut all = children(sentry);
    all.extend([sentry, gofer]);
    sandbox.runsc.kill().unwrap();
    sandbox.runsc.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    // Whoever inherits them reaps them: a zombie has gone.
    let lives = |pid: &u32| {
        let path = format!("/proc/{pid}/status");
        fs::metadata(&path).is_ok()
            && !status(std::path::Path::new(&path))["State"].starts_with('Z')
    };
    while all.iter().any(lives) {
        assert!(Instant::now() < deadline, "{all:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
