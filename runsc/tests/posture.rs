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

/// How a sandbox is started: each must have the same posture.
const WAYS: [(&str, &str); 4] =
    [("do", "systrap"), ("do", "ptrace"), ("run", "systrap"), ("run", "ptrace")];

/// A sandbox whose program waits for a line.
struct Sandbox {
    runsc: Child,
    // Its bundle and its state, if it has them.
    _files: Option<tempfile::TempDir>,
}

impl Sandbox {
    fn start() -> Sandbox {
        Sandbox::start_as("do", "systrap")
    }

    fn start_as(way: &str, platform: &str) -> Sandbox {
        const SCRIPT: &str = "echo ready; read line; :";
        let mut command = Command::new(env!("CARGO_BIN_EXE_runsc"));
        command.arg(format!("--platform={platform}"));
        // What is in our environment is none of the sandbox's business.
        command.env("SECRET_OF_THE_HOST", "1");
        let files = if way == "do" {
            command.args(["do", "/bin/sh", "-c", SCRIPT]);
            None
        } else {
            let files = tempfile::tempdir().unwrap();
            let config = serde_json::json!({
                "ociVersion": "1.0.2",
                "root": {"path": "/", "readonly": true},
                "process": {"args": ["/bin/sh", "-c", SCRIPT], "cwd": "/", "env": ["PATH=/bin"],
                    "user": {"uid": 0, "gid": 0}},
                "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}]},
            });
            fs::write(files.path().join("config.json"), config.to_string()).unwrap();
            command.arg("--root").arg(files.path().join("state")).args(["run", "--bundle"]);
            command.arg(files.path()).arg("posture");
            Some(files)
        };
        let mut runsc = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        let mut output = runsc.stdout.take().unwrap();
        std::io::Read::read_exact(&mut output, &mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        let sandbox = Sandbox { runsc, _files: files };
        sandbox.settle();
        sandbox
    }

    /// Waits until the zygote, the program's stub and the one that nobody has used yet are all there and do
    /// nothing: while one is being made, it and the zygote have a descriptor more.
    fn settle(&self) {
        let (sentry, _) = self.processes();
        let rests =
            |stub: &u32| threads(*stub).iter().all(|it| it["State"].starts_with(['S', 't']));
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let stubs = children(sentry);
            if stubs.len() == 3 && stubs.iter().all(rests) {
                return;
            }
            assert!(Instant::now() < deadline, "never at rest: {stubs:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its sentry and its gofer.
    fn processes(&self) -> (u32, u32) {
        let all = descendants(self.runsc.id());
        let role = |wanted: &str| {
            let is_wanted = |pid: &&u32| arguments(**pid).get(1).is_some_and(|it| it == wanted);
            *all.iter().find(is_wanted).unwrap_or_else(|| panic!("no {wanted} among {all:?}"))
        };
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

fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).split_terminator('\0').map(str::to_owned).collect()
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut all = children(pid);
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        all.extend(children(parent));
        at += 1;
    }
    all
}

fn children(pid: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let path = task.path().join("children");
        let text = fs::read_to_string(path).unwrap_or_default();
        all.extend(text.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
    }
    all
}

/// The status of every thread that does not end just now.
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let all: Vec<_> = tasks.filter_map(|task| status(&task.path().join("status"))).collect();
    assert!(!all.is_empty(), "{pid} is gone");
    all
}

fn status(path: &std::path::Path) -> Option<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).ok()?;
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Some(pairs.map(|(name, value)| (name.into(), value.trim().into())).collect())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// What is behind a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Null,
    Socket,
    Pipe,
    File,
    Directory,
    /// A name, which gives no right to read or write.
    Path,
    /// The listener through which a stub's refused calls are heard.
    SeccompListener,
    Event,
    Other,
}

