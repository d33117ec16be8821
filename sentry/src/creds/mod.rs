// SPDX-License-Identifier: Apache-2.0
//! Who asks: user and group ids, capabilities, securebits. Immutable; a change makes a new one.

use std::sync::Arc;

use abi::cred::Capabilities;

/// credentials(7). Shared by reference; a task swaps its whole set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are Linux's names")]
pub struct Credentials {
    pub ruid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub rgid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
    pub groups: Arc<[u32]>,
    pub permitted: Capabilities,
    pub effective: Capabilities,
    pub inheritable: Capabilities,
    pub bounding: Capabilities,
    pub ambient: Capabilities,
    pub securebits: u32,
    pub no_new_privs: bool,
}

impl Credentials {
    /// User 0 with the capabilities in `set`.
    pub fn root(set: Capabilities) -> Credentials {
        Credentials { permitted: set, effective: set, bounding: set, ..Credentials::user(0, 0) }
    }

    /// An ordinary user without capabilities.
    pub fn user(uid: u32, gid: u32) -> Credentials {
        Credentials {
            ruid: uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            rgid: gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            groups: Arc::from([]),
            permitted: Capabilities::empty(),
            effective: Capabilities::empty(),
            inheritable: Capabilities::empty(),
            bounding: Capabilities::all(),
            ambient: Capabilities::empty(),
            securebits: 0,
            no_new_privs: false,
        }
    }

    /// Whether all of `wanted` are effective (`capable()`).
    pub fn has(&self, wanted: Capabilities) -> bool {
        self.effective.contains(wanted)
    }

    /// Whether `gid` is the file-system group or a supplementary one (`in_group_p()`).
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }
}
