// SPDX-License-Identifier: Apache-2.0
//! mount_setattr(2), statmount(2), listmount(2), and statx(2)'s mount ids.
//!
//! Covers: mount_setattr, open_tree_attr, statmount, listmount.

use std::{ffi::CStr, fs};

use super::mount::{apart, shown, tmpfs};
use crate::kit::{self, Ret};

const NONE: usize = 0;
const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const TIMES: u64 = 0x70;
const NODIRATIME: u64 = 0x80;
const RECURSIVE: i32 = 0x8000;

fn change(path: &CStr, flags: i32, set: u64, clear: u64, propagation: u64) -> Ret {
    let attributes = [set, clear, propagation, 0];
    sys!(mount_setattr, libc::AT_FDCWD, path, flags, attributes.as_ptr(), 32)
}

pub fn changed() {
    apart(|| {
        tmpfs("m");
        tmpfs("m/sub");
        show!("set", change(c"m", 0, NOSUID | NODIRATIME, 0, 0));
        say!("{} / {}", shown("m"), shown("m/sub"));
        show!("times", change(c"m", 0, NOATIME, TIMES, 0));
        say!("{}", shown("m"));
        show!("strict", change(c"m", 0, STRICTATIME, TIMES, 0));
        say!("{}", shown("m"));
        show!("back", change(c"m", 0, 0, TIMES | NOSUID, 0));
        say!("{}", shown("m"));
        show!("shared", change(c"m", RECURSIVE, 0, 0, libc::MS_SHARED));
        say!("{} / {}", shown("m"), shown("m/sub"));
        show!("all read-only", change(c"m", RECURSIVE, RDONLY, 0, libc::MS_PRIVATE));
        say!("{} / {}", shown("m"), shown("m/sub"));
        show!("write", sys!(mkdir, c"m/sub/d", 0o755));
        show!("one writable", change(c"m", 0, 0, RDONLY, 0));
        let fd = kit::file("m/f", b"");
        show!("written", change(c"m", RECURSIVE, RDONLY, 0, 0));
        show!("all writable", change(c"m", RECURSIVE, 0, RDONLY, 0));
        kit::close(&[fd]);
        show!("read-only", change(c"m", RECURSIVE, RDONLY, 0, 0));
    });
}

pub fn errors() {
    apart(|| {
        tmpfs("m");
        fs::create_dir("plain").unwrap();
        show!("nothing", change(c"none", 0, 0, 0, 0));
        show!("missing", change(c"none", 0, RDONLY, 0, 0));
        show!("no mount", change(c"plain", 0, RDONLY, 0, 0));
        show!("flags", change(c"m", 1, RDONLY, 0, 0));
        show!("unknown", change(c"m", 0, 1 << 40, 0, 0));
        show!("unknown", change(c"m", 0, 0, 1 << 40, 0));
        show!("time without clear", change(c"m", 0, NOATIME, 0, 0));
        show!("part of time", change(c"m", 0, 0, NOATIME, 0));
        show!("two times", change(c"m", 0, NOATIME | STRICTATIME, TIMES, 0));
        show!("two ways", change(c"m", 0, 0, 0, libc::MS_SHARED | libc::MS_SLAVE));
        show!("no way", change(c"m", 0, 0, 0, 1 << 40));
        let wide = [RDONLY, 0, 0, 0, 1];
        let at = libc::AT_FDCWD;
        show!("small", sys!(mount_setattr, at, c"m", 0, wide.as_ptr(), 31));
        show!("wide", sys!(mount_setattr, at, c"m", 0, wide.as_ptr(), 40));
        show!("huge", sys!(mount_setattr, at, c"m", 0, wide.as_ptr(), 8192));
        show!("bad address", sys!(mount_setattr, at, c"m", 0, 8usize, 32));
        let mapped = [1u64 << 20, 0, 0, 99];
        show!("map by closed", sys!(mount_setattr, at, c"m", 0, mapped.as_ptr(), 32));
        let mapped = [1u64 << 20, 0, 0, kit::file("f", b"") as u64];
        show!("map by file", sys!(mount_setattr, at, c"m", 0, mapped.as_ptr(), 32));
        sys!(setresuid, 1000, 1000, 1000).ok();
        show!("no right", change(c"m", 0, RDONLY, 0, 0));
    });
}