/// `None` if it has just been closed.
fn class(pid: u32, fd: &str) -> Option<(Class, String)> {
    let name = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?.display().to_string();
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0").trim();
    // O_PATH.
    let is_path = i64::from_str_radix(flags, 8).unwrap_or(0) & 0o10_000_000 != 0;
    let kind = fs::metadata(format!("/proc/{pid}/fd/{fd}")).map(|it| it.file_type());
    let class = match &*name {
        "/dev/null" => Class::Null,
        _ if name.starts_with("socket:") => Class::Socket,
        _ if name.starts_with("pipe:") => Class::Pipe,
        "anon_inode:seccomp" | "anon_inode:seccomp notify" => Class::SeccompListener,
        "anon_inode:[eventfd]" | "anon_inode:[eventpoll]" => Class::Event,
        _ if is_path => Class::Path,
        _ if kind.as_ref().is_ok_and(|it| it.is_dir()) => Class::Directory,
        _ if kind.is_ok_and(|it| it.is_file()) => Class::File,
        _ => Class::Other,
    };
    Some((class, name))
}

/// Every descriptor of a process.
fn descriptors(pid: u32) -> Vec<(Class, String)> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    fds.flatten().filter_map(|fd| class(pid, &fd.file_name().to_string_lossy())).collect()
}

#[track_caller]
fn holds_only(pid: u32, allowed: &[Class]) {
    for (class, name) in descriptors(pid) {
        assert!(allowed.contains(&class), "{pid} {:?} holds {class:?} {name}", arguments(pid));
    }
}

/// The soft and the hard limit.
fn limit(pid: u32, title: &str) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(title)).unwrap();
    let mut cells = line.split_whitespace().map(str::to_owned);
    (cells.next().unwrap(), cells.next().unwrap())
}

fn for_each_way(mut check: impl FnMut(&Sandbox)) {
    for (way, platform) in WAYS {
        if way == "run" && !is_root() {
            continue;
        }
        eprintln!("{way} on {platform}");
        check(&Sandbox::start_as(way, platform));
    }
}

#[test]
fn every_thread_is_left_with_next_to_nothing() {
    for_each_way(|sandbox| {
        let (sentry, gofer) = sandbox.processes();
        let stubs = children(sentry);
        assert!(stubs.len() >= 2, "the zygote and a stub: {stubs:?}");
        // To read, search, own and change files of any user, and to keep file capabilities.
        let gofers = "000000008000001f";
        let none = "0000000000000000";
        let rights = [(sentry, none), (gofer, gofers)].into_iter();
        for (pid, kept) in rights.chain(stubs.iter().map(|pid| (*pid, none))) {
            for thread in threads(pid) {
                for set in ["CapEff", "CapPrm", "CapBnd"] {
                    assert_eq!(thread[set], kept, "{set} of {pid}: {thread:?}");
                }
                for set in ["CapInh", "CapAmb"] {
                    assert_eq!(thread[set], none, "{set} of {pid}: {thread:?}");
                }
                assert_eq!(thread["NoNewPrivs"], "1", "{thread:?}");
                if pid == sentry || pid == gofer {
                    // To grow the table later would make the guest wait.
                    let room: u32 = thread["FDSize"].parse().unwrap();
                    assert!(room >= 1024, "{thread:?}");
                }
                assert_eq!(thread["Seccomp"], "2", "{thread:?}");
                assert_eq!(thread["Umask"], "0000", "{thread:?}");
                if is_root() {
                    let id = if pid == gofer { "0\t0\t0\t0" } else { "65534\t65534\t65534\t65534" };
                    assert_eq!(thread["Uid"], id, "{thread:?}");
                    assert_eq!(thread["Gid"], id, "{thread:?}");
                    assert_eq!(thread["Groups"], "", "{thread:?}");
                }
            }
        }
    });
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
    for_each_way(|sandbox| {
        use std::os::unix::fs::MetadataExt as _;
        let (sentry, gofer) = sandbox.processes();
        let of = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        let all: Vec<u32> = [sentry, gofer].into_iter().chain(children(sentry)).collect();
        for pid in all {
            for kind in ["mnt", "pid", "ipc", "uts", "net", "cgroup"] {
                let theirs = of(&pid.to_string(), kind);
                assert_ne!(theirs, of("self", kind), "{kind} of {pid}");
                // The gofer and the sentry share none; the stubs have the sentry's.
                let sentrys = of(&sentry.to_string(), kind);
                assert_eq!(theirs == sentrys, pid != gofer, "{kind} of {pid}");
            }
            assert_eq!(fs::read_dir(format!("/proc/{pid}/root/")).unwrap().count(), 0);
            let cwd = format!("/proc/{pid}/cwd/");
            if pid == gofer {
                // Its own descriptors: so it opens again what it holds a name of, without a mount of proc.
                let here = |path: String| fs::metadata(path).unwrap().ino();
                assert_eq!(here(cwd), here(format!("/proc/{pid}/fd")));
            } else {
                assert_eq!(fs::read_dir(cwd).unwrap().count(), 0, "cwd of {pid}");
            }
            let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
            assert_eq!(mounts.lines().count(), 1, "{mounts}");
            assert!(mounts.starts_with("none / tmpfs ro,nosuid,nodev,noexec"), "{mounts}");
        }
    });
}

