// SPDX-License-Identifier: Apache-2.0
//! truncate(2), ftruncate(2), fallocate(2).
//!
//! Covers: truncate, ftruncate, fallocate.

use crate::kit;

fn size() -> u64 {
    std::fs::metadata("f").unwrap().len()
}

pub fn sizes() {
    let fd = kit::file("f", b"0123456789");
    show!("shorter", sys!(ftruncate, fd, 4));
    show!("size", size());
    show!("longer", sys!(truncate, c"f", 8));
    show!("content", format!("{:?}", std::fs::read("f").unwrap()));
    show!("negative", sys!(ftruncate, fd, -1));
    show!("negative path", sys!(truncate, c"f", -1));
    show!("missing", sys!(truncate, c"missing", 0));
    show!("directory", sys!(truncate, c".", 0));
}

pub fn descriptors() {
    kit::file("f", b"x");
    let fd = kit::open("f", libc::O_RDONLY);
    show!("read-only", sys!(ftruncate, fd, 0));
    let (_r, w) = kit::pipe();
    show!("pipe", sys!(ftruncate, w, 0));
    show!("closed", sys!(ftruncate, 99, 0));
    let fd = kit::open(".", libc::O_RDONLY);
    show!("directory", sys!(ftruncate, fd, 0));
}

pub fn allocation() {
    let fd = kit::file("f", b"abc");
    show!("grow", sys!(fallocate, fd, 0, 0, 100));
    show!("size", size());
    show!("keep size", sys!(fallocate, fd, libc::FALLOC_FL_KEEP_SIZE, 0, 200));
    show!("size", size());
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    show!("punch", sys!(fallocate, fd, punch, 1, 1));
    show!("bytes", format!("{:?}", &std::fs::read("f").unwrap()[..4]));
    show!("no length", sys!(fallocate, fd, 0, 0, 0));
    show!("negative", sys!(fallocate, fd, 0, -1, 5));
    show!("punch without keep", sys!(fallocate, fd, libc::FALLOC_FL_PUNCH_HOLE, 0, 1));
    let (_r, w) = kit::pipe();
    show!("pipe", sys!(fallocate, w, 0, 0, 5));
    let fd = kit::open("f", libc::O_RDONLY);
    show!("read-only", sys!(fallocate, fd, 0, 0, 5));
}
