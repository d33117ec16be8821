// SPDX-License-Identifier: Apache-2.0
//! Who may do what to a file: owner, group, others, and the capabilities that override them.

use abi::{Errno, cred::Capabilities};
use bitflags::bitflags;

use super::{FileKind, Inode, Owner, inode_flags};
use crate::creds::Credentials;

bitflags! {
    /// What is wanted of a file, in access(2)'s bits.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Access: u32 {
        /// Run it, or search the directory.
        const EXECUTE = 1;
        /// Write it.
        const WRITE = 2;
        /// Read it.
        const READ = 4;
    }
}

/// `EACCES` unless `creds` may do `wanted` (`inode_permission()` without the read-only check).
pub fn check(inode: &dyn Inode, wanted: Access, creds: &Credentials) -> Result<(), Errno> {
    if wanted.contains(Access::WRITE) {
        inode_flags::check_mutable(inode)?;
    }
    check_owner(&inode.owner()?, inode.kind(), wanted, creds)
}

/// [`check`] with what is known of the inode already.
pub fn check_owner(
    owner: &Owner,
    kind: FileKind,
    wanted: Access,
    creds: &Credentials,
) -> Result<(), Errno> {
    let shift = if creds.fsuid == owner.uid {
        6
    } else if creds.in_group(owner.gid) {
        3
    } else {
        0
    };
    let granted = Access::from_bits_truncate(owner.permissions >> shift);
    if granted.contains(wanted) {
        return Ok(());
    }
    let overridden = if kind == FileKind::Directory {
        (!wanted.contains(Access::WRITE) && creds.has(Capabilities::DAC_READ_SEARCH))
            || creds.has(Capabilities::DAC_OVERRIDE)
    } else {
        // Nobody runs what nobody may run.
        (wanted == Access::READ && creds.has(Capabilities::DAC_READ_SEARCH))
            || ((!wanted.contains(Access::EXECUTE) || owner.permissions & 0o111 != 0)
                && creds.has(Capabilities::DAC_OVERRIDE))
    };
    if overridden { Ok(()) } else { Err(Errno::EACCES) }
}

/// Whether `creds` own it or may act as if they did (`inode_owner_or_capable()`).
pub fn is_owner(owner: &Owner, creds: &Credentials) -> bool {
    creds.fsuid == owner.uid || creds.has(Capabilities::FOWNER)
}

/// Whether the sticky bit of `directory` keeps `creds` from taking `victim` away (`check_sticky()`).
pub fn is_kept_by_sticky(directory: &Owner, victim: &Owner, creds: &Credentials) -> bool {
    directory.permissions & 0o1000 != 0
        && creds.fsuid != victim.uid
        && creds.fsuid != directory.uid
        && !creds.has(Capabilities::FOWNER)
}

#[cfg(test)]
mod tests {
    use abi::{Errno, cred::Capabilities};

    use super::{Access, check_owner, is_kept_by_sticky};
    use crate::{
        creds::Credentials,
        vfs::{FileKind, Owner},
    };

    #[test]
    fn classes_are_exclusive_and_capabilities_override() {
        let file = Owner { permissions: 0o077, uid: 1, gid: 2 };
        let (owner, group) = (Credentials::user(1, 2), Credentials::user(3, 2));
        let root = Credentials::root(Capabilities::all());
        let check = |kind, wanted, creds: &_| check_owner(&file, kind, wanted, creds);
        // The owner gets the owner's bits only, though everybody else may do all.
        assert_eq!(check(FileKind::Regular, Access::READ, &owner), Err(Errno::EACCES));
        assert_eq!(check(FileKind::Regular, Access::all(), &group), Ok(()));
        assert_eq!(check(FileKind::Regular, Access::all(), &root), Ok(()));
        let unrunnable = Owner { permissions: 0o600, uid: 1, gid: 2 };
        let run = check_owner(&unrunnable, FileKind::Regular, Access::EXECUTE, &root);
        assert_eq!(run, Err(Errno::EACCES));
        assert_eq!(check_owner(&unrunnable, FileKind::Directory, Access::EXECUTE, &root), Ok(()));
    }

    #[test]
    fn sticky_directories_keep_what_others_own() {
        let tmp = Owner { permissions: 0o1777, uid: 0, gid: 0 };
        let file = Owner { permissions: 0o666, uid: 7, gid: 7 };
        assert!(is_kept_by_sticky(&tmp, &file, &Credentials::user(8, 8)));
        assert!(!is_kept_by_sticky(&tmp, &file, &Credentials::user(7, 7)));
        assert!(!is_kept_by_sticky(&tmp, &file, &Credentials::root(Capabilities::FOWNER)));
    }
}
