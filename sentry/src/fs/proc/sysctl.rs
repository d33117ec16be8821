// SPDX-License-Identifier: Apache-2.0
//! `/proc/sys`: knobs. Few can be turned; those that only say how a Linux is set up say what a new one
//! of the release that uname(2) tells would. What has been turned is the kernel's, not a mount's.

use std::sync::Arc;

use abi::Errno;

use super::view::{KnobValue, SystemView};
use crate::{
    creds::Credentials,
    fs::pseudo::{Body, StaticTree, Text},
    vfs::FileKind,
};

type Shared = Arc<dyn SystemView>;

/// The whole tree.
pub(super) fn tree(system: &Shared) -> StaticTree {
    StaticTree::new()
        .subtree("abi", StaticTree::new().fixed("vsyscall32", "1\n"))
        .subtree("debug", StaticTree::new())
        .subtree(
            "dev",
            StaticTree::new()
                .subtree("tty", values(&[("legacy_tiocsti", "0"), ("ldisc_autoload", "1")])),
        )
        .subtree("fs", fs(system))
        .subtree("kernel", kernel(system))
        .subtree("net", net(system))
        .subtree("user", user(system))
        .subtree("vm", vm(system))
}

/// Fixed values, each with its newline.
fn values(rows: &[(&str, &str)]) -> StaticTree {
    rows.iter()
        .fold(StaticTree::new(), |tree, (name, value)| tree.fixed(name, &format!("{value}\n")))
}

/// Values that root may change, and that then read as they were written.
fn with_knobs(
    system: &Shared,
    directory: &str,
    tree: StaticTree,
    rows: &[(&str, &str)],
) -> StaticTree {
    rows.iter().fold(tree, |tree, (name, value)| {
        let value = system.knob(&format!("{directory}/{name}"), &format!("{value}\n"));
        tree.with(name, FileKind::Regular, move || {
            (0o644, Body::Text(Box::new(Knob(Arc::clone(&value)))))
        })
    })
}

struct Knob(KnobValue);

impl Text for Knob {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        Ok(self.0.lock().clone())
    }

    fn write(&self, bytes: &[u8], _opener: &Credentials) -> Result<(), Errno> {
        const LONGEST: usize = 256;
        if bytes.len() > LONGEST {
            return Err(Errno::EINVAL);
        }
        let mut value = bytes.trim_ascii_end().to_vec();
        value.push(b'\n');
        *self.0.lock() = value;
        Ok(())
    }
}

fn fs(system: &Shared) -> StaticTree {
    let tree = values(&[
        ("aio-nr", "0"),
        ("dentry-state", "0\t0\t45\t0\t0\t0"),
        ("file-nr", "0\t0\t9223372036854775807"),
        ("inode-nr", "0\t0"),
        ("inode-state", "0\t0\t0\t0\t0\t0\t0"),
        ("overflowgid", "65534"),
        ("overflowuid", "65534"),
        ("protected_fifos", "0"),
        ("protected_hardlinks", "0"),
        ("protected_regular", "0"),
        ("protected_symlinks", "0"),
        ("suid_dumpable", "0"),
        ("lease-break-time", "45"),
        ("leases-enable", "1"),
        ("dir-notify-enable", "1"),
        ("mount-max", "100000"),
        ("pipe-user-pages-hard", "0"),
        ("pipe-user-pages-soft", "16384"),
    ]);
    with_knobs(
        system,
        "fs",
        tree,
        &[
            ("aio-max-nr", "65536"),
            ("file-max", "9223372036854775807"),
            ("nr_open", "1048576"),
            ("pipe-max-size", "1048576"),
        ],
    )
    .subtree(
        "epoll",
        with_knobs(system, "fs/epoll", StaticTree::new(), &[("max_user_watches", "1048576")]),
    )
    .subtree(
        "inotify",
        with_knobs(
            system,
            "fs/inotify",
            StaticTree::new(),
            &[
                ("max_queued_events", "16384"),
                ("max_user_instances", "128"),
                ("max_user_watches", "1048576"),
            ],
        ),
    )
    .subtree(
        "mqueue",
        with_knobs(
            system,
            "fs/mqueue",
            StaticTree::new(),
            &[
                ("msg_default", "10"),
                ("msg_max", "10"),
                ("msgsize_default", "8192"),
                ("msgsize_max", "8192"),
                ("queues_max", "256"),
            ],
        ),
    )
    .subtree("binfmt_misc", StaticTree::new())
}

