// SPDX-License-Identifier: Apache-2.0
//! What passes the door, and what does not.

use abi::{Errno, UserAddr, UserCStr, UserIn, UserOut, UserRange, uio::Iovec};
use platform::{Backing, Context, MapOptions, Protection};

use super::{UserSink, UserSource, read, read_path, read_pointers, read_slice, write, write_bytes};
use crate::{
    io::{Sink, Source},
    mm::fake::FakeContext,
};

/// Two readable and writable pages at 0x10000; nothing behind.
fn two_pages() -> FakeContext {
    let mut cx = FakeContext::new();
    let range = UserRange::new(UserAddr(0x10000), 0x2000).expect("fits");
    let rw = Protection::READ | Protection::WRITE;
    cx.map(range, rw, Backing::Anonymous, MapOptions::empty()).expect("the fake maps");
    cx
}

#[test]
fn values_and_slices_come_back() {
    let mut cx = two_pages();
    write(&mut cx, UserOut::new(UserAddr(0x10ffc)), &0x1122_3344_5566_7788_u64).expect("mapped");
    assert_eq!(read(&mut cx, UserIn::<u64>::new(UserAddr(0x10ffc))), Ok(0x1122_3344_5566_7788));
    let pair = read_slice(&mut cx, UserIn::<u32>::new(UserAddr(0x10ffc)), 2);
    assert_eq!(pair, Ok(vec![0x5566_7788, 0x1122_3344]));
    assert_eq!(read(&mut cx, UserIn::<u64>::new(UserAddr(0x11ffc))), Err(Errno::EFAULT));
    let lie = read_slice(&mut cx, UserIn::<u64>::new(UserAddr(0x10000)), usize::MAX);
    assert_eq!(lie, Err(Errno::EFAULT));
}

#[test]
fn strings_stop_at_nul_fault_or_limit() {
    let mut cx = two_pages();
    write_bytes(&mut cx, UserAddr(0x11ffa), b"a/b\0zz").expect("mapped");
    assert_eq!(read_path(&mut cx, UserCStr(UserAddr(0x11ffa))), Ok(b"a/b".to_vec()));
    assert_eq!(read_path(&mut cx, UserCStr(UserAddr(0x11ffe))), Err(Errno::EFAULT));
    write_bytes(&mut cx, UserAddr(0x10000), &[b'x'; 0x1000]).expect("mapped");
    assert_eq!(read_path(&mut cx, UserCStr(UserAddr(0x10000))), Err(Errno::ENAMETOOLONG));
    assert_eq!(read_path(&mut cx, UserCStr(UserAddr(0x10001))).map(|path| path.len()), Ok(4095));
}

#[test]
fn pointer_vectors_end_by_null() {
    let mut cx = two_pages();
    for (index, value) in [(0, 7_u64), (1, 8), (2, 0)] {
        let at = UserOut::new(UserAddr(0x11fe8 + 8 * index));
        write(&mut cx, at, &value).expect("mapped");
    }
    let vector = UserIn::new(UserAddr(0x11fe8));
    assert_eq!(read_pointers(&mut cx, vector, 9), Ok(vec![UserAddr(7), UserAddr(8)]));
    assert_eq!(read_pointers(&mut cx, vector, 1), Err(Errno::E2BIG));
    assert_eq!(read_pointers(&mut cx, UserIn::new(UserAddr::NULL), 1), Ok(vec![]));
    assert_eq!(read_pointers(&mut cx, UserIn::new(UserAddr(0x20000)), 1), Err(Errno::EFAULT));
}

#[test]
fn sources_and_sinks_walk_iovecs_and_stop_at_faults() {
    let mut cx = two_pages();
    let iovecs = [
        Iovec { iov_base: 0x10100, iov_len: 3 },
        Iovec { iov_base: 0, iov_len: 0 },
        Iovec { iov_base: 0x11ffe, iov_len: 10 },
    ];
    for (index, iovec) in (0..).zip(&iovecs) {
        write(&mut cx, UserOut::new(UserAddr(0x10000 + 16 * index)), iovec).expect("mapped");
    }
    let iov = UserIn::new(UserAddr(0x10000));
    let mut sink = UserSink::import(&mut cx, iov, 3).expect("well-formed");
    assert_eq!(sink.remaining(), 13);
    assert_eq!(sink.write(b"abcdefgh"), Ok(5));
    assert_eq!(sink.write(b"fgh"), Err(Errno::EFAULT));
    let mut source = UserSource::import(&mut cx, iov, 3).expect("well-formed");
    let mut room = [0; 4];
    assert_eq!((source.read(&mut room), &room), (Ok(4), b"abcd"));
    source.unread(2);
    assert_eq!((source.read(&mut room[..2]), &room[..2]), (Ok(2), &b"cd"[..]));
    assert_eq!(source.remaining(), 9);
    assert_eq!(UserSource::import(&mut cx, iov, 1025).err(), Some(Errno::EINVAL));
    let huge = Iovec { iov_base: 0, iov_len: u64::MAX };
    write(&mut cx, UserOut::new(UserAddr(0x10000)), &huge).expect("mapped");
    assert_eq!(UserSource::import(&mut cx, iov, 1).err(), Some(Errno::EINVAL));
}
