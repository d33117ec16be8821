// SPDX-License-Identifier: Apache-2.0
//! Who a task is.

use std::sync::Arc;

use abi::{
    Errno, Gid, Pid, Tid, Uid, UserIn, UserInOut, UserOut,
    cred::{
        CapUserData, CapUserHeader, Capabilities, LINUX_CAPABILITY_VERSION_1,
        LINUX_CAPABILITY_VERSION_2, LINUX_CAPABILITY_VERSION_3,
    },
    limits::NGROUPS_MAX,
    prctl::SecureBits,
};
use sentry::{
    creds::Credentials,
    kernel::SysResult,
    task::{Current, Task},
};

/// getpid(2)
pub fn getpid(cx: &mut Current) -> SysResult<Pid> {
    Ok(Pid(cx.task().pid()))
}

/// gettid(2)
pub fn gettid(cx: &mut Current) -> SysResult<Tid> {
    Ok(Tid(cx.task().tid()))
}

/// getppid(2)
pub fn getppid(cx: &mut Current) -> SysResult<Pid> {
    let tasks = cx.kernel().tasks();
    Ok(Pid(tasks.process(cx.task().pid()).map_or(0, |process| process.parent)))
}

/// getuid(2)
pub fn getuid(cx: &mut Current) -> SysResult<Uid> {
    Ok(Uid(cx.creds().ruid))
}

/// geteuid(2)
pub fn geteuid(cx: &mut Current) -> SysResult<Uid> {
    Ok(Uid(cx.creds().euid))
}

/// getgid(2)
pub fn getgid(cx: &mut Current) -> SysResult<Gid> {
    Ok(Gid(cx.creds().rgid))
}

/// getegid(2)
pub fn getegid(cx: &mut Current) -> SysResult<Gid> {
    Ok(Gid(cx.creds().egid))
}

/// What a change of user ids does to capabilities (`cap_task_fix_setuid`).
fn fix_capabilities(old: &Credentials, new: &mut Credentials) {
    let bits = SecureBits::from_bits_retain(old.securebits);
    if bits.contains(SecureBits::NO_SETUID_FIXUP) {
        return;
    }
    let was_root = old.ruid == 0 || old.euid == 0 || old.suid == 0;
    let is_root = new.ruid == 0 || new.euid == 0 || new.suid == 0;
    if was_root && !is_root {
        if !bits.contains(SecureBits::KEEP_CAPS) {
            new.permitted = Capabilities::empty();
            new.effective = Capabilities::empty();
        }
        new.ambient = Capabilities::empty();
    }
    if old.euid == 0 && new.euid != 0 {
        new.effective = Capabilities::empty();
    }
    if old.euid != 0 && new.euid == 0 {
        new.effective = new.permitted;
    }
}

/// What a change of the file-system uid does to capabilities.
fn fix_fs_capabilities(old: &Credentials, new: &mut Credentials) {
    if SecureBits::from_bits_retain(old.securebits).contains(SecureBits::NO_SETUID_FIXUP) {
        return;
    }
    let fs = Capabilities::CHOWN
        | Capabilities::MKNOD
        | Capabilities::DAC_OVERRIDE
        | Capabilities::DAC_READ_SEARCH
        | Capabilities::FOWNER
        | Capabilities::FSETID
        | Capabilities::LINUX_IMMUTABLE
        | Capabilities::MAC_OVERRIDE;
    if old.fsuid == 0 && new.fsuid != 0 {
        new.effective = new.effective.difference(fs);
    }
    if old.fsuid != 0 && new.fsuid == 0 {
        new.effective |= new.permitted.intersection(fs);
    }
}

/// setuid(2)
pub fn setuid(cx: &mut Current, uid: Uid) -> SysResult {
    let old = cx.creds();
    let uid = uid.given().ok_or(Errno::EINVAL)?.0;
    let mut new = (*old).clone();
    if old.has(Capabilities::SETUID) {
        (new.ruid, new.suid) = (uid, uid);
    } else if uid != old.ruid && uid != old.suid {
        return Err(Errno::EPERM.into());
    }
    (new.euid, new.fsuid) = (uid, uid);
    fix_capabilities(&old, &mut new);
    cx.set_creds(new);
    Ok(())
}

