// SPDX-License-Identifier: Apache-2.0
//! futex_wait(2), futex_wake(2), futex_requeue(2): futex(2) taken apart.
//!
//! Covers: futex_wait, futex_wake, futex_requeue.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use crate::kit;

/// A private word of 32 bits.
const U32: u32 = 2 | 128;
const ANY: u64 = 0xffff_ffff;

pub fn errors() {
    let word = AtomicU32::new(5);
    let at = word.as_ptr();
    show!("other value", sys!(futex_wait, at, 4, ANY, U32, 0, 1));
    show!("no bits", sys!(futex_wait, at, 5, 0, U32, 0, 1));
    show!("wide value", sys!(futex_wait, at, 1u64 << 32, ANY, U32, 0, 1));
    show!("wide bits", sys!(futex_wait, at, 5, 1u64 << 32, U32, 0, 1));
    show!("size", sys!(futex_wait, at, 5, ANY, 0, 0, 1));
    show!("flags", sys!(futex_wait, at, 5, ANY, U32 | 0x100, 0, 1));
    show!("unaligned", sys!(futex_wait, at as usize + 1, 5, ANY, U32, 0, 1));
    show!("nowhere", sys!(futex_wait, 8, 5, ANY, U32, 0, 1));
    let past = [0i64, 0];
    show!("time is up", sys!(futex_wait, at, 5, ANY, U32, past.as_ptr(), 1));
    show!("clock", sys!(futex_wait, at, 5, ANY, U32, past.as_ptr(), 3));
    show!("wake nobody", sys!(futex_wake, at, ANY, 1, U32));
    show!("wake none", sys!(futex_wake, at, ANY, 0, U32));
    show!("wake no bits", sys!(futex_wake, at, 0, 1, U32));
    show!("wake size", sys!(futex_wake, at, ANY, 1, 1));
}

pub fn wake_and_move() {
    static WORDS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];
    let at = |index: usize| WORDS[index].as_ptr();
    let waiter = thread::spawn(move || sys!(futex_wait, at(0), 0, ANY, U32, 0, 1).0);
    kit::until("the waiter", || sys!(futex_wake, at(0), ANY, 1, U32).ok() == 1);
    show!("woken", waiter.join().unwrap());
    let waiter = thread::spawn(move || sys!(futex_wait, at(0), 0, ANY, U32, 0, 1).0);
    let list = [[0u64, at(0) as u64, u64::from(U32)], [0, at(1) as u64, u64::from(U32)]];
    kit::until("the move", || sys!(futex_requeue, list.as_ptr(), 0, 0, 1).ok() == 1);
    show!("left", sys!(futex_wake, at(0), ANY, 1, U32));
    show!("moved", sys!(futex_wake, at(1), ANY, 1, U32));
    show!("result", waiter.join().unwrap());
    WORDS[0].store(1, Ordering::SeqCst);
    show!("value", sys!(futex_requeue, list.as_ptr(), 0, 1, 1));
    show!("flags", sys!(futex_requeue, list.as_ptr(), 1, 1, 1));
    show!("null", sys!(futex_requeue, 0, 0, 1, 1));
}
