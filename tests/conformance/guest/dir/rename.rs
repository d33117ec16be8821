// SPDX-License-Identifier: Apache-2.0
//! rename(2), renameat2(2).
//!
//! Covers: rename, renameat, renameat2.

use std::os::unix::fs::symlink;

use crate::kit;

const CWD: i32 = libc::AT_FDCWD;

fn names() -> String {
    let mut names: Vec<_> = std::fs::read_dir(".").unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    names.iter().map(|name| name.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

pub fn files() {
    kit::file("a", b"a");
    kit::file("b", b"b");
    show!("replace", sys!(rename, c"a", c"b"));
    say!("{} {:?}", names(), std::fs::read("b").unwrap());
    std::fs::hard_link("b", "c").unwrap();
    show!("same file", sys!(rename, c"b", c"c"));
    say!("{}", names());
    show!("missing", sys!(rename, c"none", c"x"));
    show!("into missing", sys!(rename, c"b", c"no/x"));
    show!("slash", sys!(rename, c"b", c"x/"));
    symlink("b", "l").unwrap();
    show!("link itself", sys!(rename, c"l", c"m"));
    say!("{}", names());
}

pub fn directories() {
    for name in ["d", "d/sub", "empty", "full"] {
        std::fs::create_dir(name).unwrap();
    }
    kit::file("full/x", b"");
    kit::file("f", b"");
    show!("over empty", sys!(rename, c"d", c"empty"));
    show!("over full", sys!(rename, c"empty", c"full"));
    show!("over file", sys!(rename, c"empty", c"f"));
    show!("file over directory", sys!(rename, c"f", c"empty"));
    show!("into itself", sys!(rename, c"empty", c"empty/sub/x"));
    show!("parent over child", sys!(rename, c"empty/sub", c"empty"));
    show!("dot", sys!(rename, c".", c"x"));
    show!("dot dot", sys!(rename, c"empty/..", c"x"));
    show!("to itself", sys!(rename, c"empty", c"empty"));
    show!("slashes", sys!(rename, c"empty/", c"new/"));
    say!("{}", names());
}

pub fn flags() {
    kit::file("a", b"a");
    kit::file("b", b"b");
    std::fs::create_dir("d").unwrap();
    let at2 = |from: &std::ffi::CStr, to: &std::ffi::CStr, flags: u32| {
        sys!(renameat2, CWD, from, CWD, to, flags)
    };
    show!("noreplace", at2(c"a", c"b", 1));
    show!("noreplace new", at2(c"a", c"c", 1));
    show!("exchange", at2(c"b", c"c", 2));
    say!("{:?} {:?}", std::fs::read("b").unwrap(), std::fs::read("c").unwrap());
    show!("exchange with directory", at2(c"b", c"d", 2));
    show!("b is a directory", std::path::Path::new("b").is_dir());
    show!("exchange missing", at2(c"b", c"none", 2));
    show!("both", at2(c"b", c"c", 3));
    show!("unknown", at2(c"b", c"c", 16));
    show!("at", sys!(renameat, kit::open("b", 0), c"../c", CWD, c"e"));
    say!("{}", names());
}

pub fn open_file_follows() {
    let fd = kit::file("a", b"");
    sys!(rename, c"a", c"b").ok();
    sys!(write, fd, &b"later"[..], 5).ok();
    show!("content", String::from_utf8(std::fs::read("b").unwrap()).unwrap());
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    show!("name", link.file_name().unwrap().to_str().unwrap());
}
