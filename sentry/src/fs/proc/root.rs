// SPDX-License-Identifier: Apache-2.0
//! `/proc` itself: the files of the whole, and a directory for each process.

use std::{fmt::Write, sync::Arc};

use abi::Errno;

use super::{
    process, sysctl,
    view::{Figures, SystemView},
};
use crate::{
    fs::pseudo::{Entries, Entry, PseudoFilesystem, StaticTree, Tree},
    vfs::{FileKind, Inode},
};

/// The root directory.
pub(super) struct Root {
    system: Arc<dyn SystemView>,
    files: StaticTree,
}

impl Root {
    pub(super) fn new(system: Arc<dyn SystemView>) -> Root {
        Root { files: files(&system), system }
    }
}

impl Tree for Root {
    fn lookup(
        &self,
        filesystem: &Arc<PseudoFilesystem>,
        name: &[u8],
    ) -> Result<Arc<dyn Inode>, Errno> {
        match self.files.lookup(filesystem, name) {
            Err(Errno::ENOENT) => {}
            found => return found,
        }
        let number = number(name).ok_or(Errno::ENOENT)?;
        let task = self.system.task(number).ok_or(Errno::ENOENT)?;
        Ok(process::directory(filesystem, &self.system, number, task))
    }

    fn entries(&self, filesystem: &Arc<PseudoFilesystem>) -> Result<Entries, Errno> {
        let mut entries = self.files.entries(filesystem)?;
        entries.extend(self.system.processes().into_iter().map(|number| Entry {
            name: number.to_string().into_bytes(),
            number: process::inode_number(number, 0),
            kind: FileKind::Directory,
        }));
        Ok(entries)
    }

    fn subdirectories(&self) -> u32 {
        let processes = u32::try_from(self.system.processes().len()).unwrap_or(u32::MAX);
        processes.saturating_add(self.files.subdirectories())
    }
}

/// A process number as Linux reads it: decimal, no sign, no leading zero (`name_to_int()`).
pub(super) fn number(name: &[u8]) -> Option<i32> {
    let is_decimal = name.iter().all(u8::is_ascii_digit);
    if !is_decimal || name.is_empty() || name.first() == Some(&b'0') {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok()
}

type Shared = Arc<dyn SystemView>;

fn files(system: &Shared) -> StaticTree {
    let with = |make: fn(&Shared) -> String| {
        let system = Arc::clone(system);
        move || make(&system)
    };
    let own = |suffix: &'static str, of_task: bool| {
        let system = Arc::clone(system);
        move || {
            let (process, task) = system.caller().unwrap_or((0, 0));
            let text =
                if of_task { format!("{process}/task/{task}") } else { format!("{process}") };
            (text + suffix).into_bytes()
        }
    };
    let link = |target: Box<dyn Fn() -> Vec<u8> + Send + Sync>| {
        let target: Arc<dyn Fn() -> Vec<u8> + Send + Sync> = target.into();
        move || {
            let target = Arc::clone(&target);
            (0o777, crate::fs::pseudo::Body::Link(Box::new(move || target())))
        }
    };
    let sys = Arc::clone(system);
    StaticTree::new()
        .text("buddyinfo", String::new)
        .text("cgroups", with(cgroups))
        .text("cmdline", with(|s| s.command_line() + "\n"))
        .fixed("consoles", "")
        .text("cpuinfo", with(cpuinfo))
        .fixed("crypto", "")
        .fixed("devices", DEVICES)
        .text("diskstats", String::new)
        .fixed("dma", " 4: cascade\n")
        .fixed("execdomains", "0-0\tLinux           \t[kernel]\n")
        .text("filesystems", with(filesystems))
        .text("interrupts", with(interrupts))
        .fixed("iomem", "")
        .fixed("ioports", "")
        .text("loadavg", with(loadavg))
        .fixed("locks", "")
        .text("meminfo", with(|s| meminfo(&s.figures())))
        .fixed("misc", "")
        .fixed("modules", "")
        .link("mounts", "self/mounts")
        .link("net", "self/net")
        .fixed("partitions", "major minor  #blocks  name\n\n")
        .with("self", FileKind::Symlink, link(Box::new(own("", false))))
        .text("softirqs", with(softirqs))
        .text("stat", with(stat))
        .fixed("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n")
        .directory("sys", move || Box::new(sysctl::tree(&sys)))
        .subtree("sysvipc", sysvipc(system))
        .with("thread-self", FileKind::Symlink, link(Box::new(own("", true))))
        .text("uptime", with(uptime))
        .text("version", with(version))
        .text("vmstat", with(vmstat))
        .text("zoneinfo", String::new)
        .subtree("fs", StaticTree::new())
        .subtree("driver", StaticTree::new())
        .subtree("bus", StaticTree::new())
        .subtree("irq", StaticTree::new())
        .subtree("tty", StaticTree::new().fixed("drivers", TTY_DRIVERS))
        .subtree("pressure", pressure())
}

