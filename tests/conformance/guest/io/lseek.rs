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

pub fn small_holes() {
    crate::mount::mount::apart(|| {
        crate::mount::mount::tmpfs("m");
        let fd = kit::file("m/f", b"");
        let seek = |at: i64| {
            let (data, hole) = (sys!(lseek, fd, at, 3), sys!(lseek, fd, at, 4));
            let mut buf = [0i64; 18];
            sys!(fstat, fd, buf.as_mut_ptr()).ok();
            format!("data {data} hole {hole} blocks {} size {}", buf[8], buf[6])
        };
        show!("empty", seek(0));
        sys!(pwrite64, fd, c"x", 1, 9000).ok();
        show!("behind a hole", seek(0));
        show!("in the data", seek(8500));
        sys!(ftruncate, fd, 20_000).ok();
        show!("at the end", seek(12_000));
        show!("allocate", sys!(fallocate, fd, 1, 0, 4096));
        sys!(pwrite64, fd, c"x", 1, 100).ok();
        show!("filled", seek(0));
        show!("punch", sys!(fallocate, fd, 3, 4000, 8000));
        show!("punched", seek(0));
        sys!(pwrite64, fd, c"x", 1, 300_000).ok();
        show!("grown", seek(5000));
        sys!(ftruncate, fd, 5).ok();
        show!("cut", seek(0));
    });
}

pub fn a_full_file_system() {
    crate::mount::mount::apart(|| {
        std::fs::create_dir("m").unwrap();
        sys!(mount, c"x", c"m", c"tmpfs", 0, c"size=64k").ok();
        let fd = kit::file("m/f", b"");
        show!("too much", sys!(fallocate, fd, 0, 0, 70_000));
        show!("half", sys!(fallocate, fd, 0, 0, 32_768));
        show!("the same", sys!(fallocate, fd, 0, 0, 32_768));
        show!("other half", sys!(fallocate, fd, 0, 32_768, 32_768));
        show!("one more", sys!(fallocate, fd, 0, 65_536, 1));
        show!("write what there is", sys!(pwrite64, fd, c"x", 1, 40_000));
        show!("write more", sys!(pwrite64, fd, c"x", 1, 65_536));
        show!("punch", sys!(fallocate, fd, 3, 0, 4096));
        show!("write more", sys!(pwrite64, fd, c"x", 1, 65_536));
        show!("write the hole", sys!(pwrite64, fd, c"x", 1, 0));
    });
}

pub fn pages_filled_through_a_mapping() {
    crate::mount::mount::apart(|| {
        std::fs::create_dir("m").unwrap();
        sys!(mount, c"x", c"m", c"tmpfs", 0, c"size=64k").ok();
        let fill = |name: &str| {
            let fd = kit::file(name, b"");
            sys!(ftruncate, fd, 32_768).ok();
            let map = kit::map(32_768, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd);
            for page in 0..8 {
                unsafe { map.add(page * 4096).write_volatile(1) };
            }
            sys!(munmap, map, 32_768).ok();
            let size = [32_768i64, 0];
            sys!(ftruncate, fd, size[1]).ok();
            kit::close(&[fd]);
        };
        fill("m/a");
        fill("m/b");
        std::fs::remove_file("m/a").unwrap();
        let fd = kit::file("m/c", b"");
        show!("room again", sys!(pwrite64, fd, vec![1u8; 60_000].as_ptr(), 60_000, 0));
        show!("and no more", sys!(pwrite64, fd, vec![1u8; 60_000].as_ptr(), 60_000, 60_000));
    });
}
