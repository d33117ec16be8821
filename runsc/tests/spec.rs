// SPDX-License-Identifier: Apache-2.0
//! config.json, field by field: what a guest sees of it, and the host afterwards.

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
    process::Output,
};

use serde_json::{Value, json};
use support::Bundle;

/// A root file system of its own, with this machine's programs bound into it.
struct Guest {
    bundle: Bundle,
}

impl Guest {
    fn new(script: &str, change: impl FnOnce(&mut Value)) -> Guest {
        let bundle = Bundle::new(script, |spec| {
            spec["root"] = json!({ "path": "rootfs", "readonly": false });
            let mounts = spec["mounts"].as_array_mut().unwrap();
            for directory in ["/bin", "/lib", "/lib64", "/usr"] {
                mounts.push(json!({ "destination": directory, "source": directory,
                    "type": "bind", "options": ["rbind", "ro"] }));
            }
            change(spec);
        });
        fs::create_dir(bundle.path().join("rootfs")).unwrap();
        Guest { bundle }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bundle.path().join(name)
    }

    fn output(&self) -> Output {
        self.bundle.run(&["--network=none", "run", "c1"])
    }

    /// What it prints, all is well.
    #[track_caller]
    fn prints(&self) -> String {
        let output = self.output();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// It cannot even begin.
    #[track_caller]
    fn is_refused(&self, says: &str) {
        let output = self.output();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(says), "{says}: {output:?}");
    }
}

fn run(script: &str, change: impl FnOnce(&mut Value)) -> String {
    Guest::new(script, change).prints()
}

fn mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().unwrap().push(mount);
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can give files away");
    }
    is_root
}

#[test]
fn seccomp_profiles_bind_the_guest() {
    let profile = |action: &str| {
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [
                { "names": ["uname", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71 },
                { "names": ["mkdir", "mkdirat"], "action": action }
            ] })
    };
    let script = "grep Seccomp: /proc/self/status; uname 2>&1; mkdir /x; echo after $?";
    let of = |action: &str| {
        let profile = profile(action);
        run(script, |spec| spec["linux"]["seccomp"] = profile)
    };
    assert_eq!(of("SCMP_ACT_ERRNO").lines().next(), Some("Seccomp:\t2"));
    assert!(of("SCMP_ACT_ERRNO").contains("Protocol error"));
    assert!(of("SCMP_ACT_ERRNO").ends_with("after 1\n"));
    assert!(of("SCMP_ACT_KILL_PROCESS").ends_with("after 159\n"));
    assert!(of("SCMP_ACT_ALLOW").ends_with("after 0\n"));
    let notify = Guest::new("true", |spec| spec["linux"]["seccomp"] = profile("SCMP_ACT_NOTIFY"));
    notify.is_refused("linux.seccomp.syscalls[1].action");
}

#[test]
fn masked_paths_show_nothing_and_readonly_paths_stay() {
    let script = "wc -c < /proc/meminfo; ls -A /proc/irq /sys/kernel; wc -c < /etc/secret; \
        echo x > /proc/sys/kernel/msgmax; echo x > /data/a/b; echo x > /data/free && cat /data/free";
    let guest = Guest::new(script, |spec| {
        spec["linux"]["maskedPaths"] = json!([
            "/proc/meminfo",
            "/proc/irq",
            "/sys/kernel",
            "/etc/secret",
            "/no/such",
            "/etc/secret/x"
        ]);
        spec["linux"]["readonlyPaths"] = json!(["/proc/sys", "/data/a", "/no/such"]);
    });
    fs::create_dir_all(guest.path("rootfs/data/a")).unwrap();
    fs::create_dir(guest.path("rootfs/etc")).unwrap();
    fs::write(guest.path("rootfs/etc/secret"), "secret").unwrap();
    let output = guest.output();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "0\n/proc/irq:\n\n/sys/kernel:\n0\nx\n", "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.matches("Read-only file system").count(), 2, "{errors}");
    assert_eq!(fs::read(guest.path("rootfs/etc/secret")).unwrap(), b"secret");
    let relative = Guest::new("true", |spec| spec["linux"]["maskedPaths"] = json!(["proc"]));
    relative.is_refused("linux.maskedPaths[0]: is no absolute path");
}

