// SPDX-License-Identifier: Apache-2.0
//! Waiters and wakers in one fake address space.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use abi::{
    Errno, UserAddr, UserOut, UserRange,
    futex::{FUTEX_OWNER_DIED, FUTEX_WAITERS, RobustListHead},
};
use platform::{Backing, Context, MapOptions, Protection};

use super::{FutexTable, Key, RequeueRequest, Word, leave, pi::Locker, wait::Awaited};
use crate::{
    mm::{
        Layout, MemoryManager,
        fake::{FAKE_RANGE, FakeContext, FakePlatform},
        user,
    },
    wait::{Cut, Sleeper},
};

const A: u64 = 0x10000;
const B: u64 = 0x10040;

struct Guest {
    table: FutexTable,
    mm: Arc<MemoryManager>,
}

fn guest() -> (Arc<Guest>, FakeContext) {
    let mut cx = FakeContext::new();
    let range = UserRange::new(UserAddr(A), 0x1000).expect("fits");
    let rw = Protection::READ | Protection::WRITE;
    cx.map(range, rw, Backing::Anonymous, MapOptions::empty()).expect("the fake maps");
    let layout = Layout::new(FAKE_RANGE, 8 << 20, None);
    let mm = MemoryManager::new(&FakePlatform, Arc::clone(cx.space()), layout);
    (Arc::new(Guest { table: FutexTable::default(), mm }), cx)
}

fn key(addr: u64) -> Key {
    Key::Private { mm: 1, addr, is_shared: false }
}

fn awaited(addr: u64, value: u32) -> Awaited {
    Awaited { key: key(addr), addr: UserAddr(addr), value }
}

fn put(cx: &mut dyn Context, addr: u64, value: u32) {
    user::write(cx, UserOut::new(UserAddr(addr)), &value).expect("mapped");
}

fn get(cx: &mut dyn Context, addr: u64) -> u32 {
    user::read(cx, abi::UserIn::new(UserAddr(addr))).expect("mapped")
}

fn waiting(guest: &Guest, addr: u64, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_there = || {
        let bucket = guest.table.lock(&key(addr));
        bucket.queues.get(&key(addr)).map_or(0, |queue| queue.len()) == count
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "{count} waiters at {addr:#x}");
        std::thread::yield_now();
    }
}

#[test]
fn waits_end_by_wake_value_and_deadline() {
    let (guest, mut cx) = guest();
    let sleeper = Sleeper::new();
    let wrong = guest.table.wait(&mut cx, &sleeper, awaited(A, 1), u32::MAX, None);
    assert_eq!(wrong, Err(Cut::Failed(Errno::EAGAIN)));
    let bad = guest.table.wait(&mut cx, &sleeper, awaited(0x20000, 0), u32::MAX, None);
    assert_eq!(bad, Err(Cut::Failed(Errno::EFAULT)));
    let soon = Some(Instant::now() + Duration::from_millis(5));
    let late = guest.table.wait(&mut cx, &sleeper, awaited(A, 0), u32::MAX, soon);
    assert_eq!(late, Err(Cut::Failed(Errno::ETIMEDOUT)));
    assert_eq!(guest.table.wake(&key(A), 1, u32::MAX), Ok(0), "nobody is left in the queue");

    std::thread::scope(|scope| {
        for bitset in [1, 2, 2] {
            let guest = &guest;
            let mut cx = cx.spawn_thread().expect("the fake does");
            scope.spawn(move || {
                let sleeper = Sleeper::new();
                let result = guest.table.wait(&mut *cx, &sleeper, awaited(A, 0), bitset, None);
                assert_eq!(result, Ok(()));
            });
        }
        waiting(&guest, A, 3);
        assert_eq!(guest.table.wake(&key(A), 9, 4), Ok(0));
        assert_eq!(guest.table.wake(&key(A), 0, 2), Ok(1), "at least one is woken");
        assert_eq!(guest.table.wake(&key(A), 9, u32::MAX), Ok(2));
    });
}

#[test]
fn waiters_move_to_another_word() {
    let (guest, mut cx) = guest();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let guest = &guest;
            let mut cx = cx.spawn_thread().expect("the fake does");
            scope.spawn(move || {
                let sleeper = Sleeper::new();
                let result = guest.table.wait(&mut *cx, &sleeper, awaited(A, 0), u32::MAX, None);
                assert_eq!(result, Ok(()));
            });
        }
        waiting(&guest, A, 3);
        let mut word = Word { context: &mut cx, addr: UserAddr(A) };
        let request =
            RequeueRequest { from: key(A), to: key(B), wake: 1, requeue: 9, expected: Some(1) };
        assert_eq!(guest.table.requeue(&mut word, UserAddr(B), &request), Err(Errno::EAGAIN));
        let request = RequeueRequest { expected: Some(0), ..request };
        assert_eq!(guest.table.requeue(&mut word, UserAddr(B), &request), Ok(3));
        waiting(&guest, B, 2);
        // FUTEX_OP(FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 0): the second word's waiters are woken as well.
        let woken = guest.table.wake_op(&mut word, (&key(B), UserAddr(B)), 1, &key(B), 1, 7 << 12);
        assert_eq!(woken, Ok(2));
        assert_eq!(get(&mut cx, A), 7);
    });
}

