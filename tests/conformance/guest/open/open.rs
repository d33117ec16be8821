// SPDX-License-Identifier: Apache-2.0
//! open(2), openat(2), openat2(2), creat(2).
//!
//! Covers: open, openat, openat2, creat, close.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::kit;

pub fn creation() {
    show!("missing", sys!(open, c"f", libc::O_RDONLY, 0));
    show!("create", sys!(open, c"f", libc::O_RDWR | libc::O_CREAT, 0o640).is_ok());
    show!("mode", format!("{:o}", std::fs::metadata("f").unwrap().permissions().mode()));
    show!("exclusive", sys!(open, c"f", libc::O_CREAT | libc::O_EXCL, 0o600));
    symlink("nowhere", "dangling").unwrap();
    show!("exclusive link", sys!(open, c"dangling", libc::O_CREAT | libc::O_EXCL, 0o600));
    show!("through link", sys!(open, c"dangling", libc::O_CREAT | libc::O_WRONLY, 0o600).is_ok());
    show!("made", std::path::Path::new("nowhere").exists());
    std::fs::write("f", "content").unwrap();
    show!("creat", sys!(creat, c"f", 0o600).is_ok());
    show!("empty", std::fs::metadata("f").unwrap().len());
    show!("in a missing directory", sys!(open, c"no/f", libc::O_CREAT, 0o600));
    show!("trailing slash", sys!(open, c"new/", libc::O_CREAT | libc::O_WRONLY, 0o600));
    show!("empty path", sys!(open, c"", libc::O_RDONLY, 0));
}

pub fn directories() {
    std::fs::create_dir("d").unwrap();
    kit::file("f", b"");
    show!("read", sys!(open, c"d", libc::O_RDONLY, 0).is_ok());
    show!("write", sys!(open, c"d", libc::O_WRONLY, 0));
    show!("create", sys!(open, c"d", libc::O_RDONLY | libc::O_CREAT, 0o600));
    show!("O_DIRECTORY of a file", sys!(open, c"f", libc::O_DIRECTORY, 0));
    show!("file with slash", sys!(open, c"f/", libc::O_RDONLY, 0));
    show!("below a file", sys!(open, c"f/x", libc::O_RDONLY, 0));
    show!("truncate", sys!(open, c"d", libc::O_RDONLY | libc::O_TRUNC, 0));
    show!("dot dot", sys!(open, c"d/../f", libc::O_RDONLY, 0).is_ok());
}

pub fn symlinks() {
    kit::file("f", b"");
    symlink("f", "l").unwrap();
    symlink("loop", "loop").unwrap();
    symlink("d", "dl").unwrap();
    std::fs::create_dir("d").unwrap();
    show!("follow", sys!(open, c"l", libc::O_RDONLY, 0).is_ok());
    show!("nofollow", sys!(open, c"l", libc::O_RDONLY | libc::O_NOFOLLOW, 0));
    show!("nofollow path", sys!(open, c"l", libc::O_PATH | libc::O_NOFOLLOW, 0).is_ok());
    show!("loop", sys!(open, c"loop", libc::O_RDONLY, 0));
    show!("directory nofollow", sys!(open, c"dl", libc::O_DIRECTORY | libc::O_NOFOLLOW, 0));
    show!("nofollow inside", sys!(open, c"dl/../f", libc::O_RDONLY | libc::O_NOFOLLOW, 0).is_ok());
    for n in 0..45 {
        let target = if n == 0 { "f".to_owned() } else { format!("c{}", n - 1) };
        symlink(target, format!("c{n}")).unwrap();
    }
    show!("40 links", sys!(open, c"c39", libc::O_RDONLY, 0).is_ok());
    show!("41 links", sys!(open, c"c40", libc::O_RDONLY, 0));
}

pub fn long_names() {
    let name = std::ffi::CString::new("n".repeat(255)).unwrap();
    show!("255", sys!(open, &name, libc::O_CREAT | libc::O_RDWR, 0o600).is_ok());
    let name = std::ffi::CString::new("n".repeat(256)).unwrap();
    show!("256", sys!(open, &name, libc::O_CREAT | libc::O_RDWR, 0o600));
    let path = std::ffi::CString::new("./".repeat(2048)).unwrap();
    show!("4096", sys!(open, &path, libc::O_RDONLY, 0));
    let path = std::ffi::CString::new("/".repeat(4095)).unwrap();
    show!("4095", sys!(open, &path, libc::O_RDONLY, 0).is_ok());
    show!("bad address", sys!(open, 8, libc::O_RDONLY, 0));
}