/// setgid(2)
pub fn setgid(cx: &mut Current, gid: Gid) -> SysResult {
    let old = cx.creds();
    let gid = gid.given().ok_or(Errno::EINVAL)?.0;
    let mut new = (*old).clone();
    if old.has(Capabilities::SETGID) {
        (new.rgid, new.sgid) = (gid, gid);
    } else if gid != old.rgid && gid != old.sgid {
        return Err(Errno::EPERM.into());
    }
    (new.egid, new.fsgid) = (gid, gid);
    cx.set_creds(new);
    Ok(())
}

/// setreuid(2)
pub fn setreuid(cx: &mut Current, ruid: Uid, euid: Uid) -> SysResult {
    let old = cx.creds();
    let mut new = (*old).clone();
    let may = old.has(Capabilities::SETUID);
    if let Some(Uid(ruid)) = ruid.given() {
        new.ruid = ruid;
        if ruid != old.ruid && ruid != old.euid && !may {
            return Err(Errno::EPERM.into());
        }
    }
    if let Some(Uid(euid)) = euid.given() {
        new.euid = euid;
        if ![old.ruid, old.euid, old.suid].contains(&euid) && !may {
            return Err(Errno::EPERM.into());
        }
    }
    if ruid.given().is_some() || euid.given().is_some_and(|Uid(euid)| euid != old.ruid) {
        new.suid = new.euid;
    }
    new.fsuid = new.euid;
    fix_capabilities(&old, &mut new);
    cx.set_creds(new);
    Ok(())
}

/// setregid(2)
pub fn setregid(cx: &mut Current, rgid: Gid, egid: Gid) -> SysResult {
    let old = cx.creds();
    let mut new = (*old).clone();
    let may = old.has(Capabilities::SETGID);
    if let Some(Gid(rgid)) = rgid.given() {
        new.rgid = rgid;
        if rgid != old.rgid && rgid != old.egid && !may {
            return Err(Errno::EPERM.into());
        }
    }
    if let Some(Gid(egid)) = egid.given() {
        new.egid = egid;
        if ![old.rgid, old.egid, old.sgid].contains(&egid) && !may {
            return Err(Errno::EPERM.into());
        }
    }
    if rgid.given().is_some() || egid.given().is_some_and(|Gid(egid)| egid != old.rgid) {
        new.sgid = new.egid;
    }
    new.fsgid = new.egid;
    cx.set_creds(new);
    Ok(())
}

/// setresuid(2)
pub fn setresuid(cx: &mut Current, ruid: Uid, euid: Uid, suid: Uid) -> SysResult {
    let old = cx.creds();
    let known = [old.ruid, old.euid, old.suid];
    let asked = [ruid, euid, suid].into_iter().filter_map(Uid::given);
    if !old.has(Capabilities::SETUID) && !asked.into_iter().all(|uid| known.contains(&uid.0)) {
        return Err(Errno::EPERM.into());
    }
    let mut new = (*old).clone();
    new.ruid = ruid.given().map_or(old.ruid, |uid| uid.0);
    new.euid = euid.given().map_or(old.euid, |uid| uid.0);
    new.suid = suid.given().map_or(old.suid, |uid| uid.0);
    new.fsuid = new.euid;
    fix_capabilities(&old, &mut new);
    cx.set_creds(new);
    Ok(())
}

/// setresgid(2)
pub fn setresgid(cx: &mut Current, rgid: Gid, egid: Gid, sgid: Gid) -> SysResult {
    let old = cx.creds();
    let known = [old.rgid, old.egid, old.sgid];
    let asked = [rgid, egid, sgid].into_iter().filter_map(Gid::given);
    if !old.has(Capabilities::SETGID) && !asked.into_iter().all(|gid| known.contains(&gid.0)) {
        return Err(Errno::EPERM.into());
    }
    let mut new = (*old).clone();
    new.rgid = rgid.given().map_or(old.rgid, |gid| gid.0);
    new.egid = egid.given().map_or(old.egid, |gid| gid.0);
    new.sgid = sgid.given().map_or(old.sgid, |gid| gid.0);
    new.fsgid = new.egid;
    cx.set_creds(new);
    Ok(())
}

