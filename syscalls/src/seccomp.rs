// SPDX-License-Identifier: Apache-2.0
//! seccomp(2).

use abi::{Errno, UserAddr};
use sentry::{kernel::SysResult, task::Current};

/// prctl(2) `PR_SET_SECCOMP`.
pub(crate) fn prctl_set(_cx: &mut Current, _mode: u64, _filter: UserAddr) -> SysResult<u64> {
    Err(Errno::EINVAL.into())
}
