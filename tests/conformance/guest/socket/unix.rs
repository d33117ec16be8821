// SPDX-License-Identifier: Apache-2.0
//! Unix sockets.
//!
//! Covers: socket, socketpair, bind, listen, accept, accept4, connect, getsockname, getpeername, sendto, recvfrom, sendmsg, recvmsg, shutdown, sendmmsg, recvmmsg.

use crate::kit;

const UNIX: i32 = libc::AF_UNIX;

fn pair(kind: i32) -> (i32, i32) {
    let mut fds = [0i32; 2];
    sys!(socketpair, UNIX, kind, 0, fds.as_mut_ptr()).ok();
    (fds[0], fds[1])
}

fn address(name: &str) -> (libc::sockaddr_un, i32) {
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = UNIX as u16;
    for (slot, byte) in address.sun_path.iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    (address, 2 + name.len() as i32)
}

fn name(fd: i32, peer: bool) -> String {
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    let mut len = 110i32;
    let ret = if peer {
        sys!(getpeername, fd, &raw mut address, &raw mut len)
    } else {
        sys!(getsockname, fd, &raw mut address, &raw mut len)
    };
    let path: String = address.sun_path.iter().map(|c| *c as u8 as char).collect();
    format!("{ret} length {len} {:?}", path.trim_end_matches('\0'))
}

fn read(fd: i32) -> String {
    let mut buf = [0u8; 64];
    let ret = sys!(recvfrom, fd, &mut buf[..], 64, libc::MSG_DONTWAIT, 0, 0);
    format!("{ret} {:?}", String::from_utf8_lossy(&buf[..ret.0.max(0) as usize]))
}

pub fn pairs() {
    let (a, b) = pair(libc::SOCK_STREAM);
    show!("write", sys!(write, a, &b"one"[..], 3));
    show!("write", sys!(write, a, &b"two"[..], 3));
    show!("stream", read(b));
    show!("empty", read(b));
    show!("shutdown", sys!(shutdown, a, 1));
    show!("end", read(b));
    show!("still the other way", sys!(sendto, b, &b"x"[..], 1, 0, 0, 0));
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    show!("write after shutdown", sys!(write, a, &b"x"[..], 1));
    kit::close(&[a]);
    show!("unread data resets", read(b));
    let (a, b) = pair(libc::SOCK_DGRAM);
    sys!(write, a, &b"one"[..], 3).ok();
    sys!(write, a, &b""[..], 0).ok();
    sys!(write, a, &b"three"[..], 5).ok();
    say!("{} {} {}", read(b), read(b), read(b));
    let (a, b) = pair(libc::SOCK_SEQPACKET);
    sys!(write, a, &b"packet"[..], 6).ok();
    let mut small = [0u8; 3];
    show!("truncated", sys!(recvfrom, b, &mut small[..], 3, libc::MSG_TRUNC, 0, 0));
    kit::close(&[a]);
    show!("closed", read(b));
}