fn kernel(system: &Shared) -> StaticTree {
    let tree = values(&[
        ("arch", "x86_64"),
        ("auto_msgmni", "0"),
        ("cap_last_cap", "40"),
        ("core_uses_pid", "0"),
        ("ngroups_max", "65536"),
        ("overflowgid", "65534"),
        ("overflowuid", "65534"),
        ("osrelease", &system.release().0),
        ("ostype", "Linux"),
        ("version", &system.release().1),
        ("sched_rr_timeslice_ms", "100"),
        ("tainted", "0"),
        ("io_uring_disabled", "2"),
        ("unprivileged_bpf_disabled", "2"),
        ("seccomp_actions_avail", "kill_process kill_thread trap errno trace log allow"),
    ]);
    let tree = with_knobs(
        system,
        "kernel",
        tree,
        &[
            ("core_pattern", "core"),
            ("dmesg_restrict", "0"),
            ("kptr_restrict", "0"),
            ("msgmax", "8192"),
            ("msgmnb", "16384"),
            ("msgmni", "32000"),
            ("panic", "0"),
            ("panic_on_oops", "0"),
            ("perf_event_paranoid", "2"),
            ("pid_max", "32768"),
            ("printk", "4\t4\t1\t7"),
            ("randomize_va_space", "2"),
            ("sched_rt_period_us", "1000000"),
            ("sched_rt_runtime_us", "950000"),
            ("sched_autogroup_enabled", "0"),
            ("sem", "32000\t1024000000\t500\t32000"),
            ("shm_rmid_forced", "0"),
            ("shmall", "18446744073692774399"),
            ("shmmax", "18446744073692774399"),
            ("shmmni", "4096"),
            ("sysrq", "0"),
            ("threads-max", "192730"),
        ],
    );
    tree.with("hostname", FileKind::Regular, name_maker(system, Which::Host))
        .with("domainname", FileKind::Regular, name_maker(system, Which::Domain))
        .subtree("random", random(system))
        .subtree(
            "keys",
            with_knobs(
                system,
                "kernel/keys",
                StaticTree::new(),
                &[
                    ("maxkeys", "200"),
                    ("maxbytes", "20000"),
                    ("root_maxkeys", "1000000"),
                    ("root_maxbytes", "25000000"),
                ],
            ),
        )
        .subtree(
            "pty",
            with_knobs(
                system,
                "kernel/pty",
                StaticTree::new().fixed("nr", "0\n"),
                &[("max", "4096"), ("reserve", "1024")],
            ),
        )
        .subtree(
            "seccomp",
            values(&[
                ("actions_avail", "kill_process kill_thread trap errno trace log allow"),
                ("actions_logged", "kill_process kill_thread trap errno trace log"),
            ]),
        )
        .subtree(
            "yama",
            with_knobs(system, "kernel/yama", StaticTree::new(), &[("ptrace_scope", "0")]),
        )
}

#[derive(Clone, Copy)]
enum Which {
    Host,
    Domain,
}

struct Name(Shared, Which);

impl Text for Name {
    fn read(&self, _opener: &Credentials) -> Result<Vec<u8>, Errno> {
        let (host, domain) = self.0.names();
        let mut name = match self.1 {
            Which::Host => host,
            Which::Domain => domain,
        };
        name.push(b'\n');
        Ok(name)
    }

    fn write(&self, bytes: &[u8], opener: &Credentials) -> Result<(), Errno> {
        let line = bytes.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or_default();
        match self.1 {
            Which::Host => self.0.set_host_name(line, opener),
            Which::Domain => self.0.set_domain_name(line, opener),
        }
    }
}

fn name_maker(system: &Shared, which: Which) -> impl Fn() -> (u32, Body) + Send + Sync + 'static {
    let system = Arc::clone(system);
    move || (0o644, Body::Text(Box::new(Name(Arc::clone(&system), which))))
}

/// Sixteen random bytes as a version-4 UUID.
fn uuid(system: &Shared) -> String {
    let mut bytes = [0; 16];
    system.random(&mut bytes);
    let number = u128::from_be_bytes(bytes);
    let number = number & !(0xf << 76) | 4 << 76;
    let number = number & !(3 << 62) | 2 << 62;
    let digits = format!("{number:032x}");
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default().to_owned();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-") + "\n"
}

fn random(system: &Shared) -> StaticTree {
    let boot_id = uuid(system);
    let system = Arc::clone(system);
    values(&[
        ("entropy_avail", "256"),
        ("poolsize", "256"),
        ("urandom_min_reseed_secs", "60"),
        ("write_wakeup_threshold", "256"),
    ])
    .fixed("boot_id", &boot_id)
    .text("uuid", move || uuid(&system))
}

