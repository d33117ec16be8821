// SPDX-License-Identifier: Apache-2.0
//! mkdir(2), rmdir(2), link(2), unlink(2), symlink(2), readlink(2), mknod(2).
//!
//! Covers: mkdir, mkdirat, rmdir, link, linkat, unlink, unlinkat, symlink, symlinkat, readlink, readlinkat, mknod, mknodat.

use std::os::unix::fs::{FileTypeExt, symlink};

use crate::kit;

const CWD: i32 = libc::AT_FDCWD;

pub fn make_directories() {
    show!("make", sys!(mkdir, c"d", 0o755));
    show!("again", sys!(mkdir, c"d", 0o755));
    show!("slash", sys!(mkdir, c"e/", 0o755));
    show!("dot", sys!(mkdir, c".", 0o755));
    show!("root", sys!(mkdir, c"/", 0o755));
    show!("missing parent", sys!(mkdir, c"no/d", 0o755));
    symlink("nowhere", "l").unwrap();
    show!("over a link", sys!(mkdir, c"l", 0o755));
    show!("over a link, slash", sys!(mkdir, c"l/", 0o755));
    show!("at", sys!(mkdirat, kit::open("d", 0), c"sub", 0o755));
    show!("empty", sys!(mkdir, c"", 0o755));
}

pub fn remove_directories() {
    for name in ["a", "a/b", "c"] {
        std::fs::create_dir(name).unwrap();
    }
    kit::file("f", b"");
    symlink("c", "l").unwrap();
    show!("not empty", sys!(rmdir, c"a"));
    show!("file", sys!(rmdir, c"f"));
    show!("missing", sys!(rmdir, c"none"));
    show!("dot", sys!(rmdir, c"a/."));
    show!("dot dot", sys!(rmdir, c"a/b/.."));
    show!("link", sys!(rmdir, c"l"));
    show!("link, slash", sys!(rmdir, c"l/"));
    show!("unlinkat", sys!(unlinkat, CWD, c"a/b", libc::AT_REMOVEDIR));
    show!("root", sys!(rmdir, c"/"));
    let fd = kit::open("c", 0);
    show!("open one", sys!(rmdir, c"c"));
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    show!("still open", sys!(fstat, fd, &raw mut st));
    show!("links", st.st_nlink);
}

pub fn hard_links() {
    kit::file("f", b"x");
    std::fs::create_dir("d").unwrap();
    symlink("f", "l").unwrap();
    show!("link", sys!(link, c"f", c"g"));
    show!("exists", sys!(link, c"f", c"g"));
    show!("directory", sys!(link, c"d", c"e"));
    show!("missing", sys!(link, c"none", c"e"));
    show!("into missing", sys!(link, c"f", c"no/e"));
    show!("of a symlink", sys!(link, c"l", c"l2"));
    show!("is a symlink", std::fs::symlink_metadata("l2").unwrap().is_symlink());
    show!("follow", sys!(linkat, CWD, c"l", CWD, c"h", libc::AT_SYMLINK_FOLLOW));
    show!("is a file", std::fs::symlink_metadata("h").unwrap().is_file());
    show!("flags", sys!(linkat, CWD, c"f", CWD, c"i", 0x100));
    show!("target slash", sys!(link, c"f", c"j/"));
}

pub fn unlinking() {
    let fd = kit::file("f", b"abc");
    std::fs::create_dir("d").unwrap();
    show!("unlink", sys!(unlink, c"f"));
    let mut buf = [0u8; 3];
    show!("still readable", sys!(pread64, fd, &mut buf[..], 3, 0));
    show!("again", sys!(unlink, c"f"));
    show!("directory", sys!(unlink, c"d"));
    show!("flags", sys!(unlinkat, CWD, c"d", 1));
    kit::file("g", b"");
    show!("slash", sys!(unlink, c"g/"));
    show!("below a file", sys!(unlink, c"g/x"));
    show!("dot", sys!(unlink, c"."));
}

pub fn symbolic_links() {
    show!("make", sys!(symlink, c"target/of link", c"l"));
    let mut buf = [b'-'; 32];
    show!("read", sys!(readlink, c"l", &mut buf[..], 32));
    say!("{}", String::from_utf8_lossy(&buf[..16]));
    show!("short buffer", sys!(readlink, c"l", &mut buf[..], 3));
    show!("no buffer", sys!(readlink, c"l", &mut buf[..], 0));
    show!("negative", sys!(readlink, c"l", &mut buf[..], -1));
    show!("null", sys!(readlink, c"l", 0, 5));
    show!("exists", sys!(symlink, c"x", c"l"));
    show!("empty target", sys!(symlink, c"", c"m"));
    show!("not a link", sys!(readlink, c".", &mut buf[..], 32));
    show!("missing", sys!(readlink, c"none", &mut buf[..], 32));
    let fd = kit::open("l", libc::O_PATH | libc::O_NOFOLLOW);
    show!("empty path", sys!(readlinkat, fd, c"", &mut buf[..], 32));
    show!("empty path of cwd", sys!(readlinkat, CWD, c"", &mut buf[..], 32));
    show!("at", sys!(symlinkat, c"a", kit::open(".", 0), c"n"));
    let long = std::ffi::CString::new("x".repeat(4096)).unwrap();
    show!("long target", sys!(symlink, &long, c"o"));
}

pub fn special_files() {
    show!("fifo", sys!(mknod, c"fifo", libc::S_IFIFO | 0o600, 0));
    show!("is one", std::fs::symlink_metadata("fifo").unwrap().file_type().is_fifo());
    show!("regular", sys!(mknod, c"f", libc::S_IFREG | 0o600, 0));
    show!("no type", sys!(mknodat, CWD, c"g", 0o600, 0));
    show!("is a file", std::fs::metadata("g").unwrap().is_file());
    show!("socket", sys!(mknod, c"s", libc::S_IFSOCK | 0o600, 0));
    show!("open the socket", sys!(open, c"s", libc::O_RDWR, 0));
    show!("directory", sys!(mknod, c"d", libc::S_IFDIR | 0o700, 0));
    show!("nonsense", sys!(mknod, c"d", 0o170_000, 0));
    show!("exists", sys!(mknod, c"f", libc::S_IFREG, 0));
}
