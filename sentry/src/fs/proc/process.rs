// SPDX-License-Identifier: Apache-2.0
//! `/proc/<pid>` and `/proc/<pid>/task/<tid>`.

use std::sync::Arc;

use abi::Errno;

use super::{
    fd, maps, memory, namespace, network,
    root::number,
    status,
    view::{SystemView, TaskView},
};
use crate::{
    creds::Credentials,
    fs::pseudo::{Body, Entries, Entry, Life, Link, Node, PseudoFilesystem, Special, Text, Tree},
    vfs::{FileKind, Inode, LinkTarget, Place},
};

/// Whose directory it is: what every file in it asks.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) system: Arc<dyn SystemView>,
    pub(super) task: Arc<dyn TaskView>,
    /// The number by which it was found.
    pub(super) number: i32,
    /// `/proc/<pid>` (the whole process), not `task/<tid>`.
    pub(super) is_process: bool,
}

impl Subject {
    /// `EACCES` unless `asker` may look into the task.
    pub(super) fn check_access(&self, asker: &Credentials) -> Result<(), Errno> {
        if self.task.may_be_read_by(asker) { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Where paths are seen from: the reader's own root is the whole tree of the sandbox's namespace.
    pub(super) fn root(&self) -> Option<Place> {
        self.task.directories().map(|(_, root)| root)
    }
}

impl Life for Subject {
    fn is_alive(&self) -> bool {
        self.task.is_alive()
    }

    fn owner(&self) -> (u32, u32) {
        // Files of a process that may not be traced belong to root (`task_dump_owner()`).
        if self.task.details().is_dumpable {
            let creds = self.task.credentials();
            (creds.euid, creds.egid)
        } else {
            (0, 0)
        }
    }
}

/// Inode numbers: 16 bits for the file, the rest for the task; tasks and processes apart.
pub(super) fn inode_number(task: i32, file: u16) -> u64 {
    let task = u64::try_from(task).unwrap_or(0);
    1 << 48 | task << 16 | u64::from(file)
}

/// The directory of a process.
pub(super) fn directory(
    filesystem: &Arc<PseudoFilesystem>,
    system: &Arc<dyn SystemView>,
    number: i32,
    task: Arc<dyn TaskView>,
) -> Arc<Node> {
    let subject = Subject { system: Arc::clone(system), task, number, is_process: true };
    node(filesystem, &subject, 0, 0o555, Body::Tree(Box::new(TaskDirectory(subject.clone()))))
}

/// A node that belongs to a task.
pub(super) fn node(
    filesystem: &Arc<PseudoFilesystem>,
    subject: &Subject,
    file: u16,
    permissions: u32,
    body: Body,
) -> Arc<Node> {
    let base = inode_number(subject.number, file);
    let number = if subject.is_process { base } else { base | 1 << 47 };
    filesystem.node_numbered(number, permissions, body, Some(Arc::new(subject.clone())))
}

type MakeBody = fn(Subject) -> Body;

/// Name, kind, permissions, body, and whether it is only in the directories of processes.
struct File(&'static str, FileKind, u32, MakeBody);

use FileKind::{Directory as Dir, Regular as Reg, Symlink as Lnk};

/// The files of a task, in the order in which Linux shows them.
const FILES: &[File] = &[
    File("task", Dir, 0o555, |s| Body::Tree(Box::new(Threads(s)))),
    File("fd", Dir, 0o500, |s| Body::Tree(Box::new(fd::Files(s)))),
    File("map_files", Dir, 0o500, |s| Body::Tree(Box::new(maps::MapFiles(s)))),
    File("fdinfo", Dir, 0o555, |s| Body::Tree(Box::new(fd::Infos(s)))),
    File("ns", Dir, 0o511, |s| Body::Tree(Box::new(namespace::Namespaces(s)))),
    File("net", Dir, 0o555, |s| Body::Tree(Box::new(network::tree(&s.system)))),
    File("environ", Reg, 0o400, |s| secret(s, memory::environ)),
    File("auxv", Reg, 0o400, |s| secret(s, memory::auxv)),
    File("status", Reg, 0o444, |s| text(s, |s| status::status(&*s.task, s.system.figures().cpus))),
    File("personality", Reg, 0o400, |s| {
        secret(s, |s| format!("{:08x}\n", s.task.details().personality).into_bytes())
    }),
    File("limits", Reg, 0o444, |s| text(s, |s| status::limits(&*s.task))),
    File("sched", Reg, 0o644, |s| text(s, sched)),
    File("autogroup", Reg, 0o644, |s| text(s, |_| "/autogroup-1 nice 0\n".to_owned())),
    File("comm", Reg, 0o644, |s| Body::Text(Box::new(Comm(s)))),
    File("syscall", Reg, 0o400, |s| secret(s, |_| b"running\n".to_vec())),
    File("cmdline", Reg, 0o444, |s| Body::Text(Box::new(Plain(s, memory::cmdline)))),
    File("stat", Reg, 0o444, |s| text(s, |s| status::stat(&*s.task, s.is_process))),
    File("statm", Reg, 0o444, |s| text(s, |s| status::statm(&*s.task))),
    File("maps", Reg, 0o444, |s| secret(s, maps::maps)),
    File("numa_maps", Reg, 0o444, |s| secret(s, maps::numa_maps)),
    File("mem", Reg, 0o600, |s| Body::Special(Box::new(memory::Memory(s)))),
    File("cwd", Lnk, 0o777, |s| link(s, |s| s.task.directories().map(|(cwd, _)| cwd))),
    File("root", Lnk, 0o777, |s| link(s, |s| s.task.directories().map(|(_, root)| root))),
    File("exe", Lnk, 0o777, |s| link(s, |s| s.task.executable())),
    File("mounts", Reg, 0o444, |s| text(s, network::mounts)),
    File("mountinfo", Reg, 0o444, |s| text(s, network::mountinfo)),
    File("mountstats", Reg, 0o400, |s| text(s, network::mountstats)),
    File("clear_refs", Reg, 0o200, |s| Body::Text(Box::new(ClearRefs(s)))),
    File("smaps", Reg, 0o444, |s| secret(s, maps::smaps)),
    File("smaps_rollup", Reg, 0o444, |s| secret(s, maps::smaps_rollup)),
    File("wchan", Reg, 0o444, |s| text(s, |_| "0".to_owned())),
    File("stack", Reg, 0o400, |s| secret(s, |_| Vec::new())),
    File("schedstat", Reg, 0o444, |s| text(s, schedstat)),
    File("cpuset", Reg, 0o444, |s| text(s, |_| "/\n".to_owned())),
    File("cgroup", Reg, 0o444, |s| text(s, |_| "0::/\n".to_owned())),
    File("oom_score", Reg, 0o444, |s| text(s, |_| "0\n".to_owned())),
    File("oom_adj", Reg, 0o644, |s| Body::Text(Box::new(OomAdjust(s, Scale::Old)))),
    File("oom_score_adj", Reg, 0o644, |s| Body::Text(Box::new(OomAdjust(s, Scale::New)))),
    File("loginuid", Reg, 0o644, |s| text(s, |_| "4294967295".to_owned())),
    File("sessionid", Reg, 0o444, |s| text(s, |_| "4294967295".to_owned())),
    File("coredump_filter", Reg, 0o644, |s| text(s, |_| "00000033\n".to_owned())),
    File("io", Reg, 0o400, |s| secret(s, |_| IO.as_bytes().to_vec())),
    File("uid_map", Reg, 0o644, |s| Body::Text(Box::new(IdMap(s, false)))),
    File("gid_map", Reg, 0o644, |s| Body::Text(Box::new(IdMap(s, true)))),
    File("setgroups", Reg, 0o644, |s| Body::Text(Box::new(SetGroups(s)))),
    File("timers", Reg, 0o444, |s| text(s, |_| String::new())),
    File("timerslack_ns", Reg, 0o666, |s| {
        text(s, |s| format!("{}\n", s.task.details().timer_slack_ns))
    }),
    File("children", Reg, 0o444, |s| text(s, children)),
];

/// Not in `task/<tid>`, and only there.
const PROCESS_ONLY: [&str; 8] = [
    "task",
    "map_files",
    "mountstats",
    "autogroup",
    "timers",
    "timerslack_ns",
    "coredump_filter",
    "net",
];
const TASK_ONLY: [&str; 1] = ["children"];

const IO: &str = "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n";

struct TaskDirectory(Subject);

impl TaskDirectory {
    fn files(&self) -> impl Iterator<Item = (u16, &'static File)> + use<> {
        let is_process = self.0.is_process;
        (1u16..).zip(FILES).filter(move |(_, file)| {
            if is_process { !TASK_ONLY.contains(&file.0) } else { !PROCESS_ONLY.contains(&file.0) }
        })
    }
}

impl Tree for TaskDirectory {
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        if !self.0.task.is_alive() {
            return Err(Errno::ENOENT);
        }
        let (number, file) =
            self.files().find(|(_, file)| file.0.as_bytes() == name).ok_or(Errno::ENOENT)?;
        Ok(node(filesystem, &self.0, number, file.2, (file.3)(self.0.clone())))
    }

    fn entries(&self, _filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        let entry = |(number, file): (u16, &File)| Entry {
            name: file.0.as_bytes().to_vec(),
            number: inode_number(self.0.number, number),
            kind: file.1,
        };
        Ok(self.files().map(entry).collect())
    }

    fn subdirectories(&self) -> u32 {
        7
    }
}

/// `task`.
struct Threads(Subject);

impl Tree for Threads {
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        let number = number(name).ok_or(Errno::ENOENT)?;
        if !self.0.task.threads().contains(&number) {
            return Err(Errno::ENOENT);
        }
        let task = self.0.system.task(number).ok_or(Errno::ENOENT)?;
        let subject = Subject { task, number, is_process: false, ..self.0.clone() };
        let body = Body::Tree(Box::new(TaskDirectory(subject.clone())));
        Ok(node(filesystem, &subject, 0, 0o555, body))
    }

    fn entries(&self, _filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        let entry = |number: i32| Entry {
            name: number.to_string().into_bytes(),
            number: inode_number(number, 0) | 1 << 47,
            kind: FileKind::Directory,
        };
        Ok(self.0.task.threads().into_iter().map(entry).collect())
    }

    fn subdirectories(&self) -> u32 {
        u32::try_from(self.0.task.threads().len()).unwrap_or(u32::MAX)
    }
}

// ---- Bodies.

/// Text for everybody.
struct Plain(Subject, fn(&Subject) -> Vec<u8>);

impl Text for Plain {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        if !self.0.task.is_alive() {
            return Err(Errno::ESRCH);
        }
        Ok((self.1)(&self.0))
    }
}