#[test]
fn each_process_holds_only_descriptors_of_its_class() {
    if !is_root() {
        eprintln!("skipped: only root may look into another user's processes");
        return;
    }
    for_each_way(|sandbox| {
        let (sentry, gofer) = sandbox.processes();
        // Files are donated by the gofer; pipes are the guest's streams. Nothing leads to a directory.
        holds_only(
            sentry,
            &[
                Class::Null,
                Class::Socket,
                Class::Pipe,
                Class::File,
                Class::SeccompListener,
                Class::Event,
            ],
        );
        holds_only(gofer, &[Class::Null, Class::Socket, Class::Path]);
        for stub in children(sentry) {
            let fds = descriptors(stub);
            assert!(fds.len() <= 1, "{stub}: {fds:?}");
            holds_only(stub, &[Class::Socket]);
        }
    });
}

#[test]
fn limits_names_and_surroundings() {
    if !is_root() {
        eprintln!("skipped: only root may look into another user's processes");
        return;
    }
    for_each_way(|sandbox| {
        use std::os::unix::fs::MetadataExt as _;
        let (sentry, gofer) = sandbox.processes();
        let stubs = children(sentry);
        for pid in [sentry, gofer].iter().chain(&stubs).copied() {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
            assert_eq!(String::from_utf8_lossy(&environment), "", "environment of {pid}");
            assert_eq!(limit(pid, "Max core file size"), ("0".into(), "0".into()));
            let session = status(format!("/proc/{pid}/status").as_ref()).unwrap();
            assert_eq!(session["CoreDumping"], "0");
        }
        for (pid, role) in [(sentry, "boot"), (gofer, "gofer")] {
            let arguments = arguments(pid);
            assert_eq!(arguments.len(), 3, "{arguments:?}");
            assert_eq!(&arguments[..2], ["runsc", role]);
            // Not dumpable: its files in proc are root's, whoever it runs as.
            assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0);
        }
        for stub in stubs {
            // So few descriptors that none can be hoarded.
            assert_eq!(limit(stub, "Max open files"), ("4".into(), "4".into()));
            // An empty command line: what the sentry was called is not the guest's to read.
            assert!(arguments(stub).is_empty(), "{:?}", arguments(stub));
            let status = status(format!("/proc/{stub}/status").as_ref()).unwrap();
            assert_eq!(status["Name"], "runsc-stub");
            assert_eq!(status["PPid"], sentry.to_string());
        }
    });
}

#[test]
fn nothing_outlives_runsc() {
    let mut sandbox = Sandbox::start();
    let (sentry, gofer) = sandbox.processes();
    let mut all = children(sentry);
    all.extend([sentry, gofer]);
    sandbox.runsc.kill().unwrap();
    sandbox.runsc.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // Whoever inherits them reaps them: a zombie has gone.
    let lives = |pid: &u32| {
        let status = status(format!("/proc/{pid}/status").as_ref());
        status.is_some_and(|it| !it["State"].starts_with('Z'))
    };
    while all.iter().any(lives) {
        assert!(Instant::now() < deadline, "{all:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
