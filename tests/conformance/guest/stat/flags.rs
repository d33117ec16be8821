// SPDX-License-Identifier: Apache-2.0
//! chattr(1)'s flags: file_getattr(2), file_setattr(2), `FS_IOC_SETFLAGS`, and what they forbid.
//!
//! Covers: file_getattr, file_setattr.

use std::ffi::CStr;

use crate::mount::mount::{apart, tmpfs};
use crate::kit::{self, Ret};

const GETFLAGS: u32 = 0x8008_6601;
const SETFLAGS: u32 = 0x4008_6602;
const IMMUTABLE: i32 = 0x10;
const APPEND: i32 = 0x20;

fn set(name: &str, flags: i32) -> Ret {
    let fd = kit::open(name, libc::O_RDONLY);
    let result = sys!(ioctl, fd, SETFLAGS, kit::at(&flags));
    kit::close(&[fd]);
    result
}

fn shown(name: &str) -> String {
    let fd = kit::open(name, libc::O_RDONLY);
    let mut flags = 0i32;
    let result = sys!(ioctl, fd, GETFLAGS, &raw mut flags);
    kit::close(&[fd]);
    format!("{result} {flags:#x}")
}

/// In a directory of a tmpfs, whose answers are the same everywhere.
fn on_tmpfs(body: impl FnOnce()) {
    apart(|| {
        tmpfs("m");
        std::env::set_current_dir("m").unwrap();
        body();
    });
}

pub fn immutable() {
    on_tmpfs(|| {
        let fd = kit::file("f", b"abc");
        std::fs::create_dir("d").unwrap();
        kit::file("d/g", b"");
        show!("none", shown("f"));
        show!("set", set("f", IMMUTABLE));
        show!("shown", shown("f"));
        show!("write on", sys!(write, fd, c"x", 1));
        show!("open", sys!(open, c"f", libc::O_WRONLY));
        show!("truncate", sys!(truncate, c"f", 0));
        show!("allocate", sys!(fallocate, fd, 0, 0, 100));
        show!("chmod", sys!(chmod, c"f", 0o600));
        show!("chown", sys!(chown, c"f", 1, 1));
        show!("times", sys!(utimensat, libc::AT_FDCWD, c"f", 0, 0));
        show!("link", sys!(link, c"f", c"l"));
        show!("unlink", sys!(unlink, c"f"));
        show!("rename", sys!(rename, c"f", c"l"));
        show!("attribute", sys!(setxattr, c"f", c"trusted.a", c"x", 1, 0));
        show!("access", sys!(access, c"f", libc::W_OK));
        show!("directory", set("d", IMMUTABLE));
        show!("make", sys!(mkdir, c"d/x", 0o755));
        show!("remove", sys!(unlink, c"d/g"));
        show!("write in it", sys!(open, c"d/g", libc::O_WRONLY).is_ok());
        show!("unset", set("f", 0));
        show!("unset", set("d", 0));
        show!("unlink", sys!(unlink, c"f"));
    });
}

pub fn append_only() {
    on_tmpfs(|| {
        let fd = kit::file("f", b"abc");
        show!("set", set("f", APPEND));
        show!("open", sys!(open, c"f", libc::O_WRONLY));
        show!("truncate", sys!(open, c"f", libc::O_WRONLY | libc::O_APPEND | libc::O_TRUNC));
        let to = sys!(open, c"f", libc::O_WRONLY | libc::O_APPEND).fd();
        show!("append", sys!(write, to, c"x", 1));
        show!("no more append", sys!(fcntl, to, libc::F_SETFL, 0));
        show!("ftruncate", sys!(ftruncate, fd, 0));
        show!("allocate", sys!(fallocate, fd, 0, 0, 100));
        show!("keep size", sys!(fallocate, fd, 1, 0, 100));
        show!("unlink", sys!(unlink, c"f"));
        show!("now", sys!(utimensat, libc::AT_FDCWD, c"f", 0, 0));
        let times = [1i64, 0, 1, 0];
        show!("then", sys!(utimensat, libc::AT_FDCWD, c"f", times.as_ptr(), 0));
        show!("size", std::fs::metadata("f").unwrap().len());
    });
}

pub fn rights() {
    on_tmpfs(|| {
        kit::file("f", b"");
        show!("compression", set("f", 4));
        show!("nodump", set("f", 0x40 | 0x80));
        show!("shown", shown("f"));
        let mut buf = [0u64; 32];
        sys!(statx, libc::AT_FDCWD, c"f", 0, 0, buf.as_mut_ptr()).ok();
        show!("statx", format!("{:#x}", buf[1] & 0x70));
        sys!(chown, c"f", 1000, 1000).ok();
        sys!(setresuid, 1000, 1000, 1000).ok();
        show!("owner", set("f", 0x40));
        show!("immutable", set("f", 0x50));
        std::fs::metadata("f").unwrap();
    });
}

fn get_at(name: &CStr, size: usize, flags: i32) -> String {
    let mut attributes = [u64::MAX; 4];
    let pointer = attributes.as_mut_ptr();
    let result = sys!(file_getattr, libc::AT_FDCWD, name, pointer, size, flags);
    format!("{result} {:#x} {:#x} {:#x}", attributes[0], attributes[1], attributes[3])
}

fn set_at(name: &CStr, attributes: [u64; 4], size: usize) -> Ret {
    sys!(file_setattr, libc::AT_FDCWD, name, attributes.as_ptr(), size, 0)
}

pub fn by_path() {
    on_tmpfs(|| {
        kit::file("f", b"");
        show!("none", get_at(c"f", 24, 0));
        show!("set", set_at(c"f", [0x80 | 0x40, 0, 0, 0], 24));
        show!("got", get_at(c"f", 24, 0));
        show!("wide", get_at(c"f", 32, 0));
        show!("flags", shown("f"));
        show!("immutable", set_at(c"f", [8, 0, 0, 0], 24));
        show!("unlink", sys!(unlink, c"f"));
        show!("back", set_at(c"f", [0, 0, 0, 0], 24));
        show!("unknown", set_at(c"f", [1 << 40, 0, 0, 0], 24));
        show!("realtime", set_at(c"f", [1, 0, 0, 0], 24));
        show!("project", set_at(c"f", [0, 0, 7, 0], 24));
        show!("small", set_at(c"f", [0; 4], 23));
        show!("wide", set_at(c"f", [0, 0, 0, 1], 32));
        show!("huge", set_at(c"f", [0; 4], 8192));
        show!("missing", get_at(c"none", 24, 0));
        show!("small", get_at(c"f", 8, 0));
        show!("flags", get_at(c"f", 24, 1));
        show!("bad address", sys!(file_getattr, libc::AT_FDCWD, c"f", 8usize, 24, 0));
        show!("bad address", sys!(file_setattr, libc::AT_FDCWD, c"f", 8usize, 24, 0));
    });
}
