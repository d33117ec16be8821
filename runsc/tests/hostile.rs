// SPDX-License-Identifier: Apache-2.0
//! Bundles of somebody who means ill: whatever config.json says and whatever the image is made of, nothing
//! outside of it is touched, nothing is left behind, and nothing panics.

mod support;

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use nix::sys::stat::{Mode, SFlag, mknod};
use serde_json::{Value, json};

/// Files outside of every bundle that nobody may touch.
struct Decoy {
    path: PathBuf,
    seen: BTreeMap<PathBuf, String>,
}

impl Decoy {
    fn new(path: PathBuf) -> Decoy {
        fs::create_dir_all(path.join("sub/etc")).unwrap();
        for name in ["file", "passwd", "null", "sub/etc/passwd"] {
            fs::write(path.join(name), "decoy").unwrap();
        }
        let seen = Decoy::look(&path);
        Decoy { path, seen }
    }

    fn look(path: &Path) -> BTreeMap<PathBuf, String> {
        let mut seen = BTreeMap::new();
        let metadata = fs::symlink_metadata(path).unwrap();
        let (mode, owner) = (metadata.mode(), (metadata.uid(), metadata.gid()));
        let times = (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime_nsec());
        let mut text = format!("{mode:o} {owner:?} {times:?}");
        if metadata.is_file() {
            text += &fs::read_to_string(path).unwrap();
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                seen.extend(Decoy::look(&entry.unwrap().path()));
            }
        }
        seen.insert(path.into(), text);
        seen
    }

    #[track_caller]
    fn is_untouched(&self, after: &str) {
        assert_eq!(Decoy::look(&self.path), self.seen, "after {after}");
    }
}

/// A bundle whose root file system has this machine's programs.
struct Place {
    directory: tempfile::TempDir,
    decoy: Decoy,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let decoy = Decoy::new(directory.path().join("decoy"));
        fs::create_dir_all(directory.path().join("bundle/rootfs")).unwrap();
        Place { directory, decoy }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, args: &[&str], bundle: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runsc"));
        command.arg(format!("--root={}", self.path("state").display())).arg("--network=none");
        command.args(args).current_dir(self.path(bundle)).stdin(Stdio::null());
        command
    }

    fn runsc(&self, args: &[&str], bundle: &str) -> Output {
        self.command(args, bundle).output().unwrap()
    }

    fn states(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("state"));
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().to_string_lossy().into_owned()
        };
        entries.map_or_else(|_| Vec::new(), |entries| entries.map(name).collect())
    }
}

fn config(script: &str) -> Value {
    let bind = |path: &str| json!({ "destination": path, "source": path, "type": "bind", "options": ["rbind", "ro"] });
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0, "umask": 18, "additionalGids": [5] },
            "args": ["/bin/sh", "-c", script],
            "env": ["PATH=/usr/bin:/bin", "A=b"],
            "cwd": "/",
            "capabilities": { "bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"],
                "permitted": ["CAP_CHOWN"], "inheritable": [], "ambient": [] },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }],
            "noNewPrivileges": true,
            "oomScoreAdj": 10,
            "scheduler": { "policy": "SCHED_OTHER", "nice": 0 },
            "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 4 }
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "h",
        "domainname": "d",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"] },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] },
            bind("/bin"), bind("/lib"), bind("/lib64"), bind("/usr")
        ],
        "annotations": { "a.b": "c" },
        "linux": {
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "user" }],
            "uidMappings": [{ "containerID": 0, "hostID": 0, "size": 65536 }],
            "gidMappings": [{ "containerID": 0, "hostID": 0, "size": 65536 }],
            "devices": [{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229,
                "fileMode": 438, "uid": 0, "gid": 0 }],
            "sysctl": { "net.ipv4.ip_forward": "1" },
            "rootfsPropagation": "rprivate",
            "maskedPaths": ["/proc/kcore", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys"],
            "personality": { "domain": "LINUX" },
            "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                    "args": [{ "index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ" }] }] }
        }
    })
}

/// A fixed sequence of numbers that look random (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let index = self.below(list.len());
        &list[index]
    }
}

