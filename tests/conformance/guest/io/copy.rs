// SPDX-License-Identifier: Apache-2.0
//! sendfile(2), copy_file_range(2), splice(2), tee(2), vmsplice(2).
//!
//! Covers: sendfile, copy_file_range, splice, tee, vmsplice.

use crate::kit;

pub fn sendfile() {
    let from = kit::file("from", b"0123456789");
    let to = kit::file("to", b"");
    show!("all", sys!(sendfile, to, from, 0, 100));
    show!("end", sys!(sendfile, to, from, 0, 100));
    let mut offset = 3i64;
    show!("at offset", sys!(sendfile, to, from, &raw mut offset, 4));
    show!("offset", offset);
    show!("position stays", sys!(lseek, from, 0, libc::SEEK_CUR));
    show!("to", String::from_utf8(std::fs::read("to").unwrap()).unwrap());
    let (r, w) = kit::pipe();
    sys!(lseek, from, 0, libc::SEEK_SET).ok();
    show!("into a pipe", sys!(sendfile, w, from, 0, 5));
    show!("out of a pipe", sys!(sendfile, to, r, 0, 5).is_ok());
    show!("bad fd", sys!(sendfile, to, 99, 0, 5));
    show!("bad offset", sys!(sendfile, to, from, 8, 5));
}

pub fn copy_range() {
    let from = kit::file("from", b"0123456789");
    let to = kit::file("to", b"");
    let (mut off_in, mut off_out) = (2i64, 1i64);
    show!("offsets", sys!(copy_file_range, from, &raw mut off_in, to, &raw mut off_out, 4, 0));
    say!("{off_in} {off_out}");
    show!("positions", sys!(copy_file_range, from, 0, to, 0, 100, 0));
    show!("to", format!("{:?}", std::fs::read("to").unwrap()));
    show!("flags", sys!(copy_file_range, from, 0, to, 0, 1, 1));
    let (_r, w) = kit::pipe();
    show!("pipe", sys!(copy_file_range, from, 0, w, 0, 1, 0));
    let dir = kit::open(".", libc::O_RDONLY);
    show!("directory", sys!(copy_file_range, dir, 0, to, 0, 1, 0));
}

pub fn splice() {
    let file = kit::file("f", b"0123456789");
    let (r, w) = kit::pipe();
    let (r2, w2) = kit::pipe();
    show!("file to pipe", sys!(splice, file, 0, w, 0, 6, 0));
    show!("tee", sys!(tee, r, w2, 4, 0));
    let mut buf = [0u8; 16];
    show!("pipe keeps", sys!(read, r, &mut buf[..], 16));
    show!("copy", sys!(read, r2, &mut buf[..], 16));
    say!("{}", String::from_utf8_lossy(&buf[..4]));
    show!("pipe to pipe, empty", sys!(splice, r, 0, w2, 0, 5, libc::SPLICE_F_NONBLOCK));
    show!("no pipe", sys!(splice, file, 0, file, 0, 5, 0));
    let mut offset = 0i64;
    show!("offset of a pipe", sys!(splice, r, &raw mut offset, file, 0, 5, 0));
    let bytes = b"spliced";
    let iov = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: 7 };
    show!("vmsplice", sys!(vmsplice, w, &raw const iov, 1, 0));
    show!("to file", sys!(splice, r, 0, file, 0, 100, 0));
    show!("file", String::from_utf8(std::fs::read("f").unwrap()).unwrap());
}

pub fn no_more_than_there_is_room_for() {
    let (r, w) = kit::pipe();
    let size = sys!(fcntl, w, libc::F_SETPIPE_SZ, 65536).ok();
    let bytes = vec![7u8; 100_000];
    let piece = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
    show!("vmsplice", sys!(vmsplice, w, &raw const piece, 1, 0).ok() < bytes.len() as i64);
    show!("once more", sys!(vmsplice, w, &raw const piece, 1, 2));
    let (r2, w2) = kit::pipe();
    let from = kit::file("from", &bytes);
    sys!(lseek, from, 0, libc::SEEK_SET).ok();
    show!("file", sys!(splice, from, 0, w2, 0, 100_000, 0));
    show!("position", sys!(lseek, from, 0, libc::SEEK_CUR));
    show!("full", sys!(splice, from, 0, w2, 0, 100_000, 2));
    let mut room = vec![0u8; 65536];
    show!("read", sys!(read, r2, room.as_mut_ptr(), 65536));
    show!("sendfile", sys!(sendfile, w2, from, 0, 100_000));
    let mut pair = [0i32; 2];
    sys!(socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()).ok();
    show!("size", size);
    let mut put = 0;
    kit::close(&[w, r]);
    while put < 80_000 {
        put += sys!(write, pair[0], bytes.as_ptr(), 80_000 - put).ok();
    }
    let (_r3, w3) = kit::pipe();
    let got = sys!(splice, pair[1], 0, w3, 0, 100_000, 0).ok();
    show!("socket", got > 0 && got <= 65536);
}

pub fn pipe_to_socket() {
    let bytes = vec![7u8; 60_000];
    let (r, w) = kit::pipe();
    let mut pair = [0i32; 2];
    sys!(socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()).ok();
    sys!(write, w, bytes.as_ptr(), bytes.len()).ok();
    let mut left = bytes.len() as i64;
    while left > 0 {
        left -= sys!(splice, r, 0, pair[0], 0, left, 0).ok();
    }
    show!("left", left);
    show!("empty", sys!(splice, r, 0, pair[0], 0, 10, 2));
    let mut room = vec![0u8; bytes.len()];
    let mut got = 0;
    while got < bytes.len() {
        got += sys!(read, pair[1], room[got..].as_mut_ptr(), room.len() - got).ok() as usize;
    }
    show!("same", room == bytes);
    kit::close(&[w]);
    show!("no writer", sys!(splice, r, 0, pair[0], 0, 10, 0));
    kit::close(&[pair[1]]);
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let (r, w) = kit::pipe();
    sys!(write, w, c"abc", 3).ok();
    show!("no reader", sys!(splice, r, 0, pair[0], 0, 3, 0));
    show!("kept", sys!(ioctl, r, libc::FIONREAD, kit::at(&mut left)));
    show!("bytes", left as i32);
}