#[test]
fn settings_are_read_back() {
    let text = run(
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; mount -t proc proc /mnt && \
         cat /mnt/sys/kernel/msgmax",
        |spec| {
            spec["linux"]["sysctl"] =
                json!({ "net.ipv4.ip_forward": "1", "kernel/msgmax": "1234" });
            for set in ["bounding", "effective", "permitted"] {
                spec["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
            }
            mount(spec, json!({ "destination": "/mnt", "type": "tmpfs" }));
        },
    );
    assert_eq!(text, "1\n1234\n1234\n");
    let refused = |key: &str, says: &str| {
        let key = key.to_owned();
        Guest::new("true", |spec| spec["linux"]["sysctl"] = json!({ key: "1" })).is_refused(says);
    };
    refused("kernel.none", "linux.sysctl: sysctl \"kernel.none\"");
    refused("kernel.osrelease", "linux.sysctl: sysctl \"kernel.osrelease\": cannot be changed");
    refused("net..x", "linux.sysctl: sysctl \"net..x\"");
    refused("../../etc/passwd", "linux.sysctl");
}

#[test]
fn devices_are_made() {
    let text = run(
        "stat -c '%n %F %t:%T %a %u:%g' /dev/mine /dev/sub/tun /dev/pipe /dev/disk; echo x > /dev/mine; \
         cat /dev/sub/tun 2>&1; cat /dev/disk 2>&1; true",
        |spec| {
            spec["linux"]["devices"] = json!([
                { "path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600,
                  "uid": 7, "gid": 8 },
                { "path": "/dev/sub/tun", "type": "u", "major": 10, "minor": 200 },
                { "path": "/dev/pipe", "type": "p", "major": 0, "minor": 0 },
                { "path": "/dev/disk", "type": "b", "major": 8, "minor": 1 },
                { "path": "/dev/null", "type": "c", "major": 1, "minor": 3 }
            ]);
            spec["process"]["capabilities"]["effective"] = json!(["CAP_DAC_OVERRIDE"]);
            spec["process"]["capabilities"]["permitted"] = json!(["CAP_DAC_OVERRIDE"]);
        },
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "/dev/mine character special file 1:3 600 7:8");
    assert_eq!(lines[1], "/dev/sub/tun character special file a:c8 666 0:0");
    assert!(lines[2].starts_with("/dev/pipe fifo"), "{text}");
    assert_eq!(lines[3], "/dev/disk block special file 8:1 666 0:0");
    assert!(lines[4].contains("No such device or address"), "{text}");
    assert!(lines[5].contains("No such device or address"), "{text}");
}

#[test]
fn tmpfs_has_its_options() {
    let text = run(
        "stat -c '%a %u:%g' /one /two /three; df -k /one | tail -1; \
         dd if=/dev/zero of=/one/x bs=1024 count=200 2>&1 | head -1; echo x > /ro/x; true",
        |spec| {
            let tmpfs = |destination: &str, options: &[&str]| json!({ "destination": destination, "type": "tmpfs", "options": options });
            mount(spec, tmpfs("/one", &["size=64k", "mode=777", "uid=5", "gid=6"]));
            mount(spec, tmpfs("/two", &[]));
            mount(spec, tmpfs("/three", &["tmpcopyup"]));
            mount(spec, tmpfs("/ro", &["ro"]));
        },
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["777 5:6", "1777 0:0", "1777 0:0"], "{text}");
    assert!(text.contains(" 64 "), "{text}");
    assert!(text.contains("No space left"), "{text}");
}

#[test]
fn a_tmpfs_may_begin_with_what_it_covers() {
    let guest = Guest::new(
        "cat /data/file /data/deep/link; stat -c '%a %Y' /data /data/file; echo new > /data/file",
        |spec| {
            let options = ["tmpcopyup", "size=1m"];
            mount(spec, json!({ "destination": "/data", "type": "tmpfs", "options": options }));
        },
    );
    fs::create_dir_all(guest.path("rootfs/data/deep")).unwrap();
    fs::write(guest.path("rootfs/data/file"), "old\n").unwrap();
    std::os::unix::fs::symlink("../file", guest.path("rootfs/data/deep/link")).unwrap();
    fs::set_permissions(guest.path("rootfs/data"), fs::Permissions::from_mode(0o751)).unwrap();
    let file = fs::File::options().write(true).open(guest.path("rootfs/data/file")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000)).unwrap();
    let text = guest.prints();
    let mut lines = text.lines();
    assert_eq!((lines.next(), lines.next()), (Some("old"), Some("old")));
    assert!(lines.next().unwrap().starts_with("751 "), "{text}");
    assert!(lines.next().unwrap().ends_with(" 1000"), "{text}");
    assert_eq!(fs::read(guest.path("rootfs/data/file")).unwrap(), b"old\n");
}

