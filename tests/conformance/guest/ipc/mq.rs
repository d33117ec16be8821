// SPDX-License-Identifier: Apache-2.0
//! POSIX message queues.
//!
//! Covers: mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr.

use crate::kit;

/// A name that no other run uses.
fn name(suffix: &str) -> std::ffi::CString {
    std::ffi::CString::new(format!("conformance-{}-{suffix}", sys!(getpid).ok())).unwrap()
}

fn attr(messages: i64, bytes: i64) -> [i64; 8] {
    [0, messages, bytes, 0, 0, 0, 0, 0]
}

fn open(name: &std::ffi::CStr, flags: i32, size: &[i64; 8]) -> kit::Ret {
    sys!(mq_open, name, flags, 0o600, size.as_ptr())
}

fn receive(fd: i32) -> String {
    let mut text = [0u8; 64];
    let mut priority = 99u32;
    let got = sys!(mq_timedreceive, fd, text.as_mut_ptr(), 64, &raw mut priority, 0);
    if got.0 < 0 {
        return got.to_string();
    }
    format!("{} at {priority}", String::from_utf8_lossy(&text[..got.0 as usize]))
}

fn send(fd: i32, text: &str, priority: u32) -> kit::Ret {
    sys!(mq_timedsend, fd, text.as_bytes(), text.len(), priority, 0)
}

pub fn order_and_limits() {
    let name = name("order");
    let fd = open(&name, libc::O_CREAT | libc::O_RDWR | libc::O_NONBLOCK, &attr(4, 64)).fd();
    for (text, priority) in [("a", 1), ("b", 5), ("c", 1), ("", 32767), ("e", 0)] {
        show!(format!("send {text:?} at {priority}"), send(fd, text, priority));
    }
    let mut now = [9i64; 8];
    show!("attributes", sys!(mq_getsetattr, fd, 0, now.as_mut_ptr()));
    say!("{:?}", &now[..4]);
    for _ in 0..5 {
        show!("receive", receive(fd));
    }
    show!("too long", sys!(mq_timedsend, fd, &[0u8; 65][..], 65, 0, 0));
    show!("too urgent", send(fd, "x", 32768));
    let mut small = [0u8; 63];
    show!("room too small", sys!(mq_timedreceive, fd, small.as_mut_ptr(), 63, 0, 0));
    show!("blocking now", sys!(mq_getsetattr, fd, [0i64; 8].as_ptr(), 0));
    show!("bad flags", sys!(mq_getsetattr, fd, [1i64; 8].as_ptr(), 0));
    let past = [1i64, 0];
    let mut text = [0u8; 64];
    show!("too late", sys!(mq_timedreceive, fd, text.as_mut_ptr(), 64, 0, past.as_ptr()));
    show!("no time", sys!(mq_timedreceive, fd, text.as_mut_ptr(), 64, 0, [0i64, -1].as_ptr()));
    show!("not readable text", sys!(mq_timedsend, fd, 8, 4, 0, 0));
    show!("unlink", sys!(mq_unlink, &name));
    show!("again", sys!(mq_unlink, &name));
    show!("still there", send(fd, "x", 0));
}

pub fn names_and_rights() {
    let name = name("names");
    let make = libc::O_CREAT | libc::O_RDWR;
    show!("absent", open(&name, libc::O_RDWR, &attr(1, 1)));
    for (messages, bytes) in [(0, 8), (8, 0), (-1, 8), (65537, 8), (8, 1 << 25)] {
        show!(format!("{messages} of {bytes}"), open(&name, make, &attr(messages, bytes)));
    }
    show!("slash", open(c"a/b", make, &attr(1, 1)));
    let long = std::ffi::CString::new([b'n'; 256]).unwrap();
    show!("long", open(&long, make, &attr(1, 1)));
    show!("no attributes", sys!(mq_open, &name, make, 0o600, 8));
    let fd = open(&name, make, &attr(3, 16)).fd();
    show!("exclusive", open(&name, make | libc::O_EXCL, &attr(1, 1)));
    show!("strange mode", open(&name, 3, &attr(1, 1)));
    let other = open(&name, libc::O_RDONLY, &attr(1, 1)).fd();
    let mut now = [0i64; 8];
    sys!(mq_getsetattr, other, 0, now.as_mut_ptr()).ok();
    say!("the same {:?}", &now[1..3]);
    show!("send through it", send(other, "x", 0));
    let writer = open(&name, libc::O_WRONLY, &attr(1, 1)).fd();
    show!("receive through it", receive(writer));
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    show!("fstat", kit::Ret::of(i64::from(unsafe { libc::fstat(fd, &raw mut stat) })));
    say!("{:o}", stat.st_mode);
    show!("no queue", send(1, "x", 0));
    show!("no file", send(99, "x", 0));
    let status = kit::in_child(|| {
        if sys!(getuid).0 != 0 {
            return 0;
        }
        sys!(setresuid, 1000, 1000, 1000).ok();
        show!("another's", open(&name, libc::O_RDONLY, &attr(1, 1)));
        show!("another unlinks", sys!(mq_unlink, &name));
        0
    });
    show!("it", kit::status(status));
    show!("unlink", sys!(mq_unlink, &name));
}

