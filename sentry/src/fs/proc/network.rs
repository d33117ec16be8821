// SPDX-License-Identifier: Apache-2.0
//! `/proc/net`, and the tables of mounts.

use std::sync::Arc;

use super::{process::Subject, view::SystemView};
use crate::{
    fs::pseudo::StaticTree,
    vfs::{Mount, MountOptions, Place},
};

/// Heads of the tables that are empty as long as nothing fills them.
const TABLES: [(&str, &str); 20] = [
    ("anycast6", ""),
    ("arp", "IP address       HW type     Flags       HW address            Mask     Device\n"),
    ("dev", DEV),
    ("dev_mcast", ""),
    ("if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"),
    ("igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"),
    ("ipv6_route", ""),
    (
        "netlink",
        "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
    ),
    ("netstat", "TcpExt:\nTcpExt:\nIpExt:\nIpExt:\n"),
    ("packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"),
    (
        "protocols",
        "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\n",
    ),
    ("psched", "000003e8 00000040 000f4240 3b9aca00\n"),
    ("raw", IP_HEAD),
    (
        "route",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n",
    ),
    (
        "snmp",
        "Ip: Forwarding DefaultTTL\nIp: 2 64\nTcp: RtoAlgorithm\nTcp: 1\nUdp: InDatagrams\nUdp: 0\n",
    ),
    (
        "sockstat",
        "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
    ),
    (
        "tcp",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n",
    ),
    (
        "tcp6",
        "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
    ),
    ("udp", IP_HEAD),
    ("unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"),
];

const DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
";

const IP_HEAD: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n";

/// `/proc/<pid>/net`.
pub(super) fn tree(system: &Arc<dyn SystemView>) -> StaticTree {
    TABLES.iter().fold(StaticTree::new(), |tree, (name, empty)| {
        let system = Arc::clone(system);
        tree.text(name, move || system.network_table(name).unwrap_or_else(|| (*empty).to_owned()))
    })
}

/// Spaces and their like as octal escapes (`mangle()`).
fn mangled(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => text.push_str(&format!("\\{byte:03o}")),
            byte => text.push(char::from(*byte)),
        }
    }
    text
}

fn mount_options(mount: &Mount, is_read_only: bool) -> String {
    let options = mount.options();
    let mut text = if is_read_only { "ro" } else { "rw" }.to_owned();
    for (flag, word) in [
        (MountOptions::NOSUID, ",nosuid"),
        (MountOptions::NODEV, ",nodev"),
        (MountOptions::NOEXEC, ",noexec"),
        (MountOptions::NOATIME, ",noatime"),
        (MountOptions::NODIRATIME, ",nodiratime"),
        (MountOptions::RELATIME, ",relatime"),
        (MountOptions::NOSYMFOLLOW, ",nosymfollow"),
    ] {
        if options.contains(flag) {
            text.push_str(word);
        }
    }
    text
}

/// The mounts that the task can see, each with the path of its place from the task's root.
fn visible(subject: &Subject) -> Vec<(Arc<Mount>, String)> {
    let (Some(namespace), Some(root)) = (subject.task.mounts(), subject.root()) else {
        return Vec::new();
    };
    let place = |mount: Arc<Mount>| {
        let path = Place::root_of(Arc::clone(&mount)).path_from(&root);
        let is_root = mount.hangs_at().is_none();
        (path.is_reachable || is_root).then(|| (mount, mangled(&path.bytes)))
    };
    namespace.mounts().into_iter().filter_map(place).collect()
}

fn source(mount: &Mount) -> String {
    if mount.source().is_empty() { "none".to_owned() } else { mangled(mount.source()) }
}

/// `mounts`.
pub(super) fn mounts(subject: &Subject) -> String {
    let line = |(mount, path): (Arc<Mount>, String)| {
        let filesystem = mount.filesystem();
        // Here, unlike in mountinfo, a read-only file system makes the mount so.
        let options = mount_options(&mount, mount.check_writable().is_err());
        let more = filesystem.options();
        format!("{} {path} {} {options}{more} 0 0\n", source(&mount), filesystem.name())
    };
    visible(subject).into_iter().map(line).collect()
}

/// `mountinfo`.
pub(super) fn mountinfo(subject: &Subject) -> String {
    let line = |(mount, path): (Arc<Mount>, String)| {
        let filesystem = mount.filesystem();
        let parent = mount.hangs_at().map_or(1, |place| place.mount.id());
        let device = abi::DevId(filesystem.device());
        let within = mangled(&mount.root_path());
        let propagation = mount.propagation();
        let mut optional = String::new();
        if let Some(group) = propagation.group {
            optional.push_str(&format!("shared:{group} "));
        }
        if let Some(master) = propagation.master {
            optional.push_str(&format!("master:{master} "));
        }
        if propagation.is_unbindable {
            optional.push_str("unbindable ");
        }
        let access = if filesystem.is_read_only() { "ro" } else { "rw" };
        format!(
            "{} {parent} {}:{} {within} {path} {} {optional}- {} {} {access}{}\n",
            mount.id(),
            device.major(),
            device.minor(),
            mount_options(&mount, mount.options().contains(MountOptions::RDONLY)),
            filesystem.name(),
            source(&mount),
            filesystem.options(),
        )
    };
    visible(subject).into_iter().map(line).collect()
}

/// `mountstats`.
pub(super) fn mountstats(subject: &Subject) -> String {
    let line = |(mount, path): (Arc<Mount>, String)| {
        let name = mount.filesystem().name();
        format!("device {} mounted on {path} with fstype {name}\n", source(&mount))
    };
    visible(subject).into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::mangled;

    #[test]
    fn white_space_is_escaped() {
        assert_eq!(mangled(b"/a b\n#\\"), "/a\\040b\\012\\043\\134");
    }
}
