// SPDX-License-Identifier: Apache-2.0
//! inotify(7).
//!
//! Covers: inotify_init, inotify_init1, inotify_add_watch, inotify_rm_watch.

use crate::kit;

fn events(fd: i32) -> String {
    let mut buf = [0u8; 4096];
    let got = sys!(read, fd, &mut buf[..], 4096);
    if got.0 < 0 {
        return got.to_string();
    }
    let mut rest = &buf[..got.0 as usize];
    let mut seen = Vec::new();
    while rest.len() >= 16 {
        let word = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().unwrap());
        let len = word(12) as usize;
        let name: String =
            rest[16..16 + len].iter().take_while(|b| **b != 0).map(|b| *b as char).collect();
        seen.push(format!("{:#x}{}{name}", word(4), if name.is_empty() { "" } else { ":" }));
        rest = &rest[16 + len..];
    }
    seen.join(" ")
}

pub fn of_a_directory() {
    let fd = sys!(inotify_init1, libc::IN_NONBLOCK).fd();
    show!("watch", sys!(inotify_add_watch, fd, c".", libc::IN_ALL_EVENTS));
    show!("none", events(fd));
    std::fs::write("f", "abc").unwrap();
    show!("made", events(fd));
    std::fs::read("f").unwrap();
    show!("read", events(fd));
    std::fs::rename("f", "g").unwrap();
    show!("moved", events(fd));
    std::fs::create_dir("d").unwrap();
    std::fs::remove_file("g").unwrap();
    show!("made and removed", events(fd));
    show!("remove watch", sys!(inotify_rm_watch, fd, 1));
    show!("ignored", events(fd));
    show!("again", sys!(inotify_rm_watch, fd, 1));
}

pub fn of_a_file_and_errors() {
    let fd = sys!(inotify_init1, libc::IN_NONBLOCK).fd();
    let file = kit::file("f", b"");
    let watch = sys!(inotify_add_watch, fd, c"f", libc::IN_MODIFY | libc::IN_DELETE_SELF).ok();
    show!("same watch", sys!(inotify_add_watch, fd, c"f", libc::IN_ALL_EVENTS).ok() == watch);
    sys!(write, file, &b"x"[..], 1).ok();
    sys!(write, file, &b"y"[..], 1).ok();
    show!("two alike become one", events(fd));
    kit::close(&[file]);
    show!("closed", events(fd));
    std::fs::remove_file("f").unwrap();
    show!("deleted", events(fd));
    show!("missing", sys!(inotify_add_watch, fd, c"none", libc::IN_MODIFY));
    show!("no events", sys!(inotify_add_watch, fd, c".", 0));
    show!("only directories", {
        kit::file("g", b"");
        sys!(inotify_add_watch, fd, c"g", libc::IN_MODIFY | libc::IN_ONLYDIR)
    });
    show!("not an inotify", sys!(inotify_add_watch, 1, c".", libc::IN_MODIFY));
    show!("flags", sys!(inotify_init1, 1));
    sys!(inotify_add_watch, fd, c".", libc::IN_CREATE).ok();
    std::fs::write("new", "").unwrap();
    show!("small buffer", sys!(read, fd, [0u8; 8].as_mut_ptr(), 8));
    let mut queued = 0i32;
    sys!(ioctl, fd, libc::FIONREAD, &raw mut queued).ok();
    show!("queued", queued);
    show!("old call", sys!(inotify_init).is_ok());
}

pub fn of_a_name_that_is_gone() {
    for manner in [0, libc::IN_EXCL_UNLINK, libc::IN_ONESHOT] {
        let fd = sys!(inotify_init1, libc::IN_NONBLOCK).fd();
        let file = kit::file("f", b"");
        let mask = libc::IN_MODIFY | manner;
        sys!(inotify_add_watch, fd, c".", mask).ok();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let shown = info.lines().find_map(|line| line.split(" mask:").nth(1));
        show!("mask", shown.unwrap().split(' ').next().unwrap());
        sys!(write, file, &b"x"[..], 1).ok();
        show!("named", events(fd));
        std::fs::remove_file("f").unwrap();
        sys!(write, file, &b"x"[..], 1).ok();
        show!("gone", events(fd));
        kit::close(&[file, fd]);
    }
}