/// Paths to every value, as error messages spell them, with the pointer to it.
fn values(at: &str, pointer: &str, value: &Value, all: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                values(&name, &format!("{pointer}/{}", key.replace('/', "~1")), value, all);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                values(&format!("{at}[{index}]"), &format!("{pointer}/{index}"), value, all);
            }
        }
        _ => {}
    }
    if !pointer.is_empty() {
        all.push((at.into(), pointer.into()));
    }
}

/// A config.json that has been tampered with: its text, and the field that was, if it was one.
fn mutate(numbers: &mut Numbers, base: &Value, decoy: &Path) -> (Vec<u8>, Option<String>) {
    let mut all = Vec::new();
    values("", "", base, &mut all);
    let (name, pointer) = numbers.pick(&all).clone();
    let decoy = decoy.to_string_lossy().into_owned();
    let mut value = base.clone();
    let text = |value: &Value| serde_json::to_vec(value).unwrap();
    let deep = |depth: usize| {
        let text = "[".repeat(depth) + &"]".repeat(depth);
        text.into_bytes()
    };
    match numbers.below(20) {
        // Bytes, not values.
        0 => {
            let mut text = text(&value);
            let at = numbers.below(text.len());
            text.truncate(at);
            return (text, None);
        }
        1 => {
            let mut text = text(&value);
            let at = numbers.below(text.len());
            text[at] = numbers.next() as u8;
            return (text, None);
        }
        2 => {
            // The same key twice, or a value far too deep.
            let marker = json!("MARKER");
            *value.pointer_mut(&pointer).unwrap() = marker;
            let with = if numbers.below(2) == 0 {
                deep(*numbers.pick(&[100, 127, 1000, 100_000]))
            } else {
                b"1,\"x\":2,\"x\":{\"x\":3}".to_vec()
            };
            let text = text(&value);
            let marker = b"\"MARKER\"";
            let at = text.windows(marker.len()).position(|it| it == marker).unwrap();
            let rest = &text[at + marker.len()..];
            return ([&text[..at], &with, rest].concat(), None);
        }
        3 => {
            let number = ["1e400", "-1", "99999999999999999999999", "1.5", "0x10", "-0", "1E-3"];
            *value.pointer_mut(&pointer).unwrap() = json!("MARKER");
            let text = String::from_utf8(text(&value)).unwrap();
            return (text.replace("\"MARKER\"", *numbers.pick(&number)).into_bytes(), Some(name));
        }
        4 => {
            // Gone.
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match value.pointer_mut(parent).unwrap() {
                Value::Object(fields) => drop(fields.shift_remove(&key.replace("~1", "/"))),
                Value::Array(list) => drop(list.remove(key.parse().unwrap())),
                _ => unreachable!(),
            }
        }
        5 => {
            // Twice in its list, or many times.
            let count = *numbers.pick(&[1, 2, 300]);
            let (parent, _) = pointer.rsplit_once('/').unwrap();
            let copy = value.pointer(&pointer).unwrap().clone();
            if let Value::Array(list) = value.pointer_mut(parent).unwrap() {
                list.extend(std::iter::repeat_n(copy, count));
            } else {
                *value.pointer_mut(&pointer).unwrap() = json!([copy, copy]);
            }
        }
        _ => {
            let strings = [
                "",
                "\0",
                "a\0b",
                "/",
                "..",
                "../../decoy",
                "/../..",
                "/proc/self/fd/3",
                "/proc/self/root/etc",
                "/dev/fd/9",
                "rootfs",
                "\u{1F600}\u{202E}",
                "\n\r\x1b[2J",
                "%s%n",
                "-1",
                "CAP_NONE",
                "SCMP_ACT_NONE",
                "bind",
                "4294967296",
                "mode=99999999",
                "size=99999999999999999999",
                "tmpcopyup",
                "rbind",
                "idmap",
            ];
            let numbers_of = [
                json!(0),
                json!(-1),
                json!(1),
                json!(i32::MAX),
                json!(u32::MAX),
                json!(1u64 << 32),
                json!(i64::MIN),
                json!(i64::MAX),
                json!(u64::MAX),
                json!(1e300),
                json!(0.5),
            ];
            let new = match numbers.below(9) {
                0 => Value::Null,
                1 => json!(true),
                2 => numbers.pick(&numbers_of).clone(),
                3 => json!([]),
                4 => json!({}),
                5 => json!(decoy),
                6 => json!("x".repeat(*numbers.pick(&[65, 300, 5000, 70_000]))),
                7 => json!([numbers.pick(&strings), numbers.pick(&numbers_of)]),
                _ => json!(numbers.pick(&strings)),
            };
            *value.pointer_mut(&pointer).unwrap() = new;
        }
    }
    (text(&value), Some(name))
}

