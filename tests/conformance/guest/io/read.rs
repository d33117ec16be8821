// SPDX-License-Identifier: Apache-2.0
//! read(2) and its kin.
//!
//! Covers: read, pread64, readv, preadv, preadv2.

use crate::kit;

pub fn end_of_file() {
    let fd = kit::file("f", b"abc");
    let mut buf = [0u8; 8];
    show!("first", sys!(read, fd, &mut buf[..], 8));
    show!("again", sys!(read, fd, &mut buf[..], 8));
    show!("bytes", String::from_utf8_lossy(&buf[..3]));
}

pub fn bad_descriptor() {
    let mut buf = [0u8; 8];
    show!("closed", sys!(read, 99, &mut buf[..], 8));
    show!("negative", sys!(read, -1, &mut buf[..], 8));
    let fd = kit::open(".", libc::O_RDONLY);
    show!("directory", sys!(read, fd, &mut buf[..], 8));
    let fd = kit::open("f", libc::O_WRONLY | libc::O_CREAT);
    show!("write-only", sys!(read, fd, &mut buf[..], 8));
    let fd = kit::open("f", libc::O_PATH);
    show!("path", sys!(read, fd, &mut buf[..], 8));
}

pub fn bad_address() {
    let fd = kit::file("f", b"abc");
    show!("null", sys!(read, fd, 0, 3));
    show!("kernel half", sys!(read, fd, usize::MAX - 4096, 3));
    show!("nothing asked of null", sys!(read, fd, 0, 0));
    show!("position", sys!(lseek, fd, 0, libc::SEEK_CUR));
    let empty = kit::file("empty", b"");
    show!("end of file before fault", sys!(read, empty, 0, 3));
}

pub fn partial_fault() {
    let map = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            8192,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    unsafe { libc::munmap(map.byte_add(4096), 4096) };
    let fd = kit::file("f", &[7; 100]);
    let start = unsafe { map.byte_add(4096 - 10) };
    show!("half of it fits", sys!(read, fd, start, 100).is_ok());
    let (r, w) = kit::pipe();
    show!("fill", sys!(write, w, &[1u8; 100][..], 100));
    show!("pipe", sys!(read, r, start, 100));
}

pub fn vectors() {
    let fd = kit::file("f", b"0123456789");
    let (mut a, mut b) = ([0u8; 4], [0u8; 4]);
    let iov = [
        libc::iovec { iov_base: a.as_mut_ptr().cast(), iov_len: 4 },
        libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
        libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: 4 },
    ];
    show!("readv", sys!(readv, fd, iov.as_ptr(), 3));
    say!("{:?} {:?}", a, b);
    show!("none", sys!(readv, fd, iov.as_ptr(), 0));
    show!("too many", sys!(readv, fd, iov.as_ptr(), 1025));
    show!("negative", sys!(readv, fd, iov.as_ptr(), -1));
    show!("null", sys!(readv, fd, 0, 1));
    let wrapped = [libc::iovec { iov_base: a.as_mut_ptr().cast(), iov_len: usize::MAX }];
    show!("length negative", sys!(readv, fd, wrapped.as_ptr(), 1));
    show!("preadv", sys!(preadv, fd, iov.as_ptr(), 3, 5, 0));
    show!("preadv negative", sys!(preadv, fd, iov.as_ptr(), 3, -1i64, -1i64));
    show!("preadv2 at position", sys!(preadv2, fd, iov.as_ptr(), 3, -1i64, -1i64, 0));
    show!("preadv2 bad flags", sys!(preadv2, fd, iov.as_ptr(), 3, 0, 0, 0x4000_0000));
}

pub fn at_offset() {
    let fd = kit::file("f", b"0123456789");
    let mut buf = [0u8; 4];
    show!("pread", sys!(pread64, fd, &mut buf[..], 4, 3));
    say!("{:?}", std::str::from_utf8(&buf));
    show!("position stays", sys!(lseek, fd, 0, libc::SEEK_CUR));
    show!("negative", sys!(pread64, fd, &mut buf[..], 4, -1));
    show!("behind the end", sys!(pread64, fd, &mut buf[..], 4, 100));
    let (r, _w) = kit::pipe();
    show!("pipe", sys!(pread64, r, &mut buf[..], 4, 0));
    show!("bad fd before offset", sys!(pread64, 99, &mut buf[..], 4, -1));
}