/// getresuid(2)
pub fn getresuid(
    cx: &mut Current,
    ruid: UserOut<u32>,
    euid: UserOut<u32>,
    suid: UserOut<u32>,
) -> SysResult {
    let creds = cx.creds();
    cx.write(ruid, &creds.ruid)?;
    cx.write(euid, &creds.euid)?;
    Ok(cx.write(suid, &creds.suid)?)
}

/// getresgid(2)
pub fn getresgid(
    cx: &mut Current,
    rgid: UserOut<u32>,
    egid: UserOut<u32>,
    sgid: UserOut<u32>,
) -> SysResult {
    let creds = cx.creds();
    cx.write(rgid, &creds.rgid)?;
    cx.write(egid, &creds.egid)?;
    Ok(cx.write(sgid, &creds.sgid)?)
}

/// setfsuid(2): the old one, whether it worked or not.
pub fn setfsuid(cx: &mut Current, fsuid: Uid) -> SysResult<Uid> {
    let old = cx.creds();
    let is_own = [old.ruid, old.euid, old.suid, old.fsuid].contains(&fsuid.0);
    if fsuid != Uid::NONE && fsuid.0 != old.fsuid && (is_own || old.has(Capabilities::SETUID)) {
        let mut new = (*old).clone();
        new.fsuid = fsuid.0;
        fix_fs_capabilities(&old, &mut new);
        cx.set_creds(new);
    }
    Ok(Uid(old.fsuid))
}

/// setfsgid(2): the old one, whether it worked or not.
pub fn setfsgid(cx: &mut Current, fsgid: Gid) -> SysResult<Gid> {
    let old = cx.creds();
    let is_own = [old.rgid, old.egid, old.sgid, old.fsgid].contains(&fsgid.0);
    if fsgid != Gid::NONE && fsgid.0 != old.fsgid && (is_own || old.has(Capabilities::SETGID)) {
        let mut new = (*old).clone();
        new.fsgid = fsgid.0;
        cx.set_creds(new);
    }
    Ok(Gid(old.fsgid))
}

/// getgroups(2)
pub fn getgroups(cx: &mut Current, size: i32, list: UserOut<u32>) -> SysResult<usize> {
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    let groups = Arc::clone(&cx.creds().groups);
    if size != 0 {
        if groups.len() > size {
            return Err(Errno::EINVAL.into());
        }
        cx.write_slice(list, &groups)?;
    }
    Ok(groups.len())
}

/// setgroups(2)
pub fn setgroups(cx: &mut Current, size: i32, list: UserIn<u32>) -> SysResult {
    let old = cx.creds();
    if !old.has(Capabilities::SETGID) {
        return Err(Errno::EPERM.into());
    }
    let size = usize::try_from(size).ok().filter(|size| *size <= NGROUPS_MAX);
    let mut groups = cx.read_slice(list, size.ok_or(Errno::EINVAL)?)?;
    if groups.contains(&u32::MAX) {
        return Err(Errno::EINVAL.into());
    }
    groups.sort_unstable();
    cx.set_creds(Credentials { groups: Arc::from(groups), ..(*old).clone() });
    Ok(())
}

/// setpgid(2). Checks stand in the order of `kernel/sys.c: setpgid`.
pub fn setpgid(cx: &mut Current, pid: Pid, pgid: Pid) -> SysResult {
    let me = cx.task().pid();
    let pid = if pid.0 == 0 { me } else { pid.0 };
    let pgid = if pgid.0 == 0 { pid } else { pgid.0 };
    if pgid < 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(cx.set_process_group(pid, pgid)?)
}

/// getpgid(2)
pub fn getpgid(cx: &mut Current, pid: Pid) -> SysResult<Pid> {
    let id = if pid.0 == 0 { cx.task().pid() } else { pid.0 };
    let tasks = cx.kernel().tasks();
    let pid = tasks.task(id).map_or(id, |task| task.pid());
    Ok(Pid(tasks.process(pid).ok_or(Errno::ESRCH)?.process_group))
}

/// getpgrp(2)
pub fn getpgrp(cx: &mut Current) -> SysResult<Pid> {
    getpgid(cx, Pid(0))
}