const DEVICES: &str = "Character devices:
  1 mem
  5 /dev/tty
  5 /dev/console
  5 /dev/ptmx
 10 misc
136 pts

Block devices:
";

const TTY_DRIVERS: &str = "/dev/tty             /dev/tty        5       0 system:/dev/tty
/dev/console         /dev/console    5       1 system:console
/dev/ptmx            /dev/ptmx       5       2 system
pty_slave            /dev/pts      136 0-1048575 pty:slave
pty_master           /dev/ptm      128 0-1048575 pty:master
";

fn cpuinfo(system: &Shared) -> String {
    let description = system.cpu_description();
    let cpus = system.figures().cpus;
    let mut text = String::new();
    for cpu in 0..cpus {
        let _ = writeln!(text, "processor\t: {cpu}");
        for line in description.lines() {
            // The numbers that differ from one processor to the next.
            let key = line.split('\t').next().unwrap_or_default().trim();
            let _ = match key {
                "core id" | "apicid" | "initial apicid" => match line.split_once(':') {
                    Some((name, _)) => writeln!(text, "{name}: {cpu}"),
                    None => writeln!(text, "{line}"),
                },
                "siblings" | "cpu cores" => match line.split_once(':') {
                    Some((name, _)) => writeln!(text, "{name}: {cpus}"),
                    None => writeln!(text, "{line}"),
                },
                _ => writeln!(text, "{line}"),
            };
        }
        text.push('\n');
    }
    text
}

/// All controllers are the unified hierarchy's, which has no number.
fn cgroups(system: &Shared) -> String {
    let head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n".to_owned();
    system.controllers().iter().fold(head, |text, name| text + &format!("{name}\t0\t1\t1\n"))
}

fn filesystems(system: &Shared) -> String {
    let line = |(name, has_device): (&str, bool)| {
        if has_device { format!("\t{name}\n") } else { format!("nodev\t{name}\n") }
    };
    system.filesystems().into_iter().map(line).collect()
}

fn interrupts(system: &Shared) -> String {
    let heads: String = (0..system.figures().cpus).map(|cpu| format!("       CPU{cpu}")).collect();
    format!("    {heads}\n")
}

fn softirqs(system: &Shared) -> String {
    let heads: String = (0..system.figures().cpus).map(|cpu| format!("       CPU{cpu}")).collect();
    format!("                {heads}\n")
}

/// Load is not averaged over time: the sandbox keeps no ticks while it is idle.
fn loadavg(system: &Shared) -> String {
    let figures = system.figures();
    format!("0.00 0.00 0.00 {}/{} {}\n", figures.running, figures.tasks, figures.last_pid)
}

/// Hundredths of a second.
fn ticks(ns: u64) -> u64 {
    ns / 10_000_000
}

fn uptime(system: &Shared) -> String {
    let figures = system.figures();
    let up = figures.uptime_ns;
    let cpus = u64::try_from(figures.cpus).unwrap_or(1);
    let busy = figures.cpu_time_ns.0 + figures.cpu_time_ns.1;
    let idle = (up * cpus).saturating_sub(busy);
    let show = |ns: u64| format!("{}.{:02}", ns / 1_000_000_000, ns / 10_000_000 % 100);
    format!("{} {}\n", show(up), show(idle))
}