/// Text for those who might trace the task.
struct Secret(Subject, fn(&Subject) -> Vec<u8>);

impl Text for Secret {
    fn read(&self, opener: &Credentials) -> Result<Vec<u8>, Errno> {
        self.check(opener)?;
        Ok((self.1)(&self.0))
    }

    fn check(&self, opener: &Credentials) -> Result<(), Errno> {
        if !self.0.task.is_alive() {
            return Err(Errno::ESRCH);
        }
        self.0.check_access(opener)
    }
}

struct Lines(Subject, fn(&Subject) -> String);

impl Text for Lines {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        if !self.0.task.is_alive() {
            return Err(Errno::ESRCH);
        }
        Ok((self.1)(&self.0).into_bytes())
    }
}

fn text(subject: Subject, make: fn(&Subject) -> String) -> Body {
    Body::Text(Box::new(Lines(subject, make)))
}

fn secret(subject: Subject, make: fn(&Subject) -> Vec<u8>) -> Body {
    Body::Text(Box::new(Secret(subject, make)))
}

struct ToPlace(Subject, fn(&Subject) -> Option<Place>);

impl Link for ToPlace {
    fn target(&self, asker: &Credentials) -> Result<LinkTarget, Errno> {
        self.0.check_access(asker)?;
        (self.1)(&self.0).map(LinkTarget::Magic).ok_or(Errno::ENOENT)
    }
}

