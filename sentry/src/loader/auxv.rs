// SPDX-License-Identifier: Apache-2.0
//! The auxiliary vector, in Linux's order on x86-64.

use abi::{
    PAGE_SIZE, UserAddr,
    auxv::{
        AT_BASE, AT_CLKTCK, AT_EGID, AT_ENTRY, AT_EUID, AT_EXECFN, AT_FLAGS, AT_GID, AT_HWCAP,
        AT_HWCAP2, AT_MINSIGSTKSZ, AT_PAGESZ, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PLATFORM, AT_RANDOM,
        AT_SECURE, AT_SYSINFO_EHDR, AT_UID,
    },
    elf::Phdr,
    num::to_u64,
};

use super::image::Mapped;
use crate::creds::Credentials;

/// Ticks a second in times(2).
const CLOCK_TICKS: u64 = 100;

/// What the vector says of program and user.
pub(super) struct Facts<'a> {
    pub(super) main: &'a Mapped,
    /// Where the interpreter was loaded; 0 without one.
    pub(super) base: u64,
    pub(super) creds: &'a Credentials,
    pub(super) is_secure: bool,
    /// The vDSO; 0 without one.
    pub(super) vdso: u64,
}

/// The places in the stack that it points to.
pub(super) struct Places {
    pub(super) random: UserAddr,
    pub(super) path: UserAddr,
    pub(super) platform: UserAddr,
}

impl Facts<'_> {
    /// The entries, without the end mark.
    pub(super) fn entries(&self, places: &Places) -> Vec<(u64, u64)> {
        // The guest runs on the host's processor: what that can do is what the host's kernel says.
        let host = platform::hostio::auxv;
        let mut entries = Vec::with_capacity(24);
        if self.vdso != 0 {
            entries.push((AT_SYSINFO_EHDR, self.vdso));
        }
        entries.extend([
            (AT_MINSIGSTKSZ, host(AT_MINSIGSTKSZ).max(2048)),
            (AT_HWCAP, host(AT_HWCAP)),
            (AT_PAGESZ, PAGE_SIZE),
            (AT_CLKTCK, CLOCK_TICKS),
            (AT_PHDR, self.main.headers),
            (AT_PHENT, to_u64(size_of::<Phdr>())),
            (AT_PHNUM, u64::from(self.main.header_count)),
            (AT_BASE, self.base),
            (AT_FLAGS, 0),
            (AT_ENTRY, self.main.entry),
            (AT_UID, u64::from(self.creds.ruid)),
            (AT_EUID, u64::from(self.creds.euid)),
            (AT_GID, u64::from(self.creds.rgid)),
            (AT_EGID, u64::from(self.creds.egid)),
            (AT_SECURE, u64::from(self.is_secure)),
            (AT_RANDOM, places.random.raw()),
            (AT_HWCAP2, host(AT_HWCAP2)),
            (AT_EXECFN, places.path.raw()),
            (AT_PLATFORM, places.platform.raw()),
        ]);
        entries
    }
}
