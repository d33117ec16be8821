// SPDX-License-Identifier: Apache-2.0
//! sysfs(5): the machine as the sandbox has it. Nothing of the host's hardware is shown.

use std::{fmt::Write, sync::Arc};

use crate::{
    fs::pseudo::{Description, PseudoFilesystem, StaticTree},
    vfs::Filesystem,
};

/// What `statfs(2)` says (`SYSFS_MAGIC`).
const MAGIC: i64 = 0x6265_6572;

/// A sysfs that shows `cpus` processors.
pub fn new(cpus: usize) -> Arc<dyn Filesystem> {
    let description =
        Description { name: "sysfs", magic: MAGIC, options: String::new(), is_cacheable: true };
    PseudoFilesystem::new(description, 0o555, Box::new(root(cpus.max(1))))
}

fn root(cpus: usize) -> StaticTree {
    let devices = StaticTree::new()
        .subtree("system", StaticTree::new().subtree("cpu", cpu(cpus)).subtree("node", node(cpus)))
        .subtree(
            "virtual",
            StaticTree::new().subtree("net", StaticTree::new().subtree("lo", loopback())),
        );
    StaticTree::new()
        .subtree("block", StaticTree::new())
        .subtree("bus", StaticTree::new())
        .subtree("class", class())
        .subtree(
            "dev",
            StaticTree::new()
                .subtree("block", StaticTree::new())
                .subtree("char", StaticTree::new()),
        )
        .subtree("devices", devices)
        .subtree("firmware", StaticTree::new())
        .subtree("fs", StaticTree::new().subtree("cgroup", StaticTree::new()))
        .subtree("hypervisor", StaticTree::new())
        .subtree("kernel", kernel())
        .subtree("module", StaticTree::new())
        .subtree("power", StaticTree::new())
}

fn class() -> StaticTree {
    let net = StaticTree::new().link("lo", "../../devices/virtual/net/lo");
    ["block", "dmi", "mem", "misc", "power_supply", "thermal", "tty"]
        .iter()
        .fold(StaticTree::new(), |tree, name| tree.subtree(name, StaticTree::new()))
        .subtree("net", net)
}

fn loopback() -> StaticTree {
    let rows = [
        ("address", "00:00:00:00:00:00"),
        ("addr_len", "6"),
        ("carrier", "1"),
        ("flags", "0x9"),
        ("ifindex", "1"),
        ("iflink", "1"),
        ("mtu", "65536"),
        ("operstate", "unknown"),
        ("tx_queue_len", "1000"),
        ("type", "772"),
    ];
    fixed(&rows)
}

fn fixed(rows: &[(&str, &str)]) -> StaticTree {
    rows.iter()
        .fold(StaticTree::new(), |tree, (name, value)| tree.fixed(name, &format!("{value}\n")))
}

fn range(cpus: usize) -> String {
    if cpus == 1 { "0\n".to_owned() } else { format!("0-{}\n", cpus - 1) }
}

/// A mask in groups of 32 bits, as `%*pb` prints it.
fn mask(cpus: impl Iterator<Item = usize>, total: usize) -> String {
    let mut words = vec![0u32; total.div_ceil(32).max(1)];
    for cpu in cpus {
        if let Some(word) = words.get_mut(cpu / 32) {
            *word |= 1 << (cpu % 32);
        }
    }
    let mut text = String::new();
    for (index, word) in words.iter().rev().enumerate() {
        // Writing to a string cannot fail.
        let _ = if index == 0 { write!(text, "{word:x}") } else { write!(text, ",{word:08x}") };
    }
    text + "\n"
}

fn cpu(cpus: usize) -> StaticTree {
    let all = range(cpus);
    let mut tree = StaticTree::new()
        .fixed("online", &all)
        .fixed("possible", &all)
        .fixed("present", &all)
        .fixed("offline", "\n")
        .fixed("isolated", "\n")
        .fixed("kernel_max", &format!("{}\n", cpus - 1))
        .fixed("modalias", "cpu:type:x86\n")
        .subtree("smt", fixed(&[("active", "0"), ("control", "notsupported")]))
        .subtree("vulnerabilities", StaticTree::new());
    for index in 0..cpus {
        let own = mask(std::iter::once(index), cpus);
        let every = mask(0..cpus, cpus);
        let topology = fixed(&[
            ("core_id", &index.to_string()),
            ("physical_package_id", "0"),
            ("die_id", "0"),
        ])
        .fixed("thread_siblings", &own)
        .fixed("thread_siblings_list", &format!("{index}\n"))
        .fixed("core_cpus", &own)
        .fixed("core_cpus_list", &format!("{index}\n"))
        .fixed("core_siblings", &every)
        .fixed("core_siblings_list", &all)
        .fixed("package_cpus", &every)
        .fixed("package_cpus_list", &all);
        let mut one =
            StaticTree::new().subtree("topology", topology).subtree("cache", cache(index));
        if index > 0 {
            one = one.fixed("online", "1\n");
        }
        tree = tree.subtree(&format!("cpu{index}"), one);
    }
    tree
}

fn cache(index: usize) -> StaticTree {
    let levels = [("1", "Data", "32K"), ("1", "Instruction", "32K"), ("2", "Unified", "1024K")];
    levels.iter().enumerate().fold(StaticTree::new(), |tree, (number, (level, kind, size))| {
        let one = fixed(&[
            ("coherency_line_size", "64"),
            ("level", level),
            ("shared_cpu_list", &index.to_string()),
            ("size", size),
            ("type", kind),
        ]);
        tree.subtree(&format!("index{number}"), one)
    })
}

fn node(cpus: usize) -> StaticTree {
    let one = StaticTree::new()
        .fixed("cpulist", &range(cpus))
        .fixed("cpumap", &mask(0..cpus, cpus))
        .fixed("distance", "10\n");
    fixed(&[
        ("online", "0"),
        ("possible", "0"),
        ("has_cpu", "0"),
        ("has_memory", "0"),
        ("has_normal_memory", "0"),
    ])
    .subtree("node0", one)
}

fn kernel() -> StaticTree {
    let huge = fixed(&[
        ("enabled", "always [madvise] never"),
        ("defrag", "always defer defer+madvise [madvise] never"),
        ("hpage_pmd_size", "2097152"),
        ("shmem_enabled", "always within_size advise [never] deny force"),
        ("use_zero_page", "1"),
    ]);
    let mm = StaticTree::new()
        .subtree("transparent_hugepage", huge)
        .subtree("hugepages", StaticTree::new())
        .subtree("ksm", fixed(&[("run", "0")]));
    StaticTree::new()
        .subtree("debug", StaticTree::new())
        .subtree("mm", mm)
        .subtree("security", StaticTree::new())
        .subtree("tracing", StaticTree::new())
        .fixed("uevent_seqnum", "0\n")
        .fixed("fscaps", "1\n")
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn masks_have_words_of_32_bits() {
        assert_eq!(mask(0..2, 2), "3\n");
        assert_eq!(mask(0..34, 34), "3,ffffffff\n");
    }
}