pub fn waiting() {
    let name = name("wait");
    let fd = open(&name, libc::O_CREAT | libc::O_RDWR, &attr(1, 64)).fd();
    let me = sys!(getpid).ok();
    let ((r, w), (over, end)) = (kit::pipe(), kit::pipe());
    let pid = kit::fork(|| {
        let first = receive(fd);
        // When the queue has been full, and somebody waits for room.
        sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
        kit::until_asleep(me);
        let second = receive(fd);
        sys!(read, over, [0u8; 1].as_mut_ptr(), 1).ok();
        show!("child", format!("{first}, {second}"));
        0
    });
    kit::until_asleep(i64::from(pid));
    show!("send", send(fd, "one", 0));
    // It waited, and has it.
    show!("send", send(fd, "two", 0));
    let mut pollfd = libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
    sys!(poll, &raw mut pollfd, 1, 0).ok();
    show!("full", pollfd.revents);
    sys!(write, w, &b"x"[..], 1).ok();
    show!("send", send(fd, "three", 0));
    sys!(write, end, &b"x"[..], 1).ok();
    kit::wait_for(pid);
    show!("left", receive(fd));
    sys!(poll, &raw mut pollfd, 1, 0).ok();
    show!("empty", pollfd.revents);
    sys!(mq_unlink, &name).ok();
}

pub fn notices() {
    let name = name("notice");
    let fd = open(&name, libc::O_CREAT | libc::O_RDWR | libc::O_NONBLOCK, &attr(2, 64)).fd();
    let mask = 1u64 << (libc::SIGUSR1 - 1);
    sys!(rt_sigprocmask, libc::SIG_BLOCK, &raw const mask, 0, 8).ok();
    let mut event = [0i32; 16];
    (event[0], event[2], event[3]) = (77, libc::SIGUSR1, libc::SIGEV_SIGNAL);
    show!("ask", sys!(mq_notify, fd, event.as_ptr()));
    show!("twice", sys!(mq_notify, fd, event.as_ptr()));
    let pid = kit::fork(|| {
        show!("another asks", sys!(mq_notify, fd, event.as_ptr()));
        show!("another sends", send(fd, "x", 0));
        0
    });
    kit::wait_for(pid);
    let taken = || {
        let mut info = [0i32; 32];
        let got = sys!(rt_sigtimedwait, &raw const mask, info.as_mut_ptr(), [0i64, 0].as_ptr(), 8);
        format!("{got}: code {} from the child {} value {}", info[2], info[4] == pid, info[6])
    };
    show!("signal", taken());
    // Once, and only when the queue was empty.
    send(fd, "y", 0).ok();
    show!("not again", taken());
    show!("ask", sys!(mq_notify, fd, event.as_ptr()));
    receive(fd);
    send(fd, "z", 0).ok();
    show!("it was not empty", taken());
    show!("forget", sys!(mq_notify, fd, 0));
    show!("ask silently", sys!(mq_notify, fd, [0i32, 0, 0, libc::SIGEV_NONE, 0, 0].as_ptr()));
    kit::close(&[fd]);
    let fd = open(&name, libc::O_RDWR, &attr(1, 1)).fd();
    show!("after a close", sys!(mq_notify, fd, event.as_ptr()));
    (event[2], event[3]) = (65, libc::SIGEV_SIGNAL);
    show!("bad signal", sys!(mq_notify, fd, event.as_ptr()));
    event[3] = 9;
    show!("bad kind", sys!(mq_notify, fd, event.as_ptr()));
    show!("no queue", sys!(mq_notify, 1, 0));
    sys!(mq_unlink, &name).ok();
}