#[test]
fn owners_hand_over_in_order() {
    let (guest, mut cx) = guest();
    let alive = |_: u32| true;
    let sleeper = Sleeper::new();
    let me = Locker { tid: 5, sleeper: &sleeper };
    let table = &guest.table;
    let lock = table.lock_pi(&mut cx, &me, key(A), UserAddr(A), None, &alive);
    assert_eq!((lock, get(&mut cx, A)), (Ok(()), 5));
    let again = table.lock_pi(&mut cx, &me, key(A), UserAddr(A), None, &alive);
    assert_eq!(again, Err(Cut::Failed(Errno::EDEADLK)));
    let other = table.try_lock_pi(&mut cx, 6, key(A), UserAddr(A), &alive);
    assert_eq!(other, Err(Errno::EAGAIN));
    assert_eq!(table.unlock_pi(&mut cx, 6, key(A), UserAddr(A)), Err(Errno::EPERM));
    put(&mut cx, B, 77);
    let dead = table.lock_pi(&mut cx, &me, key(B), UserAddr(B), None, &|tid| tid != 77);
    assert_eq!(dead, Err(Cut::Failed(Errno::ESRCH)));

    std::thread::scope(|scope| {
        let mut other = cx.spawn_thread().expect("the fake does");
        scope.spawn(move || {
            let sleeper = Sleeper::new();
            let me = Locker { tid: 6, sleeper: &sleeper };
            let lock = table.lock_pi(&mut *other, &me, key(A), UserAddr(A), None, &alive);
            assert_eq!(lock, Ok(()));
        });
        waiting(&guest, A, 1);
        assert_eq!(get(&mut cx, A), 5 | FUTEX_WAITERS);
        assert_eq!(table.unlock_pi(&mut cx, 5, key(A), UserAddr(A)), Ok(()));
    });
    assert_eq!(get(&mut cx, A), 6 | FUTEX_WAITERS);
    assert_eq!(table.unlock_pi(&mut cx, 6, key(A), UserAddr(A)), Ok(()));
    assert_eq!(get(&mut cx, A), 0);
}

#[test]
fn the_dead_let_go() {
    let (guest, mut cx) = guest();
    // A list of one robust mutex at A, whose links are 0x20 bytes behind the word; and a circle in it.
    let entry = A + 0x20;
    let head = A + 0x100;
    let list = RobustListHead { list: entry, futex_offset: -0x20, list_op_pending: 0 };
    user::write(&mut cx, UserOut::new(UserAddr(head)), &list).expect("mapped");
    user::write(&mut cx, UserOut::new(UserAddr(entry)), &entry).expect("mapped");
    put(&mut cx, A, 5 | FUTEX_WAITERS);
    leave(&guest.table, &mut cx, &guest.mm, 5, head, None);
    assert_eq!(get(&mut cx, A), FUTEX_WAITERS | FUTEX_OWNER_DIED);
    put(&mut cx, A, 6);
    leave(&guest.table, &mut cx, &guest.mm, 5, head, None);
    assert_eq!(get(&mut cx, A), 6, "not the dead one's");

    std::thread::scope(|scope| {
        put(&mut cx, B, 5);
        let table = &guest.table;
        let mut other = cx.spawn_thread().expect("the fake does");
        scope.spawn(move || {
            let sleeper = Sleeper::new();
            let me = Locker { tid: 9, sleeper: &sleeper };
            let lock = table.lock_pi(&mut *other, &me, key(B), UserAddr(B), None, &|_| true);
            assert_eq!(lock, Ok(()));
        });
        waiting(&guest, B, 1);
        leave(table, &mut cx, &guest.mm, 5, 0, None);
    });
    assert_eq!(get(&mut cx, B), 9 | FUTEX_WAITERS | FUTEX_OWNER_DIED);
}

#[test]
fn many_words_at_once() {
    let (guest, mut cx) = guest();
    std::thread::scope(|scope| {
        let table = &guest.table;
        let mut other = cx.spawn_thread().expect("the fake does");
        scope.spawn(move || {
            let sleeper = Sleeper::new();
            let words = [awaited(A, 0), awaited(B, 0)];
            assert_eq!(table.wait_any(&mut *other, &sleeper, &words, None), Ok(1));
        });
        waiting(&guest, B, 1);
        assert_eq!(table.wake(&key(B), 1, u32::MAX), Ok(1));
    });
    assert_eq!(guest.table.wake(&key(A), 1, u32::MAX), Ok(0), "it left every queue");
    put(&mut cx, B, 1);
    let words = [awaited(A, 0), awaited(B, 0)];
    let result = guest.table.wait_any(&mut cx, &Sleeper::new(), &words, None);
    assert_eq!(result, Err(Cut::Failed(Errno::EAGAIN)));
}