#[test]
fn binds_of_files_and_directories() {
    let guest = Guest::new(
        "cat /made/here/file; echo no > /made/here/file; echo yes > /rw/new; \
         grep -o ' /rw [^ ]*' /proc/self/mountinfo; grep -o ' /made/here/file [^ ]*' /proc/self/mountinfo",
        |spec| {
            mount(
                spec,
                json!({ "destination": "/made/here/file", "source": "file", "type": "bind",
                "options": ["bind", "ro", "rprivate", "nosuid"] }),
            );
            mount(
                spec,
                json!({ "destination": "rw", "source": "directory", "type": "none",
                "options": ["rbind", "noexec", "rnodev", "noatime"] }),
            );
        },
    );
    fs::write(guest.path("file"), "content\n").unwrap();
    fs::create_dir(guest.path("directory")).unwrap();
    let output = guest.output();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text, "content\n /rw rw,nodev,noexec,noatime\n /made/here/file ro,nosuid,relatime\n",
        "{output:?}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"));
    assert_eq!(fs::read(guest.path("directory/new")).unwrap(), b"yes\n");
    assert!(guest.path("rootfs/made/here/file").is_file());
}

#[test]
fn owners_are_mapped() {
    if !is_root() {
        return;
    }
    let guest = Guest::new(
        "cat /proc/self/uid_map; stat -c '%u:%g' /data/mapped /data/stranger /plain/file; \
         echo x > /data/new; chown 5:6 /data/new; chown 70000 /data/new; chown 3:3 /plain/file; echo $?",
        |spec| {
            spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
            spec["linux"]["uidMappings"] = map.clone();
            spec["linux"]["gidMappings"] = map.clone();
            mount(
                spec,
                json!({ "destination": "/plain", "source": "plain", "type": "bind",
                "options": ["bind", "idmap"], "uidMappings": map, "gidMappings": map }),
            );
            for set in ["bounding", "effective", "permitted"] {
                spec["process"]["capabilities"][set] = json!(["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
            }
        },
    );
    fs::create_dir(guest.path("plain")).unwrap();
    fs::write(guest.path("plain/file"), "").unwrap();
    std::os::unix::fs::chown(guest.path("plain/file"), Some(7), Some(8)).unwrap();
    fs::create_dir(guest.path("rootfs/data")).unwrap();
    for name in ["mapped", "stranger"] {
        fs::write(guest.path("rootfs/data").join(name), "").unwrap();
    }
    std::os::unix::fs::chown(guest.path("rootfs/data/mapped"), Some(100_009), Some(100_010))
        .unwrap();
    let output = guest.output();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "         0     100000      65536\n9:10\n65534:65534\n7:8\n0\n", "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Invalid argument"), "{output:?}");
    let owner = |name: &str| {
        let metadata = fs::metadata(guest.path(name)).unwrap();
        (metadata.uid(), metadata.gid())
    };
    assert_eq!(owner("rootfs/data/new"), (100_005, 100_006));
    assert_eq!(owner("plain/file"), (3, 3));
    Guest::new("true", |spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        spec["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 5, "size": 1 }]);
        spec["process"]["user"]["uid"] = 9.into();
    })
    .is_refused("process.user.uid: cannot set 9");
}

