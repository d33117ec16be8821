// SPDX-License-Identifier: Apache-2.0
//! Who a program is: set-user-id, file capabilities and what capabilities(7) makes of them.

use std::sync::Arc;

use abi::{
    Errno,
    cred::{
        Capabilities, VFS_CAP_FLAGS_EFFECTIVE, VFS_CAP_REVISION_2, VFS_CAP_REVISION_3,
        VFS_CAP_REVISION_MASK, VfsNsCapData,
    },
    prctl::SecureBits,
    stat::{S_ISGID, S_ISUID, S_IXGRP},
};
use zerocopy::FromBytes;

use crate::{
    creds::Credentials,
    vfs::{
        FileDescription, MountOptions,
        permission::{self, Access},
    },
};

/// What `security.capability` grants.
#[derive(Debug, Clone, Copy, Default)]
struct FileCapabilities {
    permitted: Capabilities,
    inheritable: Capabilities,
    is_effective: bool,
}

/// Who runs `file` when `old` executes it, and whether that is somebody with more rights (`AT_SECURE`).
pub(crate) fn of_program(
    old: &Arc<Credentials>,
    file: &Arc<FileDescription>,
) -> Result<(Arc<Credentials>, bool), Errno> {
    let options = file.place().mount.options();
    let may_gain = !options.contains(MountOptions::NOSUID) && !old.no_new_privs;
    let mut new = (**old).clone();
    let mut granted = None;
    if may_gain {
        let owner = file.inode().owner()?;
        if owner.permissions & S_ISUID != 0 {
            new.euid = owner.uid;
        }
        if owner.permissions & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
            new.egid = owner.gid;
        }
        granted = file_capabilities(file)?;
    }
    (new.suid, new.fsuid) = (new.euid, new.euid);
    (new.sgid, new.fsgid) = (new.egid, new.egid);
    let is_set_id = new.euid != old.euid || new.egid != old.egid;
    gain_capabilities(old, &mut new, granted, is_set_id)?;
    let mut bits = SecureBits::from_bits_retain(new.securebits);
    bits.remove(SecureBits::KEEP_CAPS);
    new.securebits = bits.bits();
    let is_root = new.ruid == 0 || (new.euid == 0 && !is_set_id);
    let is_secure = is_set_id
        || new.euid != new.ruid
        || new.egid != new.rgid
        || (!is_root && granted.is_some() && !new.ambient.contains(new.permitted));
    if new == **old {
        return Ok((Arc::clone(old), is_secure));
    }
    Ok((Arc::new(new), is_secure))
}

/// Who a program is that somebody watches: not more than whoever executed it (`cap_bprm_creds_from_file`
/// with `LSM_UNSAFE_PTRACE`).
pub(crate) fn without_gains(old: &Credentials, new: Arc<Credentials>) -> Arc<Credentials> {
    let is_set_id = new.euid != old.euid || new.egid != old.egid;
    if !is_set_id && old.permitted.contains(new.permitted) {
        return new;
    }
    let mut less = (*new).clone();
    if !old.has(Capabilities::SETUID) || old.no_new_privs {
        (less.euid, less.suid, less.fsuid) = (less.ruid, less.ruid, less.ruid);
        (less.egid, less.sgid, less.fsgid) = (less.rgid, less.rgid, less.rgid);
    }
    less.permitted &= old.permitted;
    less.effective &= less.permitted;
    less.ambient &= less.permitted;
    Arc::new(less)
}

/// "Transformation of capabilities during execve()" of capabilities(7).
fn gain_capabilities(
    old: &Credentials,
    new: &mut Credentials,
    granted: Option<FileCapabilities>,
    is_set_id: bool,
) -> Result<(), Errno> {
    let none = Capabilities::empty();
    let mut file = granted.unwrap_or_default();
    let root_counts = !SecureBits::from_bits_retain(old.securebits).contains(SecureBits::NOROOT);
    let becomes_root = root_counts && (new.ruid == 0 || new.euid == 0);
    // A set-user-id root program with file capabilities gets just those when run by a user.
    let is_plain_grant = granted.is_some() && new.ruid != 0 && new.euid == 0;
    if becomes_root && !is_plain_grant {
        file.permitted = Capabilities::all();
        file.inheritable = Capabilities::all();
        file.is_effective = new.euid == 0;
    }
    new.ambient = if is_set_id || granted.is_some() { none } else { old.ambient };
    let wanted = file.permitted;
    new.permitted = (old.inheritable & file.inheritable) | (file.permitted & old.bounding);
    if granted.is_some() && file.is_effective && !becomes_root && !new.permitted.contains(wanted) {
        // It relies on what it would not get.
        return Err(Errno::EPERM);
    }
    new.permitted |= new.ambient;
    new.effective = if file.is_effective { new.permitted } else { new.ambient };
    Ok(())
}

fn file_capabilities(file: &FileDescription) -> Result<Option<FileCapabilities>, Errno> {
    let Some(xattrs) = file.inode().as_xattrs() else { return Ok(None) };
    let value = match xattrs.get(b"security.capability") {
        Ok(value) => value,
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let mut padded = [0; size_of::<VfsNsCapData>()];
    padded.iter_mut().zip(&value).for_each(|(to, from)| *to = *from);
    let data = VfsNsCapData::read_from_bytes(&padded).map_err(|_| Errno::EINVAL)?;
    match (data.magic_etc & VFS_CAP_REVISION_MASK, value.len()) {
        (VFS_CAP_REVISION_2, 20) => {}
        // Another user namespace's grant is none here.
        (VFS_CAP_REVISION_3, 24) if data.rootid == 0 => {}
        (VFS_CAP_REVISION_3, 24) => return Ok(None),
        _ => return Err(Errno::EINVAL),
    }
    let set = |low: u32, high: u32| {
        Capabilities::from_bits_truncate(u64::from(high) << 32 | u64::from(low))
    };
    Ok(Some(FileCapabilities {
        permitted: set(data.permitted_low, data.permitted_high),
        inheritable: set(data.inheritable_low, data.inheritable_high),
        is_effective: data.magic_etc & VFS_CAP_FLAGS_EFFECTIVE != 0,
    }))
}

/// Whether who runs a program could also read it: one that cannot is not to be dumped or traced.
pub(crate) fn is_readable(file: &FileDescription, creds: &Credentials) -> bool {
    permission::check(&**file.inode(), Access::READ, creds).is_ok()
}