pub fn floating() {
    apart(|| {
        tmpfs("m");
        fs::create_dir("to").unwrap();
        let tree = sys!(open_tree, libc::AT_FDCWD, c"m", 1).fd();
        let attributes = [NOSUID | NOATIME, TIMES, 0, 0];
        let flags = libc::AT_EMPTY_PATH;
        show!("set", sys!(mount_setattr, tree, c"", flags, attributes.as_ptr(), 32));
        sys!(move_mount, tree, c"", libc::AT_FDCWD, c"to", 4).ok();
        say!("{} / {}", shown("m"), shown("to"));
        let attributes = [RDONLY, 0, 0, 0];
        let tree = sys!(open_tree_attr, libc::AT_FDCWD, c"m", 1, attributes.as_ptr(), 32);
        // Linux 6.15 brought it.
        if tree != Ret(-i64::from(libc::ENOSYS)) {
            sys!(move_mount, tree.fd(), c"", libc::AT_FDCWD, c"to", 4).ok();
            say!("{}", shown("to"));
        }
        show!("no attributes", sys!(open_tree_attr, libc::AT_FDCWD, c"m", 1, NONE, 32));
        show!("small", sys!(open_tree_attr, libc::AT_FDCWD, c"m", 1, attributes.as_ptr(), 8));
    });
}

/// `stx_mnt_id`, the old or the one never used twice.
fn mount_id(name: &CStr, mask: u32) -> u64 {
    let mut buf = [0u64; 32];
    sys!(statx, libc::AT_FDCWD, name, 0, mask, buf.as_mut_ptr()).ok();
    assert!(buf[0] as u32 & mask == mask);
    buf[18]
}

fn unique(name: &CStr) -> u64 {
    mount_id(name, 0x4000)
}

fn list(id: u64, last: u64, room: usize, flags: i32) -> Result<Vec<u64>, Ret> {
    let request = [24u64, id, last];
    let mut ids = vec![0u64; room];
    let got = sys!(listmount, request.as_ptr(), ids.as_mut_ptr(), room, flags);
    if got.0 < 0 {
        return Err(got);
    }
    ids.truncate(got.0 as usize);
    Ok(ids)
}

fn failed(result: Result<Vec<u64>, Ret>) -> String {
    result.map_or_else(|ret| ret.to_string(), |ids| format!("{} ids", ids.len()))
}

pub fn listed() {
    apart(|| {
        tmpfs("m");
        let top = unique(c"m");
        tmpfs("m/a");
        tmpfs("m/a/b");
        tmpfs("m/c");
        let wanted = [unique(c"m/a"), unique(c"m/a/b"), unique(c"m/c")];
        show!("large", top > 1 << 31);
        let below = list(top, 0, 16, 0).unwrap();
        show!("below", below == wanted);
        show!("part", list(top, 0, 2, 0).unwrap() == wanted[..2]);
        show!("rest", list(top, wanted[1], 16, 0).unwrap() == wanted[2..]);
        show!("reverse", list(top, 0, 1, 1).unwrap() == [wanted[2]]);
        show!("reverse rest", list(top, wanted[1], 16, 1).unwrap() == [wanted[0]]);
        let all = list(u64::MAX, 0, 1000, 0).unwrap();
        show!("all", all.contains(&top) && all.contains(&wanted[1]));
        show!("no room", failed(list(top, 0, 0, 0)));
        show!("unknown", failed(list(1 << 50, 0, 16, 0)));
        show!("old id", failed(list(mount_id(c"m", 0x1000), 0, 16, 0)));
        show!("zero", failed(list(0, 0, 16, 0)));
        show!("flags", failed(list(top, 0, 16, 2)));
        show!("bad last", failed(list(top, 1, 16, 0)));
        show!("bad request", sys!(listmount, 8usize, NONE, 0, 0));
        let small = [16u64, top, 0];
        show!("small request", sys!(listmount, small.as_ptr(), NONE, 0, 0));
        let wide = [8192u64, top, 0];
        show!("wide request", sys!(listmount, wide.as_ptr(), NONE, 0, 0));
        let spare = [24u64 | 1 << 32, top, 0];
        show!("spare", sys!(listmount, spare.as_ptr(), NONE, 0, 0));
        sys!(chroot, c"m/a").ok();
        sys!(chdir, c"/").ok();
        show!("from within", list(u64::MAX, 0, 16, 0).unwrap() == wanted[..2]);
        sys!(setresuid, 1000, 1000, 1000).ok();
        show!("outside", failed(list(top, 0, 16, 0)));
        show!("inside", failed(list(wanted[0], 0, 16, 0)));
    });
}

