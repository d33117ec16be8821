// SPDX-License-Identifier: Apache-2.0
//! The names of capabilities and their bits.

/// In the order of their numbers in `linux/capability.h`.
pub(crate) const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Every capability.
pub(crate) const ALL: u64 = (1 << NAMES.len()) - 1;

/// Whether config.json may call a capability so.
pub(crate) fn is_name(name: &str) -> bool {
    name.strip_prefix("CAP_").is_some_and(|name| NAMES.contains(&name))
}

/// The bit of a name, with or without `CAP_`.
pub(crate) const fn bit(number: u32) -> u64 {
    1 << number
}

/// The bits of these names; names that we do not know are left out.
pub(crate) fn bits<'a>(names: impl IntoIterator<Item = &'a str>) -> u64 {
    let number = |name: &str| {
        let name = name.strip_prefix("CAP_").unwrap_or(name);
        NAMES.iter().position(|known| *known == name)
    };
    names.into_iter().filter_map(number).fold(0, |bits, number| bits | (1 << number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        assert_eq!(bits(["CAP_CHOWN"]), 1);
        assert_eq!(bits(["SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]), 1 << 21 | 1 << 40);
        assert_eq!(bits(["CAP_NONE_SUCH"]), 0);
    }
}