fn stat(system: &Shared) -> String {
    let figures = system.figures();
    let cpus = u64::try_from(figures.cpus.max(1)).unwrap_or(1);
    let (user, kernel) = figures.cpu_time_ns;
    let idle = (figures.uptime_ns * cpus).saturating_sub(user + kernel);
    let line = |share: u64| {
        let (user, kernel, idle) =
            (ticks(user / share), ticks(kernel / share), ticks(idle / share));
        format!("{user} 0 {kernel} {idle} 0 0 0 0 0 0\n")
    };
    let mut text = format!("cpu  {}", line(1));
    for cpu in 0..cpus {
        let _ = write!(text, "cpu{cpu} {}", line(cpus));
    }
    let _ = write!(
        text,
        "intr 0\nctxt 0\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
        figures.boot_time, figures.forks, figures.running
    );
    text
}

fn version(system: &Shared) -> String {
    let (release, version) = system.release();
    format!("Linux version {release} (runsc@sandbox) (rustc) {version}\n")
}

fn meminfo(figures: &Figures) -> String {
    let total = figures.memory_total / 1024;
    let free = figures.memory_total.saturating_sub(figures.memory_used) / 1024;
    let (used, shared) = (figures.memory_used / 1024, figures.memory_shared / 1024);
    let anonymous = used.saturating_sub(shared);
    let rows: &[(&str, u64)] = &[
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", shared),
        ("SwapCached", 0),
        ("Active", anonymous),
        ("Inactive", shared),
        ("Active(anon)", anonymous),
        ("Inactive(anon)", shared),
        ("Active(file)", 0),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", anonymous),
        ("Mapped", shared),
        ("Shmem", shared),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", total),
        ("Committed_AS", used),
        ("VmallocTotal", 34_359_738_367),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("Percpu", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
    ];
    let mut text = String::new();
    for (name, kib) in rows {
        let _ = writeln!(text, "{:<16}{kib:>8} kB", format!("{name}:"));
    }
    for name in ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"] {
        let _ = writeln!(text, "{:<16}{:>8}", format!("{name}:"), 0);
    }
    text.push_str("Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
    text
}

fn vmstat(system: &Shared) -> String {
    let figures = system.figures();
    let pages = |bytes: u64| bytes / 4096;
    let free = figures.memory_total.saturating_sub(figures.memory_used);
    format!(
        "nr_free_pages {}\nnr_anon_pages {}\nnr_file_pages {}\nnr_shmem {}\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\npgfault 0\npgmajfault 0\noom_kill 0\n",
        pages(free),
        pages(figures.memory_used),
        pages(figures.memory_shared),
        pages(figures.memory_shared)
    )
}

fn pressure() -> StaticTree {
    const NONE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
    StaticTree::new().fixed("cpu", NONE).fixed("io", NONE).fixed("memory", NONE)
}

fn sysvipc(system: &Shared) -> StaticTree {
    let table = |name: &'static str, head: &'static str| {
        let system = Arc::clone(system);
        move || system.network_table(name).unwrap_or_else(|| head.to_owned())
    };
    StaticTree::new()
        .text("msg", table("sysvipc/msg", "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n"))
        .text("sem", table("sysvipc/sem", "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"))
        .text("shm", table("sysvipc/shm", "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n"))
}

#[cfg(test)]
mod tests {
    use super::{Figures, meminfo, number};

    #[test]
    fn only_plain_decimals_are_process_numbers() {
        assert_eq!(number(b"1"), Some(1));
        for name in [&b"0"[..], b"01", b"+1", b"-1", b"", b"1a", b"99999999999"] {
            assert_eq!(number(name), None);
        }
    }

    #[test]
    fn meminfo_has_the_hosts_columns() {
        let text = meminfo(&Figures { memory_total: 1 << 30, ..Figures::default() });
        let host = std::fs::read_to_string("/proc/meminfo").expect("the host has one");
        let of = |text: &str, name: &str| {
            text.lines().find(|line| line.starts_with(name)).map(|line| line.find(" kB"))
        };
        for name in ["MemTotal:", "MemFree:", "SwapTotal:", "Hugepagesize:"] {
            assert_eq!(of(&text, name), of(&host, name), "{name}");
        }
    }
}
