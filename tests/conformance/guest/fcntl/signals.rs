// SPDX-License-Identifier: Apache-2.0
//! Signals that open files send: `O_ASYNC` and `F_NOTIFY` of fcntl(2).
//!
//! Covers: fcntl.

use crate::kit;

const F_SETSIG: i32 = 10;
const F_NOTIFY: i32 = 1026;
const MULTISHOT: u32 = 0x8000_0000;

/// Blocks the signal that is to come.
fn block(signal: i32) {
    let set = 1u64 << (signal - 1);
    sys!(rt_sigprocmask, libc::SIG_BLOCK, kit::at(&set), 0, 8).ok();
}

/// What came of that signal within a moment: code, band, descriptor; `EAGAIN` if none did.
fn taken(signal: i32) -> String {
    let set = 1u64 << (signal - 1);
    let mut info = [0u8; 128];
    let moment = [0i64, 100_000_000];
    let got = sys!(rt_sigtimedwait, kit::at(&set), info.as_mut_ptr(), kit::at(&moment), 8);
    let word = |at: usize| i32::from_ne_bytes(info[at..at + 4].try_into().unwrap());
    match got.0 {
        number if number >= 34 => format!("code {} band {:#x} fd {}", word(8), word(16), word(24)),
        number if number > 0 => format!("plain {}", kit::signal(number as i32)),
        _ => got.to_string(),
    }
}

fn owned(fd: i32, signal: i32) -> i32 {
    let to = sys!(fcntl, fd, libc::F_DUPFD, 50).fd();
    kit::close(&[fd]);
    block(if signal == 0 { libc::SIGIO } else { signal });
    sys!(fcntl, to, F_SETSIG, signal).ok();
    sys!(fcntl, to, libc::F_SETOWN, std::process::id()).ok();
    to
}

pub fn a_pipe_that_can_be_read() {
    for signal in [0, 40] {
        let (r, w) = kit::pipe();
        let r = owned(r, signal);
        let awaited = if signal == 0 { libc::SIGIO } else { signal };
        sys!(write, w, c"x", 1).ok();
        show!("not asked for", taken(awaited));
        show!("ask", sys!(fcntl, r, libc::F_SETFL, libc::O_ASYNC));
        sys!(write, w, c"x", 1).ok();
        show!("written", taken(awaited));
        show!("enough", sys!(fcntl, r, libc::F_SETFL, 0));
        sys!(write, w, c"x", 1).ok();
        show!("written", taken(awaited));
        kit::close(&[r, w]);
    }
}

pub fn a_socket_that_can_be_read() {
    let mut pair = [0i32; 2];
    sys!(socketpair, libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr()).ok();
    let fd = owned(pair[0], 41);
    let on = 1i32;
    show!("ask", sys!(ioctl, fd, libc::FIOASYNC, kit::at(&on)));
    sys!(write, pair[1], c"x", 1).ok();
    show!("written", taken(41));
    kit::close(&[fd]);
    sys!(write, pair[1], c"x", 1);
    show!("closed", taken(41));
}

pub fn what_happens_in_a_directory() {
    std::fs::create_dir("d").unwrap();
    let fd = owned(kit::open("d", libc::O_RDONLY), 42);
    show!("a file", sys!(fcntl, owned(kit::file("f", b""), 42), F_NOTIFY, 4));
    show!("create, once", sys!(fcntl, fd, F_NOTIFY, 4));
    kit::close(&[kit::file("d/a", b"")]);
    show!("made", taken(42));
    kit::close(&[kit::file("d/b", b"")]);
    show!("made", taken(42));
    let all = MULTISHOT | 1 | 2 | 4 | 8 | 0x10 | 0x20;
    show!("all, always", sys!(fcntl, fd, F_NOTIFY, all));
    let drain = || while !taken(42).starts_with('E') {};
    let shows = |what: &str, body: &dyn Fn()| {
        body();
        show!(what, taken(42));
        drain();
    };
    shows("made", &|| kit::close(&[kit::file("d/c", b"")]));
    shows("chmod", &|| drop(sys!(chmod, c"d/c", 0o600).is_ok()));
    shows("written", &|| std::fs::write("d/c", "x").unwrap());
    shows("read", &|| drop(std::fs::read("d/c").unwrap()));
    shows("renamed", &|| std::fs::rename("d/c", "d/e").unwrap());
    shows("removed", &|| std::fs::remove_file("d/e").unwrap());
    shows("elsewhere", &|| std::fs::write("g", "x").unwrap());
    show!("enough", sys!(fcntl, fd, F_NOTIFY, 0));
    shows("removed", &|| std::fs::remove_file("d/b").unwrap());
    show!("again", sys!(fcntl, fd, F_NOTIFY, all));
    kit::close(&[fd]);
    shows("closed", &|| std::fs::remove_file("d/a").unwrap());
}

pub fn renames_within_a_directory() {
    for name in ["d", "e", "d/in"] {
        std::fs::create_dir(name).unwrap();
    }
    std::fs::write("d/f", "").unwrap();
    let fd = owned(kit::open("d", libc::O_RDONLY), 43);
    show!("watch", sys!(fcntl, fd, F_NOTIFY, 0x10 | MULTISHOT));
    sys!(rename, c"d/f", c"e/f").ok();
    show!("out", taken(43));
    sys!(rename, c"e/f", c"d/g").ok();
    show!("in", taken(43));
    sys!(rename, c"d/g", c"d/h").ok();
    show!("within", taken(43));
    sys!(rename, c"d/h", c"d/in/h").ok();
    show!("below", taken(43));
    show!("no more", taken(43));
}