fn link(subject: Subject, make: fn(&Subject) -> Option<Place>) -> Body {
    Body::Link(Box::new(ToPlace(subject, make)))
}

struct Comm(Subject);

impl Text for Comm {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        let mut name = self.0.task.name();
        name.push(b'\n');
        Ok(name)
    }

    fn write(&self, bytes: &[u8], _opener: &Credentials) -> Result<(), Errno> {
        let (process, _) = self.0.system.caller().ok_or(Errno::EINVAL)?;
        if process != self.0.task.numbers().process {
            return Err(Errno::EINVAL);
        }
        self.0.task.set_name(bytes.strip_suffix(b"\n").unwrap_or(bytes))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// `oom_adj`: -17 to 15.
    Old,
    /// `oom_score_adj`: -1000 to 1000.
    New,
}

struct OomAdjust(Subject, Scale);

impl Text for OomAdjust {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        let value = self.0.task.details().oom_score_adj;
        let value = match self.1 {
            Scale::New => value,
            Scale::Old if value == 1000 => 15,
            Scale::Old => value * 17 / 1000,
        };
        Ok(format!("{value}\n").into_bytes())
    }

    fn write(&self, bytes: &[u8], opener: &Credentials) -> Result<(), Errno> {
        let value = parse_number(bytes).ok_or(Errno::EINVAL)?;
        let value = match self.1 {
            Scale::New => value,
            Scale::Old if value == 15 => 1000,
            Scale::Old if (-17..=15).contains(&value) => value * 1000 / 17,
            Scale::Old => return Err(Errno::EINVAL),
        };
        if !(-1000..=1000).contains(&value) {
            return Err(Errno::EINVAL);
        }
        self.0.task.set_oom_score_adj(value, opener)
    }
}

