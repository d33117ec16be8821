// SPDX-License-Identifier: Apache-2.0
//! cachestat(2).
//!
//! Covers: cachestat.

use crate::{
    kit,
    mount::mount::{apart, tmpfs},
};

fn cached(fd: i32, off: u64, len: u64, flags: u32) -> String {
    let (range, mut stat) = ([off, len], [u64::MAX; 5]);
    let result = sys!(cachestat, fd, range.as_ptr(), stat.as_mut_ptr(), flags);
    if result.0 == 0 { format!("{} cached, {} written back", stat[0], stat[2]) } else { result.to_string() }
}

pub fn of_a_tmpfs() {
    apart(|| {
        tmpfs("m");
        let fd = kit::file("m/f", &[1; 10_000]);
        show!("all", cached(fd, 0, 0, 0));
        show!("part", cached(fd, 5000, 100, 0));
        show!("two", cached(fd, 4000, 200, 0));
        show!("behind", cached(fd, 20_000, 5, 0));
        sys!(ftruncate, fd, 40_960).ok();
        show!("with a hole", cached(fd, 0, 0, 0));
        sys!(pwrite64, fd, c"x", 1, 400_000).ok();
        show!("larger", cached(fd, 0, 0, 0));
        show!("flags", cached(fd, 0, 0, 1));
        show!("closed", cached(99, 0, 0, 0));
        show!("path", cached(kit::open("m/f", libc::O_PATH), 0, 0, 0));
        show!("pipe", cached(kit::pipe().0, 0, 0, 0));
        let range = [0u64; 2];
        show!("bad range", sys!(cachestat, fd, 8usize, range.as_ptr(), 0));
        show!("bad result", sys!(cachestat, fd, range.as_ptr(), 8usize, 0));
    });
}
