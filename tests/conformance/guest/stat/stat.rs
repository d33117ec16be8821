// SPDX-License-Identifier: Apache-2.0
//! stat(2), statx(2), access(2).
//!
//! Covers: stat, fstat, lstat, newfstatat, statx, access, faccessat, faccessat2.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::kit;

fn show(label: &str, ret: kit::Ret, stat: &libc::stat) {
    if ret.0 < 0 {
        return say!("{label}: {ret}");
    }
    let size = if stat.st_mode & libc::S_IFMT == libc::S_IFDIR { -1 } else { stat.st_size };
    say!("{label}: mode {:o} size {size} uid {}", stat.st_mode, stat.st_uid);
}

fn stat(label: &str, path: &std::ffi::CStr) {
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let ret = sys!(stat, path, &raw mut stat);
    show(label, ret, &stat);
}

pub fn kinds() {
    kit::file("f", b"abc");
    std::fs::create_dir("d").unwrap();
    symlink("f", "l").unwrap();
    symlink("none", "dangling").unwrap();
    sys!(mknod, c"fifo", libc::S_IFIFO | 0o600, 0).ok();
    stat("file", c"f");
    stat("directory", c"d");
    stat("link", c"l");
    stat("fifo", c"fifo");
    stat("dangling", c"dangling");
    stat("null device", c"/dev/null");
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    let ret = sys!(lstat, c"l", &raw mut st);
    show("lstat", ret, &st);
    let (r, _w) = kit::pipe();
    let ret = sys!(fstat, r, &raw mut st);
    show("pipe", ret, &st);
    say!("device of null: {:?}", {
        sys!(stat, c"/dev/null", &raw mut st).ok();
        (libc::major(st.st_rdev), libc::minor(st.st_rdev))
    });
}

pub fn errors() {
    kit::file("f", b"");
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    let st = &raw mut st;
    let cwd = libc::AT_FDCWD;
    show!("missing", sys!(stat, c"none", st));
    show!("empty", sys!(stat, c"", st));
    show!("below a file", sys!(stat, c"f/x", st));
    show!("null path", sys!(stat, 0, st));
    show!("null buffer", sys!(stat, c"f", 0));
    show!("missing before null buffer", sys!(stat, c"none", 0));
    show!("closed", sys!(fstat, 99, st));
    show!("flags", sys!(newfstatat, cwd, c"f", st, 0x80));
    show!("empty path flag", sys!(newfstatat, kit::open("f", 0), c"", st, 0x1000));
    show!("empty path of cwd", sys!(newfstatat, cwd, c"", st, 0x1000));
    show!("empty path, closed", sys!(newfstatat, 99, c"", st, 0x1000));
}

pub fn same_file() {
    kit::file("f", b"");
    std::fs::hard_link("f", "g").unwrap();
    use std::os::unix::fs::MetadataExt;
    let (f, g) = (std::fs::metadata("f").unwrap(), std::fs::metadata("g").unwrap());
    show!("same", f.ino() == g.ino() && f.dev() == g.dev());
    show!("links", f.nlink());
    std::fs::remove_file("f").unwrap();
    show!("links", std::fs::metadata("g").unwrap().nlink());
}

pub fn times_change() {
    use std::os::unix::fs::MetadataExt;
    let fd = kit::file("f", b"");
    let before = std::fs::metadata("f").unwrap();
    kit::sleep_ms(20);
    sys!(write, fd, &b"x"[..], 1).ok();
    let after = std::fs::metadata("f").unwrap();
    let moved = |a: (i64, i64), b: (i64, i64)| a < b;
    let m = |s: &std::fs::Metadata| (s.mtime(), s.mtime_nsec());
    let c = |s: &std::fs::Metadata| (s.ctime(), s.ctime_nsec());
    show!("mtime", moved(m(&before), m(&after)));
    show!("ctime", moved(c(&before), c(&after)));
    kit::sleep_ms(20);
    std::fs::set_permissions("f", PermissionsExt::from_mode(0o600)).unwrap();
    let chmod = std::fs::metadata("f").unwrap();
    show!("chmod mtime", moved(m(&after), m(&chmod)));
    show!("chmod ctime", moved(c(&after), c(&chmod)));
}

pub fn statx() {
    let fd = kit::file("f", b"abc");
    let cwd = libc::AT_FDCWD;
    let mut stx: libc::statx = unsafe { std::mem::zeroed() };
    show!("path", sys!(statx, cwd, c"f", 0, 0x7ff, &raw mut stx));
    say!("basic {} mode {:o} size {}", stx.stx_mask & 0x7ff == 0x7ff, stx.stx_mode, stx.stx_size);
    show!("fd", sys!(statx, fd, c"", libc::AT_EMPTY_PATH, 0x7ff, &raw mut stx));
    show!("reserved mask", sys!(statx, cwd, c"f", 0, 0x8000_0000u32, &raw mut stx));
    show!("both syncs", sys!(statx, cwd, c"f", 0x6000, 0x7ff, &raw mut stx));
    show!("unknown flag", sys!(statx, cwd, c"f", 1, 0x7ff, &raw mut stx));
    show!("missing", sys!(statx, cwd, c"none", 0, 0x7ff, &raw mut stx));
    show!("null", sys!(statx, cwd, c"f", 0, 0x7ff, 0));
}

pub fn access() {
    kit::file("f", b"");
    std::fs::set_permissions("f", PermissionsExt::from_mode(0o444)).unwrap();
    std::fs::set_permissions(".", PermissionsExt::from_mode(0o755)).unwrap();
    let cwd = libc::AT_FDCWD;
    show!("exists", sys!(access, c"f", 0));
    show!("read", sys!(access, c"f", 4));
    show!("execute", sys!(access, c"f", 1));
    show!("mode", sys!(access, c"f", 8));
    show!("missing", sys!(access, c"none", 0));
    show!("faccessat", sys!(faccessat, cwd, c"f", 4));
    show!("faccessat2", sys!(faccessat2, cwd, c"f", 4, 0x200));
    show!("flags", sys!(faccessat2, cwd, c"f", 4, 0x1));
    kit::in_child(|| {
        if sys!(getuid).0 == 0 {
            // The real ids count, unless AT_EACCESS is given.
            sys!(setresuid, 1000, 0, 0).ok();
            show!("real user, write", sys!(access, c"f", 2));
            show!("effective user, write", sys!(faccessat2, cwd, c"f", 2, 0x200));
        }
        0
    });
}
