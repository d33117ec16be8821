// SPDX-License-Identifier: Apache-2.0
//! futex(2) on private words: ends of waits, signals, and who wakes whom.
//!
//! Covers: futex.

use std::{
    sync::atomic::{AtomicI32, AtomicU32, Ordering},
    thread,
};

use crate::kit;

const PRIVATE: i32 = 128;
const REALTIME: i32 = 256;
const WAIT: i32 = PRIVATE;
const WAKE: i32 = PRIVATE | 1;
const REQUEUE: i32 = PRIVATE | 3;
const CMP_REQUEUE: i32 = PRIVATE | 4;
const WAKE_OP: i32 = PRIVATE | 5;
const WAIT_BITSET: i32 = PRIVATE | 9;
const WAKE_BITSET: i32 = PRIVATE | 10;
const ANY: u32 = u32::MAX;

/// A point in time on a clock, some milliseconds from now.
fn after(clock: i32, ms: i64) -> [i64; 2] {
    let mut now = [0i64; 2];
    sys!(clock_gettime, clock, now.as_mut_ptr()).ok();
    let nanos = now[1] + ms * 1_000_000;
    [now[0] + nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000)]
}

fn timed(label: &str, ms: u64, call: impl FnOnce() -> kit::Ret) {
    let mut ret = kit::Ret(0);
    let took = kit::duration(ms, || ret = call());
    say!("{label}: {ret} {took}");
}

fn quick(label: &str, mut call: impl FnMut() -> kit::Ret) {
    let mut ret = kit::Ret(0);
    let took = kit::at_once(50, || ret = call());
    say!("{label}: {ret} {took}");
}

pub fn ends() {
    let word = AtomicU32::new(5);
    let at = word.as_ptr();
    let short = [0i64, 50_000_000];
    timed("relative", 50, || sys!(futex, at, WAIT, 5, short.as_ptr(), 0, 0));
    quick("nothing", || sys!(futex, at, WAIT, 5, [0i64, 0].as_ptr(), 0, 0));
    for (name, clock, flag) in [("monotonic", 1, 0), ("realtime", 0, REALTIME)] {
        let op = WAIT_BITSET | flag;
        timed(name, 50, || sys!(futex, at, op, 5, after(clock, 50).as_ptr(), 0, ANY));
        quick("past", || sys!(futex, at, op, 5, after(clock, -50).as_ptr(), 0, ANY));
        quick("long past", || sys!(futex, at, op, 5, [0i64, 0].as_ptr(), 0, ANY));
        timed("one bit", 50, || sys!(futex, at, op, 5, after(clock, 50).as_ptr(), 0, 4));
        for bad in [[-1i64, 0], [0, -1], [0, 1_000_000_000], [i64::MIN, 0]] {
            show!("bad time", sys!(futex, at, op, 5, bad.as_ptr(), 0, ANY));
        }
    }
    for bad in [[-1i64, 0], [0, -1], [0, 1_000_000_000]] {
        show!("bad time", sys!(futex, at, WAIT, 5, bad.as_ptr(), 0, 0));
        show!("bad time, other value", sys!(futex, at, WAIT, 6, bad.as_ptr(), 0, 0));
    }
    show!("other value", sys!(futex, at, WAIT, 6, 0, 0, 0));
    show!("other value, time", sys!(futex, at, WAIT, 6, short.as_ptr(), 0, 0));
    show!("high half of the value", sys!(futex, at, WAIT, 6u64 | 5 << 32, 0, 0, 0));
    show!("realtime", sys!(futex, at, WAIT | REALTIME, 5, short.as_ptr(), 0, 0));
    show!("no bits", sys!(futex, at, WAIT_BITSET, 5, short.as_ptr(), 0, 0));
    // A time so far away that nobody lives to see it.
    let far = [i64::MAX, 999_999_999];
    thread::scope(|scope| {
        let waiter = scope.spawn(|| sys!(futex, word.as_ptr(), WAIT, 5, far.as_ptr(), 0, 0));
        kit::until("the waiter", || sys!(futex, at, WAKE, 1, 0, 0, 0).ok() == 1);
        show!("far away", waiter.join().unwrap());
    });
}

