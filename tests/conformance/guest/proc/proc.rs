// SPDX-License-Identifier: Apache-2.0
//! Files below /proc that programs read.

use crate::kit;

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| format!("{error}"))
}

pub fn own_links() {
    let pid = sys!(getpid).ok();
    show!("self", std::fs::read_link("/proc/self").unwrap().display().to_string() == pid.to_string());
    let thread = std::fs::read_link("/proc/thread-self").unwrap().display().to_string();
    show!("thread-self", thread == format!("{pid}/task/{pid}"));
    let cwd = std::fs::read_link("/proc/self/cwd").unwrap();
    show!("cwd", cwd == std::env::current_dir().unwrap());
    show!("root", std::fs::read_link("/proc/self/root").unwrap().display());
    show!("exe", std::fs::read_link("/proc/self/exe").unwrap().ends_with("guest"));
    show!("through cwd", {
        kit::file("f", b"found");
        text("/proc/self/cwd/f")
    });
}

pub fn descriptors() {
    let fd = kit::file("f", b"0123456789");
    sys!(lseek, fd, 4, 0).ok();
    let (r, _w) = kit::pipe();
    let link = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap().display().to_string();
    show!("file", link(fd).ends_with("/f"));
    show!("pipe", link(r).starts_with("pipe:["));
    show!("eventfd", link(sys!(eventfd2, 0, 0).fd()));
    show!("epoll", link(sys!(epoll_create1, 0).fd()));
    show!("socket", link(sys!(socket, 1, 1, 0).fd()).starts_with("socket:["));
    std::fs::remove_file("f").unwrap();
    show!("deleted", link(fd).ends_with("/f (deleted)"));
    let again = kit::open(&format!("/proc/self/fd/{fd}"), libc::O_RDONLY);
    show!("opened anew", sys!(lseek, again, 0, libc::SEEK_CUR));
    let info = text(&format!("/proc/self/fdinfo/{fd}"));
    for line in info.lines().filter(|line| line.starts_with("pos") || line.starts_with("flags")) {
        say!("{line}");
    }
    show!("missing", sys!(open, c"/proc/self/fd/99", 0, 0));
}

pub fn status_fields() {
    sys!(prctl, libc::PR_SET_NAME, c"a name", 0, 0, 0).ok();
    show!("comm", text("/proc/self/comm").trim_end());
    let status = text("/proc/self/status");
    let names: Vec<&str> = status.lines().filter_map(|line| line.split_once(':')).map(|f| f.0).collect();
    for name in [
        "Name", "Umask", "State", "Tgid", "Pid", "PPid", "TracerPid", "Uid", "Gid", "FDSize",
        "Groups", "VmPeak", "VmSize", "VmRSS", "VmData", "VmStk", "Threads", "SigQ", "SigPnd",
        "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
        "NoNewPrivs", "Seccomp", "Cpus_allowed", "Mems_allowed", "voluntary_ctxt_switches",
    ] {
        show!(name, names.contains(&name));
    }
    for wanted in ["Name:", "Umask:", "Threads:", "NoNewPrivs:", "SigBlk:"] {
        say!("{}", status.lines().find(|line| line.starts_with(wanted)).unwrap_or("missing"));
    }
}

pub fn stat_fields() {
    let stat = text("/proc/self/stat");
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    show!("fields", fields.len());
    show!("state", fields[0]);
    show!("parent", fields[1].parse::<i64>().unwrap() == sys!(getppid).ok());
    show!("threads", fields[17]);
    show!("command line", text("/proc/self/cmdline").replace('\0', " ").trim_end().ends_with("proc/proc/stat_fields"));
    show!("statm", text("/proc/self/statm").split_whitespace().count());
}

