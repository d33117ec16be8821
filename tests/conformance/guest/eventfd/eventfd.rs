// SPDX-License-Identifier: Apache-2.0
//! eventfd(2).
//!
//! Covers: eventfd, eventfd2.

use crate::kit;

fn read(fd: i32) -> String {
    let mut value = 0u64;
    let ret = sys!(read, fd, &raw mut value, 8);
    format!("{ret} {value}")
}

fn write(fd: i32, value: u64) -> kit::Ret {
    sys!(write, fd, &raw const value, 8)
}

pub fn counter() {
    let fd = sys!(eventfd2, 3, libc::EFD_NONBLOCK).fd();
    show!("initial", read(fd));
    show!("empty", read(fd));
    show!("add", write(fd, 5));
    show!("add", write(fd, 6));
    show!("sum", read(fd));
    show!("max", write(fd, u64::MAX - 1));
    show!("full", write(fd, 1));
    show!("invalid", write(fd, u64::MAX));
    show!("zero", write(fd, 0));
    show!("small read", sys!(read, fd, [0u8; 4].as_mut_ptr(), 4));
    show!("small write", sys!(write, fd, [0u8; 4].as_ptr(), 4));
    show!("large", read(fd));
    show!("flags", sys!(eventfd2, 0, 4));
    show!("seek", sys!(lseek, fd, 0, 0));
    show!("pread", sys!(pread64, fd, [0u8; 8].as_mut_ptr(), 8, 0));
}

pub fn semaphore() {
    let fd = sys!(eventfd2, 2, libc::EFD_SEMAPHORE | libc::EFD_NONBLOCK).fd();
    show!("one", read(fd));
    show!("two", read(fd));
    show!("none", read(fd));
}

pub fn polling_and_blocking() {
    let fd = sys!(eventfd, 0).fd();
    let poll = || {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        sys!(poll, &raw mut poll, 1, 0).ok();
        format!("{:#x}", poll.revents)
    };
    show!("zero", poll());
    write(fd, u64::MAX - 1).ok();
    show!("full", poll());
    read(fd);
    let pid = kit::fork(|| {
        kit::sleep_ms(50);
        write(fd, 9).ok();
        0
    });
    show!("blocked until", read(fd));
    kit::wait_for(pid);
}
