// SPDX-License-Identifier: Apache-2.0
//! fsync(2) and its kin, posix_fadvise(2), readahead(2).
//!
//! Covers: fsync, fdatasync, sync, syncfs, sync_file_range, fadvise64, readahead.

use crate::kit;

pub fn files_and_pipes() {
    let fd = kit::file("f", b"abc");
    show!("fsync", sys!(fsync, fd));
    show!("fdatasync", sys!(fdatasync, fd));
    show!("syncfs", sys!(syncfs, fd));
    show!("range", sys!(sync_file_range, fd, 0, 0, 2));
    show!("range flags", sys!(sync_file_range, fd, 0, 0, 99));
    show!("range negative", sys!(sync_file_range, fd, -1, 0, 2));
    let (r, _w) = kit::pipe();
    show!("pipe", sys!(fsync, r));
    show!("pipe range", sys!(sync_file_range, r, 0, 0, 2));
    show!("closed", sys!(fsync, 99));
    show!("closed", sys!(syncfs, 99));
}

pub fn advice() {
    let fd = kit::file("f", b"abc");
    for advice in 0..7 {
        show!(format!("advice {advice}"), sys!(fadvise64, fd, 0, 0, advice));
    }
    show!("negative length", sys!(fadvise64, fd, 0, -1, 0));
    let (r, _w) = kit::pipe();
    show!("pipe", sys!(fadvise64, r, 0, 0, 0));
    show!("readahead", sys!(readahead, fd, 0, 4096));
    show!("readahead pipe", sys!(readahead, r, 0, 4096));
}
