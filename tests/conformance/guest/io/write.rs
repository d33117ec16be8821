// SPDX-License-Identifier: Apache-2.0
//! write(2) and its kin.
//!
//! Covers: write, pwrite64, writev, pwritev, pwritev2.

use crate::kit;

fn content(name: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(name).unwrap()).into_owned()
}

pub fn moves_the_position() {
    let fd = kit::file("f", b"");
    show!("write", sys!(write, fd, &b"hello"[..], 5));
    show!("position", sys!(lseek, fd, 0, libc::SEEK_CUR));
    show!("nothing", sys!(write, fd, 0, 0));
    show!("content", content("f"));
}

pub fn append_mode() {
    kit::file("f", b"one ");
    let fd = kit::open("f", libc::O_RDWR | libc::O_APPEND);
    sys!(lseek, fd, 0, libc::SEEK_SET).ok();
    show!("write", sys!(write, fd, &b"two "[..], 4));
    show!("position", sys!(lseek, fd, 0, libc::SEEK_CUR));
    // pwrite(2) BUGS: with O_APPEND the offset is ignored.
    show!("pwrite", sys!(pwrite64, fd, &b"three"[..], 5, 0));
    show!("position stays", sys!(lseek, fd, 0, libc::SEEK_CUR));
    show!("content", content("f"));
}

pub fn hole() {
    let fd = kit::file("f", b"");
    show!("behind the end", sys!(pwrite64, fd, &b"x"[..], 1, 5));
    show!("content", format!("{:?}", std::fs::read("f").unwrap()));
}

pub fn bad_descriptor() {
    show!("closed", sys!(write, 99, &b"x"[..], 1));
    kit::file("f", b"");
    let fd = kit::open("f", libc::O_RDONLY);
    show!("read-only", sys!(write, fd, &b"x"[..], 1));
    show!("read-only, nothing", sys!(write, fd, &b"x"[..], 0));
    let fd = kit::open("f", libc::O_PATH);
    show!("path", sys!(write, fd, &b"x"[..], 1));
}

pub fn bad_address() {
    let fd = kit::file("f", b"");
    show!("null", sys!(write, fd, 0, 1));
    show!("wrapping", sys!(write, fd, usize::MAX - 10, 100));
    let (_r, w) = kit::pipe();
    show!("pipe", sys!(write, w, 8, 1));
    show!("size", std::fs::metadata("f").unwrap().len());
}

pub fn vectors() {
    let fd = kit::file("f", b"");
    let parts: [&[u8]; 3] = [b"ab", b"", b"cde"];
    let iov = parts.map(|p| libc::iovec { iov_base: p.as_ptr() as *mut _, iov_len: p.len() });
    show!("writev", sys!(writev, fd, iov.as_ptr(), 3));
    show!("pwritev", sys!(pwritev, fd, iov.as_ptr(), 3, 1, 0));
    show!("pwritev2 append", sys!(pwritev2, fd, iov.as_ptr(), 1, 0, 0, libc::RWF_APPEND));
    show!("too many", sys!(writev, fd, iov.as_ptr(), 1025));
    show!("content", content("f"));
}

pub fn file_size_limit() {
    let fd = kit::file("f", b"");
    let status = kit::in_child(|| {
        let limit = libc::rlimit { rlim_cur: 10, rlim_max: 10 };
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        show!("up to the limit", sys!(write, fd, &[1u8; 20][..], 20));
        show!("beyond", sys!(write, fd, &[1u8; 20][..], 20));
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
        sys!(write, fd, &[1u8; 20][..], 20);
        0
    });
    show!("end", kit::status(status));
}
