// SPDX-License-Identifier: Apache-2.0
//! Pseudo-terminals and the line discipline.
//!
//! Covers: ioctl.

use crate::kit;

/// The master and the slave of a new terminal that is nobody's yet.
fn open() -> (i32, i32) {
    let master = kit::open("/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY);
    let zero = 0i32;
    sys!(ioctl, master, libc::TIOCSPTLCK, &raw const zero).ok();
    let mut number = 0i32;
    sys!(ioctl, master, libc::TIOCGPTN, &raw mut number).ok();
    let slave = kit::open(&format!("/dev/pts/{number}"), libc::O_RDWR | libc::O_NOCTTY);
    (master, slave)
}

/// Whether there is something to read, or will be within so many milliseconds: what is written at one end
/// the host's kernel carries to the other in its own time.
fn has_input(fd: i32, ms: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    sys!(poll, &raw mut poll, 1, ms).0 == 1
}

fn read_within(fd: i32, ms: i32) -> String {
    let mut buf = [0u8; 256];
    if !has_input(fd, ms) {
        return "nothing".to_owned();
    }
    let ret = sys!(read, fd, &mut buf[..], 256);
    format!("{ret} {:?}", String::from_utf8_lossy(&buf[..ret.0.max(0) as usize]))
}

/// What comes, however late.
fn read(fd: i32) -> String {
    read_within(fd, 10_000)
}

/// All that the master has, until it is quiet.
fn drain(master: i32) -> String {
    let mut all = String::new();
    let mut patience = 3000;
    while has_input(master, patience) {
        patience = 300;
        let mut buf = [0u8; 256];
        let ret = sys!(read, master, &mut buf[..], 256);
        if ret.0 <= 0 {
            break;
        }
        all.push_str(&String::from_utf8_lossy(&buf[..ret.0 as usize]));
    }
    format!("{all:?}")
}

fn write(fd: i32, text: &str) {
    sys!(write, fd, text.as_bytes(), text.len()).ok();
}

fn change(fd: i32, change: impl FnOnce(&mut libc::termios)) {
    let mut termios: libc::termios = unsafe { std::mem::zeroed() };
    unsafe { libc::tcgetattr(fd, &raw mut termios) };
    change(&mut termios);
    unsafe { libc::tcsetattr(fd, libc::TCSANOW, &raw const termios) };
}

pub fn defaults() {
    let (master, slave) = open();
    let mut termios: libc::termios = unsafe { std::mem::zeroed() };
    unsafe { libc::tcgetattr(slave, &raw mut termios) };
    say!("{:o} {:o} {:o}", termios.c_iflag, termios.c_oflag, termios.c_lflag);
    say!("{:o} {:?}", termios.c_cflag, &termios.c_cc[..19]);
    let mut size = [9u16; 4];
    show!("size", sys!(ioctl, master, libc::TIOCGWINSZ, size.as_mut_ptr()));
    say!("{size:?}");
    show!("set", sys!(ioctl, master, libc::TIOCSWINSZ, [40u16, 100, 0, 0].as_ptr()));
    sys!(ioctl, slave, libc::TIOCGWINSZ, size.as_mut_ptr()).ok();
    say!("{size:?}");
    show!("not a terminal", sys!(ioctl, kit::file("f", b""), libc::TCGETS, size.as_mut_ptr()));
    show!("unknown", sys!(ioctl, slave, 0x54ff, 0));
    show!("closed", sys!(ioctl, 99, libc::TCGETS, 0));
}

pub fn lines() {
    let (master, slave) = open();
    write(master, "hel");
    show!("no line yet", read_within(slave, 200));
    write(master, "lo\r");
    show!("line", read(slave));
    show!("echo", drain(master));
    write(master, "abc\x7f\x7fd\n");
    show!("erased", read(slave));
    show!("echo", drain(master));
    write(master, "some words here\x17\x17x\x15kept\n");
    show!("killed", read(slave));
    drain(master);
    write(master, "no newline\x04");
    show!("end of file", read(slave));
    write(master, "\x04");
    show!("at the start", read(slave));
    write(slave, "out\n");
    drain(master);
    write(slave, "a\nb\n");
    show!("output", drain(master));
    write(master, "\x16\x03lit\n");
    show!("literal", read(slave));
}

pub fn signals_keep_what_was_shown() {
    let (master, slave) = open();
    write(slave, "shown before");
    has_input(master, 10_000);
    write(master, "typed\x03");
    show!("after Ctrl-C", drain(master));
    show!("input", read_within(slave, 300));
    write(slave, "more");
    has_input(master, 10_000);
    show!("flush", sys!(ioctl, slave, libc::TCFLSH, libc::TCOFLUSH));
    show!("after a flush", drain(master));
}

pub fn peer() {
    let (master, slave) = open();
    let peer = sys!(ioctl, master, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
    show!("opened", peer.is_ok());
    let fd = peer.ok() as i32;
    show!("flags", sys!(fcntl, fd, libc::F_GETFD));
    show!("mode", sys!(fcntl, fd, libc::F_GETFL).ok() & i64::from(libc::O_ACCMODE));
    let stat = |fd: i32| {
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        sys!(fstat, fd, &raw mut stat).ok();
        (stat.st_dev, stat.st_ino, stat.st_rdev, stat.st_mode)
    };
    show!("the same file", stat(fd) == stat(slave));
    show!("mode", format!("{:o}", stat(fd).3 & libc::S_IFMT));
    let link = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    show!("the same name", link(fd) == link(slave));
    show!("of a slave", sys!(ioctl, slave, libc::TIOCGPTPEER, libc::O_RDWR));
    let one = 1i32;
    sys!(ioctl, master, libc::TIOCSPTLCK, &raw const one).ok();
    show!("locked", sys!(ioctl, master, libc::TIOCGPTPEER, libc::O_RDWR));
}

/// A session leader's first terminal becomes its own, unless it may only write or says `O_NOCTTY`.
pub fn opening_takes_the_terminal() {
    let (master, slave) = open();
    let mut number = 0i32;
    sys!(ioctl, master, libc::TIOCGPTN, &raw mut number).ok();
    let path = format!("/dev/pts/{number}");
    kit::in_child(|| {
        let has = || sys!(open, c"/dev/tty", libc::O_RDWR, 0).is_ok();
        kit::open(&path, libc::O_RDWR);
        show!("no leader", sys!(ioctl, slave, libc::TIOCGSID, &raw mut number));
        sys!(setsid).ok();
        kit::open(&path, libc::O_RDWR | libc::O_NOCTTY);
        show!("not asked for", has());
        kit::open(&path, libc::O_WRONLY);
        show!("write only", has());
        kit::open(&path, libc::O_RDONLY);
        show!("read only", has());
        0
    });
    let (other, _) = open();
    sys!(ioctl, other, libc::TIOCGPTN, &raw mut number).ok();
    kit::in_child(|| {
        sys!(setsid).ok();
        show!("peer", sys!(ioctl, other, libc::TIOCGPTPEER, libc::O_RDWR).is_ok());
        show!("taken", sys!(open, c"/dev/tty", libc::O_RDWR, 0).is_ok());
        0
    });
}

/// What a background process group does to its terminal stops it, and is done when it goes on in front.
pub fn background_changes() {
    let (master, slave) = open();
    kit::in_child(|| {
        sys!(setsid).ok();
        sys!(ioctl, slave, libc::TIOCSCTTY, 0).ok();
        let own = sys!(getpid).ok() as i32;
        let mut termios: libc::termios = unsafe { std::mem::zeroed() };
        sys!(ioctl, slave, libc::TCGETS, &raw mut termios).ok();
        let steps: [(&str, &dyn Fn() -> i64); 4] = [
            ("settings", &|| sys!(ioctl, slave, libc::TCSETS, &raw const termios).0),
            ("foreground", &|| {
                let mine = sys!(getpid).ok() as i32;
                sys!(ioctl, slave, libc::TIOCSPGRP, &raw const mine).0
            }),
            ("write", &|| sys!(write, slave, &b"w"[..], 1).0),
            ("writev", &|| {
                let iov = libc::iovec { iov_base: b"v".as_ptr() as *mut _, iov_len: 1 };
                sys!(writev, slave, &raw const iov, 1).0
            }),
        ];
        for (name, step) in steps {
            let child = kit::fork(|| {
                sys!(setpgid, 0, 0).ok();
                unsafe { libc::signal(libc::SIGTTOU, libc::SIG_DFL) };
                i32::try_from(step() + 40).unwrap_or(99)
            });
            let mut status = 0;
            sys!(wait4, child, &raw mut status, libc::WUNTRACED, 0).ok();
            show!(name, kit::status(status));
            if libc::WIFSTOPPED(status) {
                unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
                sys!(ioctl, slave, libc::TIOCSPGRP, &raw const child).ok();
                sys!(kill, child, libc::SIGCONT).ok();
                show!("went on", kit::status(kit::wait_for(child)));
            }
            sys!(ioctl, slave, libc::TIOCSPGRP, &raw const own).ok();
            change(slave, |t| t.c_lflag |= libc::TOSTOP);
        }
        // Who ignores or blocks the signal may write, but not read; an orphan may do neither.
        let child = kit::fork(|| {
            sys!(setpgid, 0, 0).ok();
            unsafe { libc::signal(libc::SIGTTIN, libc::SIG_IGN) };
            let mut buf = [0u8; 4];
            show!("ignoring write", sys!(write, slave, &b"w"[..], 1));
            show!("ignoring read", sys!(read, slave, &mut buf[..], 4));
            0
        });
        kit::wait_for(child);
        0
    });
    show!("output", drain(master));
}

/// Tells `w` when SIGHUP comes, for half a minute at most.
fn await_hang_up(w: i32) -> i32 {
    use std::sync::atomic::{AtomicI32, Ordering};
    static SEEN: AtomicI32 = AtomicI32::new(0);
    extern "C" fn note(_: i32) {
        SEEN.fetch_add(1, Ordering::SeqCst);
    }
    kit::handle(libc::SIGHUP, note, 0);
    sys!(write, w, &b"r"[..], 1).ok();
    for _ in 0..3000 {
        if SEEN.load(Ordering::SeqCst) > 0 {
            sys!(write, w, &b"h"[..], 1).ok();
            return 0;
        }
        kit::sleep_ms(10);
    }
    sys!(write, w, &b"n"[..], 1).ok();
    0
}

/// A process group of its own in the foreground of `slave`, which waits for SIGHUP; `r` says so.
fn foreground_job(slave: i32, r: i32, w: i32) -> i32 {
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
    let job = kit::fork(|| {
        sys!(setpgid, 0, 0).ok();
        let own = sys!(getpid).ok() as i32;
        sys!(ioctl, slave, libc::TIOCSPGRP, &raw const own).ok();
        await_hang_up(w)
    });
    sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
    job
}

fn heard(r: i32) -> String {
    let mut byte = [0u8; 1];
    let ret = sys!(read, r, byte.as_mut_ptr(), 1);
    format!("{ret} {}", char::from(byte[0]))
}

pub fn a_leaders_exit_frees_the_terminal() {
    let (master, slave) = open();
    let (r, w) = kit::pipe();
    for round in 0..2 {
        kit::in_child(|| {
            sys!(setsid).ok();
            show!("round", round);
            show!("taken", sys!(ioctl, slave, libc::TIOCSCTTY, 0));
            foreground_job(slave, r, w);
            0
        });
        show!("the foreground", heard(r));
        let mut session = 0i32;
        show!("session", sys!(ioctl, master, libc::TIOCGSID, &raw mut session));
        show!("group", sys!(ioctl, master, libc::TIOCGPGRP, &raw mut session));
        show!("number", session);
    }
    write(slave, "still works");
    show!("output", drain(master));
}

/// The leader is told at once, the foreground when the leader ends.
pub fn a_closed_master_hangs_up_in_two_steps() {
    let (master, slave) = open();
    let (r, w) = kit::pipe();
    let ((leader_r, leader_w), (until, end)) = (kit::pipe(), kit::pipe());
    let leader = kit::fork(|| {
        kit::close(&[master]);
        sys!(setsid).ok();
        sys!(ioctl, slave, libc::TIOCSCTTY, 0).ok();
        foreground_job(slave, r, w);
        await_hang_up(leader_w);
        sys!(read, until, [0u8; 1].as_mut_ptr(), 1).ok();
        0
    });
    heard(leader_r);
    kit::close(&[master]);
    show!("leader", heard(leader_r));
    let mut poll = libc::pollfd { fd: r, events: libc::POLLIN, revents: 0 };
    show!("not the foreground yet", sys!(poll, &raw mut poll, 1, 100));
    sys!(write, end, &b"x"[..], 1).ok();
    show!("leader's end", kit::status(kit::wait_for(leader)));
    show!("the foreground", heard(r));
}

pub fn giving_the_terminal_up() {
    let (master, slave) = open();
    let (r, w) = kit::pipe();
    kit::in_child(|| {
        sys!(setsid).ok();
        sys!(ioctl, slave, libc::TIOCSCTTY, 0).ok();
        kit::in_child(|| {
            let has = || sys!(open, c"/dev/tty", libc::O_RDWR, 0).is_ok();
            show!("inherited", has());
            show!("a member's", sys!(ioctl, slave, libc::TIOCNOTTY));
            show!("gone for it", has());
            kit::in_child(|| {
                show!("and its child", has());
                0
            });
            0
        });
        show!("still the leader's", sys!(open, c"/dev/tty", libc::O_RDWR, 0).is_ok());
        foreground_job(slave, r, w);
        show!("up", sys!(ioctl, slave, libc::TIOCNOTTY));
        show!("the foreground", heard(r));
        show!("/dev/tty", sys!(open, c"/dev/tty", libc::O_RDWR, 0));
        show!("again", sys!(ioctl, slave, libc::TIOCNOTTY));
        show!("back", sys!(ioctl, slave, libc::TIOCSCTTY, 0));
        0
    });
    write(slave, "still works");
    show!("output", drain(master));
}

pub fn raw_mode() {
    let (master, slave) = open();
    change(slave, |t| unsafe { libc::cfmakeraw(t) });
    write(master, "a\r\x03");
    show!("as typed", read(slave));
    show!("no echo", read_within(master, 200));
    change(slave, |t| {
        t.c_cc[libc::VMIN] = 0;
        t.c_cc[libc::VTIME] = 1;
    });
    let mut buf = [0u8; 4];
    show!("timeout", sys!(read, slave, &mut buf[..], 4));
    change(slave, |t| {
        t.c_cc[libc::VMIN] = 3;
        t.c_cc[libc::VTIME] = 0;
    });
    write(master, "xyzw");
    show!("at least three", sys!(read, slave, &mut buf[..], 4));
    write(slave, "a\n");
    show!("output as is", read(master));
}

pub fn closing() {
    let (master, slave) = open();
    write(slave, "last words");
    kit::close(&[slave]);
    show!("still there", drain(master));
    show!("then", read(master));
    let (master, slave) = open();
    kit::close(&[master]);
    show!("slave reads", read(slave));
    show!("slave writes", sys!(write, slave, &b"x"[..], 1));
    let mut poll = libc::pollfd { fd: slave, events: libc::POLLIN, revents: 0 };
    sys!(poll, &raw mut poll, 1, 0).ok();
    show!("poll", format!("{:#x}", poll.revents));
}

pub fn controlling_terminal() {
    let (master, slave) = open();
    let (r, w) = kit::pipe();
    let mut group = 0i32;
    show!("not ours", sys!(ioctl, slave, libc::TIOCGPGRP, &raw mut group));
    let pid = kit::fork(|| {
        sys!(setsid).ok();
        show!("none yet", sys!(open, c"/dev/tty", libc::O_RDWR, 0));
        show!("make it so", sys!(ioctl, slave, libc::TIOCSCTTY, 0));
        show!("/dev/tty", sys!(open, c"/dev/tty", libc::O_RDWR, 0).is_ok());
        let mut group = 0i32;
        sys!(ioctl, slave, libc::TIOCGPGRP, &raw mut group).ok();
        show!("foreground", i64::from(group) == sys!(getpid).ok());
        show!("bad group", sys!(ioctl, slave, libc::TIOCSPGRP, kit::at(&1i32)));
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        sys!(write, w, &b"x"[..], 1).ok();
        kit::sleep_ms(10_000);
        0
    });
    sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
    write(master, "\x03");
    show!("Ctrl-C", kit::status(kit::wait_for(pid)));
    show!("echo", drain(master));
}

pub fn background_and_stop() {
    let (master, slave) = open();
    let pid = kit::fork(|| {
        sys!(setsid).ok();
        sys!(ioctl, slave, libc::TIOCSCTTY, 0).ok();
        let child = kit::fork(|| {
            sys!(setpgid, 0, 0).ok();
            let mut buf = [0u8; 4];
            sys!(read, slave, &mut buf[..], 4);
            7
        });
        let mut status = 0;
        sys!(wait4, child, &raw mut status, libc::WUNTRACED, 0).ok();
        show!("background read", kit::status(status));
        unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
        let group = child;
        show!("to the foreground", sys!(ioctl, slave, libc::TIOCSPGRP, &raw const group));
        sys!(kill, child, libc::SIGCONT).ok();
        kit::sleep_ms(50);
        write(master, "in\n");
        show!("reads now", kit::status(kit::wait_for(child)));
        let own = sys!(getpid).ok() as i32;
        sys!(ioctl, slave, libc::TIOCSPGRP, &raw const own).ok();
        let child = kit::fork(|| {
            sys!(setpgid, 0, 0).ok();
            let own = sys!(getpid).ok() as i32;
            sys!(ioctl, slave, libc::TIOCSPGRP, &raw const own).ok();
            unsafe { libc::signal(libc::SIGTSTP, libc::SIG_DFL) };
            write(slave, "ready");
            kit::sleep_ms(10_000);
            8
        });
        kit::until("the child", || read(master).contains("ready"));
        write(master, "\x1a");
        sys!(wait4, child, &raw mut status, libc::WUNTRACED, 0).ok();
        show!("Ctrl-Z", kit::status(status));
        sys!(kill, child, libc::SIGKILL).ok();
        kit::wait_for(child);
        0
    });
    show!("end", kit::status(kit::wait_for(pid)));
}

pub fn hang_up() {
    let (master, slave) = open();
    let (r, w) = kit::pipe();
    let pid = kit::fork(|| {
        kit::close(&[master]);
        sys!(setsid).ok();
        sys!(ioctl, slave, libc::TIOCSCTTY, 0).ok();
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
        sys!(write, w, &b"x"[..], 1).ok();
        kit::sleep_ms(10_000);
        0
    });
    sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
    kit::close(&[slave, master]);
    show!("session leader", kit::status(kit::wait_for(pid)));
}

pub fn window_size_change_signals() {
    use std::sync::atomic::{AtomicI32, Ordering};
    static SEEN: AtomicI32 = AtomicI32::new(0);
    extern "C" fn count(_: i32) {
        SEEN.fetch_add(1, Ordering::SeqCst);
    }
    let (master, slave) = open();
    kit::in_child(|| {
        sys!(setsid).ok();
        sys!(ioctl, slave, libc::TIOCSCTTY, 0).ok();
        kit::handle(libc::SIGWINCH, count, 0);
        sys!(ioctl, master, libc::TIOCSWINSZ, [40u16, 100, 0, 0].as_ptr()).ok();
        show!("changed", SEEN.load(Ordering::SeqCst));
        sys!(ioctl, master, libc::TIOCSWINSZ, [40u16, 100, 0, 0].as_ptr()).ok();
        show!("same again", SEEN.load(Ordering::SeqCst));
        0
    });
}