pub fn listening() {
    let server = sys!(socket, UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0).fd();
    let (at, len) = address("sock");
    show!("connect to nothing", {
        let fd = sys!(socket, UNIX, libc::SOCK_STREAM, 0).fd();
        sys!(connect, fd, &raw const at, len)
    });
    show!("listen unbound", sys!(listen, server, 5));
    show!("bind", sys!(bind, server, &raw const at, len));
    show!("again", sys!(bind, server, &raw const at, len));
    show!("name", name(server, false));
    show!("peer", name(server, true));
    show!("taken", {
        let fd = sys!(socket, UNIX, libc::SOCK_STREAM, 0).fd();
        sys!(bind, fd, &raw const at, len)
    });
    let client = sys!(socket, UNIX, libc::SOCK_STREAM, 0).fd();
    show!("not listening", sys!(connect, client, &raw const at, len));
    show!("listen", sys!(listen, server, 5));
    show!("connect", sys!(connect, client, &raw const at, len));
    show!("connect again", sys!(connect, client, &raw const at, len));
    let mut from: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    let mut from_len = 110i32;
    let accepted = sys!(accept4, server, &raw mut from, &raw mut from_len, libc::SOCK_NONBLOCK).fd();
    show!("from length", from_len);
    show!("peer", name(client, true));
    show!("own", name(accepted, false));
    sys!(write, client, &b"hi"[..], 2).ok();
    show!("read", read(accepted));
    show!("nonblocking", sys!(fcntl, accepted, libc::F_GETFL, 0).0 & i64::from(libc::O_NONBLOCK) != 0);
    sys!(fcntl, server, libc::F_SETFL, libc::O_NONBLOCK).ok();
    show!("nobody waits", sys!(accept, server, 0, 0));
    show!("accept on a connection", sys!(accept, client, 0, 0));
    kit::close(&[server]);
    let late = sys!(socket, UNIX, libc::SOCK_STREAM, 0).fd();
    show!("closed server", sys!(connect, late, &raw const at, len));
}

pub fn abstract_names() {
    let name_of = format!("\0guest-{}", sys!(getpid).ok());
    let (at, len) = address(&name_of);
    let server = sys!(socket, UNIX, libc::SOCK_DGRAM, 0).fd();
    show!("bind", sys!(bind, server, &raw const at, len));
    show!("length", name(server, false).contains(&format!("length {len}")));
    let client = sys!(socket, UNIX, libc::SOCK_DGRAM, 0).fd();
    show!("send", sys!(sendto, client, &b"hi"[..], 2, 0, &raw const at, len));
    show!("receive", read(server));
    show!("unconnected", sys!(write, client, &b"x"[..], 1));
    show!("connect", sys!(connect, client, &raw const at, len));
    show!("write", sys!(write, client, &b"x"[..], 1));
    kit::close(&[server]);
    show!("gone", sys!(write, client, &b"x"[..], 1));
    show!("autobind", {
        let (at, _) = address("");
        sys!(bind, client, &raw const at, 2)
    });
    show!("autobound length", name(client, false).contains("length 8"));
}

fn with_rights(fds: &[i32]) -> [u64; 64] {
    let mut control = [0u64; 64];
    control[0] = 16 + 4 * fds.len() as u64;
    control[1] = libc::SOL_SOCKET as u64 | (libc::SCM_RIGHTS as u64) << 32;
    for (n, fd) in fds.iter().enumerate() {
        control[2 + n / 2] |= (*fd as u64) << (32 * (n % 2));
    }
    control
}

fn send_rights(socket: i32, fds: &[i32]) -> kit::Ret {
    let byte = [1u8];
    let iov = libc::iovec { iov_base: byte.as_ptr() as *mut _, iov_len: 1 };
    let mut control = with_rights(fds);
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = (&raw const iov).cast_mut();
    msg.msg_iovlen = 1;
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = control[0] as usize;
    sys!(sendmsg, socket, &raw const msg, 0)
}

fn receive(socket: i32, room: usize, flags: i32) -> (kit::Ret, usize, i32, Vec<i32>) {
    let mut byte = [0u8; 8];
    let iov = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 8 };
    let mut control = [0u64; 64];
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = (&raw const iov).cast_mut();
    msg.msg_iovlen = 1;
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = room;
    let ret = sys!(recvmsg, socket, &raw mut msg, flags);
    let count = (control[0] as usize).saturating_sub(16) / 4;
    let fds = (0..count).map(|n| (control[2 + n / 2] >> (32 * (n % 2))) as i32).collect();
    (ret, msg.msg_controllen, msg.msg_flags, fds)
}