/// A decimal number in white space.
pub(super) fn parse_number(bytes: &[u8]) -> Option<i32> {
    std::str::from_utf8(bytes).ok()?.trim_matches(['\n', ' ', '\t', '\0']).parse().ok()
}

struct ClearRefs(Subject);

impl Text for ClearRefs {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        Err(Errno::EINVAL)
    }

    fn write(&self, bytes: &[u8], opener: &Credentials) -> Result<(), Errno> {
        self.0.check_access(opener)?;
        // Referenced bits are the host's: there is nothing to clear, as right after a clear.
        match parse_number(bytes) {
            Some(1..=5) => Ok(()),
            _ => Err(Errno::EINVAL),
        }
    }
}

struct IdMap(Subject, bool);

impl Text for IdMap {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        Ok(self.0.task.id_map(self.1).into_bytes())
    }

    fn write(&self, bytes: &[u8], opener: &Credentials) -> Result<(), Errno> {
        self.0.task.set_id_map(self.1, bytes, opener)
    }
}

struct SetGroups(Subject);

impl Text for SetGroups {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        let word: &[u8] = if self.0.task.may_set_groups() { b"allow\n" } else { b"deny\n" };
        Ok(word.to_vec())
    }

    fn write(&self, bytes: &[u8], opener: &Credentials) -> Result<(), Errno> {
        match bytes.trim_ascii() {
            b"allow" => self.0.task.set_may_set_groups(true, opener),
            b"deny" => self.0.task.set_may_set_groups(false, opener),
            _ => Err(Errno::EINVAL),
        }
    }
}

fn children(subject: &Subject) -> String {
    subject.task.children().into_iter().map(|number| format!("{number} ")).collect()
}

fn sched(subject: &Subject) -> String {
    let (numbers, times) = (subject.task.numbers(), subject.task.times());
    let runtime = (times.user + times.system) / 1000;
    format!(
        "{} ({}, #threads: {})\n---------------------------------------------------------\nse.sum_exec_runtime                          : {:>14}.{:03}\nnr_switches                                  :                    0\nprio                                         :                  {}\n",
        String::from_utf8_lossy(&subject.task.name()),
        numbers.task,
        subject.task.threads().len(),
        runtime / 1000,
        runtime % 1000,
        120 + subject.task.details().nice,
    )
}

fn schedstat(subject: &Subject) -> String {
    let times = subject.task.times();
    format!("{} 0 0\n", times.user + times.system)
}

/// A file that opens itself knows its subject.
impl Special for memory::Memory {
    fn open(
        &self,
        _flags: abi::fcntl::OpenFlags,
        opener: &Credentials,
    ) -> Result<Box<dyn crate::vfs::FileOps>, Errno> {
        self.0.check_access(opener)?;
        memory::open(&self.0)
    }
}