#[test]
fn the_process_is_what_it_is_told_to_be() {
    let text = run(
        "id -u; id -G; umask; pwd; hostname; cat /proc/sys/kernel/domainname; \
         grep -E 'Cap|NoNew' /proc/self/status; cat /proc/self/oom_score_adj; \
         grep -E 'open files|nice' /proc/self/limits; echo $A; nice",
        |spec| {
            spec["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6],
                "umask": 0o027 });
            spec["process"]["cwd"] = "/made/for/it".into();
            spec["process"]["env"] = json!(["PATH=/usr/bin:/bin", "A=b c"]);
            spec["process"]["capabilities"] = json!({
                "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
                "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]
            });
            spec["process"]["rlimits"] = json!([
                { "type": "RLIMIT_NOFILE", "soft": 77, "hard": 88 },
                { "type": "RLIMIT_NICE", "soft": 3, "hard": 4 }
            ]);
            spec["process"]["oomScoreAdj"] = 321.into();
            spec["process"]["scheduler"] = json!({ "policy": "SCHED_OTHER", "nice": 7 });
            spec["hostname"] = "somewhere".into();
            spec["domainname"] = "else".into();
        },
    );
    let wanted = "1000\n1001 5 6\n0027\n/made/for/it\nsomewhere\nelse\n\
        CapInh:\t0000000000000020\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\n\
        CapBnd:\t0000000000000021\nCapAmb:\t0000000000000020\nNoNewPrivs:\t1\n321\n";
    assert!(text.starts_with(wanted), "{text}");
    assert!(text.contains("Max open files            77                   88"), "{text}");
    assert!(text.ends_with("b c\n7\n"), "{text}");
}

#[test]
fn start_hooks_run_inside_before_the_program() {
    let hook = |script: &str| {
        json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin", "ONLY=x"],
            "timeout": 5 })
    };
    let text = run("cat /out", |spec| {
        spec["annotations"] = json!({ "org.example": "yes" });
        spec["hooks"] = json!({ "startContainer": [
            hook("cat > /out; echo \" $ONLY $TERM\" >> /out; cat /proc/1/comm >> /out"),
            hook("echo second >> /out")
        ] });
    });
    assert!(text.contains(r#""id":"c1","status":"created","pid":1"#), "{text}");
    assert!(text.contains(r#""annotations":{"org.example":"yes"}"#), "{text}");
    assert!(text.ends_with("} x \nsh\nsecond\n"), "{text}");
    let fails = |script: &str, says: &str| {
        let hook = hook(script);
        let guest =
            Guest::new("echo never", |spec| spec["hooks"] = json!({ "startContainer": [hook] }));
        let output = guest.output();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(says), "{errors}");
    };
    fails("echo why >&2; exit 13", "error running hook #0: error running hook: exit status 13");
    fails("kill -9 $$", "signal: killed");
}

#[test]
fn a_terminal_is_the_console_too() {
    // script(1) gives runsc a terminal.
    if !std::path::Path::new("/usr/bin/script").exists() {
        eprintln!("skipped: there is no script(1)");
        return;
    }
    let guest = Guest::new("stat -c '%F %t' /dev/console; echo hello > /dev/console", |spec| {
        spec["process"]["terminal"] = true.into();
    });
    let runsc = env!("CARGO_BIN_EXE_runsc");
    let state = guest.path("state");
    let line = format!("{runsc} --root={} --network=none run c1", state.display());
    let output = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(guest.bundle.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("character special file 88") && text.contains("hello"), "{output:?}");
}
