// SPDX-License-Identifier: Apache-2.0
//! poll(2), ppoll(2), select(2), pselect6(2).
//!
//! Covers: poll, ppoll, select, pselect6.

use crate::kit;

fn poll(fds: &mut [(i32, i16)], timeout: i32) -> String {
    let mut list: Vec<_> =
        fds.iter().map(|(fd, events)| libc::pollfd { fd: *fd, events: *events, revents: 0 }).collect();
    let ret = sys!(poll, list.as_mut_ptr(), list.len(), timeout);
    let seen: Vec<String> = list.iter().map(|p| format!("{:#x}", p.revents)).collect();
    format!("{ret} [{}]", seen.join(" "))
}

const IN: i16 = libc::POLLIN;
const OUT: i16 = libc::POLLOUT;

pub fn pipes() {
    let (r, w) = kit::pipe();
    show!("empty", poll(&mut [(r, IN), (w, OUT)], 0));
    sys!(write, w, &b"x"[..], 1).ok();
    show!("data", poll(&mut [(r, IN | OUT), (w, IN | OUT)], 0));
    kit::close(&[w]);
    show!("hang-up with data", poll(&mut [(r, IN)], 0));
    sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
    show!("hang-up", poll(&mut [(r, IN)], 0));
    let (r, w) = kit::pipe();
    kit::close(&[r]);
    show!("no reader", poll(&mut [(w, OUT)], 0));
    show!("closed", poll(&mut [(99, IN)], 0));
    show!("negative", poll(&mut [(-1, IN)], 0));
    let file = kit::file("f", b"");
    show!("file", poll(&mut [(file, IN | OUT | libc::POLLPRI)], 0));
    let path = kit::open("f", libc::O_PATH);
    show!("path", poll(&mut [(path, IN)], 0));
}

pub fn waiting() {
    let (r, w) = kit::pipe();
    show!("timeout", kit::duration(100, || drop(poll(&mut [(r, IN)], 100))));
    let pid = kit::fork(|| {
        kit::sleep_ms(50);
        sys!(write, w, &b"x"[..], 1).ok();
        0
    });
    show!("woken", poll(&mut [(r, IN)], -1));
    kit::wait_for(pid);
    show!("nothing to watch", kit::duration(100, || drop(poll(&mut [], 100))));
}

pub fn errors() {
    let spec = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    show!("bad time", sys!(ppoll, 0, 0, &raw const spec, 0, 8));
    show!("bad mask size", sys!(ppoll, 0, 0, 0, 8, 4));
    show!("null list", sys!(poll, 0, 1, 0));
    show!("too many", sys!(poll, 0, 0x7fff_ffff, 0));
    show!("negative count", sys!(select, -1, 0, 0, 0, 0));
    let mut set = [1u64 << 50, 0];
    show!("select closed", sys!(select, 51, set.as_mut_ptr(), 0, 0, 0));
    let time = [0i64, -1];
    show!("select time", sys!(select, 0, 0, 0, 0, time.as_ptr()));
}

pub fn select() {
    let (r, w) = kit::pipe();
    let bit = |fd: i32| 1u64 << fd;
    let mut time = [0i64, 0];
    let (mut reads, mut writes) = (bit(r), bit(w));
    show!("empty", sys!(select, 64, &raw mut reads, &raw mut writes, 0, time.as_mut_ptr()));
    say!("{} {}", reads == 0, writes == bit(w));
    sys!(write, w, &b"x"[..], 1).ok();
    let (mut reads, mut writes) = (bit(r) | bit(w), bit(r));
    show!("data", sys!(select, 64, &raw mut reads, &raw mut writes, 0, time.as_mut_ptr()));
    say!("{} {}", reads == bit(r), writes == 0);
    sys!(read, r, [0u8; 1].as_mut_ptr(), 1).ok();
    let mut reads = bit(r);
    let mut time = [0i64, 50_000];
    show!("timeout", sys!(select, 64, &raw mut reads, 0, 0, time.as_mut_ptr()));
    show!("left", format!("{time:?}"));
    kit::close(&[w]);
    let mut reads = bit(r);
    show!("end of file reads", sys!(select, r + 1, &raw mut reads, 0, 0, 0));
}

extern "C" fn nothing(_: i32) {}

pub fn signals_interrupt() {
    kit::handle(libc::SIGALRM, nothing, libc::SA_RESTART);
    // Again and again, for the first may come before it waits.
    let alarm = || {
        let every = [0i64, 50_000, 0, 50_000];
        sys!(setitimer, libc::ITIMER_REAL, every.as_ptr(), 0).ok();
    };
    alarm();
    show!("poll", sys!(poll, 0, 0, 50_000));
    alarm();
    show!("select", sys!(select, 0, 0, 0, 0, [50i64, 0].as_ptr()));
    alarm();
    show!("ppoll", sys!(ppoll, 0, 0, 0, 0, 8));
    // The mask lets a blocked signal through for the time of the call only.
    let blocked = 1u64 << (libc::SIGALRM - 1);
    sys!(rt_sigprocmask, libc::SIG_BLOCK, &raw const blocked, 0, 8).ok();
    kit::alarm_ms(50);
    kit::until("the signal", || {
        let mut pending = 0u64;
        sys!(rt_sigpending, &raw mut pending, 8).ok();
        pending & blocked != 0
    });
    let none = 0u64;
    show!("pending and unmasked", sys!(ppoll, 0, 0, 0, &raw const none, 8));
    let mut mask = 0u64;
    sys!(rt_sigprocmask, libc::SIG_BLOCK, 0, &raw mut mask, 8).ok();
    show!("mask restored", mask == blocked);
}
