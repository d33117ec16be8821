// SPDX-License-Identifier: Apache-2.0
//! futex(2).
//!
//! Covers: futex, set_robust_list, get_robust_list, futex_waitv.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use crate::kit;

const WAIT: i32 = 0;
const WAKE: i32 = 1;
const REQUEUE: i32 = 3;
const CMP_REQUEUE: i32 = 4;
const WAKE_OP: i32 = 5;
const LOCK_PI: i32 = 6;
const UNLOCK_PI: i32 = 7;
const TRYLOCK_PI: i32 = 8;
const WAIT_BITSET: i32 = 9;
const WAKE_BITSET: i32 = 10;
const PRIVATE: i32 = 128;

fn at(word: &AtomicU32) -> *mut u32 {
    word.as_ptr()
}

pub fn values_and_errors() {
    let word = AtomicU32::new(5);
    let time = [0i64, 20_000_000];
    show!("another value", sys!(futex, at(&word), WAIT, 4, 0, 0, 0));
    show!("timeout", sys!(futex, at(&word), WAIT, 5, time.as_ptr(), 0, 0));
    show!("private timeout", sys!(futex, at(&word), WAIT | PRIVATE, 5, time.as_ptr(), 0, 0));
    show!("nobody", sys!(futex, at(&word), WAKE, 1, 0, 0, 0));
    show!("unaligned", sys!(futex, at(&word).addr() + 1, WAIT, 5, 0, 0, 0));
    show!("null", sys!(futex, 0, WAIT, 5, 0, 0, 0));
    show!("kernel half", sys!(futex, usize::MAX - 3, WAKE | PRIVATE, 1, 0, 0, 0));
    show!("unmapped private wake", sys!(futex, 4096, WAKE | PRIVATE, 1, 0, 0, 0));
    show!("unmapped shared wake", sys!(futex, 4096, WAKE, 1, 0, 0, 0));
    show!("unknown", sys!(futex, at(&word), 77, 0, 0, 0, 0));
    let bad = [0i64, 1_000_000_000];
    show!("time", sys!(futex, at(&word), WAIT, 5, bad.as_ptr(), 0, 0));
    show!("time before value", sys!(futex, at(&word), WAIT, 4, bad.as_ptr(), 0, 0));
    show!("no bits", sys!(futex, at(&word), WAIT_BITSET, 5, 0, 0, 0));
    show!("absolute, past", sys!(futex, at(&word), WAIT_BITSET, 5, [1i64, 0].as_ptr(), 0, 1));
}

/// Starts `n` waiters and waits until they wait.
fn waiters(n: usize, word: &'static AtomicU32, op: i32, mask: u32) -> Vec<thread::JoinHandle<i64>> {
    let (send, receive) = std::sync::mpsc::channel();
    let threads = (0..n)
        .map(|_| {
            let send = send.clone();
            thread::spawn(move || {
                send.send(sys!(gettid).ok()).unwrap();
                sys!(futex, at(word), op, 0, 0, 0, mask).0
            })
        })
        .collect();
    receive.iter().take(n).for_each(kit::until_asleep);
    kit::sleep_ms(20);
    threads
}

fn joined(threads: Vec<thread::JoinHandle<i64>>) -> String {
    format!("{:?}", threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>())
}

pub fn wake_counts() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    for flag in [0, PRIVATE] {
        let threads = waiters(3, &WORD, WAIT | flag, 0);
        show!("two", sys!(futex, at(&WORD), WAKE | flag, 2, 0, 0, 0));
        show!("rest", sys!(futex, at(&WORD), WAKE | flag, 100, 0, 0, 0));
        show!("all return", joined(threads));
    }
}

pub fn bitsets() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let odd = waiters(2, &WORD, WAIT_BITSET | PRIVATE, 1);
    let even = waiters(1, &WORD, WAIT_BITSET | PRIVATE, 2);
    show!("even", sys!(futex, at(&WORD), WAKE_BITSET | PRIVATE, 100, 0, 0, 2));
    show!("even", joined(even));
    show!("neither", sys!(futex, at(&WORD), WAKE_BITSET | PRIVATE, 100, 0, 0, 4));
    show!("plain wake", sys!(futex, at(&WORD), WAKE | PRIVATE, 100, 0, 0, 0));
    show!("odd", joined(odd));
}

pub fn requeue() {
    static FIRST: AtomicU32 = AtomicU32::new(0);
    static SECOND: AtomicU32 = AtomicU32::new(0);
    let threads = waiters(3, &FIRST, WAIT | PRIVATE, 0);
    let op = CMP_REQUEUE | PRIVATE;
    show!("value", sys!(futex, at(&FIRST), op, 1, 10, at(&SECOND), 9));
    show!("one and the rest", sys!(futex, at(&FIRST), op, 1, 10, at(&SECOND), 0));
    show!("none left", sys!(futex, at(&FIRST), WAKE | PRIVATE, 10, 0, 0, 0));
    show!("moved", sys!(futex, at(&SECOND), WAKE | PRIVATE, 10, 0, 0, 0));
    show!("all return", joined(threads));
    show!("negative", sys!(futex, at(&FIRST), REQUEUE, -1, 10, at(&SECOND), 0));
}

