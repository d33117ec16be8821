// SPDX-License-Identifier: Apache-2.0
//! Asking about mounts: statmount(2), listmount(2).

use std::sync::Arc;

use abi::{
    DevId, Errno, UserIn, UserOut,
    macros::Known,
    mount::{
        LSMT_ROOT, ListmountFlags, MOUNT_ID_REQUEST_SIZE_VER0, MountAttrFlags, MountFlags,
        MountIdRequest, Statmount, StatmountMask, UNIQUE_MOUNT_ID_OFFSET,
    },
    num::{to_u64, to_usize},
};
use sentry::{
    kernel::SysResult,
    task::Current,
    vfs::{self, Mount, MountNamespace, MountOptions, Place},
};
use zerocopy::IntoBytes;

use super::read_extensible;

/// The most ids that listmount(2) gives at once.
const IDS_MAX: usize = 1_000_000;
/// What statmount(2) can tell.
const SUPPORTED: StatmountMask = StatmountMask::all();

/// `copy_mnt_id_req()`
fn read_request(cx: &mut Current, from: UserIn<MountIdRequest>) -> Result<MountIdRequest, Errno> {
    let size = cx.read(UserIn::<u32>::new(from.addr()))?;
    let size = to_usize(u64::from(size));
    let request: MountIdRequest =
        read_extensible(cx, from.addr(), size, MOUNT_ID_REQUEST_SIZE_VER0)?;
    if request.mnt_ns_fd != 0 || request.mnt_id <= UNIQUE_MOUNT_ID_OFFSET {
        return Err(Errno::EINVAL);
    }
    Ok(request)
}

/// `grab_requested_mnt_ns()`: the caller's own; there is no way to others yet.
fn namespace(cx: &Current, request: &MountIdRequest) -> Result<Arc<MountNamespace>, Errno> {
    let own = cx.mounts();
    if request.mnt_ns_id != 0 && request.mnt_ns_id != own.id() {
        return Err(Errno::ENOENT);
    }
    Ok(own)
}

fn find(namespace: &MountNamespace, unique_id: u64) -> Result<Arc<Mount>, Errno> {
    let mounts = namespace.mounts();
    mounts.into_iter().find(|mount| mount.unique_id() == unique_id).ok_or(Errno::ENOENT)
}

/// `EPERM` for what lies outside the caller's root, unless they may see everything.
fn check_visible(cx: &Current, mount: &Arc<Mount>) -> Result<(), Errno> {
    let place = Place::root_of(Arc::clone(mount));
    if vfs::is_below(&place, &cx.fs_context().root()) {
        return Ok(());
    }
    MountNamespace::check_admin(&cx.creds())
}

/// listmount(2)
pub fn listmount(
    cx: &mut Current,
    request: UserIn<MountIdRequest>,
    mnt_ids: UserOut<u64>,
    nr_mnt_ids: usize,
    flags: ListmountFlags,
) -> SysResult<usize> {
    flags.reject_unknown()?;
    if nr_mnt_ids > IDS_MAX {
        return Err(Errno::EOVERFLOW.into());
    }
    let request = read_request(cx, request)?;
    let last = request.param;
    if last != 0 && last <= UNIQUE_MOUNT_ID_OFFSET {
        return Err(Errno::EINVAL.into());
    }
    let namespace = namespace(cx, &request)?;
    let (top, itself) = if request.mnt_id == LSMT_ROOT {
        (cx.fs_context().root(), None)
    } else {
        let mount = find(&namespace, request.mnt_id)?;
        check_visible(cx, &mount)?;
        (Place::root_of(Arc::clone(&mount)), Some(mount.id()))
    };
    let is_reverse = flags.contains(ListmountFlags::REVERSE);
    let mut mounts = namespace.mounts();
    if is_reverse {
        mounts.reverse();
    }
    let follows = |id: u64| match is_reverse {
        _ if last == 0 => true,
        true => id < last,
        false => id > last,
    };
    let wanted = mounts.iter().filter(|mount| {
        follows(mount.unique_id())
            && itself != Some(mount.id())
            && vfs::is_below(&Place::root_of(Arc::clone(mount)), &top)
    });
    let ids: Vec<u64> = wanted.map(|mount| mount.unique_id()).take(nr_mnt_ids).collect();
    cx.write_slice(mnt_ids, &ids)?;
    Ok(ids.len())
}

