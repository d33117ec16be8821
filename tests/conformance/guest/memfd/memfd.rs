// SPDX-License-Identifier: Apache-2.0
//! memfd_create(2) and seals.
//!
//! Covers: memfd_create.

use crate::kit;

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

pub fn file_without_a_name() {
    let fd = sys!(memfd_create, c"name", 0).fd();
    show!("write", sys!(write, fd, &b"abc"[..], 3));
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    show!("link", link.display());
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    sys!(fstat, fd, &raw mut st).ok();
    say!("mode {:o} links {} size {}", st.st_mode, st.st_nlink, st.st_size);
    let map = kit::map(4096, RW, libc::MAP_SHARED, fd);
    unsafe { map.write_volatile(b'X') };
    let mut buf = [0u8; 3];
    sys!(pread64, fd, &mut buf[..], 3, 0).ok();
    show!("content", String::from_utf8_lossy(&buf));
    show!("flags", sys!(memfd_create, c"x", 0x100));
    show!("cloexec", sys!(fcntl, sys!(memfd_create, c"x", 1).fd(), libc::F_GETFD, 0));
    let long = std::ffi::CString::new("x".repeat(250)).unwrap();
    show!("long name", sys!(memfd_create, &*long, 0));
    show!("bad address", sys!(memfd_create, 8, 0));
    show!("no seals allowed", sys!(fcntl, fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE));
    show!("seals", sys!(fcntl, fd, libc::F_GET_SEALS, 0));
}

pub fn seals() {
    let fd = sys!(memfd_create, c"s", libc::MFD_ALLOW_SEALING).fd();
    sys!(write, fd, &b"abcdef"[..], 6).ok();
    show!("none", sys!(fcntl, fd, libc::F_GET_SEALS, 0));
    show!("grow", sys!(fcntl, fd, libc::F_ADD_SEALS, libc::F_SEAL_GROW));
    show!("longer", sys!(ftruncate, fd, 10));
    show!("write behind", sys!(pwrite64, fd, &b"x"[..], 1, 6));
    show!("shorter", sys!(ftruncate, fd, 5));
    show!("shrink", sys!(fcntl, fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK));
    show!("shorter", sys!(ftruncate, fd, 4));
    let map = kit::map(4096, RW, libc::MAP_SHARED, fd);
    show!("write while mapped", sys!(fcntl, fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE));
    sys!(munmap, map, 4096).ok();
    show!("write", sys!(fcntl, fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE));
    show!("write", sys!(pwrite64, fd, &b"x"[..], 1, 0));
    show!("map", sys!(mmap, 0, 4096, RW, libc::MAP_SHARED, fd, 0));
    show!("map privately", sys!(mmap, 0, 4096, RW, libc::MAP_PRIVATE, fd, 0).is_ok());
    show!("seal", sys!(fcntl, fd, libc::F_ADD_SEALS, libc::F_SEAL_SEAL));
    show!("no more", sys!(fcntl, fd, libc::F_ADD_SEALS, libc::F_SEAL_FUTURE_WRITE));
    show!("seals", sys!(fcntl, fd, libc::F_GET_SEALS, 0));
    show!("unknown", sys!(fcntl, fd, libc::F_ADD_SEALS, 0x1000));
    show!("pipe", sys!(fcntl, kit::pipe().0, libc::F_GET_SEALS, 0));
}
