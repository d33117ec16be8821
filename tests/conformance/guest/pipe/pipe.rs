// SPDX-License-Identifier: Apache-2.0
//! Pipes and fifos.
//!
//! Covers: pipe, pipe2.

use crate::kit;

pub fn data_and_ends() {
    let (r, w) = kit::pipe();
    let mut buf = [0u8; 16];
    show!("write", sys!(write, w, &b"hello"[..], 5));
    show!("short read", sys!(read, r, &mut buf[..], 2));
    show!("rest", sys!(read, r, &mut buf[..], 16));
    show!("write to the reading end", sys!(write, r, &b"x"[..], 1));
    show!("read from the writing end", sys!(read, w, &mut buf[..], 1));
    kit::close(&[w]);
    show!("no writer", sys!(read, r, &mut buf[..], 16));
    show!("flags", sys!(pipe2, buf.as_mut_ptr(), libc::O_APPEND));
    show!("null", sys!(pipe2, 0, 0));
}

pub fn broken() {
    let (r, w) = kit::pipe();
    kit::close(&[r]);
    let end = kit::in_child(|| {
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        sys!(write, w, &b"x"[..], 1);
        0
    });
    show!("signal", kit::status(end));
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    show!("ignored", sys!(write, w, &b"x"[..], 1));
    show!("nothing to write", sys!(write, w, &b"x"[..], 0));
}

pub fn nonblocking() {
    let mut fds = [0i32; 2];
    show!("pipe2", sys!(pipe2, fds.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC));
    let [r, w] = fds;
    let mut buf = [0u8; 4096];
    show!("empty", sys!(read, r, &mut buf[..], 16));
    let mut total = 0;
    let end = loop {
        let ret = sys!(write, w, &buf[..], 4096);
        if ret.0 < 0 {
            break ret;
        }
        total += ret.0;
    };
    show!("full", end);
    show!("capacity", total);
    show!("one byte", sys!(write, w, &buf[..], 1));
    sys!(read, r, &mut buf[..], 4096).ok();
    show!("atomic", sys!(write, w, &[0u8; 8192][..], 4096));
    sys!(read, r, &mut buf[..], 1).ok();
    show!("not all at once", sys!(write, w, &[0u8; 8192][..], 4096));
    show!("queued", {
        let mut n = 0i32;
        sys!(ioctl, r, libc::FIONREAD, &raw mut n).ok();
        n
    });
}

pub fn blocking_write_and_read() {
    let (r, w) = kit::pipe();
    let pid = kit::fork(|| {
        kit::close(&[r]);
        let data: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        i32::from(sys!(write, w, &data[..], data.len()).0 != 300_000)
    });
    kit::close(&[w]);
    let (mut total, mut wrong) = (0u32, 0);
    let mut buf = [0u8; 7000];
    loop {
        let got = sys!(read, r, &mut buf[..], 7000).ok() as usize;
        if got == 0 {
            break;
        }
        for byte in &buf[..got] {
            wrong += u32::from(*byte != (total % 251) as u8);
            total += 1;
        }
    }
    say!("{total} bytes, {wrong} wrong");
    show!("writer", kit::status(kit::wait_for(pid)));
}

pub fn fifo() {
    sys!(mknod, c"p", libc::S_IFIFO | 0o600, 0).ok();
    show!("write, no reader", sys!(open, c"p", libc::O_WRONLY | libc::O_NONBLOCK, 0));
    let r = kit::open("p", libc::O_RDONLY | libc::O_NONBLOCK);
    let mut buf = [0u8; 8];
    show!("no writer yet", sys!(read, r, &mut buf[..], 8));
    let w = kit::open("p", libc::O_WRONLY);
    show!("empty", sys!(read, r, &mut buf[..], 8));
    sys!(write, w, &b"abc"[..], 3).ok();
    show!("read", sys!(read, r, &mut buf[..], 8));
    kit::close(&[r, w]);
    let pid = kit::fork(|| {
        let w = kit::open("p", libc::O_WRONLY);
        sys!(write, w, &b"from child"[..], 10).ok();
        0
    });
    let r = kit::open("p", libc::O_RDONLY);
    let mut buf = [0u8; 32];
    show!("rendezvous", sys!(read, r, &mut buf[..], 32));
    kit::wait_for(pid);
    show!("end", sys!(read, r, &mut buf[..], 32));
    let both = kit::open("p", libc::O_RDWR);
    show!("both ends", sys!(write, both, &b"x"[..], 1));
}

pub fn two_writers_one_reader() {
    let (r, w) = kit::pipe();
    let pids: Vec<i32> = (0..2)
        .map(|n| {
            kit::fork(|| {
                let line = [b'a' + n; 100];
                for _ in 0..200 {
                    sys!(write, w, &line[..], 100).ok();
                }
                0
            })
        })
        .collect();
    kit::close(&[w]);
    let mut all = Vec::new();
    let mut reader: std::fs::File = unsafe { std::os::fd::FromRawFd::from_raw_fd(r) };
    std::io::Read::read_to_end(&mut reader, &mut all).unwrap();
    let torn = all.chunks(100).filter(|line| line.iter().any(|b| *b != line[0])).count();
    say!("{} bytes, {torn} torn writes", all.len());
    for pid in pids {
        kit::wait_for(pid);
    }
}