/// What of a field's path a message about its type must at least have.
fn top(field: &str) -> &str {
    let ends = field.match_indices(['.', '[']).map(|(at, _)| at);
    let depth = if field.starts_with("linux") || field.starts_with("process") { 1 } else { 0 };
    let end = ends.into_iter().nth(depth).unwrap_or(field.len());
    &field[..end]
}

/// Whether a message names a field of config.json, or the file.
fn names_a_field(says: &str) -> bool {
    const FIELDS: [&str; 11] = [
        "config.json",
        "parse ",
        "ociVersion",
        "root",
        "process",
        "hostname",
        "domainname",
        "mounts",
        "linux",
        "annotations",
        "hooks",
    ];
    let says = says.rsplit("runsc: ").next().unwrap_or_default();
    let says = says.strip_prefix("unable to start container process: ").unwrap_or(says);
    FIELDS.iter().any(|field| says.starts_with(field))
}

const MUTATIONS: usize = 2400;
/// A flag that fails when config.json has been read and nothing has been made, and what it says.
const MISSES: [&str; 2] = ["--preserve-fds=9", "descriptor"];
/// Of these one is run for real, and not only as far as that flag.
const REAL: usize = 12;

#[test]
fn a_config_that_was_tampered_with_harms_nobody() {
    let place = Place::new();
    let base = config("exit 0");
    fs::write(place.path("bundle/config.json"), serde_json::to_vec(&base).unwrap()).unwrap();
    let next = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..2 {
            let bundle = format!("worker{worker}");
            fs::create_dir_all(place.path(&bundle).join("rootfs")).unwrap();
            let (place, base, next, refused) = (&place, &base, &next, &refused);
            scope.spawn(move || {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= MUTATIONS {
                        break;
                    }
                    let mut numbers = Numbers(0x5eed ^ (round as u64) << 20);
                    let (text, field) = mutate(&mut numbers, base, &place.decoy.path);
                    fs::write(place.path(&bundle).join("config.json"), &text).unwrap();
                    // A root file system may be what it likes, and is written to.
                    let is_root = field.as_deref() == Some("root.path");
                    let is_real = round % REAL == 0 && !is_root;
                    let id = format!("r{round}");
                    // Descriptors that are not there are missed when all of config.json has been read.
                    let args =
                        if is_real { &["run", &id][..] } else { &["create", MISSES[0], &id] };
                    let output = place.runsc(args, &bundle);
                    judge(round, is_real, &text, field.as_deref(), &output);
                    let says = String::from_utf8_lossy(&output.stderr);
                    if !output.status.success() && !says.contains(MISSES[1]) {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    if round % 100 == 0 {
                        place.decoy.is_untouched(&format!("mutation {round}"));
                    }
                }
            });
        }
    });
    // Most mutations make no sense, and are seen not to.
    let refused = refused.load(Ordering::Relaxed);
    assert!(refused > MUTATIONS / 4, "only {refused} were refused");
    place.decoy.is_untouched("all mutations");
    assert_eq!(place.states(), Vec::<String>::new());
}

