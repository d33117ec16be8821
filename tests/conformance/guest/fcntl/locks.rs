// SPDX-License-Identifier: Apache-2.0
//! Record locks and flock(2).
//!
//! Covers: flock.

use crate::kit;

fn lock(fd: i32, command: i32, kind: i32, start: i64, len: i64) -> (kit::Ret, libc::flock) {
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as i16;
    lock.l_start = start;
    lock.l_len = len;
    (sys!(fcntl, fd, command, &raw mut lock), lock)
}

fn ask(fd: i32, start: i64, len: i64) -> String {
    let (ret, lock) = lock(fd, libc::F_GETLK, libc::F_WRLCK, start, len);
    let kind = ["read", "write", "free"][lock.l_type as usize];
    let by = if lock.l_type == libc::F_UNLCK as i16 { "" } else { " by parent" };
    let by = if lock.l_pid == unsafe { libc::getppid() } { by } else { "" };
    format!("{ret} {kind} {}+{}{by}", lock.l_start, lock.l_len)
}

pub fn between_processes() {
    let fd = kit::file("f", b"0123456789");
    show!("write 2+4", lock(fd, libc::F_SETLK, libc::F_WRLCK, 2, 4).0);
    show!("own lock is no conflict", ask(fd, 0, 0));
    kit::in_child(|| {
        show!("child asks", ask(fd, 0, 0));
        show!("child, overlap", lock(fd, libc::F_SETLK, libc::F_RDLCK, 5, 1).0);
        show!("child, beside", lock(fd, libc::F_SETLK, libc::F_WRLCK, 6, 0).0);
        0
    });
    show!("child's are gone", lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0).0);
    show!("split", lock(fd, libc::F_SETLK, libc::F_UNLCK, 3, 2).0);
    kit::in_child(|| {
        show!("first part", ask(fd, 0, 3));
        show!("middle", ask(fd, 3, 2));
        show!("to the end", ask(fd, 5, 0));
        0
    });
    let other = kit::open("f", libc::O_RDONLY);
    kit::close(&[other]);
    kit::in_child(|| {
        show!("closing any descriptor drops all", ask(fd, 0, 0));
        0
    });
}

pub fn errors() {
    let fd = kit::file("f", b"");
    let read = kit::open("f", libc::O_RDONLY);
    let write = kit::open("f", libc::O_WRONLY);
    show!("write lock, read-only", lock(read, libc::F_SETLK, libc::F_WRLCK, 0, 0).0);
    show!("read lock, write-only", lock(write, libc::F_SETLK, libc::F_RDLCK, 0, 0).0);
    show!("kind", lock(fd, libc::F_SETLK, 7, 0, 0).0);
    show!("negative start", lock(fd, libc::F_SETLK, libc::F_WRLCK, -5, 1).0);
    show!("negative length", lock(fd, libc::F_SETLK, libc::F_WRLCK, 5, -5).0);
    show!("negative length too long", lock(fd, libc::F_SETLK, libc::F_WRLCK, 5, -6).0);
    show!("bad address", sys!(fcntl, fd, libc::F_SETLK, 8));
}

pub fn waiting_and_deadlock() {
    let fd = kit::file("f", b"");
    lock(fd, libc::F_SETLK, libc::F_WRLCK, 0, 1).0.ok();
    let (r, w) = kit::pipe();
    let pid = kit::fork(|| {
        lock(fd, libc::F_SETLK, libc::F_WRLCK, 1, 1).0.ok();
        sys!(write, w, &b"x"[..], 1).ok();
        show!("child waits", lock(fd, libc::F_SETLKW, libc::F_WRLCK, 0, 1).0);
        0
    });
    let mut buf = [0u8; 1];
    sys!(read, r, &mut buf[..], 1).ok();
    kit::until_asleep(i64::from(pid));
    show!("deadlock", lock(fd, libc::F_SETLKW, libc::F_WRLCK, 1, 1).0);
    lock(fd, libc::F_SETLK, libc::F_UNLCK, 0, 1).0.ok();
    show!("child", kit::status(kit::wait_for(pid)));
    show!("then ours", lock(fd, libc::F_SETLKW, libc::F_WRLCK, 1, 1).0);
}

pub fn open_file_locks() {
    let a = kit::file("f", b"");
    let b = kit::open("f", libc::O_RDWR);
    show!("first", lock(a, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 0).0);
    show!("other open file", lock(b, libc::F_OFD_SETLK, libc::F_RDLCK, 0, 0).0);
    show!("process lock conflicts", lock(b, libc::F_SETLK, libc::F_RDLCK, 0, 0).0);
    let mut with_pid: libc::flock = unsafe { std::mem::zeroed() };
    with_pid.l_pid = 1;
    show!("pid must be zero", sys!(fcntl, a, libc::F_OFD_SETLK, &raw mut with_pid));
    kit::in_child(|| {
        show!("shared with child", lock(a, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 5).0);
        0
    });
    kit::close(&[a]);
    show!("closed", lock(b, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 0).0);
}

pub fn whole_file() {
    let a = kit::file("f", b"");
    let b = kit::open("f", libc::O_RDONLY);
    show!("shared", sys!(flock, a, libc::LOCK_SH));
    show!("shared too", sys!(flock, b, libc::LOCK_SH | libc::LOCK_NB));
    show!("upgrade", sys!(flock, b, libc::LOCK_EX | libc::LOCK_NB));
    show!("unlock", sys!(flock, a, libc::LOCK_UN));
    show!("exclusive", sys!(flock, b, libc::LOCK_EX | libc::LOCK_NB));
    let c = sys!(dup, b).fd();
    kit::close(&[b]);
    show!("held by the dup", sys!(flock, a, libc::LOCK_EX | libc::LOCK_NB));
    kit::close(&[c]);
    show!("released", sys!(flock, a, libc::LOCK_EX | libc::LOCK_NB));
    show!("bad operation", sys!(flock, a, 0));
    show!("closed", sys!(flock, 99, libc::LOCK_SH));
}
