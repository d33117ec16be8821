// SPDX-License-Identifier: Apache-2.0
//! lseek(2).
//!
//! Covers: lseek.

use crate::kit;

pub fn origins() {
    let fd = kit::file("f", b"0123456789");
    show!("set", sys!(lseek, fd, 4, libc::SEEK_SET));
    show!("cur", sys!(lseek, fd, -1, libc::SEEK_CUR));
    show!("end", sys!(lseek, fd, 2, libc::SEEK_END));
    show!("before the start", sys!(lseek, fd, -100, libc::SEEK_CUR));
    show!("bad origin", sys!(lseek, fd, 0, 9));
    show!("overflow", sys!(lseek, fd, i64::MAX, libc::SEEK_END));
    show!("position", sys!(lseek, fd, 0, libc::SEEK_CUR));
}

pub fn data_and_holes() {
    let fd = kit::file("f", b"0123456789");
    show!("data", sys!(lseek, fd, 3, libc::SEEK_DATA));
    show!("hole", sys!(lseek, fd, 3, libc::SEEK_HOLE));
    show!("data behind the end", sys!(lseek, fd, 10, libc::SEEK_DATA));
    show!("hole behind the end", sys!(lseek, fd, 11, libc::SEEK_HOLE));
}

pub fn not_seekable() {
    let (r, _w) = kit::pipe();
    show!("pipe", sys!(lseek, r, 0, libc::SEEK_CUR));
    show!("pipe, bad origin", sys!(lseek, r, 0, 9));
    show!("closed", sys!(lseek, 99, 0, 0));
    let fd = kit::open("/dev/null", libc::O_RDWR);
    show!("null device", sys!(lseek, fd, 100, libc::SEEK_SET));
}

pub fn shared_by_dup_and_fork() {
    let fd = kit::file("f", b"0123456789");
    let other = sys!(dup, fd).fd();
    sys!(lseek, other, 7, libc::SEEK_SET).ok();
    show!("dup", sys!(lseek, fd, 0, libc::SEEK_CUR));
    kit::in_child(|| {
        sys!(lseek, fd, 2, libc::SEEK_SET).ok();
        0
    });
    show!("fork", sys!(lseek, fd, 0, libc::SEEK_CUR));
    let again = kit::open("f", libc::O_RDONLY);
    show!("open", sys!(lseek, again, 0, libc::SEEK_CUR));
}