#[track_caller]
fn judge(round: usize, is_real: bool, text: &[u8], field: Option<&str>, output: &Output) {
    let says = String::from_utf8_lossy(&output.stderr);
    let shown = String::from_utf8_lossy(&text[..text.len().min(3000)]);
    let context = || format!("mutation {round} of {field:?}: {says}\n{shown}");
    assert!(!says.contains("panicked"), "{}", context());
    let code = output.status.code();
    if is_real && code == Some(0) {
        return;
    }
    assert!(code.is_some_and(|code| code != 0), "{}", context());
    if says.contains(MISSES[1]) && !is_real {
        return;
    }
    let is_type = ["invalid type", "invalid value"].iter().any(|it| says.contains(it));
    let is_named =
        names_a_field(&says) && field.is_none_or(|field| !is_type || says.contains(top(field)));
    // A program that is not there, or does not like its arguments, is not config.json's mistake.
    let is_programs = is_real && (says.contains("exec: ") || says.contains("sh: "));
    assert!(is_named || is_programs, "{}", context());
}

#[test]
fn very_large_and_very_deep_configs_are_refused() {
    let place = Place::new();
    let write = |text: &[u8]| fs::write(place.path("bundle/config.json"), text).unwrap();
    let mut large = config("exit 0");
    large["process"]["args"][2] = "x".repeat(10 << 20).into();
    let huge = [b"{\"a\":\"".as_slice(), &vec![b'x'; 17 << 20], b"\"}"].concat();
    let many = format!("[{}1]", "1,".repeat(2_000_000));
    let mut masks = config("exit 0");
    masks["linux"]["maskedPaths"] =
        (0..200_000).map(|index| json!(format!("/no/{index}"))).collect();
    masks["mounts"] = Value::Array(vec![masks["mounts"][0].clone(); 5000]);
    for text in [
        serde_json::to_vec(&large).unwrap(),
        huge,
        many.into_bytes(),
        serde_json::to_vec(&masks).unwrap(),
        "[".repeat(1 << 20).into_bytes(),
        vec![0; 1 << 20],
        vec![0xff; 1 << 20],
    ] {
        write(&text);
        let output = place.runsc(&["run", "c1"], "bundle");
        let says = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{says}");
        assert!(!says.contains("panicked") && says.len() < 4096, "{says}");
        assert_eq!(place.states(), Vec::<String>::new(), "{says}");
    }
    place.decoy.is_untouched("large configs");
}

/// What an image may put in the place of a directory or file that a runtime works on.
fn plant(path: &Path, kind: &str, decoy: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let target = match kind {
        "absolute" => decoy.to_path_buf(),
        "relative" => {
            Path::new("../../../../../../../../../../").join(decoy.strip_prefix("/").unwrap())
        }
        "file outside" => decoy.join("file"),
        "new outside" => decoy.join("made"),
        "self" => path.file_name().unwrap().into(),
        "proc" => PathBuf::from("/proc/self/root/").join(decoy.strip_prefix("/").unwrap()),
        _ => PathBuf::new(),
    };
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    let node = |kind| mknod(name.as_c_str(), kind, Mode::from_bits_truncate(0o666), 0).unwrap();
    match kind {
        "fifo" => node(SFlag::S_IFIFO),
        "socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        "file" => fs::write(path, "image").unwrap(),
        "directory" => fs::create_dir(path).unwrap(),
        "chain" => {
            let directory = path.parent().unwrap();
            let base = path.file_name().unwrap().to_str().unwrap();
            for index in 0..60 {
                let link = directory.join(format!("{base}.{index}"));
                symlink(format!("{base}.{}", index + 1), link).unwrap();
            }
            symlink(decoy, directory.join(format!("{base}.60"))).unwrap();
            symlink(format!("{base}.0"), path).unwrap();
        }
        _ => symlink(target, path).unwrap(),
    }
}

const KINDS: [&str; 11] = [
    "absolute",
    "relative",
    "file outside",
    "new outside",
    "self",
    "proc",
    "fifo",
    "socket",
    "file",
    "directory",
    "chain",
];

#[test]
fn images_of_links_fifos_and_sockets_reach_nothing_outside() {
    let places = [
        "proc",
        "dev",
        "sys",
        "etc",
        "dev/null",
        "dev/console",
        "dev/pts",
        "tmp",
        "made",
        "etc/hosts",
    ];
    let all: Vec<(&str, &str)> =
        places.iter().flat_map(|place| KINDS.iter().map(move |kind| (*place, *kind))).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((name, kind)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one_image(name, kind);
                }
            });
        }
    });
}