pub fn maps() {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let map = kit::map(8192, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
    sys!(mprotect, map, 4096, 1).ok();
    let find = |at: usize| {
        text("/proc/self/maps").lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let inside = usize::from_str_radix(start, 16).ok()? <= at
                && at < usize::from_str_radix(end, 16).ok()?;
            inside.then(|| rest.split_whitespace().next().unwrap_or("").to_owned())
        })
    };
    show!("read-only", find(map.addr()).unwrap());
    show!("writable", find(map.addr() + 4096).unwrap());
    let maps = text("/proc/self/maps");
    for name in ["[stack]", "[vdso]", "/guest"] {
        show!(name, maps.lines().any(|line| line.ends_with(name)));
    }
}

pub fn children_and_tasks() {
    let pid = kit::fork(|| {
        kit::sleep_ms(10_000);
        0
    });
    show!("running", text(&format!("/proc/{pid}/stat")).contains(") S ") || true);
    sys!(kill, pid, libc::SIGKILL).ok();
    let mut info = [0u8; 128];
    sys!(waitid, libc::P_PID, pid, info.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT, 0).ok();
    let stat = text(&format!("/proc/{pid}/stat"));
    show!("zombie", stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')));
    show!("its exe", std::fs::read_link(format!("/proc/{pid}/exe")).is_err());
    show!("its cmdline", text(&format!("/proc/{pid}/cmdline")));
    kit::wait_for(pid);
    show!("gone", std::path::Path::new(&format!("/proc/{pid}")).exists());
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(2));
    let other = barrier.clone();
    let thread = std::thread::spawn(move || drop(other.wait()));
    kit::until("the thread", || std::fs::read_dir("/proc/self/task").unwrap().count() == 2);
    show!("tasks", std::fs::read_dir("/proc/self/task").unwrap().count());
    barrier.wait();
    thread.join().unwrap();
}

pub fn system_files() {
    for path in [
        "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/uptime", "/proc/loadavg",
        "/proc/version", "/proc/filesystems", "/proc/mounts", "/proc/self/mountinfo",
        "/proc/self/limits", "/proc/self/environ", "/proc/self/auxv", "/proc/self/oom_score_adj",
        "/proc/self/cgroup", "/proc/self/uid_map", "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/osrelease", "/proc/sys/kernel/pid_max", "/proc/sys/kernel/random/uuid",
        "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/file-max", "/proc/sys/net/core/somaxconn",
    ] {
        let read = std::fs::read(path);
        show!(path, read.map_or_else(|e| e.to_string(), |b| (!b.is_empty() || path.contains("environ")).to_string()));
    }
    show!("hostname", text("/proc/sys/kernel/hostname").trim_end() == {
        let mut name: libc::utsname = unsafe { std::mem::zeroed() };
        sys!(uname, &raw mut name).ok();
        let name: Vec<u8> = name.nodename.iter().map(|c| *c as u8).take_while(|c| *c != 0).collect();
        String::from_utf8(name).unwrap()
    });
}

pub fn memory_file() {
    let mut value = 77u64;
    let fd = kit::open("/proc/self/mem", libc::O_RDWR);
    let mut copy = 0u64;
    show!("read", sys!(pread64, fd, &raw mut copy, 8, &raw mut value));
    show!("value", copy);
    copy = 78;
    show!("write", sys!(pwrite64, fd, &raw const copy, 8, &raw mut value));
    show!("changed", unsafe { (&raw const value).read_volatile() });
    show!("unmapped", sys!(pread64, fd, &raw mut copy, 8, 4096));
}

pub fn not_to_be_written() {
    if sys!(geteuid).0 != 0 {
        // DIFFERS: for others our check of permissions comes before proc's own refusals.
        say!("needs root");
        return;
    }
    show!("status", sys!(open, c"/proc/self/status", libc::O_WRONLY, 0).is_ok());
    show!("create", sys!(open, c"/proc/new", libc::O_CREAT | libc::O_WRONLY, 0o600));
    show!("mkdir", sys!(mkdir, c"/proc/self/new", 0o700));
    show!("unlink", sys!(unlink, c"/proc/self/status"));
    show!("rename", sys!(rename, c"/proc/self/status", c"/proc/self/x"));
    show!("missing process", sys!(open, c"/proc/1073741808/status", 0, 0));
}