pub fn passing_descriptors() {
    let (a, b) = pair(libc::SOCK_STREAM);
    let file = kit::file("f", b"0123456789");
    sys!(lseek, file, 3, 0).ok();
    show!("send", send_rights(a, &[file, file]));
    kit::close(&[file]);
    let (ret, len, flags, fds) = receive(b, 512, libc::MSG_CMSG_CLOEXEC);
    say!("{ret} control {len} flags {flags:#x} count {}", fds.len());
    show!("position came along", sys!(lseek, fds[0], 0, libc::SEEK_CUR));
    show!("cloexec", sys!(fcntl, fds[1], libc::F_GETFD, 0));
    send_rights(a, &[fds[0], fds[1]]).ok();
    let (ret, len, flags, got) = receive(b, 20, 0);
    say!("little room: {ret} control {len} flags {flags:#x} count {}", got.len());
    send_rights(a, &[fds[0]]).ok();
    let mut buf = [0u8; 4];
    show!("read drops them", sys!(read, b, &mut buf[..], 4));
    show!("closed", send_rights(a, &[99]));
    show!("itself", send_rights(a, &[a]));
    let (ret, _, _, own) = receive(b, 512, 0);
    say!("{ret} {}", own.len());
    show!("end of a pipe comes when the last holder is gone", {
        let (r, w) = kit::pipe();
        send_rights(a, &[w]).ok();
        kit::close(&[w]);
        sys!(fcntl, r, libc::F_SETFL, libc::O_NONBLOCK).ok();
        let before = sys!(read, r, &mut buf[..], 1);
        let (.., fds) = receive(b, 512, 0);
        kit::close(&fds);
        format!("{before} {}", sys!(read, r, &mut buf[..], 1))
    });
}

pub fn credentials() {
    let (a, b) = pair(libc::SOCK_DGRAM);
    let one = 1i32;
    sys!(setsockopt, b, libc::SOL_SOCKET, libc::SO_PASSCRED, &raw const one, 4).ok();
    sys!(write, a, &b"x"[..], 1).ok();
    let mut control = [0u64; 8];
    let mut byte = [0u8];
    let iov = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = (&raw const iov).cast_mut();
    msg.msg_iovlen = 1;
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = 64;
    show!("receive", sys!(recvmsg, b, &raw mut msg, 0));
    show!("own pid", control[2] as u32 as i64 == sys!(getpid).0);
    say!("length {} type {}", msg.msg_controllen, control[1] >> 32);
    let (a, _b) = pair(libc::SOCK_STREAM);
    let mut cred = [0u32; 3];
    let mut len = 12i32;
    show!("peercred", sys!(getsockopt, a, libc::SOL_SOCKET, libc::SO_PEERCRED, cred.as_mut_ptr(), &raw mut len));
    show!("is us", i64::from(cred[0]) == sys!(getpid).0 && i64::from(cred[1]) == sys!(getuid).0);
}

pub fn errors() {
    show!("domain", sys!(socket, 77, 1, 0));
    show!("type", sys!(socket, UNIX, 9, 0));
    show!("protocol", sys!(socket, UNIX, 1, 9));
    show!("flags", sys!(socket, UNIX, 1 | 0x100_0000, 0));
    let fd = sys!(socket, UNIX, 1, 0).fd();
    let file = kit::file("f", b"");
    show!("not a socket", sys!(listen, file, 1));
    show!("closed", sys!(listen, 99, 1));
    show!("not connected", sys!(write, fd, &b"x"[..], 1));
    show!("read", sys!(read, fd, [0u8; 1].as_mut_ptr(), 1));
    show!("shutdown", sys!(shutdown, fd, 0));
    show!("shutdown how", sys!(shutdown, fd, 9));
    show!("getpeername", name(fd, true));
    show!("getsockname", name(fd, false));
    let (at, len) = address("f");
    show!("connect to a file", sys!(connect, fd, &raw const at, len));
    show!("bind over a file", sys!(bind, fd, &raw const at, len));
    show!("short address", sys!(bind, fd, &raw const at, 1));
    show!("long address", sys!(bind, fd, &raw const at, 200));
    show!("other family", sys!(connect, fd, [9u16, 0, 0, 0].as_ptr(), 8));
    show!("bad address", sys!(connect, fd, 8, len));
    show!("seek", sys!(lseek, fd, 0, 0));
    let (at, len) = address("missing/sock");
    show!("bind below missing", sys!(bind, fd, &raw const at, len));
}