/// statmount(2)
pub fn statmount(
    cx: &mut Current,
    request: UserIn<MountIdRequest>,
    buf: UserOut<u8>,
    bufsize: usize,
    flags: u32,
) -> SysResult {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let request = read_request(cx, request)?;
    let namespace = namespace(cx, &request)?;
    let wanted = StatmountMask::from_bits_retain(request.param);
    if wanted.intersects(strings()) && bufsize == size_of::<Statmount>() {
        return Err(Errno::EOVERFLOW.into());
    }
    let mount = find(&namespace, request.mnt_id)?;
    check_visible(cx, &mount)?;
    let mut answer = Answer { filled: Statmount::default(), strings: Vec::new() };
    answer.numbers(&namespace, &mount, wanted)?;
    answer.texts(cx, &mount, wanted);
    let fixed = bufsize.min(size_of::<Statmount>());
    let room = bufsize - fixed;
    if answer.strings.len() > room {
        return Err(Errno::EOVERFLOW.into());
    }
    let size = to_u64(fixed + answer.strings.len());
    answer.filled.size = u32::try_from(size).map_err(|_| Errno::EOVERFLOW)?;
    let behind = buf.addr().checked_add(to_u64(size_of::<Statmount>()))?;
    cx.write_slice(UserOut::new(behind), &answer.strings)?;
    let bytes = answer.filled.as_bytes().get(..fixed).unwrap_or_default();
    Ok(cx.write_slice(buf, bytes)?)
}

/// What is answered behind the structure.
fn strings() -> StatmountMask {
    StatmountMask::MNT_ROOT
        | StatmountMask::MNT_POINT
        | StatmountMask::FS_TYPE
        | StatmountMask::MNT_OPTS
        | StatmountMask::FS_SUBTYPE
        | StatmountMask::SB_SOURCE
        | StatmountMask::OPT_ARRAY
        | StatmountMask::OPT_SEC_ARRAY
        | StatmountMask::MNT_UIDMAP
        | StatmountMask::MNT_GIDMAP
}

/// An answer of statmount(2) as it grows.
struct Answer {
    filled: Statmount,
    strings: Vec<u8>,
}

impl Answer {
    fn numbers(
        &mut self,
        namespace: &MountNamespace,
        mount: &Arc<Mount>,
        wanted: StatmountMask,
    ) -> Result<(), Errno> {
        let (filled, filesystem) = (&mut self.filled, mount.filesystem());
        let mut mask = StatmountMask::empty();
        if wanted.contains(StatmountMask::SB_BASIC) {
            let device = DevId(filesystem.device());
            (filled.sb_dev_major, filled.sb_dev_minor) = (device.major(), device.minor());
            filled.sb_magic = filesystem.statistics()?.f_type.cast_unsigned();
            filled.sb_flags = u32::from(filesystem.is_read_only());
            mask |= StatmountMask::SB_BASIC;
        }
        if wanted.contains(StatmountMask::MNT_BASIC) {
            let parent = mount.hangs_at().map_or_else(|| Arc::clone(mount), |place| place.mount);
            let propagation = mount.propagation();
            (filled.mnt_id, filled.mnt_id_old) = (mount.unique_id(), mount.id());
            (filled.mnt_parent_id, filled.mnt_parent_id_old) = (parent.unique_id(), parent.id());
            filled.mnt_attr = attributes(mount.options()).bits();
            filled.mnt_propagation = spread(mount).bits();
            filled.mnt_peer_group = propagation.group.unwrap_or(0);
            filled.mnt_master = propagation.master.unwrap_or(0);
            mask |= StatmountMask::MNT_BASIC;
        }
        if wanted.contains(StatmountMask::PROPAGATE_FROM) {
            filled.propagate_from = mount.propagation().master.unwrap_or(0);
            mask |= StatmountMask::PROPAGATE_FROM;
        }
        if wanted.contains(StatmountMask::MNT_NS_ID) {
            filled.mnt_ns_id = namespace.id();
            mask |= StatmountMask::MNT_NS_ID;
        }
        if wanted.contains(StatmountMask::SUPPORTED_MASK) {
            filled.supported_mask = SUPPORTED.bits();
            mask |= StatmountMask::SUPPORTED_MASK;
        }
        // No mount here has maps: told with no ranges, as nothing is mapped.
        mask |= wanted & (StatmountMask::MNT_UIDMAP | StatmountMask::MNT_GIDMAP);
        filled.mask = mask.bits();
        Ok(())
    }