pub fn addresses() {
    let word = AtomicU32::new(5);
    let at = word.as_ptr();
    let none = kit::map(4096, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
    let read = kit::map(4096, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
    let time = [0i64, 1_000_000];
    for (name, addr) in [
        ("unaligned", at as usize + 2),
        ("null", 0),
        ("unmapped", 4096),
        ("no access", none as usize),
        ("unaligned, unmapped", 4097),
        ("end of user space", 0x7fff_ffff_fffc),
        ("kernel", usize::MAX - 3),
    ] {
        show!(name, sys!(futex, addr, WAIT, 5, 0, 0, 0));
        show!("timed", sys!(futex, addr, WAIT, 5, time.as_ptr(), 0, 0));
        show!("bitset", sys!(futex, addr, WAIT_BITSET, 5, 0, 0, ANY));
        show!("wake", sys!(futex, addr, WAKE, 1, 0, 0, 0));
        show!("wake bitset", sys!(futex, addr, WAKE_BITSET, 1, 0, 0, 3));
        show!("requeue", sys!(futex, addr, REQUEUE, 1, 1, at, 0));
        show!("requeue to", sys!(futex, at, REQUEUE, 1, 1, addr, 0));
        show!("compare", sys!(futex, addr, CMP_REQUEUE, 1, 1, at, 5));
        show!("wake op", sys!(futex, addr, WAKE_OP, 1, 1, at, 1 << 28));
        show!("wake op to", sys!(futex, at, WAKE_OP, 1, 1, addr, 1 << 28));
    }
    show!("only readable", sys!(futex, read, WAIT, 0, time.as_ptr(), 0, 0));
    show!("wake op there", sys!(futex, at, WAKE_OP, 1, 1, read, 1 << 28));
    show!("time nowhere", sys!(futex, at, WAIT, 5, 8, 0, 0));
    show!("time nowhere, absolute", sys!(futex, at, WAIT_BITSET, 5, 8, 0, ANY));
    show!("unknown wake op", sys!(futex, at, WAKE_OP, 1, 1, at, 7u32 << 28));
    show!("negative", sys!(futex, at, CMP_REQUEUE, -1, 1, at, 5));
    show!("negative", sys!(futex, at, REQUEUE, 1, -1, at, 5));
    show!("no bits", sys!(futex, at, WAKE_BITSET, 1, 0, 0, 0));
    show!("wake none", sys!(futex, at, WAKE, 0, 0, 0, 0));
    show!("word", word.load(Ordering::SeqCst));
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(_: i32) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// When a wait that nobody wakes ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Never,
    Soon,
}

/// A wait that a signal reaches, and then a wake-up, which is too late for one that ends soon.
fn disturbed(label: &str, flags: Option<i32>, end: End, call: impl FnOnce(*mut u32) -> kit::Ret + Send) {
    let word = AtomicU32::new(5);
    HANDLED.store(0, Ordering::SeqCst);
    match flags {
        Some(flags) => kit::handle(libc::SIGUSR1, note, flags),
        None => kit::ignore(unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) }),
    }
    let tid = AtomicI32::new(0);
    let ret = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            tid.store(sys!(gettid).ok() as i32, Ordering::SeqCst);
            call(word.as_ptr())
        });
        kit::until("its id", || tid.load(Ordering::SeqCst) != 0);
        let tid = tid.load(Ordering::SeqCst);
        kit::until_asleep(i64::from(tid));
        sys!(tgkill, std::process::id(), tid, libc::SIGUSR1).ok();
        kit::until("the handler", || flags.is_none() || HANDLED.load(Ordering::SeqCst) > 0);
        let mut looks = 0;
        kit::until("its end, or that it waits again", || {
            looks = if kit::state_of(i64::from(tid)) == 'S' { looks + 1 } else { 0 };
            waiter.is_finished() || (end == End::Never && looks > 5)
        });
        let woken = sys!(futex, word.as_ptr(), WAKE, 1, 0, 0, 0);
        format!("{} woken {woken}", waiter.join().unwrap())
    });
    show!(label, ret);
}

pub fn signals() {
    for (name, flags) in [("plain", Some(0)), ("restart", Some(libc::SA_RESTART)), ("ignored", None)] {
        say!("{name}");
        disturbed("no end", flags, End::Never, |at| sys!(futex, at, WAIT, 5, 0, 0, 0));
        disturbed("far end", flags, End::Never, |at| sys!(futex, at, WAIT, 5, [99i64, 0].as_ptr(), 0, 0));
        disturbed("near end", flags, End::Soon, |at| sys!(futex, at, WAIT, 5, [0i64, 500_000_000].as_ptr(), 0, 0));
        disturbed("any", flags, End::Never, |at| sys!(futex, at, WAIT_BITSET, 5, 0, 0, ANY));
        disturbed("any, far", flags, End::Never, |at| sys!(futex, at, WAIT_BITSET, 5, after(1, 99_000).as_ptr(), 0, ANY));
        disturbed("any, near", flags, End::Soon, |at| sys!(futex, at, WAIT_BITSET, 5, after(1, 500).as_ptr(), 0, ANY));
        let realtime = WAIT_BITSET | REALTIME;
        disturbed("real time", flags, End::Never, |at| sys!(futex, at, realtime, 5, after(0, 99_000).as_ptr(), 0, ANY));
        disturbed("bit", flags, End::Never, |at| sys!(futex, at, WAIT_BITSET, 5, 0, 0, 1));
    }
}

