// SPDX-License-Identifier: Apache-2.0
//! fcntl(2).
//!
//! Covers: fcntl.

use crate::kit;

pub fn descriptor_flags() {
    let fd = kit::file("f", b"");
    show!("none", sys!(fcntl, fd, libc::F_GETFD, 0));
    show!("set", sys!(fcntl, fd, libc::F_SETFD, 0xff));
    show!("get", sys!(fcntl, fd, libc::F_GETFD, 0));
    show!("dupfd clears", {
        let new = sys!(fcntl, fd, libc::F_DUPFD, 40);
        format!("{new} {}", sys!(fcntl, new.fd(), libc::F_GETFD, 0))
    });
    show!("dupfd cloexec", {
        let new = sys!(fcntl, fd, libc::F_DUPFD_CLOEXEC, 40);
        format!("{new} {}", sys!(fcntl, new.fd(), libc::F_GETFD, 0))
    });
    show!("dupfd negative", sys!(fcntl, fd, libc::F_DUPFD, -1));
    show!("closed", sys!(fcntl, 99, libc::F_GETFD, 0));
    show!("unknown", sys!(fcntl, fd, 7777, 0));
    show!("unknown, closed", sys!(fcntl, 99, 7777, 0));
}

pub fn status_flags() {
    let fd = kit::open("f", libc::O_RDWR | libc::O_CREAT | libc::O_APPEND | libc::O_NONBLOCK);
    show!("get", format!("{:o}", sys!(fcntl, fd, libc::F_GETFL, 0).ok()));
    show!("set", sys!(fcntl, fd, libc::F_SETFL, libc::O_RDONLY | libc::O_CREAT | libc::O_NOATIME));
    show!("get", format!("{:o}", sys!(fcntl, fd, libc::F_GETFL, 0).ok()));
    let path = kit::open("f", libc::O_PATH);
    show!("path", format!("{:o}", sys!(fcntl, path, libc::F_GETFL, 0).ok()));
    show!("set path", sys!(fcntl, path, libc::F_SETFL, 0));
    show!("lock path", sys!(fcntl, path, libc::F_GETLK, 0));
}

pub fn owner_and_signal() {
    let (r, _w) = kit::pipe();
    show!("owner", sys!(fcntl, r, libc::F_GETOWN, 0));
    show!("set", sys!(fcntl, r, libc::F_SETOWN, sys!(getpid).ok()));
    show!("is ours", sys!(fcntl, r, libc::F_GETOWN, 0) == sys!(getpid));
    show!("no such process", sys!(fcntl, r, libc::F_SETOWN, 0x3fff_fff0));
    show!("signal", sys!(fcntl, r, 11, 0));
    show!("set signal", sys!(fcntl, r, 10, libc::SIGUSR1));
    show!("signal", sys!(fcntl, r, 11, 0));
    show!("bad signal", sys!(fcntl, r, 10, 65));
}

pub fn pipe_size() {
    let (r, w) = kit::pipe();
    show!("default", sys!(fcntl, r, libc::F_GETPIPE_SZ, 0));
    show!("round up", sys!(fcntl, w, libc::F_SETPIPE_SZ, 5000));
    show!("now", sys!(fcntl, r, libc::F_GETPIPE_SZ, 0));
    sys!(write, w, &[1u8; 8192][..], 8192).ok();
    show!("too small for what is there", sys!(fcntl, w, libc::F_SETPIPE_SZ, 4096));
    show!("file", sys!(fcntl, kit::file("f", b""), libc::F_GETPIPE_SZ, 0));
}
