// SPDX-License-Identifier: Apache-2.0
//! getsockopt(2), setsockopt(2).
//!
//! Covers: getsockopt, setsockopt.

use crate::kit;

fn get(fd: i32, level: i32, option: i32) -> String {
    let mut value = -1i32;
    let mut len = 4i32;
    let ret = sys!(getsockopt, fd, level, option, &raw mut value, &raw mut len);
    format!("{ret} {value} length {len}")
}

fn set(fd: i32, option: i32, value: i32) -> kit::Ret {
    sys!(setsockopt, fd, libc::SOL_SOCKET, option, &raw const value, 4)
}

pub fn of_unix_sockets() {
    let fd = sys!(socket, libc::AF_UNIX, libc::SOCK_STREAM, 0).fd();
    let level = libc::SOL_SOCKET;
    show!("type", get(fd, level, libc::SO_TYPE));
    show!("domain", get(fd, level, libc::SO_DOMAIN));
    show!("protocol", get(fd, level, libc::SO_PROTOCOL));
    show!("error", get(fd, level, libc::SO_ERROR));
    show!("listening", get(fd, level, libc::SO_ACCEPTCONN));
    show!("set buffer", set(fd, libc::SO_SNDBUF, 20_000));
    show!("doubled", get(fd, level, libc::SO_SNDBUF));
    show!("smallest", {
        set(fd, libc::SO_RCVBUF, 0).ok();
        get(fd, level, libc::SO_RCVBUF)
    });
    show!("reuse", set(fd, libc::SO_REUSEADDR, 5));
    show!("as one", get(fd, level, libc::SO_REUSEADDR));
    show!("type is read-only", set(fd, libc::SO_TYPE, 1));
    show!("unknown", get(fd, level, 9999));
    show!("unknown set", set(fd, 9999, 1));
    show!("other level", get(fd, 6, 1));
    show!("short value", sys!(setsockopt, fd, level, libc::SO_REUSEADDR, [1u8; 4].as_ptr(), 2));
    show!("bad address", sys!(setsockopt, fd, level, libc::SO_REUSEADDR, 8, 4));
    show!("closed", get(99, level, libc::SO_TYPE));
    show!("file", get(kit::file("f", b""), level, libc::SO_TYPE));
    let mut len = -1i32;
    show!("negative length", sys!(getsockopt, fd, level, libc::SO_TYPE, &raw mut len, &raw mut len));
    let mut byte = [9u8; 4];
    let mut len = 1i32;
    show!("one byte", sys!(getsockopt, fd, level, libc::SO_TYPE, byte.as_mut_ptr(), &raw mut len));
    say!("{byte:?} {len}");
    let time = [0i64, 1_000_000];
    show!("time", sys!(setsockopt, fd, level, libc::SO_RCVTIMEO, time.as_ptr(), 16));
    let linger = [1i32, 5];
    show!("linger", sys!(setsockopt, fd, level, libc::SO_LINGER, linger.as_ptr(), 8));
}