pub fn peek_wait_and_out_of_band() {
    let (a, b) = pair(libc::SOCK_STREAM);
    sys!(write, a, &b"abcdef"[..], 6).ok();
    let mut buf = [0u8; 8];
    show!("peek", sys!(recvfrom, b, &mut buf[..], 2, libc::MSG_PEEK, 0, 0));
    let mut queued = 0i32;
    sys!(ioctl, b, libc::FIONREAD, &raw mut queued).ok();
    show!("queued", queued);
    let pid = kit::fork(|| {
        kit::sleep_ms(30);
        sys!(write, a, &b"gh"[..], 2).ok();
        0
    });
    show!("waitall", sys!(recvfrom, b, &mut buf[..], 8, libc::MSG_WAITALL, 0, 0));
    kit::wait_for(pid);
    let time = [0i64, 30_000];
    sys!(setsockopt, b, libc::SOL_SOCKET, libc::SO_RCVTIMEO, time.as_ptr(), 16).ok();
    show!("timeout", sys!(read, b, &mut buf[..], 8));
    let mut poll = libc::pollfd { fd: b, events: libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP, revents: 0 };
    kit::close(&[a]);
    sys!(poll, &raw mut poll, 1, 0).ok();
    show!("poll of a closed peer", format!("{:#x}", poll.revents));
}

pub fn full_buffers() {
    let (a, b) = pair(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    let chunk = [7u8; 4096];
    let mut sent = 0;
    let end = loop {
        let ret = sys!(write, a, &chunk[..], 4096);
        if ret.0 < 0 {
            break ret;
        }
        sent += ret.0;
    };
    say!("{end} {}", sent > 50_000);
    let mut got = 0;
    let mut buf = [0u8; 8192];
    loop {
        let ret = sys!(read, b, &mut buf[..], 8192);
        if ret.0 <= 0 {
            show!("end", ret);
            break;
        }
        got += ret.0;
    }
    show!("all", got == sent);
}

pub fn several_messages() {
    let (a, b) = pair(libc::SOCK_DGRAM);
    let parts: [&[u8]; 2] = [b"first", b"second one"];
    let iovs = parts.map(|p| libc::iovec { iov_base: p.as_ptr() as *mut _, iov_len: p.len() });
    let mut list: [libc::mmsghdr; 2] = unsafe { std::mem::zeroed() };
    for (msg, iov) in list.iter_mut().zip(&iovs) {
        msg.msg_hdr.msg_iov = (&raw const *iov).cast_mut();
        msg.msg_hdr.msg_iovlen = 1;
    }
    show!("send", sys!(sendmmsg, a, list.as_mut_ptr(), 2, 0));
    say!("{} {}", list[0].msg_len, list[1].msg_len);
    let mut bufs = [[0u8; 16]; 3];
    let iovs = bufs.each_mut().map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: 16 });
    let mut list: [libc::mmsghdr; 3] = unsafe { std::mem::zeroed() };
    for (msg, iov) in list.iter_mut().zip(&iovs) {
        msg.msg_hdr.msg_iov = (&raw const *iov).cast_mut();
        msg.msg_hdr.msg_iovlen = 1;
    }
    show!("receive", sys!(recvmmsg, b, list.as_mut_ptr(), 3, libc::MSG_DONTWAIT, 0));
    say!("{} {}", list[0].msg_len, list[1].msg_len);
    show!("none", sys!(recvmmsg, b, list.as_mut_ptr(), 3, libc::MSG_DONTWAIT, 0));
}
