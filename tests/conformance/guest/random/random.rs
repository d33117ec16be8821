// SPDX-License-Identifier: Apache-2.0
//! getrandom(2) and the random devices.
//!
//! Covers: getrandom.

use crate::kit;

pub fn bytes() {
    let mut buf = [0u8; 256];
    show!("all", sys!(getrandom, &mut buf[..], 256, 0));
    show!("not zero", buf.iter().any(|byte| *byte != 0));
    let mut other = [0u8; 256];
    show!("nonblocking", sys!(getrandom, &mut other[..], 256, 1));
    show!("differ", buf != other);
    show!("none", sys!(getrandom, &mut buf[..], 0, 0));
    show!("flags", sys!(getrandom, &mut buf[..], 8, 16));
    show!("contradiction", sys!(getrandom, &mut buf[..], 8, 6));
    show!("bad address", sys!(getrandom, 8, 8, 0));
    let fd = kit::open("/dev/urandom", libc::O_RDWR);
    show!("device", sys!(read, fd, &mut buf[..], 100));
    show!("write", sys!(write, fd, &buf[..], 10));
    let zero = kit::open("/dev/zero", libc::O_RDWR);
    sys!(read, zero, &mut buf[..], 256).ok();
    show!("zero", buf.iter().all(|byte| *byte == 0));
    let null = kit::open("/dev/null", libc::O_RDWR);
    say!("{} {}", sys!(read, null, &mut buf[..], 8), sys!(write, null, &buf[..], 8));
    let full = kit::open("/dev/full", libc::O_RDWR);
    say!("{} {}", sys!(read, full, &mut buf[..], 8), sys!(write, full, &buf[..], 8));
    let map = kit::map(4096, 3, libc::MAP_PRIVATE, zero);
    show!("mapped zero", unsafe { map.read_volatile() });
}
