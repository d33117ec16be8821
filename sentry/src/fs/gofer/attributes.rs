// SPDX-License-Identifier: Apache-2.0
//! Attributes: from the gofer's words, and from a donated descriptor, to the VFS's.

use gofer::protocol::{Attr, SetAttr, Time, TimeUpdate, attr};

use crate::vfs::{AttributeChange, Attributes, FileKind, TimeChange, Timestamp};

/// What kind of file `attr` is of.
pub(super) fn kind(attr: &Attr) -> FileKind {
    match attr.file_type() {
        attr::DIRECTORY => FileKind::Directory,
        attr::SYMLINK => FileKind::Symlink,
        attr::FIFO => FileKind::Fifo,
        attr::SOCKET => FileKind::Socket,
        attr::CHAR_DEVICE => FileKind::CharDevice,
        attr::BLOCK_DEVICE => FileKind::BlockDevice,
        // What is nothing else has contents, or the gofer lies and it has none.
        _ => FileKind::Regular,
    }
}

/// The kind that a directory entry's `DT_*` says.
pub(super) fn entry_kind(entry_type: u8) -> FileKind {
    let all = [
        FileKind::Regular,
        FileKind::Directory,
        FileKind::Symlink,
        FileKind::Fifo,
        FileKind::Socket,
        FileKind::CharDevice,
        FileKind::BlockDevice,
    ];
    // `DT_UNKNOWN` is what a file of no kind shows: programs then ask stat(2).
    all.into_iter().find(|kind| kind.entry_type() == entry_type).unwrap_or(FileKind::Anonymous)
}

fn timestamp(time: Time) -> Timestamp {
    Timestamp { seconds: time.seconds, nanoseconds: time.nanoseconds.min(999_999_999) }
}

fn time(seconds: i64, nanoseconds: i64) -> Time {
    Time { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or(0), reserved: 0 }
}

/// The VFS's view, with the device number that the guest sees.
pub(super) fn shown(attr: &Attr, device: u64) -> Attributes {
    Attributes {
        device,
        inode: attr.inode,
        kind: kind(attr),
        permissions: attr.mode & 0o7777,
        links: attr.links,
        uid: attr.uid,
        gid: attr.gid,
        special_device: attr.special_device,
        size: attr.size,
        block_size: attr.block_size,
        blocks: attr.blocks,
        accessed: timestamp(attr.accessed),
        modified: timestamp(attr.modified),
        changed: timestamp(attr.changed),
        created: (attr.has_birth != 0).then(|| timestamp(attr.created)),
    }
}

/// Brings `attr` up to date with what fstat(2) of a donated descriptor says.
pub(super) fn refresh(attr: &mut Attr, stat: &libc::stat) {
    attr.size = u64::try_from(stat.st_size).unwrap_or(0);
    attr.blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    attr.links = u32::try_from(stat.st_nlink).unwrap_or(u32::MAX);
    attr.mode = (attr.mode & attr::TYPE_MASK) | (stat.st_mode & 0o7777);
    (attr.uid, attr.gid) = (stat.st_uid, stat.st_gid);
    attr.accessed = time(stat.st_atime, stat.st_atime_nsec);
    attr.modified = time(stat.st_mtime, stat.st_mtime_nsec);
    attr.changed = time(stat.st_ctime, stat.st_ctime_nsec);
}

/// A change as the gofer is asked for it.
pub(super) fn change(change: &AttributeChange) -> SetAttr {
    let when = |change: TimeChange| match change {
        TimeChange::Now => TimeUpdate::Now,
        TimeChange::To(to) => {
            TimeUpdate::To(Time { seconds: to.seconds, nanoseconds: to.nanoseconds, reserved: 0 })
        }
    };
    SetAttr {
        mode: change.permissions,
        uid: change.uid,
        gid: change.gid,
        size: change.size,
        accessed: change.accessed.map(when),
        modified: change.modified.map(when),
    }
}
