// SPDX-License-Identifier: Apache-2.0
//! The host's processors.

use std::sync::OnceLock;

use crate::{
    sys,
    systrap::shared::{FEATURE_FSGSBASE, FEATURE_FUTEX, FEATURE_RDPID},
};

/// `AT_HWCAP2`: user code may use `rdfsbase` and its kin.
const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// What the stub may use: `FEATURE_*`.
pub(crate) fn features() -> u32 {
    let mut features = 0;
    if sys::auxv(libc::AT_HWCAP2) & HWCAP2_FSGSBASE != 0 {
        features |= FEATURE_FSGSBASE;
    } else {
        tracing::info!("the host has no FSGSBASE: setting segment bases costs guests two calls");
    }
    if std::arch::x86_64::__cpuid_count(7, 0).ecx & 1 << 22 != 0 {
        features |= FEATURE_RDPID;
    }
    if sys::has_futex_waitv() {
        features |= FEATURE_FUTEX;
    } else {
        tracing::info!(
            "the host has no futex_waitv(2): each wait of a guest's costs two calls more"
        );
    }
    features
}

/// Where protection keys' register lies in an XSAVE area, if there is one. Asked once: on a virtual
/// processor the instruction costs more than a host call.
pub(crate) fn pkru_offset() -> Option<usize> {
    /// The number of the state component.
    const PKRU: u32 = 9;
    static OFFSET: OnceLock<Option<usize>> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let leaf = std::arch::x86_64::__cpuid_count(0xd, PKRU);
        (leaf.eax == 8).then_some(usize::try_from(leaf.ebx).ok()?)
    })
}
