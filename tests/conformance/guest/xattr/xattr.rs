// SPDX-License-Identifier: Apache-2.0
//! xattr(7).
//!
//! Covers: setxattr, lsetxattr, fsetxattr, getxattr, lgetxattr, fgetxattr, listxattr, llistxattr, flistxattr, removexattr, lremovexattr, fremovexattr.

use crate::kit;

pub fn user_attributes() {
    let fd = kit::file("f", b"");
    show!("set", sys!(setxattr, c"f", c"user.a", &b"value"[..], 5, 0));
    show!("create again", sys!(setxattr, c"f", c"user.a", &b"v"[..], 1, 1));
    show!("replace missing", sys!(setxattr, c"f", c"user.b", &b"v"[..], 1, 2));
    show!("both", sys!(setxattr, c"f", c"user.b", &b"v"[..], 1, 4));
    show!("fset", sys!(fsetxattr, fd, c"user.c", &b""[..], 0, 0));
    let mut buf = [0u8; 64];
    show!("size", sys!(getxattr, c"f", c"user.a", 0, 0));
    show!("get", sys!(getxattr, c"f", c"user.a", &mut buf[..], 64));
    say!("{}", String::from_utf8_lossy(&buf[..5]));
    show!("small", sys!(fgetxattr, fd, c"user.a", &mut buf[..], 3));
    show!("missing", sys!(getxattr, c"f", c"user.none", &mut buf[..], 64));
    let len = sys!(listxattr, c"f", &mut buf[..], 64).ok() as usize;
    let mut names: Vec<_> = buf[..len].split(|b| *b == 0).map(String::from_utf8_lossy).collect();
    names.retain(|name| name.starts_with("user."));
    names.sort();
    show!("list", format!("{names:?}"));
    show!("list size", sys!(flistxattr, fd, 0, 0).ok() > 0);
    show!("list small", sys!(llistxattr, c"f", &mut buf[..], 2));
    show!("remove", sys!(removexattr, c"f", c"user.a"));
    show!("again", sys!(fremovexattr, fd, c"user.a"));
    show!("lremove", sys!(lremovexattr, c"f", c"user.c"));
    show!("lget", sys!(lgetxattr, c"f", c"user.c", &mut buf[..], 64));
}

pub fn errors() {
    let fd = kit::file("f", b"");
    std::os::unix::fs::symlink("f", "l").unwrap();
    show!("no namespace", sys!(setxattr, c"f", c"name", &b"v"[..], 1, 0));
    show!("unknown namespace", sys!(setxattr, c"f", c"none.x", &b"v"[..], 1, 0));
    show!("empty name", sys!(setxattr, c"f", c"", &b"v"[..], 1, 0));
    show!("only the prefix", sys!(setxattr, c"f", c"user.", &b"v"[..], 1, 0));
    let long = std::ffi::CString::new(format!("user.{}", "n".repeat(251))).unwrap();
    show!("long name", sys!(setxattr, c"f", &long, &b"v"[..], 1, 0));
    show!("large value", sys!(fsetxattr, fd, c"user.a", &b"v"[..], 65537, 0));
    show!("symlink", sys!(lsetxattr, c"l", c"user.a", &b"v"[..], 1, 0));
    show!("missing file", sys!(getxattr, c"none", c"user.a", 0, 0));
    show!("bad value", sys!(setxattr, c"f", c"user.a", 8, 5, 0));
    show!("closed", sys!(flistxattr, 99, 0, 0));
    let (r, _w) = kit::pipe();
    show!("pipe", sys!(fsetxattr, r, c"user.a", &b"v"[..], 1, 0));
}
