// SPDX-License-Identifier: Apache-2.0
//! dup(2), dup2(2), dup3(2), close_range(2).
//!
//! Covers: dup, dup2, dup3, close_range.

use crate::kit;

pub fn numbers() {
    let fd = kit::file("f", b"abc");
    show!("dup", sys!(dup, fd).ok() > i64::from(fd));
    show!("dup2", sys!(dup2, fd, 50));
    show!("dup2 same", sys!(dup2, fd, fd).ok() == i64::from(fd));
    show!("dup2 closed, same", sys!(dup2, 99, 99));
    show!("dup2 closed", sys!(dup2, 99, 50));
    show!("dup2 negative", sys!(dup2, fd, -1));
    show!("dup2 beyond limit", sys!(dup2, fd, 0x4000_0000));
    show!("dup3 same", sys!(dup3, fd, fd, 0));
    show!("dup3 flags", sys!(dup3, fd, 51, libc::O_APPEND));
    show!("dup3 cloexec", sys!(dup3, fd, 51, libc::O_CLOEXEC));
    show!("flags of 51", sys!(fcntl, 51, libc::F_GETFD, 0));
    show!("flags of 50", sys!(fcntl, 50, libc::F_GETFD, 0));
}

pub fn status_flags_are_shared() {
    let fd = kit::file("f", b"");
    let other = sys!(dup, fd).fd();
    sys!(fcntl, other, libc::F_SETFL, libc::O_APPEND).ok();
    show!("append", sys!(fcntl, fd, libc::F_GETFL, 0).ok() as i32 & libc::O_APPEND != 0);
}

pub fn ranges() {
    let fd = kit::file("f", b"");
    for new in 60..64 {
        sys!(dup2, fd, new).ok();
    }
    show!("cloexec", sys!(close_range, 60, 61, 4));
    show!("flag", sys!(fcntl, 60, libc::F_GETFD, 0));
    show!("close", sys!(close_range, 61, 62, 0));
    show!("inside", sys!(fcntl, 62, libc::F_GETFD, 0));
    show!("outside", sys!(fcntl, 63, libc::F_GETFD, 0));
    show!("reversed", sys!(close_range, 5, 4, 0));
    show!("flags", sys!(close_range, 60, 61, 64));
    show!("to the end", sys!(close_range, 60, u32::MAX, 0));
    show!("gone", sys!(fcntl, 63, libc::F_GETFD, 0));
}

pub fn limit() {
    let fd = kit::file("f", b"");
    let limit = libc::rlimit { rlim_cur: 20, rlim_max: 20 };
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let mut last = 0;
    loop {
        let new = sys!(dup, fd);
        if new.0 < 0 {
            show!("dup", new);
            break;
        }
        last = new.0;
    }
    show!("last", last);
    show!("dup2", sys!(dup2, fd, 20));
    show!("dupfd", sys!(fcntl, fd, libc::F_DUPFD, 20));
    show!("open", sys!(open, c"f", libc::O_RDONLY, 0));
    let mut fds = [0i32; 2];
    show!("pipe", sys!(pipe, fds.as_mut_ptr()));
    show!("missing file first", sys!(open, c"none", libc::O_RDONLY, 0));
    // To clear up takes one.
    sys!(close, last).ok();
}
