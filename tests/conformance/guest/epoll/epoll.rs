// SPDX-License-Identifier: Apache-2.0
//! epoll(7).
//!
//! Covers: epoll_create, epoll_create1, epoll_ctl, epoll_wait, epoll_pwait, epoll_pwait2.

use crate::kit;

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ET: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;

fn create() -> i32 {
    sys!(epoll_create1, 0).fd()
}

fn ctl(ep: i32, op: i32, fd: i32, events: u32, data: u64) -> kit::Ret {
    let event = libc::epoll_event { events, u64: data };
    sys!(epoll_ctl, ep, op, fd, &raw const event)
}

fn wait(ep: i32, timeout: i32) -> String {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
    let ret = sys!(epoll_wait, ep, events.as_mut_ptr(), 8, timeout);
    let mut seen: Vec<(u64, u32)> =
        events.iter().take(ret.0.max(0) as usize).map(|e| ({ e.u64 }, { e.events })).collect();
    seen.sort_unstable();
    format!("{ret} {seen:x?}")
}

pub fn level_and_edge() {
    let (r, w) = kit::pipe();
    let (r2, w2) = kit::pipe();
    let ep = create();
    show!("add", ctl(ep, 1, r, IN, 1));
    show!("add edge", ctl(ep, 1, r2, IN | ET, 2));
    show!("nothing", wait(ep, 0));
    sys!(write, w, &b"ab"[..], 2).ok();
    sys!(write, w2, &b"ab"[..], 2).ok();
    show!("both", wait(ep, 0));
    show!("level only", wait(ep, 0));
    sys!(write, w2, &b"c"[..], 1).ok();
    show!("edge again", wait(ep, 0));
    sys!(read, r, [0u8; 8].as_mut_ptr(), 8).ok();
    show!("quiet", wait(ep, 0));
    kit::close(&[w]);
    show!("hang-up", wait(ep, 0));
    show!("delete", ctl(ep, 2, r, 0, 0));
    show!("quiet", wait(ep, 0));
}

pub fn one_shot() {
    let (r, w) = kit::pipe();
    let ep = create();
    ctl(ep, 1, r, IN | ONESHOT, 5).ok();
    sys!(write, w, &b"x"[..], 1).ok();
    show!("once", wait(ep, 0));
    show!("disarmed", wait(ep, 0));
    show!("rearm", ctl(ep, 3, r, IN | ONESHOT, 6));
    show!("again", wait(ep, 0));
}

pub fn errors() {
    let (r, w) = kit::pipe();
    let ep = create();
    ctl(ep, 1, r, IN, 0).ok();
    show!("add twice", ctl(ep, 1, r, IN, 0));
    show!("modify missing", ctl(ep, 3, w, OUT, 0));
    show!("delete missing", ctl(ep, 2, w, 0, 0));
    show!("itself", ctl(ep, 1, ep, IN, 0));
    show!("not an epoll", ctl(r, 1, w, IN, 0));
    show!("closed", ctl(ep, 1, 99, IN, 0));
    show!("closed epoll", ctl(99, 1, r, IN, 0));
    show!("operation", ctl(ep, 9, w, IN, 0));
    show!("file", ctl(ep, 1, kit::file("f", b""), IN, 0));
    show!("directory", ctl(ep, 1, kit::open(".", 0), IN, 0));
    show!("null event", sys!(epoll_ctl, ep, 1, w, 0));
    show!("null event of delete", sys!(epoll_ctl, ep, 2, r, 0));
    show!("create 0", sys!(epoll_create, 0));
    show!("create flags", sys!(epoll_create1, 1));
    show!("no room", sys!(epoll_wait, ep, 8, 0, 0));
    show!("bad address", {
        ctl(ep, 1, w, OUT, 0).ok();
        sys!(epoll_wait, ep, 8, 1, 0)
    });
    show!("exclusive modify", {
        ctl(ep, 1, r, IN | libc::EPOLLEXCLUSIVE as u32, 0).ok();
        ctl(ep, 3, r, IN, 0)
    });
    show!("read it", sys!(read, ep, [0u8; 8].as_mut_ptr(), 8));
}

pub fn nested() {
    let (r, w) = kit::pipe();
    let (inner, outer) = (create(), create());
    ctl(inner, 1, r, IN, 1).ok();
    show!("nest", ctl(outer, 1, inner, IN, 2));
    show!("loop", ctl(inner, 1, outer, IN, 3));
    show!("quiet", wait(outer, 0));
    sys!(write, w, &b"x"[..], 1).ok();
    show!("outer", wait(outer, 0));
    show!("inner", wait(inner, 0));
    let mut poll = libc::pollfd { fd: outer, events: libc::POLLIN, revents: 0 };
    show!("poll", sys!(poll, &raw mut poll, 1, 0));
}

pub fn closing_removes() {
    let (r, w) = kit::pipe();
    let ep = create();
    let other = sys!(dup, r).fd();
    ctl(ep, 1, r, IN, 7).ok();
    sys!(write, w, &b"x"[..], 1).ok();
    kit::close(&[r]);
    show!("still open by dup", wait(ep, 0));
    kit::close(&[other]);
    show!("gone", wait(ep, 0));
}

pub fn waiting() {
    let (r, w) = kit::pipe();
    let ep = create();
    ctl(ep, 1, r, IN, 1).ok();
    show!("timeout", kit::duration(100, || drop(wait(ep, 100))));
    let pid = kit::fork(|| {
        kit::sleep_ms(50);
        sys!(write, w, &b"x"[..], 1).ok();
        0
    });
    show!("woken", wait(ep, -1));
    kit::wait_for(pid);
    sys!(read, r, [0u8; 8].as_mut_ptr(), 8).ok();
    let time = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let mut events = [0u8; 12];
    show!("pwait2", sys!(epoll_pwait2, ep, events.as_mut_ptr(), 1, &raw const time, 0, 8));
    show!("pwait", sys!(epoll_pwait, ep, events.as_mut_ptr(), 1, 10, 0, 8));
    show!("pwait mask size", sys!(epoll_pwait, ep, events.as_mut_ptr(), 1, 0, events.as_ptr(), 4));
}

pub fn more_ready_than_room() {
    let ep = create();
    for n in 0..4 {
        let (r, w) = kit::pipe();
        ctl(ep, 1, r, IN, n).ok();
        sys!(write, w, &b"x"[..], 1).ok();
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2];
        show!("two", sys!(epoll_wait, ep, events.as_mut_ptr(), 2, 0));
        seen.extend(events.iter().map(|event| { event.u64 }));
    }
    show!("all get their turn", format!("{seen:?}"));
}