pub fn stops() {
    for (name, time) in [("no end", None), ("relative", Some([0i64, 150_000_000]))] {
        let ((r, w), (over, end)) = (kit::pipe(), kit::pipe());
        let child = kit::fork(|| {
            let word = AtomicU32::new(5);
            let wait = time.as_ref().map_or(std::ptr::null(), |time| time.as_ptr());
            thread::scope(|scope| {
                // Only the one without an end is woken.
                if time.is_none() {
                    scope.spawn(|| {
                        sys!(read, over, [0u8; 1].as_mut_ptr(), 1).ok();
                        kit::until("the waiter", || sys!(futex, word.as_ptr(), WAKE, 1, 0, 0, 0).ok() == 1);
                    });
                }
                sys!(write, w, &b"x"[..], 1).ok();
                show!(name, sys!(futex, word.as_ptr(), WAIT, 5, wait, 0, 0));
            });
            0
        });
        let mut byte = [0u8; 1];
        sys!(read, r, byte.as_mut_ptr(), 1).ok();
        for _ in 0..2 {
            kit::sleep_ms(25);
            sys!(kill, child, libc::SIGSTOP).ok();
            let mut status = 0;
            sys!(wait4, child, &raw mut status, libc::WUNTRACED, 0).ok();
            show!("status", kit::status(status));
            kit::sleep_ms(10);
            sys!(kill, child, libc::SIGCONT).ok();
        }
        sys!(write, end, &b"x"[..], 1).ok();
        show!("end", kit::status(kit::wait_for(child)));
    }
}

/// Starts a thread that waits in the call, and waits until it sleeps.
fn sleeper(call: impl FnOnce() -> kit::Ret + Send + 'static) -> (i32, thread::JoinHandle<kit::Ret>) {
    let (send, receive) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        send.send(sys!(gettid).ok() as i32).unwrap();
        call()
    });
    let tid = receive.recv().unwrap();
    kit::until_asleep(i64::from(tid));
    kit::sleep_ms(20);
    (tid, thread)
}

static WORDS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];

fn word(index: usize) -> *mut u32 {
    WORDS[index].as_ptr()
}

pub fn what_proc_says() {
    let (tid, thread) = sleeper(|| sys!(futex, word(0), WAIT, 0, 0, 0, 0));
    let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    show!("status", status.lines().find(|line| line.starts_with("State")).unwrap());
    let ticks = || -> Vec<u64> {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11..13].iter().map(|field| field.parse().unwrap()).collect()
    };
    let before = ticks();
    kit::sleep_ms(400);
    let after = ticks();
    show!("no time passes for it", after.iter().zip(&before).all(|(a, b)| a - b < 5));
    show!("wake", sys!(futex, word(0), WAKE, 9, 0, 0, 0));
    show!("woken", thread.join().unwrap());
    // Nor for one that waits again and again.
    let mut spent = [0i64; 2];
    for _ in 0..50 {
        sys!(futex, word(0), WAIT, 0, [0i64, 20_000_000].as_ptr(), 0, 0);
    }
    sys!(clock_gettime, libc::CLOCK_THREAD_CPUTIME_ID, spent.as_mut_ptr()).ok();
    show!("its clock", spent[0] == 0 && spent[1] < 700_000_000);
}

pub fn others_are_not_woken() {
    let shared = WAIT & !PRIVATE;
    let (_, private) = sleeper(|| sys!(futex, word(0), WAIT, 0, 0, 0, 0));
    let (_, other) = sleeper(move || sys!(futex, word(0), shared, 0, 0, 0, 0));
    show!("shared", sys!(futex, word(0), WAKE & !PRIVATE, 9, 0, 0, 0));
    show!("shared waiter", other.join().unwrap());
    show!("private", sys!(futex, word(0), WAKE, 9, 0, 0, 0));
    show!("private waiter", private.join().unwrap());
    let (_, private) = sleeper(|| sys!(futex, word(0), WAIT, 0, 0, 0, 0));
    let (_, other) = sleeper(move || sys!(futex, word(0), shared, 0, 0, 0, 0));
    show!("private", sys!(futex, word(0), WAKE, 9, 0, 0, 0));
    show!("private waiter", private.join().unwrap());
    show!("shared", sys!(futex, word(0), WAKE & !PRIVATE, 9, 0, 0, 0));
    show!("shared waiter", other.join().unwrap());
}