pub fn at_descriptors() {
    std::fs::create_dir("d").unwrap();
    kit::file("d/f", b"");
    let dir = kit::open("d", libc::O_RDONLY);
    let path = kit::open("d", libc::O_PATH);
    let file = kit::open("d/f", libc::O_RDONLY);
    show!("directory", sys!(openat, dir, c"f", libc::O_RDONLY, 0).is_ok());
    show!("O_PATH", sys!(openat, path, c"f", libc::O_RDONLY, 0).is_ok());
    show!("file", sys!(openat, file, c"f", libc::O_RDONLY, 0));
    show!("closed", sys!(openat, 99, c"f", libc::O_RDONLY, 0));
    show!("closed, absolute", sys!(openat, 99, c"/", libc::O_RDONLY, 0).is_ok());
    show!("empty", sys!(openat, dir, c"", libc::O_RDONLY, 0));
    std::fs::remove_dir_all("d").unwrap();
    show!("removed", sys!(openat, dir, c"new", libc::O_CREAT | libc::O_RDWR, 0o600));
    show!("removed, dot", sys!(openat, dir, c".", libc::O_RDONLY, 0).is_ok());
}

pub fn lowest_descriptor() {
    let a = kit::file("f", b"");
    let b = kit::open("f", libc::O_RDONLY);
    kit::close(&[a]);
    let c = kit::open("f", libc::O_RDONLY);
    show!("reused", c == a && b != c);
    show!("close", sys!(close, c));
    show!("close again", sys!(close, c));
    show!("close negative", sys!(close, -1));
}

pub fn temporary_file() {
    let fd = sys!(open, c".", libc::O_TMPFILE | libc::O_RDWR, 0o600);
    show!("made", fd.is_ok());
    show!("read-only", sys!(open, c".", libc::O_TMPFILE | libc::O_RDONLY, 0o600));
    let fd = fd.fd();
    sys!(write, fd, &b"abc"[..], 3).ok();
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    sys!(fstat, fd, &raw mut stat).ok();
    show!("links", stat.st_nlink);
    show!("size", stat.st_size);
    let from = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap();
    let cwd = libc::AT_FDCWD;
    show!("link", sys!(linkat, cwd, &from, cwd, c"named", libc::AT_SYMLINK_FOLLOW));
    show!("content", String::from_utf8(std::fs::read("named").unwrap()).unwrap());
}

pub fn resolve_flags() {
    std::fs::create_dir("d").unwrap();
    kit::file("d/f", b"");
    symlink("f", "d/l").unwrap();
    symlink("/", "d/root").unwrap();
    let dir = kit::open("d", libc::O_RDONLY);
    let at = |path: &std::ffi::CStr, flags: i32, resolve: u64| {
        let how = [flags as u64, 0, resolve];
        sys!(openat2, dir, path, how.as_ptr(), 24)
    };
    show!("plain", at(c"f", 0, 0).is_ok());
    show!("no symlinks", at(c"l", 0, libc::RESOLVE_NO_SYMLINKS));
    show!("beneath", at(c"l", 0, libc::RESOLVE_BENEATH).is_ok());
    show!("beneath, dot dot", at(c"../d/f", 0, libc::RESOLVE_BENEATH));
    show!("beneath, absolute", at(c"/", 0, libc::RESOLVE_BENEATH));
    show!("in root", at(c"/f", 0, libc::RESOLVE_IN_ROOT).is_ok());
    show!("in root, dot dot", at(c"../../f", 0, libc::RESOLVE_IN_ROOT).is_ok());
    show!("in root, link", at(c"root/f", 0, libc::RESOLVE_IN_ROOT).is_ok());
    show!("unknown resolve", at(c"f", 0, 1 << 40));
    show!("unknown flag", at(c"f", 1 << 30, 0));
    let how = [0u64; 4];
    show!("mode without create", sys!(openat2, dir, c"f", [0u64, 0o600, 0].as_ptr(), 24));
    show!("small", sys!(openat2, dir, c"f", how.as_ptr(), 8));
    show!("larger, zero", sys!(openat2, dir, c"f", how.as_ptr(), 32).is_ok());
    show!("larger, set", sys!(openat2, dir, c"f", [0u64, 0, 0, 1].as_ptr(), 32));
}

pub fn permission_denied() {
    kit::file("secret", b"");
    std::fs::set_permissions("secret", PermissionsExt::from_mode(0o200)).unwrap();
    std::fs::create_dir("closed").unwrap();
    kit::file("closed/f", b"");
    std::fs::set_permissions("closed", PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::set_permissions(".", PermissionsExt::from_mode(0o755)).unwrap();
    kit::in_child(|| {
        if sys!(getuid).0 == 0 {
            sys!(setresgid, 1000, 1000, 1000).ok();
            sys!(setresuid, 1000, 1000, 1000).ok();
            show!("file", sys!(open, c"secret", libc::O_RDONLY, 0));
            show!("write", sys!(open, c"secret", libc::O_WRONLY, 0));
            show!("below", sys!(open, c"closed/f", libc::O_RDONLY, 0));
            show!("create", sys!(open, c"new", libc::O_CREAT | libc::O_RDWR, 0o600));
            show!("list", sys!(open, c"closed", libc::O_RDONLY, 0));
            show!("missing below", sys!(open, c"closed/none", libc::O_RDONLY, 0));
        } else {
            show!("not root", sys!(open, c"secret", libc::O_RDONLY, 0));
        }
        0
    });
}