fn net(system: &Shared) -> StaticTree {
    let core = &[
        ("rmem_default", "212992"),
        ("rmem_max", "212992"),
        ("wmem_default", "212992"),
        ("wmem_max", "212992"),
        ("somaxconn", "4096"),
        ("netdev_max_backlog", "1000"),
        ("optmem_max", "131072"),
        ("message_burst", "10"),
        ("message_cost", "5"),
    ];
    let ipv4 = &[
        ("ip_forward", "0"),
        ("ip_local_port_range", "32768\t60999"),
        ("ip_local_reserved_ports", ""),
        ("ip_unprivileged_port_start", "1024"),
        ("ip_default_ttl", "64"),
        ("ip_nonlocal_bind", "0"),
        ("ping_group_range", "1\t0"),
        ("tcp_allowed_congestion_control", "reno cubic"),
        ("tcp_available_congestion_control", "reno cubic"),
        ("tcp_congestion_control", "cubic"),
        ("tcp_fin_timeout", "60"),
        ("tcp_keepalive_intvl", "75"),
        ("tcp_keepalive_probes", "9"),
        ("tcp_keepalive_time", "7200"),
        ("tcp_max_syn_backlog", "2048"),
        ("tcp_mem", "188637\t251518\t377274"),
        ("tcp_rmem", "4096\t131072\t6291456"),
        ("tcp_wmem", "4096\t16384\t4194304"),
        ("tcp_sack", "1"),
        ("tcp_syn_retries", "6"),
        ("tcp_synack_retries", "5"),
        ("tcp_syncookies", "1"),
        ("tcp_timestamps", "1"),
        ("tcp_tw_reuse", "2"),
        ("tcp_window_scaling", "1"),
        ("tcp_fastopen", "0"),
    ];
    let all = |directory: &str, rows: &[(&str, &str)]| {
        ["all", "default", "lo"].into_iter().fold(StaticTree::new(), |tree, interface| {
            let directory = format!("{directory}/{interface}");
            tree.subtree(interface, with_knobs(system, &directory, StaticTree::new(), rows))
        })
    };
    let ipv4_conf = &[
        ("accept_local", "0"),
        ("accept_redirects", "1"),
        ("accept_source_route", "0"),
        ("arp_announce", "0"),
        ("arp_filter", "0"),
        ("arp_ignore", "0"),
        ("arp_notify", "0"),
        ("forwarding", "0"),
        ("log_martians", "0"),
        ("proxy_arp", "0"),
        ("route_localnet", "0"),
        ("rp_filter", "0"),
        ("secure_redirects", "1"),
        ("send_redirects", "1"),
        ("src_valid_mark", "0"),
    ];
    let ipv6_conf = &[
        ("accept_dad", "1"),
        ("accept_ra", "1"),
        ("accept_redirects", "1"),
        ("autoconf", "1"),
        ("disable_ipv6", "0"),
        ("forwarding", "0"),
        ("use_tempaddr", "0"),
    ];
    StaticTree::new()
        .subtree("core", with_knobs(system, "net/core", StaticTree::new(), core))
        .subtree(
            "ipv4",
            with_knobs(system, "net/ipv4", StaticTree::new(), ipv4)
                .subtree("conf", all("net/ipv4/conf", ipv4_conf)),
        )
        .subtree(
            "ipv6",
            with_knobs(system, "net/ipv6", StaticTree::new(), &[("bindv6only", "0")])
                .subtree("conf", all("net/ipv6/conf", ipv6_conf)),
        )
        .subtree(
            "unix",
            with_knobs(system, "net/unix", StaticTree::new(), &[("max_dgram_qlen", "10")]),
        )
}

fn user(system: &Shared) -> StaticTree {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let rows: Vec<(String, &str)> =
        kinds.iter().map(|kind| (format!("max_{kind}_namespaces"), "96365")).collect();
    let rows: Vec<(&str, &str)> =
        rows.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    with_knobs(system, "user", StaticTree::new(), &rows)
}

fn vm(system: &Shared) -> StaticTree {
    with_knobs(
        system,
        "vm",
        StaticTree::new(),
        &[
            ("admin_reserve_kbytes", "8192"),
            ("dirty_background_bytes", "0"),
            ("dirty_background_ratio", "10"),
            ("dirty_bytes", "0"),
            ("dirty_ratio", "20"),
            ("drop_caches", "0"),
            ("max_map_count", "65530"),
            ("memfd_noexec", "0"),
            ("min_free_kbytes", "67584"),
            ("mmap_min_addr", "65536"),
            ("nr_hugepages", "0"),
            ("overcommit_kbytes", "0"),
            ("overcommit_memory", "0"),
            ("overcommit_ratio", "50"),
            ("page-cluster", "3"),
            ("panic_on_oom", "0"),
            ("swappiness", "60"),
            ("unprivileged_userfaultfd", "0"),
            ("user_reserve_kbytes", "131072"),
            ("vfs_cache_pressure", "100"),
            ("zone_reclaim_mode", "0"),
        ],
    )
}