fn one_image(name: &str, kind: &str) {
    let place = Place::new();
    let rootfs = place.path("bundle/rootfs");
    plant(&rootfs.join(name), kind, &place.decoy.path);
    let script =
        "echo x > /dev/null; echo x > /tmp/x; echo x > /made/x; ls /proc/self > /dev/null; exit 0";
    let mut config = config(script);
    config["process"]["cwd"] = "/made/deeper".into();
    let masked = config["linux"]["maskedPaths"].as_array_mut().unwrap();
    masked.extend([json!("/etc/passwd"), json!("/dev/null"), json!("/etc")]);
    let hosts = json!({ "destination": "/etc/hosts", "source": "hosts", "type": "bind",
        "options": ["rbind", "ro"] });
    config["mounts"].as_array_mut().unwrap().push(hosts);
    fs::write(place.path("bundle/hosts"), "hosts").unwrap();
    fs::write(place.path("bundle/config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
    let output = place.runsc(&["run", "c1"], "bundle");
    let says = String::from_utf8_lossy(&output.stderr);
    assert!(!says.contains("panicked"), "{name} as {kind}: {says}");
    // It runs or it does not begin; both is fine, as long as it is told.
    assert!(
        output.status.code().is_some_and(|code| code == 0 || !says.is_empty()),
        "{name} as {kind}"
    );
    place.decoy.is_untouched(&format!("{name} as {kind}: {says}"));
    assert_eq!(place.states(), Vec::<String>::new(), "{name} as {kind}: {says}");
}

#[test]
fn a_working_directory_behind_a_descriptor_is_the_guests_own() {
    for number in [0, 3, 4, 7, 9, 100] {
        for cwd in [format!("/proc/self/fd/{number}"), format!("/dev/fd/{number}/..")] {
            let place = Place::new();
            let mut config = config("ls; cat ../../../../../../decoy/file");
            config["process"]["cwd"] = cwd.clone().into();
            fs::write(place.path("bundle/config.json"), serde_json::to_vec(&config).unwrap())
                .unwrap();
            let output = place.runsc(&["run", "c1"], "bundle");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!told.contains("decoy") && !told.contains("config.json"), "{cwd}: {output:?}");
            place.decoy.is_untouched(&cwd);
            assert_eq!(place.states(), Vec::<String>::new());
        }
    }
}

#[test]
fn links_that_change_while_a_container_is_made_lead_nowhere() {
    const ROUNDS: usize = 40;
    let place = Place::new();
    let shared = place.path("bundle/rootfs/shared");
    fs::create_dir(&shared).unwrap();
    let (at, real, link) = (shared.join("x"), shared.join("real"), shared.join("link"));
    fs::create_dir(&at).unwrap();
    symlink(&place.decoy.path, &link).unwrap();
    let mut config = config("echo x > /shared/x/made; exit 0");
    config["process"]["cwd"] = "/shared/x/cwd".into();
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({ "destination": "/shared/x/mounted/deep", "type": "tmpfs" }));
    mounts.push(json!({ "destination": "/shared/x/file", "source": "hosts", "type": "bind",
        "options": ["rbind"] }));
    fs::write(place.path("bundle/hosts"), "hosts").unwrap();
    fs::write(place.path("bundle/config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // A directory, a link outside, a directory again.
                for (from, to) in [(&at, &real), (&link, &at), (&at, &link), (&real, &at)] {
                    // Somebody may just have made something of the same name.
                    let _ = fs::rename(from, to);
                }
            }
        });
        for round in 0..ROUNDS {
            let output = place.runsc(&["run", &format!("c{round}")], "bundle");
            let says = String::from_utf8_lossy(&output.stderr);
            assert!(!says.contains("panicked"), "{says}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    place.decoy.is_untouched("a race");
    assert_eq!(place.states(), Vec::<String>::new());
}