/// getsid(2)
pub fn getsid(cx: &mut Current, pid: Pid) -> SysResult<Pid> {
    let id = if pid.0 == 0 { cx.task().pid() } else { pid.0 };
    let tasks = cx.kernel().tasks();
    let pid = tasks.task(id).map_or(id, |task| task.pid());
    Ok(Pid(tasks.process(pid).ok_or(Errno::ESRCH)?.session))
}

/// setsid(2)
pub fn setsid(cx: &mut Current) -> SysResult<Pid> {
    Ok(Pid(cx.start_session()?))
}

/// How many [`CapUserData`] a header's version has; `None` if there is no such version.
fn cap_words(version: u32) -> Option<usize> {
    match version {
        LINUX_CAPABILITY_VERSION_1 => Some(1),
        LINUX_CAPABILITY_VERSION_2 | LINUX_CAPABILITY_VERSION_3 => Some(2),
        _ => None,
    }
}

fn read_cap_header(
    cx: &mut Current,
    hdrp: UserInOut<CapUserHeader>,
) -> Result<(CapUserHeader, Option<usize>), Errno> {
    let header = cx.read(hdrp.as_in())?;
    let words = cap_words(header.version);
    if words.is_none() {
        let version = UserOut::<u32>::new(hdrp.addr());
        cx.write(version, &LINUX_CAPABILITY_VERSION_3)?;
    }
    Ok((header, words))
}

/// capget(2)
pub fn capget(
    cx: &mut Current,
    hdrp: UserInOut<CapUserHeader>,
    datap: UserOut<CapUserData>,
) -> SysResult {
    let (header, words) = read_cap_header(cx, hdrp)?;
    let Some(words) = words else {
        // Asking for the version with no place for data is how one asks.
        return if datap.addr().is_null() { Ok(()) } else { Err(Errno::EINVAL.into()) };
    };
    if header.pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let creds = if header.pid == 0 {
        cx.creds()
    } else {
        cx.kernel().tasks().task(header.pid).ok_or(Errno::ESRCH)?.creds()
    };
    let Some(to) = datap.nullable() else { return Ok(()) };
    let word = |set: Capabilities, shift: u32| (set.bits() >> shift) as u32;
    let data = [0, 32].map(|shift| CapUserData {
        effective: word(creds.effective, shift),
        permitted: word(creds.permitted, shift),
        inheritable: word(creds.inheritable, shift),
    });
    Ok(cx.write_slice(to, data.get(..words).unwrap_or(&data))?)
}

/// capset(2)
pub fn capset(
    cx: &mut Current,
    hdrp: UserInOut<CapUserHeader>,
    datap: UserIn<CapUserData>,
) -> SysResult {
    let (header, words) = read_cap_header(cx, hdrp)?;
    let words = words.ok_or(Errno::EINVAL)?;
    if header.pid != 0 && header.pid != cx.task().tid() {
        return Err(Errno::EPERM.into());
    }
    let data = cx.read_slice(datap, words)?;
    let set = |field: fn(&CapUserData) -> u32| {
        let bits = data.iter().rev().fold(0, |bits, word| bits << 32 | u64::from(field(word)));
        Capabilities::from_bits_truncate(bits)
    };
    let effective = set(|data| data.effective);
    let permitted = set(|data| data.permitted);
    let inheritable = set(|data| data.inheritable);
    let old = cx.creds();
    let may_add = old.has(Capabilities::SETPCAP);
    let had = old.inheritable | old.permitted;
    if (!may_add && !had.contains(inheritable))
        || !(old.inheritable | old.bounding).contains(inheritable)
        || !old.permitted.contains(permitted)
        || !permitted.contains(effective)
    {
        return Err(Errno::EPERM.into());
    }
    let ambient = old.ambient & permitted & inheritable;
    cx.set_creds(Credentials { effective, permitted, inheritable, ambient, ..(*old).clone() });
    Ok(())
}

/// Whether the caller may look into another task (`ptrace_may_access` with real credentials).
pub(crate) fn check_trace(cx: &Current, target: &Arc<Task>) -> Result<(), Errno> {
    if target.pid() == cx.task().pid() {
        return Ok(());
    }
    target.check_access(&cx.creds())
}