fn stat_mount(id: u64, mask: u64, buf: &mut [u8]) -> Ret {
    let request = [24u64, id, mask];
    sys!(statmount, request.as_ptr(), buf.as_mut_ptr(), buf.len(), 0)
}

fn u32_at(buf: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(buf[at..at + 4].try_into().unwrap())
}

fn u64_at(buf: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(buf[at..at + 8].try_into().unwrap())
}

fn text_at(buf: &[u8], at: usize) -> String {
    let start = 512 + u32_at(buf, at) as usize;
    CStr::from_bytes_until_nul(&buf[start..]).unwrap().to_str().unwrap().to_owned()
}

pub fn told() {
    apart(|| {
        tmpfs("m");
        fs::create_dir_all("m/part/s").unwrap();
        tmpfs("m/b");
        sys!(mount, c"m/part", c"m/b", NONE, libc::MS_BIND, NONE).ok();
        let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOATIME;
        sys!(mount, NONE, c"m/b", NONE, flags, NONE).ok();
        sys!(mount, NONE, c"m/b", NONE, libc::MS_SHARED, NONE).ok();
        let (top, id) = (unique(c"m"), unique(c"m/b"));
        let mut buf = [0u8; 2048];
        show!("basic", stat_mount(id, 1 | 2, &mut buf));
        say!("size {} mask {:#x}", u32_at(&buf, 0), u64_at(&buf, 8));
        say!("magic {:#x} flags {:#x}", u64_at(&buf, 24), u32_at(&buf, 32));
        show!("id", u64_at(&buf, 40) == id);
        show!("old id", u64::from(u32_at(&buf, 56)) == mount_id(c"m/b", 0x1000));
        say!("attributes {:#x} spread {:#x}", u64_at(&buf, 64), u64_at(&buf, 72));
        show!("group", u64_at(&buf, 80) != 0);
        show!("master", u64_at(&buf, 88));
        show!("strings", stat_mount(id, 0x8 | 0x10 | 0x20, &mut buf));
        say!("mask {:#x}", u64_at(&buf, 8));
        say!("{} {}", text_at(&buf, 36), text_at(&buf, 104));
        let point = fs::canonicalize("m/b").unwrap();
        show!("point", text_at(&buf, 108) == point.to_str().unwrap());
        let len = u32_at(&buf, 0) as usize;
        show!("just fits", stat_mount(id, 0x8 | 0x10 | 0x20, &mut buf[..len]));
        show!("one short", stat_mount(id, 0x8 | 0x10 | 0x20, &mut buf[..len - 1]));
        show!("no strings fit", stat_mount(id, 0x20, &mut buf[..512]));
        show!("part of it", stat_mount(id, 2, &mut buf[..64]));
        show!("size", u32_at(&buf, 0));
        show!("nothing", stat_mount(id, 0, &mut buf));
        say!("size {} mask {:#x}", u32_at(&buf, 0), u64_at(&buf, 8));
        show!("private", stat_mount(top, 2, &mut buf));
        say!("attributes {:#x} spread {:#x}", u64_at(&buf, 64), u64_at(&buf, 72));
        show!("unknown", stat_mount(1 << 50, 2, &mut buf));
        show!("zero", stat_mount(0, 2, &mut buf));
        let request = [24u64, id, 2];
        show!("flags", sys!(statmount, request.as_ptr(), buf.as_mut_ptr(), 512, 1));
        show!("bad buffer", sys!(statmount, request.as_ptr(), 8usize, 512, 0));
        show!("bad request", sys!(statmount, 8usize, buf.as_mut_ptr(), 512, 0));
    });
}