pub fn wake_op() {
    static FIRST: AtomicU32 = AtomicU32::new(0);
    static SECOND: AtomicU32 = AtomicU32::new(0);
    let a = waiters(1, &FIRST, WAIT | PRIVATE, 0);
    let b = waiters(1, &SECOND, WAIT | PRIVATE, 0);
    // SECOND += 3; wake one on FIRST, and one on SECOND if it was 0.
    let add = (1u32 << 28) | (3 << 12);
    show!("both", sys!(futex, at(&FIRST), WAKE_OP | PRIVATE, 1, 1, at(&SECOND), add));
    show!("value", SECOND.load(Ordering::SeqCst));
    say!("{} {}", joined(a), joined(b));
    show!("not equal", sys!(futex, at(&FIRST), WAKE_OP | PRIVATE, 1, 1, at(&SECOND), add));
    show!("value", SECOND.load(Ordering::SeqCst));
}

pub fn between_processes() {
    let word = kit::shared_page().cast::<u32>();
    let pid = kit::fork(|| sys!(futex, word, WAIT, 0, 0, 0, 0).0 as i32);
    let mut woken = 0;
    kit::until("the child", || {
        woken += sys!(futex, word, WAKE, 1, 0, 0, 0).ok();
        woken > 0
    });
    say!("{woken} {}", kit::status(kit::wait_for(pid)));
    let fd = kit::file("f", &[0; 4096]);
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let (a, b) = (kit::map(4096, prot, libc::MAP_SHARED, fd), kit::map(4096, prot, libc::MAP_SHARED, fd));
    let thread = {
        let a = a.addr();
        thread::spawn(move || sys!(futex, a, WAIT, 0, 0, 0, 0).0)
    };
    let mut woken = 0;
    kit::until("the thread", || {
        woken += sys!(futex, b, WAKE, 1, 0, 0, 0).ok();
        woken > 0
    });
    show!("two mappings of a file", thread.join().unwrap());
}

pub fn priority_inheritance() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    let tid = sys!(gettid).ok() as u32;
    show!("lock", sys!(futex, at(&WORD), LOCK_PI | PRIVATE, 0, 0, 0, 0));
    show!("owner", WORD.load(Ordering::SeqCst) == tid);
    show!("again", sys!(futex, at(&WORD), LOCK_PI | PRIVATE, 0, 0, 0, 0));
    let other = thread::spawn(|| {
        show!("try", sys!(futex, at(&WORD), TRYLOCK_PI | PRIVATE, 0, 0, 0, 0));
        show!("not the owner", sys!(futex, at(&WORD), UNLOCK_PI | PRIVATE, 0, 0, 0, 0));
    });
    // Joined first: the attempt alone may set the waiters' bit.
    other.join().unwrap();
    let other = thread::spawn(|| sys!(futex, at(&WORD), LOCK_PI | PRIVATE, 0, 0, 0, 0).0);
    kit::sleep_ms(20);
    kit::until("the waiter", || WORD.load(Ordering::SeqCst) & 0x8000_0000 != 0);
    show!("unlock", sys!(futex, at(&WORD), UNLOCK_PI | PRIVATE, 0, 0, 0, 0));
    show!("handed over", other.join().unwrap());
}

pub fn robust_list() {
    let page = kit::shared_page().cast::<u64>();
    show!("length", sys!(set_robust_list, page, 8));
    let pid = kit::fork(|| {
        // A list of one lock at the page's second half, held by this thread.
        unsafe {
            let entry = page.add(64);
            page.write(entry as u64);
            page.add(1).write(8);
            page.add(2).write(0);
            entry.write(page as u64);
            entry.add(1).cast::<u32>().write(sys!(gettid).0 as u32);
        }
        sys!(set_robust_list, page, 24).ok();
        let (mut head, mut len) = (0u64, 0u64);
        sys!(get_robust_list, 0, &raw mut head, &raw mut len).ok();
        i32::from(head == page as u64 && len == 24)
    });
    show!("as set", kit::status(kit::wait_for(pid)));
    let word = unsafe { page.add(65).cast::<u32>().read_volatile() };
    show!("owner died", word == 0x4000_0000);
}

pub fn vector() {
    static WORDS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];
    let list = || WORDS.each_ref().map(|word| [0u64, at(word) as u64, 2 | 128]);
    let thread = thread::spawn(move || {
        let list = list();
        sys!(futex_waitv, list.as_ptr(), 2, 0, 0, 0).0
    });
    kit::until("the waiter", || sys!(futex, at(&WORDS[1]), WAKE | PRIVATE, 1, 0, 0, 0).ok() == 1);
    show!("index", thread.join().unwrap());
    let list = list();
    show!("flags", sys!(futex_waitv, list.as_ptr(), 2, 1, 0, 0));
    show!("none", sys!(futex_waitv, list.as_ptr(), 0, 0, 0, 0));
    WORDS[0].store(1, Ordering::SeqCst);
    show!("value", sys!(futex_waitv, list.as_ptr(), 2, 0, 0, 0));
}

pub fn thread_exit_clears() {
    let word: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(7)));
    let thread = thread::spawn(move || {
        sys!(set_tid_address, word.as_ptr());
        word.store(7, Ordering::SeqCst);
        // Straight out, as pthread's own field is not told.
        sys!(exit, 0);
    });
    kit::until("the word", || word.load(Ordering::SeqCst) == 0);
    show!("cleared", word.load(Ordering::SeqCst));
    std::mem::forget(thread);
}