/// Waiters of all kinds at one word: with one bit, for several words, plain.
fn mixed() -> Vec<thread::JoinHandle<kit::Ret>> {
    let (_, plain) = sleeper(|| sys!(futex, word(0), WAIT, 0, 0, 0, 0));
    let (_, bit) = sleeper(|| sys!(futex, word(0), WAIT_BITSET, 0, 0, 0, 2));
    let (_, timed) = sleeper(|| sys!(futex, word(0), WAIT, 0, [20i64, 0].as_ptr(), 0, 0));
    let (_, vector) = sleeper(|| {
        let list = [0, 1].map(|index| [0u64, word(index) as u64, 2 | 128]);
        sys!(futex_waitv, list.as_ptr(), 2, 0, 0, 0)
    });
    vec![plain, bit, timed, vector]
}

fn joined(threads: Vec<thread::JoinHandle<kit::Ret>>) -> String {
    let results: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    format!("{results:?}")
}

pub fn waiters_of_all_kinds() {
    let threads = mixed();
    show!("no such bit", sys!(futex, word(0), WAKE_BITSET, 0, 0, 0, 0));
    show!("two", sys!(futex, word(0), WAKE, 2, 0, 0, 0));
    show!("the others", sys!(futex, word(0), WAKE, 9, 0, 0, 0));
    show!("all", joined(threads));
    let threads = mixed();
    // All but the one with another bit.
    show!("by a bit", sys!(futex, word(0), WAKE_BITSET, 9, 0, 0, 1));
    show!("the last", sys!(futex, word(0), WAKE, 9, 0, 0, 0));
    show!("all", joined(threads));
    let threads = mixed();
    show!("other value", sys!(futex, word(0), CMP_REQUEUE, 1, 9, word(1), 7));
    show!("one and the rest", sys!(futex, word(0), CMP_REQUEUE, 1, 9, word(1), 0));
    show!("none left", sys!(futex, word(0), WAKE, 9, 0, 0, 0));
    show!("moved", sys!(futex, word(1), WAKE, 9, 0, 0, 0));
    show!("all", joined(threads).replace('1', "0"));
    let mut threads = mixed();
    // Instead of the vector one that waits at the second word alone.
    let (_, other) = sleeper(|| sys!(futex, word(1), WAIT, 0, 0, 0, 0));
    WORDS[1].store(9, Ordering::SeqCst);
    show!("the vector", sys!(futex, word(1), WAKE, 9, 0, 0, 0));
    kit::ignore(threads.pop().map(|vector| vector.join().unwrap()));
    show!("the other", other.join().unwrap());
    WORDS[1].store(0, Ordering::SeqCst);
    let (_, other) = sleeper(|| sys!(futex, word(1), WAIT, 0, 0, 0, 0));
    threads.push(other);
    // WORDS[1] += 3; wake two on WORDS[0], and all on WORDS[1] if it was 0.
    let add = (1u32 << 28) | (3 << 12);
    show!("wake op", sys!(futex, word(0), WAKE_OP, 2, 9, word(1), add));
    show!("value", WORDS[1].load(Ordering::SeqCst));
    show!("wake op, not equal", sys!(futex, word(0), WAKE_OP, 9, 9, word(1), add));
    show!("value", WORDS[1].load(Ordering::SeqCst));
    show!("all", joined(threads));
    WORDS[1].store(0, Ordering::SeqCst);
}

pub fn requeue_of_timed_waiters() {
    let (_, timed) = sleeper(|| sys!(futex, word(0), WAIT, 0, [1i64, 0].as_ptr(), 0, 0));
    let (_, plain) = sleeper(|| sys!(futex, word(0), WAIT, 0, 0, 0, 0));
    show!("moved", sys!(futex, word(0), REQUEUE, 0, 9, word(1), 0));
    show!("its time is up", timed.join().unwrap());
    show!("the other is there", sys!(futex, word(1), WAKE, 9, 0, 0, 0));
    show!("woken", plain.join().unwrap());
    // One that a signal finds after it was moved waits for the first word again.
    HANDLED.store(0, Ordering::SeqCst);
    kit::handle(libc::SIGUSR1, note, libc::SA_RESTART);
    let (tid, plain) = sleeper(|| sys!(futex, word(0), WAIT, 0, 0, 0, 0));
    show!("moved", sys!(futex, word(0), REQUEUE, 0, 9, word(1), 0));
    sys!(tgkill, std::process::id(), tid, libc::SIGUSR1).ok();
    kit::until("the handler", || HANDLED.load(Ordering::SeqCst) > 0);
    kit::until_asleep(i64::from(tid));
    show!("no longer there", sys!(futex, word(1), WAKE, 9, 0, 0, 0));
    show!("but here", sys!(futex, word(0), WAKE, 9, 0, 0, 0));
    show!("woken", plain.join().unwrap());
}