    /// Strings in Linux's order. Empty ones are not told, and their fields point at an empty string.
    fn texts(&mut self, cx: &Current, mount: &Arc<Mount>, wanted: StatmountMask) {
        let filesystem = mount.filesystem();
        let options = filesystem.options();
        let options = options.trim_start_matches(',');
        let point = Place::root_of(Arc::clone(mount)).path_from(&cx.fs_context().root());
        let point = if point.is_reachable { point.bytes } else { Vec::new() };
        let separate: Vec<u8> = options.bytes().map(|b| if b == b',' { 0 } else { b }).collect();
        let kind = filesystem.name().as_bytes();
        let all: [(StatmountMask, &[u8]); 6] = [
            (StatmountMask::FS_TYPE, kind),
            (StatmountMask::MNT_ROOT, &mount.root_path()),
            (StatmountMask::MNT_POINT, &point),
            (StatmountMask::MNT_OPTS, options.as_bytes()),
            (StatmountMask::OPT_ARRAY, &separate),
            (StatmountMask::SB_SOURCE, mount.source()),
        ];
        for (flag, text) in all {
            if !wanted.contains(flag) {
                continue;
            }
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            if text.is_empty() {
                continue;
            }
            let start = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
            self.strings.extend_from_slice(text);
            self.strings.push(0);
            self.filled.mask |= flag.bits();
            match flag {
                StatmountMask::FS_TYPE => self.filled.fs_type = start,
                StatmountMask::MNT_ROOT => self.filled.mnt_root = start,
                StatmountMask::MNT_POINT => self.filled.mnt_point = start,
                StatmountMask::MNT_OPTS => self.filled.mnt_opts = start,
                StatmountMask::OPT_ARRAY => {
                    self.filled.opt_array = start;
                    let count = options.split(',').count();
                    self.filled.opt_num = u32::try_from(count).unwrap_or(u32::MAX);
                }
                _ => self.filled.sb_source = start,
            }
        }
    }
}

/// `mnt_to_attr_flags()`
fn attributes(options: MountOptions) -> MountAttrFlags {
    let pairs = [
        (MountOptions::RDONLY, MountAttrFlags::RDONLY),
        (MountOptions::NOSUID, MountAttrFlags::NOSUID),
        (MountOptions::NODEV, MountAttrFlags::NODEV),
        (MountOptions::NOEXEC, MountAttrFlags::NOEXEC),
        (MountOptions::NODIRATIME, MountAttrFlags::NODIRATIME),
        (MountOptions::NOSYMFOLLOW, MountAttrFlags::NOSYMFOLLOW),
    ];
    let given = pairs.iter().filter(|(option, _)| options.contains(*option));
    let plain = given.fold(MountAttrFlags::empty(), |sum, (_, flag)| sum | *flag);
    if options.contains(MountOptions::NOATIME) {
        plain | MountAttrFlags::NOATIME
    } else if options.contains(MountOptions::RELATIME) {
        plain
    } else {
        plain | MountAttrFlags::STRICTATIME
    }
}

/// `mnt_to_propagation_flags()`
fn spread(mount: &Mount) -> MountFlags {
    let propagation = mount.propagation();
    let pairs = [
        (propagation.group.is_some(), MountFlags::SHARED),
        (propagation.master.is_some(), MountFlags::SLAVE),
        (propagation.is_unbindable, MountFlags::UNBINDABLE),
    ];
    let given = pairs.iter().filter(|(is_so, _)| *is_so);
    let flags = given.fold(MountFlags::empty(), |sum, (_, flag)| sum | *flag);
    if flags.is_empty() { MountFlags::PRIVATE } else { flags }
}
