// SPDX-License-Identifier: Apache-2.0
//! The names of resource limits and their numbers.

/// In the order of their numbers in `asm-generic/resource.h`.
const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// The number of a name.
pub(crate) fn number(name: &str) -> Option<u32> {
    NAMES.iter().position(|known| *known == name).and_then(|number| u32::try_from(number).ok())
}
