// SPDX-License-Identifier: Apache-2.0
//! Who may look into whom (`__ptrace_may_access`).

use abi::{Errno, cred::Capabilities};

use crate::{creds::Credentials, task::Task};

impl Task {
    /// Whether somebody with `creds` may trace it, read its memory or take its descriptors; a process may
    /// always do so to itself, which is for the caller to know.
    pub fn check_access(&self, creds: &Credentials) -> Result<(), Errno> {
        let theirs = self.creds();
        let same_user =
            [theirs.ruid, theirs.euid, theirs.suid].iter().all(|uid| *uid == creds.ruid);
        let same_group =
            [theirs.rgid, theirs.egid, theirs.sgid].iter().all(|gid| *gid == creds.rgid);
        let may = creds.has(Capabilities::SYS_PTRACE)
            || (same_user
                && same_group
                && self.group().dumpable() == 1
                && creds.permitted.contains(theirs.permitted));
        if may { Ok(()) } else { Err(Errno::EPERM) }
    }
}
